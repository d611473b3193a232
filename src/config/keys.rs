//! Every configuration key, once: what it takes, who may set it, what it means.
//!
//! The files, the variables, the errors, the reference and the template all come from [`KEYS`].

use std::fmt;

use crate::config::duration::Timespan;
use crate::config::size::Size;
use crate::error::{Error, Kind, Result};
use crate::names::{BoxName, ProjectName, VolumeName, shown};

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
    /// An absolute path; `~/` is the home folder.
    Path,
}

/// Where a key may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In every layer.
    Anyone,
    /// Not in a project's `devbox.toml`: a cloned repository is not trusted with it.
    Personal,
}

/// What holds where nobody set the key.
#[derive(Clone, Copy, Debug)]
pub enum Fallback {
    /// A value, as an environment variable would give it.
    Text(&'static str),
    /// Something found out at run time, in words; maybe nothing.
    Found(&'static str),
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Dotted path: `volume.store-size`.
    pub path: &'static str,
    /// What it takes.
    pub shape: Shape,
    /// Where it may stand.
    pub scope: Scope,
    /// What holds where nobody set it.
    pub fallback: Fallback,
    /// A value as TOML has it, for errors and the reference.
    pub example: &'static str,
    /// What it means, in a sentence or two.
    pub doc: &'static str,
}

/// Every key, in the order of the reference.
pub static KEYS: &[Key] = &[
    Key {
        path: "name",
        shape: Shape::Project,
        scope: Scope::Anyone,
        fallback: Fallback::Found("the name of the project's folder"),
        example: r#""hello""#,
        doc: "The project's name: what its profile and its generations on the volume are called.",
    },
    Key {
        path: "environment.shell",
        shape: Shape::Installable,
        scope: Scope::Anyone,
        fallback: Fallback::Text(".#default"),
        example: r#"".#default""#,
        doc: "The dev shell that the box gets: any flake installable, seen from the project's folder.",
    },
    Key {
        path: "environment.nix",
        shape: Shape::Installable,
        scope: Scope::Anyone,
        fallback: Fallback::Found("the Nix that the box's image comes with"),
        example: r#"".#nix""#,
        doc: "A package of the flake that gives the box its Nix, so that the lock pins that too.",
    },
    Key {
        path: "box.name",
        shape: Shape::Box,
        scope: Scope::Anyone,
        fallback: Fallback::Found("the project's name"),
        example: r#""hello""#,
        doc: "The box's name: its host name, and its name for `ssh`.",
    },
    Key {
        path: "box.provider",
        shape: Shape::OneOf(&["local"]),
        scope: Scope::Anyone,
        fallback: Fallback::Text("local"),
        example: r#""local""#,
        doc: "Where the box comes from. `local` is a container on this machine.",
    },
    Key {
        path: "box.boot-timeout",
        shape: Shape::Duration(Timespan::secs(1), Timespan::secs(24 * 3600)),
        scope: Scope::Anyone,
        fallback: Fallback::Text("10min"),
        example: r#""10min""#,
        doc: "How long ssh may take to answer after the launch.",
    },
    Key {
        path: "volume.name",
        shape: Shape::Volume,
        scope: Scope::Anyone,
        fallback: Fallback::Text("devbox"),
        example: r#""devbox""#,
        doc: "The volume that outlives the box. It keeps `/nix` and `/home`.",
    },
    Key {
        path: "volume.store-size",
        shape: Shape::Size(Size::mib(64), Size::mib(16 << 20)),
        scope: Scope::Anyone,
        fallback: Fallback::Text("100GiB"),
        example: r#""100GiB""#,
        doc: "The size of the image behind `/nix` when it is made. It is sparse: it takes what is in it.",
    },
    Key {
        path: "caches.substituters",
        shape: Shape::Caches,
        scope: Scope::Anyone,
        fallback: Fallback::Text("https://cache.nixos.org"),
        example: r#"["https://cache.nixos.org"]"#,
        doc: "The binary caches that the box asks. Your own Nix keeps its own.",
    },
    Key {
        path: "caches.trusted-public-keys",
        shape: Shape::PublicKeys,
        scope: Scope::Anyone,
        fallback: Fallback::Text("cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="),
        example: r#"["cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="]"#,
        doc: "The keys whose signatures the box accepts from caches.",
    },
    Key {
        path: "ssh.key",
        shape: Shape::Path,
        scope: Scope::Personal,
        fallback: Fallback::Found("a key that devbox makes for itself"),
        example: r#""~/.ssh/id_ed25519""#,
        doc: "The private key to log in with. Its public half is the file of the same name with `.pub`.",
    },
    Key {
        path: "ssh.forward-agent",
        shape: Shape::Bool,
        scope: Scope::Personal,
        fallback: Fallback::Text("false"),
        example: "true",
        doc: "Whether the box may use your ssh agent while you are logged in.",
    },
    Key {
        path: "local.volumes",
        shape: Shape::Path,
        scope: Scope::Personal,
        fallback: Fallback::Found("`volumes` in devbox's state folder"),
        example: r#""~/volumes""#,
        doc: "The folder whose subfolders are the volumes of the provider `local`.",
    },
];

/// The key at a dotted path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The tables, in the order of the reference.
pub fn tables() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    KEYS.iter().map(Key::table).filter(move |table| std::mem::replace(&mut last, table) != *table)
}

impl Key {
    /// The table it stands in; empty for the top of the file.
    pub fn table(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(table, _)| table)
    }

