//! One box as ssh's configuration describes it: a file for people, a file for ourselves.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::names::{BoxName, LaunchId};
use crate::paths::{Paths, write_atomic};

/// All that ssh must know of a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// What one types: `ssh NAME`.
    pub name: BoxName,
    /// Where it answers.
    pub address: IpAddr,
    /// The user on it.
    pub user: String,
    /// The private key to log in with.
    pub key: PathBuf,
    /// The public host key it must show, as in a known_hosts file.
    pub host_key: String,
    /// Which launch it is: host keys are remembered under it, so that the next box of this name is
    /// another host.
    pub launch: LaunchId,
    /// Whether the agent is forwarded.
    pub forward_agent: bool,
}

/// A path as ssh's configuration takes it: in quotes, `%` doubled.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%").replace('"', "\\\""))
}

impl Host {
    fn alias(&self) -> String {
        format!("devbox-{}", self.launch)
    }

    /// The line of the known_hosts file.
    pub fn render_known_hosts(&self) -> String {
        format!("{} {}\n", self.alias(), self.host_key)
    }

    /// The file that plain `ssh NAME` reads.
    pub fn render_for_people(&self, known_hosts: &Path) -> String {
        let Self { name, address, user, key, .. } = self;
        let alias = self.alias();
        let (key, known_hosts) = (quoted(key), quoted(known_hosts));
        let forward = if self.forward_agent { "yes" } else { "no" };
        format!(
            "# Written by devbox for the box `{name}`; `devbox down {name}` removes it.\n\
             Host {name}\n\
             \x20   HostName {address}\n\
             \x20   User {user}\n\
             \x20   IdentityFile {key}\n\
             \x20   IdentitiesOnly yes\n\
             \x20   HostKeyAlias {alias}\n\
             \x20   UserKnownHostsFile {known_hosts}\n\
             \x20   StrictHostKeyChecking yes\n\
             \x20   ForwardAgent {forward}\n\
             \x20   ServerAliveInterval 15\n\
             \x20   ServerAliveCountMax 4\n"
        )
    }

    /// The file that devbox itself reads: the same box through one connection that stays open, and
    /// never a question.
    pub fn render_for_us(&self, known_hosts: &Path, control: &Path) -> String {
        let mut text = self.render_for_people(known_hosts);
        let control = quoted(control);
        text.push_str(&format!(
            "\x20   GlobalKnownHostsFile none\n\
             \x20   BatchMode yes\n\
             \x20   ConnectTimeout 10\n\
             \x20   ControlMaster auto\n\
             \x20   ControlPath {control}\n\
             \x20   ControlPersist 10m\n\
             \x20   LogLevel ERROR\n"
        ));
        // Sooner than for people: a dead box must not look like a slow one.
        text.replace("ServerAliveInterval 15", "ServerAliveInterval 5")
            .replace("ServerAliveCountMax 4", "ServerAliveCountMax 3")
    }
}

/// Where the ssh files of a box are.
#[derive(Clone, Debug)]
pub struct Files {
    /// Read by plain ssh through the `Include`.
    pub people: PathBuf,
    /// Read by devbox.
    pub ours: PathBuf,
    /// The pinned host key.
    pub known_hosts: PathBuf,
    /// The socket of the open connection.
    pub control: PathBuf,
}

impl Files {
    /// The files of a box of that name. The connection is that of one launch: one that is still open
    /// to the last box of this name, dead or not, is none to the next.
    pub fn new(paths: &Paths, name: &BoxName, launch: LaunchId) -> Self {
        Self {
            people: paths.ssh().join("devbox").join(format!("{name}.conf")),
            ours: paths.runtime.join(format!("{name}.conf")),
            known_hosts: paths.state.join("known_hosts").join(name.as_str()),
            // OpenSSH appends 17 characters while it makes the socket, and a path may have 104.
            control: paths.runtime.join(&launch.to_string()[..12]),
        }
    }

    /// Writes what devbox itself needs.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write_ours(&self, host: &Host) -> Result<()> {
        write_atomic(&self.known_hosts, host.render_known_hosts().as_bytes(), 0o600)?;
        write_atomic(&self.ours, host.render_for_us(&self.known_hosts, &self.control).as_bytes(), 0o600)
    }

    /// Writes what plain ssh needs. True when the file was not there, or said something else.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write_people(&self, host: &Host) -> Result<bool> {
        let text = host.render_for_people(&self.known_hosts);
        if std::fs::read(&self.people).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(false);
        }
        if let Some(folder) = self.people.parent().and_then(Path::parent) {
            crate::paths::make_private(folder)?;
        }
        write_atomic(&self.people, text.as_bytes(), 0o600)?;
        Ok(true)
    }

    /// Removes all of them. What is not there is no error.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&self) -> Result<()> {
        use crate::error::{OrFail, tick};
        for file in [&self.people, &self.ours, &self.known_hosts, &self.control] {
            match std::fs::remove_file(file) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(e).or_fail(|| format!("can't remove {}", tick(file)));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host {
            name: "hello".parse().unwrap(),
            address: [10, 77, 0, 2].into(),
            user: "ubuntu".into(),
            key: "/home/me/my keys/id 100%".into(),
            host_key: "ssh-ed25519 AAAA".into(),
            launch: "00000000000000000000000000000001".parse().unwrap(),
            forward_agent: false,
        }
    }

    #[test]
    fn what_people_read() {
        insta::assert_snapshot!(host().render_for_people(Path::new("/s/known_hosts/hello")), @r#"
        # Written by devbox for the box `hello`; `devbox down hello` removes it.
        Host hello
            HostName 10.77.0.2
            User ubuntu
            IdentityFile "/home/me/my keys/id 100%%"
            IdentitiesOnly yes
            HostKeyAlias devbox-00000000000000000000000000000001
            UserKnownHostsFile "/s/known_hosts/hello"
            StrictHostKeyChecking yes
            ForwardAgent no
            ServerAliveInterval 15
            ServerAliveCountMax 4
        "#);
    }

    #[test]
    fn ours_never_asks_and_notices_a_dead_box_within_15_s() {
        let text = host().render_for_us(Path::new("/s/kh"), Path::new("/run/c"));
        for line in
            ["BatchMode yes", "ServerAliveInterval 5", "ServerAliveCountMax 3", "StrictHostKeyChecking yes"]
        {
            assert!(text.contains(line), "{line}");
        }
    }
}
