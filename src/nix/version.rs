//! Which Nix this is. The only place that knows what differs between versions.
//!
//! What devbox asks of Nix was chosen so that 2.8 to 2.34 answer alike: registrations from
//! `nix-store --dump-db` rather than `nix path-info --json`, whose shape changed twice, and
//! `--out-link` rather than `--print-out-paths`, which 2.8 lacks.

use std::fmt;

use crate::error::{Error, Kind, Result};
use crate::process::Cmd;

/// A version of Nix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

/// The oldest Nix that devbox works with: Debian 12's.
pub const OLDEST: Version = Version { major: 2, minor: 8 };

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Reads `nix --version`: `nix (Nix) 2.8.0`, `nix (Lix, like Nix) 2.93.0`,
/// `nix (Determinate Nix 3.6.2) 2.29.0`.
pub fn parse_version(text: &str) -> Option<Version> {
    let word = text.lines().next()?.split_whitespace().last()?;
    let mut numbers = word.split(['.', '-', '+']).map(|n| {
        let digits: String = n.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    Some(Version { major: numbers.next()??, minor: numbers.next()?? })
}

/// The version of the Nix on `PATH`.
///
/// # Errors
/// [`Kind::Environment`] when there is none, or one older than [`OLDEST`].
pub async fn installed() -> Result<Version> {
    let no_nix = |e: Error| {
        Error::new(Kind::Environment, "Nix is not installed on this machine")
            .hint("install it: https://nixos.org/download, or `apt-get install nix-bin nix-setup-systemd`")
            .caused_by(e)
    };
    if which::which("nix").is_err() {
        return Err(no_nix(Error::new(Kind::Environment, "`nix` is not on PATH")));
    }
    let output = Cmd::new("nix").arg("--version").check().await.map_err(no_nix)?;
    let text = output.text();
    let Some(version) = parse_version(&text) else {
        return Err(Error::new(
            Kind::Environment,
            format!("can't tell the version of Nix from `{}`", text.trim()),
        ));
    };
    if version < OLDEST {
        return Err(Error::new(
            Kind::Environment,
            format!("Nix {version} is too old, devbox needs {OLDEST} or newer"),
        )
        .hint("upgrade Nix: https://nixos.org/download"));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_as_the_many_nixes_print_them() {
        let cases = [
            ("nix (Nix) 2.8.0", (2, 8)),
            ("nix (Nix) 2.26.3", (2, 26)),
            ("nix (Nix) 2.34.8\n", (2, 34)),
            ("nix (Lix, like Nix) 2.93.0\nSystem type: x86_64-linux", (2, 93)),
            ("nix (Determinate Nix 3.6.2) 2.29.0", (2, 29)),
            ("nix (Nix) 2.19pre20231026_abc", (2, 19)),
        ];
        for (text, (major, minor)) in cases {
            assert_eq!(parse_version(text), Some(Version { major, minor }), "{text}");
        }
        assert_eq!(parse_version("command not found"), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,60}") {
            parse_version(&text);
        }
    }
}