    /// Its name in that table.
    pub fn leaf(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, leaf)| leaf)
    }

    /// The environment variable that sets it: `DEVBOX_VOLUME_STORE_SIZE`.
    pub fn variable(&self) -> String {
        let name = self.path.replace(['.', '-'], "_").to_ascii_uppercase();
        format!("{}{name}", crate::env::PREFIX)
    }

    /// The assignment as a file has it, for hints: `store-size = "100GiB"`.
    pub fn sample(&self) -> String {
        format!("{} = {}", self.leaf(), self.example)
    }

    /// Reads a value given as text: by a variable, a flag, or as a default.
    ///
    /// # Errors
    /// [`Kind::Usage`], without the key's name: the caller knows the place.
    pub fn parse(&self, text: &str) -> Result<Value> {
        if !self.shape.is_list() {
            return self.shape.check(text).map(Value::One);
        }
        text.split_whitespace().map(|item| self.shape.check(item)).collect::<Result<_>>().map(Value::Many)
    }
}

impl Shape {
    /// Whether it takes several values.
    pub fn is_list(self) -> bool {
        matches!(self, Self::Caches | Self::PublicKeys)
    }

    /// Checks one value, or one item of a list, and returns it in canonical form.
    ///
    /// # Errors
    /// [`Kind::Usage`], without the key's name.
    pub fn check(self, text: &str) -> Result<String> {
        let refuse = |why: &str| Error::new(Kind::Usage, format!("`{}` {why}", shown(text)));
        match self {
            Self::Project => return text.parse::<ProjectName>().map(Into::into),
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
                    return Err(refuse("is not an absolute path").hint("start it with `/` or `~/`"));
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
            Self::OneOf(_) => "a word",
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

fn has_gap(text: &str) -> bool {
    text.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// A checked value in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A single one.
    One(String),
    /// A list.
    Many(Vec<String>),
}

/// As a variable would give it: a list's items between blanks.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(text) => f.pad(text),
            Self::Many(items) => f.pad(&items.join(" ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn paths_and_variables_are_unique() {
        let paths: BTreeSet<_> = KEYS.iter().map(|key| key.path).collect();
        let variables: BTreeSet<_> = KEYS.iter().map(Key::variable).collect();
        assert_eq!((paths.len(), variables.len()), (KEYS.len(), KEYS.len()));
        assert!(crate::env::RESERVED.iter().all(|name| !variables.contains(*name)));
        assert_eq!(find("volume.store-size").unwrap().variable(), "DEVBOX_VOLUME_STORE_SIZE");
    }

    #[test]
    fn the_keys_of_a_table_stand_together() {
        let tables: Vec<_> = tables().collect();
        assert_eq!(tables, ["environment", "box", "volume", "caches", "ssh", "local"]);
        assert!(KEYS[0].table().is_empty(), "the top of a file comes before its tables");
    }

    #[test]
    fn every_default_is_valid_and_canonical() {
        for key in KEYS {
            if let Fallback::Text(text) = key.fallback {
                assert_eq!(key.parse(text).unwrap().to_string(), text, "{}", key.path);
            }
        }
    }

    #[test]
    fn nothing_from_a_file_can_pass_for_an_option_or_a_second_word() {
        let refused = [
            ("environment.shell", "--impure"),
            ("environment.shell", ""),
            ("environment.nix", ".#a\nb"),
            ("box.name", "../config"),
            ("local.volumes", "volumes"),
        ];
        for (path, text) in refused {
            assert!(find(path).unwrap().parse(text).is_err(), "{path} {text:?}");
        }
        for text in ["https://a\nsandbox = false", "https://a b", "cache.nixos.org", "://x", ""] {
            assert!(Shape::Caches.check(text).is_err(), "{text:?}");
        }
        let key = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
        for text in ["", "x", "x:AAAA", &format!("a b{key}"), &format!("{key}\n")] {
            assert!(Shape::PublicKeys.check(text).is_err(), "{text:?}");
        }
    }
}
