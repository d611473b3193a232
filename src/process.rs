//! The only file that spawns. A [`Cmd`] is a value: built by pure code, printed, run here.
//!
//! Every child that is not a conversation with the user runs in a process group of its own, has a
//! deadline, and is ended (SIGTERM, then SIGKILL) when the future that waits for it is dropped.

#![expect(clippy::disallowed_methods, reason = "this is the file that spawns")]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::process::Child;

use crate::error::{Error, Kind, OrFail, Result, ignore};

/// How long a command may take unless it says otherwise.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);

/// How long a child may take to obey SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// A command: a value until it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    input: Vec<u8>,
    held: bool,
    deadline: Duration,
}

/// What a finished command left.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text; bytes that are none are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The last non-empty lines of standard error.
    pub fn last_error_lines(&self, count: usize) -> Vec<String> {
        last_lines(&self.stderr, count)
    }
}

fn last_lines(bytes: &[u8], count: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<_> =
        text.lines().map(str::trim_end).filter(|l| !l.is_empty()).map(str::to_owned).collect();
    lines.split_off(lines.len().saturating_sub(count))
}

/// Quotes one word for a POSIX shell, only where it needs it.
pub fn shell_quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

impl Cmd {
    /// A command without arguments.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            dir: None,
            input: Vec::new(),
            held: false,
            deadline: DEFAULT_DEADLINE,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the child's environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs in this folder.
    #[must_use]
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Gives it this on standard input; otherwise it reads nothing.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Holds its standard input open until it has ended: what reads it learns that nobody waits any more.
    #[must_use]
    pub fn held(mut self) -> Self {
        self.held = true;
        self
    }

    /// How long it may take.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The arguments, for tests of argv builders.
    pub fn argv(&self) -> Vec<String> {
        std::iter::once(&self.program).chain(&self.args).map(|a| a.to_string_lossy().into_owned()).collect()
    }

    /// The command as one could type it. Input is not part of it: secrets go there.
    pub fn shown(&self) -> String {
        self.argv().iter().map(|a| shell_quote(a)).collect::<Vec<_>>().join(" ")
    }

    fn name(&self) -> String {
        Path::new(&self.program).file_name().unwrap_or(&self.program).to_string_lossy().into_owned()
    }

    fn std(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.args).envs(self.env.iter().map(|(k, v)| (k, v)));
        // Nothing that we start needs it, and ssh may be told to send variables on.
        command.env_remove(crate::env::LAMBDA_API_KEY);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    fn not_started(&self, e: std::io::Error) -> Error {
        let name = self.name();
        let error = Error::new(Kind::Failed, format!("can't run `{name}`"));
        let error = if e.kind() == std::io::ErrorKind::NotFound {
            error.hint(format!("install `{name}`; `devbox doctor` lists what is needed"))
        } else {
            error
        };
        error.caused_by(e)
    }

