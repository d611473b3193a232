//! What a key takes: how a value is checked and written.

use std::fmt;

use crate::config::duration::Timespan;
use crate::config::size::Size;
use crate::error::{Error, Kind, Result};
use crate::names::{BoxName, PresetName, ProjectName, VolumeName, shown};

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A project's name.
    Project,
    /// A box's name.
    Box,
    /// A volume's name.
    Volume,
    /// What `nix build` and `nix develop` take: `.#default`.
    Installable,
    /// `true` or `false`.
    Bool,
    /// A size between two bounds, both allowed.
    Size(Size, Size),
    /// A span of time between two bounds, both allowed.
    Duration(Timespan, Timespan),
    /// Addresses of binary caches.
    Caches,
    /// Public keys of binary caches, `NAME:BASE64`.
    PublicKeys,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// The name of a preset.
    Preset,
    /// A whole number between two bounds, both allowed.
    Count(u32, u32),
    /// How much larger: 1 to 10, with at most three decimals.
    Factor,
    /// Names of instance types; a `*` at the end stands for any rest.
    Patterns,
    /// Regions of a provider.
    Regions,
    /// Names of volumes.
    Volumes,
    /// Names of packages; a `*` at the end stands for any rest.
    Packages,
    /// One word of a provider's: `lambda-stack-24-04`.
    Word,
    /// The base address of an API.
    Address,
    /// A command for the shell.
    Command,
    /// Commands for the shell.
    Commands,
    /// An absolute path; `~/` is the home folder.
    Path,
}

impl Shape {
    /// Whether it takes several values.
    pub fn is_list(self) -> bool {
        use Shape::{Caches, Commands, Packages, Patterns, PublicKeys, Regions, Volumes};
        matches!(self, Caches | PublicKeys | Patterns | Regions | Volumes | Packages | Commands)
    }

    /// Checks one value, or one item of a list, and returns it in canonical form.
    ///
    /// # Errors
    /// [`Kind::Usage`], without the key's name.
    pub fn check(self, text: &str) -> Result<String> {
        let refuse = |why: &str| Error::new(Kind::Usage, format!("`{}` {why}", shown(text)));
        match self {
            Self::Project => return text.parse::<ProjectName>().map(Into::into),
            Self::Preset => return text.to_ascii_lowercase().parse::<PresetName>().map(Into::into),
            Self::Volumes => return text.parse::<VolumeName>().map(Into::into),
            Self::Count(min, max) => return count(text, min, max),
            Self::Factor => return factor(text),
            Self::Address => return address(text),
            Self::Patterns => {
                let name = text.strip_suffix('*').unwrap_or(text);
                if text.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
                    return Err(refuse("can't be an instance type").hint("write for example `gpu_1x_h100*`"));
                }
            }
            Self::Packages => {
                let name = text.strip_suffix('*').unwrap_or(text);
                if text.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "+-._?=".contains(c))
                {
                    return Err(refuse("can't be the name of a package")
                        .hint("write for example `numpy` or `libcu*`"));
                }
            }
            Self::Regions => {
                if text.is_empty()
                    || !text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
                {
                    return Err(refuse("can't be a region").hint("write for example `us-east-3`"));
                }
            }
            Self::Word => {
                if text.is_empty() || !text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
                    return Err(refuse("is no single word").hint("write for example `lambda-stack-24-04`"));
                }
            }
            Self::Command | Self::Commands => {
                if text.trim().is_empty() || text.chars().any(char::is_control) {
                    return Err(refuse("is no command").hint("write for example `pass show lambda`"));
                }
            }
            Self::Box => return text.parse::<BoxName>().map(Into::into),
            Self::Volume => return text.parse::<VolumeName>().map(Into::into),
            Self::Size(min, max) => return within(text, min, max, "small", "large"),
            Self::Duration(min, max) => return within(text, min, max, "short", "long"),
            // It becomes an argument of Nix: it must not be able to pass for an option.
            Self::Installable => {
                if text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control) {
                    return Err(refuse("can't be an installable").hint("write for example `.#default`"));
                }
            }
            Self::Bool => {
                if !matches!(text, "true" | "false") {
                    return Err(refuse("is neither `true` nor `false`"));
                }
            }
            // Caches and keys become words of the box's `nix.conf`: a blank would start another.
            Self::Caches => {
                let (scheme, rest) = text.split_once("://").unwrap_or_default();
                let plain = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
                if scheme.is_empty() || !scheme.chars().all(plain) || rest.is_empty() || has_gap(text) {
                    return Err(refuse("is not the address of a cache")
                        .hint("write for example `https://cache.nixos.org`"));
                }
            }
            Self::PublicKeys => {
                let hint = "write it as its owner publishes it: `NAME:BASE64`";
                if has_gap(text) {
                    return Err(refuse("is not a public key").hint(hint));
                }
                nix_narinfo::TrustedPublicKey::parse(text)
                    .map_err(|e| refuse("is not a public key").hint(hint).caused_by(e))?;
            }
            Self::OneOf(words) => {
                if !words.contains(&text) {
                    let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                    return Err(refuse("is not known").hint(format!("it can be {}", words.join(", "))));
                }
            }
            // Relative to what would be a guess: the file, the project, the current folder?
            Self::Path => {
                if !(text.starts_with('/') || text.starts_with("~/")) || text.contains('\0') {
                    let hint = "start it with `/` or `~/`";
                    // It may be a key, where the name of its file belongs.
                    if !text.contains('/') {
                        return Err(Error::new(Kind::Usage, "that is not an absolute path").hint(hint));
                    }
                    return Err(refuse("is not an absolute path").hint(hint));
                }
            }
        }
        Ok(text.to_owned())
    }
}

