//! Names and ids, validated at the edge: what has one of these types can be a host name, a
//! tag and a file name, and can never be a path (hole 16 of the tool this one replaces).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind};

/// Longest name: a host name label (RFC 1123), which is also Lambda's limit for `hostname`.
pub const MAX_NAME: usize = 63;

/// Says why `name` can't be a name, or nothing.
fn refuse(name: &str) -> Option<String> {
    let lower_or_digit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.is_empty() {
        return Some("it is empty".into());
    }
    if name.len() > MAX_NAME {
        return Some(format!("it has {} characters, at most {MAX_NAME} are allowed", name.len()));
    }
    if let Some(c) = name.chars().find(|c| !(lower_or_digit(*c) || *c == '-')) {
        return Some(format!("it contains {c:?}"));
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Some("it starts or ends with `-`".into());
    }
    None
}

/// Says why `name` can't be the name of a volume, or nothing. Wider than [`refuse`]: filesystems that exist at Lambda
/// match `^[a-zA-Z]+[0-9a-zA-Z-]*$` (OpenAPI document 1.8.3).
fn refuse_volume(name: &str) -> Option<String> {
    if name.starts_with('-') {
        return Some("it starts with `-`".into());
    }
    // With a letter in place of what is allowed here alone, and so as long as it is.
    refuse(&name.replace(|c: char| c.is_ascii_uppercase() || c == '-', "x"))
}

impl VolumeName {
    /// Whether `name` is this one, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
    }
}

/// Foreign text as error messages show it: short, and harmless on a terminal.
pub fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(40).flat_map(char::escape_debug).collect();
    if name.chars().count() > 40 {
        shown.push('…');
    }
    shown
}

/// The nearest valid name: lower case, everything else a single `-`.
pub fn sanitize(text: &str) -> Option<String> {
    let mut out = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            out.push(c);
        } else if !out.ends_with('-') && !out.is_empty() {
            out.push('-');
        }
        if out.len() == MAX_NAME {
            break;
        }
    }
    let out = out.trim_end_matches('-').to_owned();
    (!out.is_empty()).then_some(out)
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $what:literal, $refuse:ident, $letters:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = Error;
            fn from_str(name: &str) -> Result<Self, Error> {
                let Some(why) = $refuse(name) else { return Ok(Self(name.to_owned())) };
                let error = Error::new(
                    Kind::Usage,
                    format!(concat!("`{}` can't be a ", $what, ": {}"), shown(name), why),
                )
                .hint(format!(
                    concat!("use 1 to {} ", $letters), MAX_NAME
                ));
                Err(match sanitize(name) {
                    Some(better) => error.hint(format!("for example `{better}`")),
                    None => error,
                })
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;
            fn try_from(name: String) -> Result<Self, Error> {
                name.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// The name of a box: its host name, its ssh name, its tag.
    BoxName,
    "box name",
    refuse,
    "lower-case letters, digits and inner `-`, as in a host name"
);
name_type!(
    /// The name of a project: what its profile and its generations on the volume are called.
    ProjectName,
    "project name",
    refuse,
    "lower-case letters, digits and inner `-`, as in a host name"
);
name_type!(
    /// The name of a volume.
    VolumeName,
    "volume name",
    refuse_volume,
    "letters, digits and `-`, beginning with a letter or a digit"
);
name_type!(
    /// The name of a preset.
    PresetName,
    "preset name",
    refuse,
    "lower-case letters, digits and inner `-`"
);
name_type!(
    /// The name of a snapshot of a store.
    SnapshotName,
    "snapshot name",
    refuse,
    "lower-case letters, digits and inner `-`"
);

/// Our own id of one launch, made before anything billable is asked for and tagged onto the
/// instance, so that a lost answer can be found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LaunchId(uuid::Uuid);

impl LaunchId {
    /// A fresh random id.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4())
    }
}

impl fmt::Display for LaunchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl FromStr for LaunchId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        uuid::Uuid::parse_str(text)
            .map(Self)
            .map_err(|e| Error::new(Kind::Failed, format!("`{}` is no launch id", shown(text))).caused_by(e))
    }
}

