//! A guest: a machine we can reach over ssh, through one connection that stays open.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result, ignore};
use crate::names::BoxName;
use crate::process::{Cmd, Output};
use crate::ssh::host::Files;
use crate::ssh::{Host, argv};

/// How long one attempt to reach the port may take.
const KNOCK: Duration = Duration::from_secs(2);
/// How long a box may take to answer over a connection that is open.
const ANSWER: Duration = Duration::from_secs(5);
/// How long to wait after the first refusal, and at most, each time twice as long: OpenSSH 9.8 and
/// newer shut out for a while whom they have refused often (sshd_config(5), `PerSourcePenalties`:
/// five seconds for each refusal, shut out from fifteen on).
const REFUSED: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a box on its first boot may show another host key than the pinned one, or refuse ours: sshd
/// may be up before cloud-init has put the keys in place.
pub const KEY_GRACE: Duration = Duration::from_secs(120);

/// A machine we can reach.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The name of the box.
    pub name: BoxName,
    /// Where its ssh files are.
    pub files: Files,
    address: IpAddr,
}

/// Why ssh did not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Nobody answers, yet or any more.
    Unreachable,
    /// It shows another host key than the pinned one.
    OtherHostKey,
    /// It does not take our key.
    OurKey,
    /// Something else.
    Other,
}

/// Reads what ssh says when it gives up with exit status 255.
fn parse_refusal(text: &str) -> Refusal {
    let said = |words: &[&str]| words.iter().any(|w| text.contains(w));
    if said(&[
        "HOST IDENTIFICATION HAS CHANGED",
        "Host key verification failed",
        "No ED25519 host key is known",
    ]) {
        Refusal::OtherHostKey
    } else if said(&["Permission denied"]) {
        Refusal::OurKey
    } else if said(&[
        "Connection refused",
        "Connection timed out",
        "No route to host",
        "Network is unreachable",
        "Connection reset",
        "Connection closed",
        "Host is down",
        "Operation timed out",
        "Broken pipe",
        "not responding",
    ]) {
        Refusal::Unreachable
    } else {
        Refusal::Other
    }
}