    fn spawn(&self) -> Result<Group> {
        let mut command = tokio::process::Command::from(self.std());
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|e| self.not_started(e))?;
        Ok(Group { child })
    }

    /// Runs it and returns what it left, whatever its exit status.
    ///
    /// # Errors
    /// When it can't be started, or has not ended by its deadline.
    pub async fn run(&self) -> Result<Output> {
        self.run_lines(|_| {}, |_| {}).await
    }

    /// Runs it; a non-zero exit status is an error that shows the last lines it wrote.
    ///
    /// # Errors
    /// As [`run`](Cmd::run), and when it fails.
    pub async fn check(&self) -> Result<Output> {
        let output = self.run().await?;
        if output.status.success() { Ok(output) } else { Err(self.failed(&output)) }
    }

    /// The error of a command that ended badly.
    pub fn failed(&self, output: &Output) -> Error {
        let how = match output.status.code() {
            Some(code) => format!("exit status {code}"),
            None => "killed by a signal".to_owned(),
        };
        Error::new(Kind::Failed, format!("`{}` failed ({how})", self.name()))
            .detail(format!("$ {}", elide(&self.shown())))
            .details(output.last_error_lines(20))
    }

    /// Runs it and hands over each line as it comes, of standard output and of standard error. The
    /// lines are in the returned output too.
    ///
    /// # Errors
    /// As [`run`](Cmd::run).
    pub async fn run_lines(
        &self,
        mut on_stdout: impl FnMut(&str),
        mut on_stderr: impl FnMut(&str),
    ) -> Result<Output> {
        let mut group = self.spawn()?;
        let work = async {
            let stdin = group.child.stdin.take();
            let stdout = group.child.stdout.take();
            let stderr = group.child.stderr.take();
            let feed = async {
                if let Some(mut stdin) = stdin {
                    // A child that does not want its input says so by its exit status.
                    ignore(stdin.write_all(&self.input).await);
                    if self.held {
                        return Some(stdin);
                    }
                    ignore(stdin.shutdown().await);
                }
                None
            };
            let (out, err, _held) =
                tokio::join!(lines(stdout, &mut on_stdout), lines(stderr, &mut on_stderr), feed);
            let status = group.child.wait().await?;
            Ok::<_, std::io::Error>(Output { status, stdout: out?, stderr: err? })
        };
        match tokio::time::timeout(self.deadline, work).await {
            Ok(done) => done.or_fail(|| format!("lost touch with `{}`", self.name())),
            Err(_) => Err(Error::new(
                Kind::Failed,
                format!("`{}` did not finish within {} s", self.name(), self.deadline.as_secs()),
            )
            .detail(format!("$ {}", elide(&self.shown())))),
        }
    }

    /// Runs it on what `write` writes, on a thread of its own, into a pipe.
    ///
    /// # Errors
    /// When it can't be started, fails, or has not ended by its deadline; else what `write` says.
    pub async fn fed_by<F>(&self, write: F, mut on_bytes: impl FnMut(u64)) -> Result<Output>
    where
        F: FnOnce(std::io::PipeWriter) -> Result<()> + Send + 'static,
    {
        let lost = || format!("lost touch with `{}`", self.name());
        let (reader, writer) = std::io::pipe().or_fail(|| "can't make a pipe".into())?;
        let mut source = pipe::Receiver::from_owned_fd(reader.into()).or_fail(lost)?;
        let mut group = self.spawn()?;
        let writing = tokio::task::spawn_blocking(move || write(writer));
        let work = async {
            let stdin = group.child.stdin.take();
            let stdout = group.child.stdout.take();
            let stderr = group.child.stderr.take();
            // When it ends, whatever the reason, the pipe is closed, and with it `write` ends.
            let pump = async move {
                let Some(mut stdin) = stdin else { return Ok(()) };
                let mut buffer = vec![0; 256 * 1024];
                let mut total = 0;
                loop {
                    let n = source.read(&mut buffer).await?;
                    if n == 0 {
                        return stdin.shutdown().await;
                    }
                    stdin.write_all(&buffer[..n]).await?;
                    total += n as u64;
                    on_bytes(total);
                }
            };
            let (mut nobody, mut nobody_either) = (|_: &str| {}, |_: &str| {});
            let (pumped, out, err) =
                tokio::join!(pump, lines(stdout, &mut nobody), lines(stderr, &mut nobody_either));
            let status = group.child.wait().await?;
            Ok::<_, std::io::Error>((pumped, Output { status, stdout: out?, stderr: err? }))
        };
        let Ok(done) = tokio::time::timeout(self.deadline, work).await else {
            let seconds = self.deadline.as_secs();
            let what = format!("`{}` did not finish within {seconds} s", self.name());
            return Err(Error::new(Kind::Failed, what));
        };
        let (pumped, output) = done.or_fail(lost)?;
        let written = writing.await.map_err(std::io::Error::other).or_fail(lost)?;
        // Half of what it was to read may be why it failed.
        if pumped.is_ok() {
            written?;
        }
        if !output.status.success() {
            return Err(self.failed(&output));
        }
        pumped.or_fail(|| format!("can't write to `{}`", self.name()))?;
        Ok(output)
    }

    /// Becomes the command: same process id, same terminal, so exit code and signals are its own.
    /// Returns only the reason why it could not.
    pub fn exec(&self) -> Error {
        let e = std::os::unix::process::CommandExt::exec(&mut self.std());
        self.not_started(e)
    }

    /// Starts it in a session of its own, without our terminal, its output going to `log`; it
    /// outlives us.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn detach(&self, log: &File) -> Result<()> {
        let what = || format!("can't give `{}` its log", self.name());
        let (out, err) = (log.try_clone().or_fail(what)?, log.try_clone().or_fail(what)?);
        let mut through = Cmd::new("setsid").arg("--fork").arg(&self.program).args(&self.args);
        through.env.clone_from(&self.env);
        through.dir.clone_from(&self.dir);
        let mut child = through
            .std()
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|e| through.not_started(e))?;
        let status = child.wait().or_fail(|| format!("lost touch with `{}`", self.name()))?;
        if status.success() {
            Ok(())
        } else {
            Err(Error::new(Kind::Failed, format!("can't detach `{}`", self.name())))
        }
    }
}

/// A command line short enough to show.
fn elide(line: &str) -> String {
    const MOST: usize = 400;
    if line.chars().count() <= MOST {
        return line.to_owned();
    }
    let head: String = line.chars().take(MOST).collect();
    format!("{head} …")
}