/// The provider's id of an instance, as it gave it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub String);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What Nix calls a system: the pair of processor and kernel that a derivation is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum System {
    /// 64-bit Intel and AMD.
    #[serde(rename = "x86_64-linux")]
    X86_64Linux,
    /// 64-bit Arm, such as a GH200.
    #[serde(rename = "aarch64-linux")]
    Aarch64Linux,
}

impl System {
    /// The text Nix uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X86_64Linux => "x86_64-linux",
            Self::Aarch64Linux => "aarch64-linux",
        }
    }

    /// The system of a processor as `uname -m` names it.
    pub fn of_machine(machine: &str) -> Option<Self> {
        match machine {
            "x86_64" | "amd64" => Some(Self::X86_64Linux),
            "aarch64" | "arm64" => Some(Self::Aarch64Linux),
            _ => None,
        }
    }
}

impl FromStr for System {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        [Self::X86_64Linux, Self::Aarch64Linux].into_iter().find(|s| s.as_str() == text).ok_or_else(|| {
            Error::new(Kind::Usage, format!("`{}` is no system that boxes run", shown(text)))
                .hint("it can be `x86_64-linux` or `aarch64-linux`")
        })
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_names_are_refused_with_a_way_out() {
        for bad in ["", "../config", "a/b", "a b", "..", "-a", "a-", "A", "ü", "a\n", &"x".repeat(300)] {
            let error = bad.parse::<BoxName>().unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{bad:?}");
            assert!(!error.hints().is_empty(), "{bad:?}");
            assert!(error.message().len() < 200, "{bad:?}");
        }
    }

    #[test]
    fn volumes_that_exist_at_lambda_can_be_named() {
        for good in ["MyData", "data-", "a1", &"X".repeat(63)] {
            assert_eq!(good.parse::<VolumeName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "-a",
            "a/b",
            "..",
            "a_b",
            "a.b",
            "---",
            "ü",
            &"x".repeat(64),
            &format!("x{}", "-".repeat(63)),
        ] {
            assert!(bad.parse::<VolumeName>().is_err(), "{bad}");
        }
        let error = "My Data".parse::<VolumeName>().unwrap_err();
        assert_eq!(error.message(), "`My Data` can't be a volume name: it contains ' '");
        assert_eq!(
            error.hints()[0],
            "use 1 to 63 letters, digits and `-`, beginning with a letter or a digit"
        );
    }

    #[test]
    fn the_refusal_proposes_a_name() {
        let error = "My Box!".parse::<BoxName>().unwrap_err();
        assert_eq!(error.hints()[1], "for example `my-box`");
    }

    proptest! {
        #[test]
        fn what_parses_is_a_plain_file_name(text in ".{0,80}") {
            if let Ok(name) = text.parse::<BoxName>() {
                let path = std::path::Path::new(name.as_str());
                prop_assert_eq!(path.components().count(), 1);
                prop_assert!(matches!(path.components().next(), Some(std::path::Component::Normal(_))));
                prop_assert!(!name.as_str().starts_with('-'));
            }
            if let Ok(name) = text.parse::<VolumeName>() {
                let path = std::path::Path::new(name.as_str());
                prop_assert!(matches!(path.components().next(), Some(std::path::Component::Normal(_))));
                prop_assert_eq!(path.components().count(), 1);
                prop_assert!(!name.as_str().starts_with('-') && name.as_str().len() <= MAX_NAME);
            }
        }

        #[test]
        fn every_name_of_lambda_is_a_volume_name(text in "[a-zA-Z]{1,10}[0-9a-zA-Z-]{0,50}") {
            prop_assert_eq!(text.parse::<VolumeName>().unwrap().to_string(), text);
        }

        #[test]
        fn what_sanitize_makes_parses(text in ".{0,300}") {
            if let Some(name) = sanitize(&text) {
                prop_assert!(name.parse::<ProjectName>().is_ok(), "{}", name);
            }
        }
    }
}