/// What it takes, in words: `a size`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Project | Self::Box | Self::Volume => "a name",
            Self::Installable => "an installable",
            Self::Bool => "`true` or `false`",
            Self::Size(..) => "a size",
            Self::Duration(..) => "a duration",
            Self::Caches => "a list of addresses",
            Self::PublicKeys => "a list of public keys",
            Self::OneOf(_) | Self::Word => "a word",
            Self::Preset => "a preset's name",
            Self::Count(..) => "a whole number",
            Self::Factor => "a number from 1 to 10",
            Self::Patterns => "a list of instance types",
            Self::Regions => "a list of regions",
            Self::Volumes | Self::Packages => "a list of names",
            Self::Address => "an address",
            Self::Command => "a command",
            Self::Commands => "a list of commands",
            Self::Path => "a path",
        })
    }
}

/// Parses, and holds the result against its bounds.
fn within<T>(text: &str, min: T, max: T, under: &str, over: &str) -> Result<String>
where
    T: std::str::FromStr<Err = Error> + PartialOrd + Copy + fmt::Display,
{
    let value: T = text.parse()?;
    let (word, bound) = match () {
        () if value < min => (under, format!("at least `{min}`")),
        () if value > max => (over, format!("at most `{max}`")),
        () => return Ok(value.to_string()),
    };
    Err(Error::new(Kind::Usage, format!("`{value}` is too {word}: it must be {bound}")))
}

/// A whole number within its bounds.
fn count(text: &str, min: u32, max: u32) -> Result<String> {
    match text.parse::<u32>() {
        Ok(n) if (min..=max).contains(&n) => Ok(n.to_string()),
        _ => {
            Err(Error::new(Kind::Usage, format!("`{}` is no whole number from {min} to {max}", shown(text))))
        }
    }
}

/// A factor in thousandths, which keeps it exact.
///
/// # Errors
/// [`Kind::Usage`] when it is no number from 1 to 10.
pub(super) fn parse_thousandths(text: &str) -> Result<u32> {
    let refuse = || {
        Error::new(Kind::Usage, format!("`{}` is no number from 1 to 10", shown(text)))
            .hint("write for example `1.5`")
    };
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |t: &str| !t.is_empty() && t.chars().all(|c| c.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return Err(refuse());
    }
    let part = part.trim_end_matches('0');
    if whole.len() > 2 || part.len() > 3 {
        return Err(refuse());
    }
    let thousandths: u32 = format!("{whole}{part:0<3}").parse().map_err(|_| refuse())?;
    if (1000..=10_000).contains(&thousandths) { Ok(thousandths) } else { Err(refuse()) }
}

fn factor(text: &str) -> Result<String> {
    let n = parse_thousandths(text)?;
    Ok(format!("{}.{:03}", n / 1000, n % 1000).trim_end_matches('0').trim_end_matches('.').to_owned())
}

/// An API's address: with TLS, or on this machine, since a key is sent there; without what would make it another
/// address when a path is appended.
fn address(text: &str) -> Result<String> {
    let refuse = |why: &str| Error::new(Kind::Usage, format!("`{}` {why}", shown(text)));
    let bare = text.trim_end_matches('/');
    let (scheme, rest) = bare.split_once("://").unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default();
    // Only what needs no repair: what is checked here must be what the client reads.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/:[]".contains(c);
    let read = reqwest::Url::parse(bare).is_ok();
    if !matches!(scheme, "https" | "http") || host.is_empty() || !rest.chars().all(plain) || !read {
        return Err(
            refuse("is not the address of an API").hint("write for example `https://cloud.lambda.ai/api/v1`")
        );
    }
    if scheme == "http" && !is_loopback(host) {
        return Err(refuse("would send the key of the account in the clear")
            .hint("use `https://`; without TLS only an address on this machine will do"));
    }
    Ok(bare.to_owned())
}