async fn lines(
    from: Option<impl tokio::io::AsyncRead + Unpin>,
    on_line: &mut impl FnMut(&str),
) -> std::io::Result<Vec<u8>> {
    let Some(from) = from else { return Ok(Vec::new()) };
    let mut reader = BufReader::new(from);
    let mut all = Vec::new();
    loop {
        let start = all.len();
        if reader.read_until(b'\n', &mut all).await? == 0 {
            return Ok(all);
        }
        on_line(String::from_utf8_lossy(&all[start..]).trim_end_matches(['\n', '\r']));
    }
}

/// A child and whatever it starts, ended together.
struct Group {
    child: Child,
}

impl Drop for Group {
    fn drop(&mut self) {
        // `id` is none once the child has been waited for, so no stranger is ever signalled.
        let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) else { return };
        let still_there = |child: &mut Child| matches!(child.try_wait(), Ok(None));
        // A signal that can't be sent finds nobody to end.
        ignore(kill_process_group(pid, Signal::TERM));
        let until = std::time::Instant::now() + GRACE;
        while still_there(&mut self.child) && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        if still_there(&mut self.child) {
            ignore(kill_process_group(pid, Signal::KILL));
            ignore(self.child.try_wait());
        }
    }
}

/// Whether a process with this id exists.
pub fn exists(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn input_goes_in_and_output_comes_out() {
        let out = block(Cmd::new("cat").input("hello\n").check()).unwrap();
        assert_eq!(out.text(), "hello\n");
    }

    #[test]
    fn input_that_is_held_does_not_end_before_the_command() {
        let script =
            "if read -t 0.2 -r line; then echo more; elif [ $? -gt 128 ]; then echo held; else echo over; fi";
        let bash = || Cmd::new("bash").args(["-c", script]);
        assert_eq!(block(bash().check()).unwrap().text(), "over\n");
        assert_eq!(block(bash().held().check()).unwrap().text(), "held\n");
    }

    #[test]
    fn a_failure_names_the_command_and_shows_what_it_said() {
        let error = block(Cmd::new("sh").args(["-c", "echo no such luck >&2; exit 3"]).check()).unwrap_err();
        assert_eq!(error.to_string(), "`sh` failed (exit status 3)");
        assert_eq!(error.detail_lines().last().unwrap(), "no such luck");
    }

    #[test]
    fn a_missing_program_says_how_to_get_it() {
        let error = block(Cmd::new("no-such-program-here").run()).unwrap_err();
        assert_eq!(error.to_string(), "can't run `no-such-program-here`");
        assert!(error.hints()[0].contains("devbox doctor"));
    }

    #[test]
    fn a_deadline_ends_the_whole_group() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("pid");
        let script = format!("sleep 300 & echo $! > {}; wait", mark.display());
        let cmd = Cmd::new("sh").args(["-c", &script]).deadline(Duration::from_millis(300));
        let error = block(cmd.run()).unwrap_err();
        assert!(error.to_string().contains("did not finish"));
        let pid: u32 = std::fs::read_to_string(mark).unwrap().trim().parse().unwrap();
        // Killed, it may wait for its new parent to take note of it.
        let of_it = || Cmd::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]);
        let gone = || block(of_it().run()).unwrap().text().trim_start().starts_with('Z') || !exists(pid);
        for _ in 0..200 {
            if gone() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the grandchild {pid} outlived the deadline");
    }

    #[test]
    fn what_is_fed_arrives_and_failures_too() {
        use std::io::Write;
        let mut seen = 0;
        let abc = |mut out: std::io::PipeWriter| out.write_all(b"abc").or_fail(|| "can't send".into());
        let out = block(Cmd::new("cat").fed_by(abc, |n| seen = n)).unwrap();
        assert_eq!((out.text().as_str(), seen), ("abc", 3));
        let broken = |_: std::io::PipeWriter| Err(Error::new(Kind::Failed, "can't read that"));
        let error = block(Cmd::new("sh").args(["-c", "cat; exit 3"]).fed_by(broken, |_| {})).unwrap_err();
        assert_eq!(error.message(), "can't read that");
        // More than a pipe holds, for one that takes none of it.
        let much =
            |mut out: std::io::PipeWriter| out.write_all(&[0; 1 << 20]).or_fail(|| "can't send".into());
        let error = block(Cmd::new("sh").args(["-c", "exec <&-; exit 3"]).fed_by(much, |_| {})).unwrap_err();
        assert_eq!(error.message(), "`sh` failed (exit status 3)");
        let slow = Cmd::new("sleep").arg("60").deadline(Duration::from_millis(100));
        assert!(block(slow.fed_by(much, |_| {})).unwrap_err().to_string().contains("did not finish"));
    }

    #[test]
    fn quoting_survives_the_shell() {
        for word in ["plain", "two words", "it's", "", "$HOME", "a\nb", "*"] {
            let out = block(Cmd::new("sh").args(["-c", &format!("printf %s {}", shell_quote(word))]).check())
                .unwrap();
            assert_eq!(out.text(), word);
        }
    }
}
