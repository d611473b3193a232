//! The argument lists of ssh. Pure.

use std::path::Path;

use crate::names::BoxName;
use crate::process::{Cmd, shell_quote};

/// ssh with our file for a box.
fn ssh(config: &Path) -> Cmd {
    Cmd::new("ssh").arg("-F").arg(config)
}

/// Opens the connection that the others share, and leaves it open in the background.
pub fn argv_open(config: &Path, name: &BoxName) -> Cmd {
    ssh(config).args(["-f", "-N", "-T"]).arg(name.as_str())
}

/// Ends the open connection.
pub fn argv_close(config: &Path, name: &BoxName) -> Cmd {
    ssh(config).args(["-O", "exit"]).arg(name.as_str())
}

/// Asks whether there is an open connection.
pub fn argv_is_open(config: &Path, name: &BoxName) -> Cmd {
    ssh(config).args(["-O", "check"]).arg(name.as_str())
}

/// Runs words on the box exactly as they are, without a terminal.
pub fn argv_run<S: AsRef<str>>(config: &Path, name: &BoxName, words: &[S]) -> Cmd {
    ssh(config).arg("-T").arg(name.as_str()).arg("--").arg(remote_line(words))
}

/// A conversation: with a terminal where we have one.
pub fn argv_talk<S: AsRef<str>>(config: &Path, name: &BoxName, terminal: bool, words: &[S]) -> Cmd {
    ssh(config).arg(if terminal { "-t" } else { "-T" }).arg(name.as_str()).arg("--").arg(remote_line(words))
}

/// ssh joins its arguments with blanks and gives them to a shell: so each is quoted for it.
fn remote_line<S: AsRef<str>>(words: &[S]) -> String {
    words.iter().map(|w| shell_quote(w.as_ref())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_arrive_as_they_are() {
        let name = "hello".parse().unwrap();
        let cmd = argv_run(Path::new("/r/hello.conf"), &name, &["echo", "two words", "$HOME", "it's"]);
        assert_eq!(
            cmd.argv(),
            ["ssh", "-F", "/r/hello.conf", "-T", "hello", "--", r"echo 'two words' '$HOME' 'it'\''s'"]
        );
    }
}