impl Guest {
    /// The guest that `host` describes. Writes the files that devbox's own ssh reads.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn new(host: &Host, files: Files) -> Result<Self> {
        files.write_ours(host)?;
        Ok(Self { name: host.name.clone(), address: host.address, files })
    }

    /// Waits until ssh lets us in with the pinned host key. `still_there` is asked each time `pace` has
    /// passed, and ends the wait with its error when the instance is gone. A wrong host key,
    /// or a refusal of ours, ends it too, once `key_grace` is over: [`KEY_GRACE`] for a box on its first boot, else none.
    /// `refused` is told what ssh says meanwhile.
    ///
    /// # Errors
    /// [`Kind::Guest`] after `patience`, or when the box shows another host key.
    pub async fn wait_for_ssh<F>(
        &self,
        patience: Duration,
        key_grace: Duration,
        pace: Duration,
        mut still_there: impl FnMut() -> F,
        mut refused: impl FnMut(&str),
    ) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        let began = Instant::now();
        let mut asked = began;
        let mut last = None;
        let mut open = false;
        let mut pause = REFUSED;
        while began.elapsed() < patience {
            // Once is enough: sshd counts those who come and go without a word.
            open = open || self.knock().await;
            if open {
                let output = argv::argv_open(&self.files.ours, &self.name)
                    .deadline(Duration::from_secs(20))
                    .run()
                    .await?;
                if output.status.success() {
                    return Ok(());
                }
                let refusal = parse_refusal(&String::from_utf8_lossy(&output.stderr));
                output.last_error_lines(1).iter().for_each(|why| refused(why));
                let final_word = matches!(refusal, Refusal::OtherHostKey | Refusal::OurKey);
                if final_word && began.elapsed() > key_grace {
                    return Err(self.refused(&output));
                }
                if refusal == Refusal::Unreachable {
                    open = false;
                    last.get_or_insert(output);
                } else {
                    last = Some(output);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            if asked.elapsed() > pace {
                still_there().await?;
                asked = Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(match last {
            Some(output) => self.refused(&output),
            None => Error::new(
                Kind::Guest,
                format!(
                    "nothing answers at port 22 of `{}` ({}) after {} s",
                    self.name,
                    self.address,
                    patience.as_secs_f64().round()
                ),
            ),
        })
    }

    /// Whether something takes connections at port 22.
    async fn knock(&self) -> bool {
        let knock = tokio::net::TcpStream::connect((self.address, 22));
        matches!(tokio::time::timeout(KNOCK, knock).await, Ok(Ok(_)))
    }

    /// Whether there is an open connection, without trying to make one.
    pub async fn is_connected(&self) -> bool {
        let asked =
            argv::argv_is_open(&self.files.ours, &self.name).deadline(Duration::from_secs(5)).run().await;
        asked.is_ok_and(|o| o.status.success())
    }

    /// Whether the box answers over the open connection. One that leads nowhere any more is ended.
    pub async fn answers(&self) -> bool {
        if !self.is_connected().await {
            return false;
        }
        let asked = self.command(&["true"]).deadline(ANSWER).run().await;
        let answers = asked.is_ok_and(|o| o.status.success());
        if !answers {
            self.hang_up().await;
        }
        answers
    }

    /// A command for the box.
    pub fn command<S: AsRef<str>>(&self, words: &[S]) -> Cmd {
        argv::argv_run(&self.files.ours, &self.name, words)
    }

    /// Runs a command on the box; it must succeed.
    ///
    /// # Errors
    /// [`Kind::Guest`]: the box can't be reached, or the command failed.
    pub async fn check<S: AsRef<str>>(&self, words: &[S]) -> Result<Output> {
        self.checked(&self.command(words)).await
    }

    /// Runs a command made with [`command`](Self::command); it must succeed.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub async fn checked(&self, cmd: &Cmd) -> Result<Output> {
        let output = cmd.run().await.map_err(|e| e.with_kind(Kind::Guest))?;
        self.judge(cmd, output)
    }

    /// Tells a failed connection from a failed command.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn judge(&self, cmd: &Cmd, output: Output) -> Result<Output> {
        match output.status.code() {
            Some(0) => Ok(output),
            Some(255) => Err(self.refused(&output)),
            _ => Err(cmd.failed(&output).with_kind(Kind::Guest)),
        }
    }

    /// The error for ssh's exit status 255.
    fn refused(&self, output: &Output) -> Error {
        let text = String::from_utf8_lossy(&output.stderr);
        let name = &self.name;
        let error = match parse_refusal(&text) {
            Refusal::OtherHostKey => Error::new(
                Kind::Guest,
                format!("`{name}` ({}) shows another ssh host key than the one it was launched with", self.address),
            )
            .hint("it is another machine, or somebody is in between; `devbox down` and `devbox up` make a new one"),
            Refusal::OurKey => Error::new(Kind::Guest, format!("`{name}` ({}) refuses our ssh key", self.address))
                .hint("it must be usable without a question: `ssh-add` loads it into the agent, if it has a passphrase or is nowhere else"),
            Refusal::Unreachable => Error::new(Kind::Guest, format!("`{name}` ({}) can't be reached over ssh", self.address))
                .hint("`devbox status` tells whether it runs; `devbox up` brings it back"),
            Refusal::Other => Error::new(Kind::Guest, format!("ssh to `{name}` ({}) failed", self.address)),
        };
        error.details(output.last_error_lines(5))
    }

    /// Becomes an ssh conversation with the box. Returns only the reason why it could not.
    pub fn talk<S: AsRef<str>>(&self, terminal: bool, words: &[S]) -> Error {
        argv::argv_talk(&self.files.ours, &self.name, terminal, words).exec()
    }

    /// Ends the open connection, if there is one.
    pub async fn hang_up(&self) {
        if self.files.control.exists() {
            // A master that is gone already has nothing left to end.
            ignore(
                argv::argv_close(&self.files.ours, &self.name).deadline(Duration::from_secs(5)).run().await,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_says_is_understood() {
        let cases = [
            ("ssh: connect to host 10.0.0.1 port 22: Connection refused", Refusal::Unreachable),
            ("Timeout, server hello not responding.", Refusal::Unreachable),
            ("ubuntu@10.0.0.1: Permission denied (publickey).", Refusal::OurKey),
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
                Refusal::OtherHostKey,
            ),
            ("something new", Refusal::Other),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_refusal(text), expected, "{text}");
        }
    }
}