/// Whether `HOST` or `HOST:PORT` is this machine.
fn is_loopback(host: &str) -> bool {
    let end = if host.starts_with('[') { host.find(']').map(|at| at + 1) } else { host.find(':') };
    let (name, port) = host.split_at(end.unwrap_or(host.len()));
    if !(port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())) {
        return false;
    }
    name == "localhost"
        || name == "[::1]"
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

fn has_gap(text: &str) -> bool {
    text.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_is_sent_only_where_it_can_not_be_read_on_the_way() {
        let ok = |text: &str| Shape::Address.check(text);
        assert_eq!(ok("https://cloud.lambda.ai/api/v1/").unwrap(), "https://cloud.lambda.ai/api/v1");
        for good in
            ["http://127.0.0.1:8080/api/v1", "http://localhost", "http://[::1]:1/x", "http://127.9.9.9"]
        {
            assert!(ok(good).is_ok(), "{good}");
        }
        for bad in [
            "http://cloud.lambda.ai",
            "http://127.0.0.1.evil.com",
            "http://127.0.0.1@evil.com",
            "http://[::1]evil.com",
            "http://[::1",
            "http://::1",
            "http://localhost:80:80",
            "http://localhost:80evil",
            "http://localhost.evil.com",
            "http://128.0.0.1",
            "https://x:99999",
            "https://x\\@y",
            "https://user:pw@x",
            "https://x?y",
            "https://x#y",
            "ftp://x",
            "https://",
            "x",
            "",
            "https://a b",
        ] {
            assert!(ok(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_exact_and_within_bounds() {
        let canonical = |text: &str| Shape::Factor.check(text);
        assert_eq!(canonical("1.50").unwrap(), "1.5");
        assert_eq!(canonical("1.500000").unwrap(), "1.5");
        assert_eq!(canonical("2").unwrap(), "2");
        for bad in ["", "0.9", "1.", "1.x", "10.001", "1.2345", "-1", "1e1", "x", ".5"] {
            assert!(canonical(bad).is_err(), "{bad}");
        }
        assert_eq!(Shape::Count(1, 10).check("03").unwrap(), "3");
        for bad in ["0", "11", "x", ""] {
            assert!(Shape::Count(1, 10).check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_end_of_an_instance_type_may_be_left_open() {
        assert!(Shape::Patterns.check("gpu_1x_*").is_ok() && Shape::Patterns.check("*").is_ok());
        for bad in ["", "gpu_*_h100", "a b", "a/b"] {
            assert!(Shape::Patterns.check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_command_is_one_line() {
        assert_eq!(Shape::Command.check("pass show 'lambda key' | head -1").unwrap().len(), 32);
        for bad in ["", "  ", "a\nb", "a\0", "\u{1b}[2J"] {
            assert!(Shape::Command.check(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn every_factor_is_exact(n in 1000u32..=10_000) {
            let text = format!("{}.{:03}", n / 1000, n % 1000);
            prop_assert_eq!(parse_thousandths(&text).unwrap(), n);
            prop_assert_eq!(parse_thousandths(&Shape::Factor.check(&text).unwrap()).unwrap(), n);
        }

        /// Whatever is taken, the client reads the host that was checked, and nothing that carries more.
        #[test]
        fn the_client_reads_an_address_as_it_was_checked(
            text in "https?://(localhost|127\\.0\\.0\\.1|\\[::1\\]|evil)?[@:/\\\\#?.0-9\\[\\]]{0,3}(evil\\.com)?[:/.0-9]{0,6}"
        ) {
            if let Ok(canonical) = Shape::Address.check(&text) {
                let url = reqwest::Url::parse(&canonical).unwrap();
                let host = url.host_str().unwrap();
                let loopback = host == "localhost" || host == "[::1]" || host.starts_with("127.") && !host.contains("evil");
                prop_assert!(url.scheme() == "https" || loopback, "{}", canonical);
                prop_assert!(url.username().is_empty() && url.query().is_none() && url.fragment().is_none());
                prop_assert!(!canonical.ends_with('/'));
            }
        }

        #[test]
        fn what_is_canonical_stays(text in ".{0,40}") {
            for shape in [Shape::Factor, Shape::Count(0, 99), Shape::Address, Shape::Patterns, Shape::Command, Shape::Word] {
                if let Ok(canonical) = shape.check(&text) {
                    prop_assert_eq!(shape.check(&canonical).unwrap(), canonical);
                }
            }
        }
    }
}
