//! Every configuration key, once: what it takes, who may set it, what it means.
//!
//! The files, the variables, the errors, the reference and the template all come from [`KEYS`].

use std::fmt;

use crate::config::duration::Timespan;
pub use crate::config::shape::Shape;
use crate::config::size::Size;
use crate::error::Result;

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
        path: "environment.build",
        shape: Shape::OneOf(&["auto", "local", "box"]),
        scope: Scope::Anyone,
        fallback: Fallback::Text("auto"),
        example: r#""auto""#,
        doc: "Where the dev shell is built. `auto` is on this machine where it can build for the box, by itself or by its \
              remote builders, else on the box.",
    },
    Key {
        path: "environment.max-jobs",
        shape: Shape::Count(1, 256),
        scope: Scope::Anyone,
        fallback: Fallback::Text("4"),
        example: "4",
        doc: "How many derivations a box builds at once.",
    },
    Key {
        path: "environment.cores",
        shape: Shape::Count(0, 4096),
        scope: Scope::Anyone,
        fallback: Fallback::Text("0"),
        example: "16",
        doc: "How many cores of the box each of them may use; 0 is all of them.",
    },
    Key {
        path: "environment.packages",
        shape: Shape::Packages,
        scope: Scope::Anyone,
        fallback: Fallback::Found("none"),
        example: r#"["numpy", "libcu*"]"#,
        doc: "Packages that `devbox.lock` and `diff` show by name, beside CUDA, cuDNN, PyTorch, FlashAttention, Triton and \
              Python; a `*` at the end stands for any rest.",
    },
    Key {
        path: "environment.checks",
        shape: Shape::Commands,
        scope: Scope::Anyone,
        fallback: Fallback::Found("none"),
        example: r#"["check-cuda"]"#,
        doc: "Commands that must pass in the dev shell on the box before `up` calls it ready. In a variable or a flag one \
              stands on each line.",
    },
    Key {
        path: "environment.check-timeout",
        shape: Shape::Duration(Timespan::secs(1), Timespan::secs(24 * 3600)),
        scope: Scope::Anyone,
        fallback: Fallback::Text("10min"),
        example: r#""10min""#,
        doc: "How long each of them may take.",
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
        shape: Shape::OneOf(&["lambda", "local"]),
        scope: Scope::Anyone,
        fallback: Fallback::Found("`lambda` where a preset is chosen, else `local`"),
        example: r#""lambda""#,
        doc: "Where the box comes from. `lambda` is Lambda Cloud, `local` a container on this machine.",
    },
    Key {
        path: "box.preset",
        shape: Shape::Preset,
        scope: Scope::Anyone,
        fallback: Fallback::Found("none"),
        example: r#""gh200""#,
        doc: "Which machines would do: a preset, `devbox list presets` shows them. `up --preset` names another.",
    },
    Key {
        path: "box.boot-timeout",
        shape: Shape::Duration(Timespan::secs(1), Timespan::secs(24 * 3600)),
        scope: Scope::Anyone,
        fallback: Fallback::Text("10min"),
        example: r#""10min""#,
        doc: "How long ssh may take to answer after the launch. A preset may say otherwise, this has the last word.",
    },
    Key {
        path: "box.boot-attempts",
        shape: Shape::Count(1, 10),
        scope: Scope::Anyone,
        fallback: Fallback::Text("3"),
        example: "3",
        doc: "How many boxes may fail while they boot before `up` gives up. Each is ended before the next is launched.",
    },
    Key {
        path: "capacity.wait",
        shape: Shape::Duration(Timespan::secs(0), Timespan::secs(7 * 24 * 3600)),
        scope: Scope::Anyone,
        fallback: Fallback::Text("1h"),
        example: r#""2h""#,
        doc: "How long `up` waits for a machine to become free. `up --wait-capacity` says it for once.",
    },
    Key {
        path: "capacity.first-pause",
        shape: Shape::Duration(Timespan::millis(1), Timespan::secs(3600)),
        scope: Scope::Anyone,
        fallback: Fallback::Text("5s"),
        example: r#""5s""#,
        doc: "The pause after the first refusal for want of capacity.",
    },
    Key {
        path: "capacity.factor",
        shape: Shape::Factor,
        scope: Scope::Anyone,
        fallback: Fallback::Text("1.5"),
        example: "1.5",
        doc: "How much longer each pause is than the one before.",
    },
    Key {
        path: "capacity.longest-pause",
        shape: Shape::Duration(Timespan::millis(1), Timespan::secs(3600)),
        scope: Scope::Anyone,
        fallback: Fallback::Text("2min"),
        example: r#""2min""#,
        doc: "The longest pause.",
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
        path: "volume.lease",
        shape: Shape::OneOf(&["auto", "flock", "text"]),
        scope: Scope::Anyone,
        fallback: Fallback::Text("auto"),
        example: r#""auto""#,
        doc: "What keeps a second box from writing the image: a lock, where the volume's filesystem carries locks between \
              hosts, else a file that no box takes from another by itself. `auto` looks at the filesystem.",
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
        fallback: Fallback::Found(
            "one that ssh would use, in a file or the agent, or else one of devbox's own",
        ),
        example: r#""~/.ssh/id_ed25519""#,
        doc: "The private key to log in with, or a public one whose private half the agent has.",
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
        path: "lambda.api-key-file",
        shape: Shape::Path,
        scope: Scope::Personal,
        fallback: Fallback::Found("none"),
        example: r#""~/.config/lambda/key""#,
        doc: "A file that holds nothing but the key of the account, asked where `LAMBDA_API_KEY` is not in the environment.",
    },
    Key {
        path: "lambda.api-key-command",
        shape: Shape::Command,
        scope: Scope::Personal,
        fallback: Fallback::Found("none"),
        example: r#""pass show lambda""#,
        doc: "A shell command that prints the key of the account, run where neither `LAMBDA_API_KEY` nor `api-key-file` is set.",
    },
    Key {
        path: "lambda.address",
        shape: Shape::Address,
        scope: Scope::Personal,
        fallback: Fallback::Text("https://cloud.lambda.ai/api/v1"),
        example: r#""https://cloud.lambda.ai/api/v1""#,
        doc: "The API's base address. Without TLS only on this machine.",
    },
    Key {
        path: "lambda.request-interval",
        shape: Shape::Duration(Timespan::millis(0), Timespan::secs(60)),
        scope: Scope::Personal,
        fallback: Fallback::Text("1s"),
        example: r#""1s""#,
        doc: "The time between two requests, of all devbox processes together. Lambda takes one a second.",
    },
    Key {
        path: "lambda.launch-interval",
        shape: Shape::Duration(Timespan::millis(0), Timespan::secs(600)),
        scope: Scope::Personal,
        fallback: Fallback::Text("12s"),
        example: r#""12s""#,
        doc: "The time between two launches, of all devbox processes together. Lambda takes one in 12 seconds.",
    },
    Key {
        path: "lambda.settle-time",
        shape: Shape::Duration(Timespan::millis(0), Timespan::secs(3600)),
        scope: Scope::Personal,
        fallback: Fallback::Text("1min"),
        example: r#""1min""#,
        doc: "How long to look for the instance of a launch whose answer was lost, before another is launched.",
    },
    Key {
        path: "local.volumes",
        shape: Shape::Path,
        scope: Scope::Personal,
        fallback: Fallback::Found("`volumes` in devbox's state folder"),
        example: r#""~/volumes""#,
        doc: "The folder whose subfolders are the volumes of the provider `local`.",
    },
    Key {
        path: "local.arch",
        shape: Shape::OneOf(&["aarch64", "x86_64"]),
        scope: Scope::Anyone,
        fallback: Fallback::Found("that of this machine"),
        example: r#""aarch64""#,
        doc: "The architecture of local boxes. Another one than this machine's is emulated by qemu-user, and slow.",
    },
];

/// The table of presets: each of its tables has the keys of [`PRESET_KEYS`].
pub const PRESETS: &str = "presets";

/// The keys of one preset. What is not set comes from the preset that it extends, then from the defaults here.
pub static PRESET_KEYS: &[Key] = &[
    Key {
        path: "presets.NAME.extends",
        shape: Shape::Preset,
        scope: Scope::Anyone,
        fallback: Fallback::Found("none"),
        example: r#""gh200""#,
        doc: "Another preset, whose keys hold where this one has none.",
    },
    Key {
        path: "presets.NAME.instance-types",
        shape: Shape::Patterns,
        scope: Scope::Anyone,
        fallback: Fallback::Found("none"),
        example: r#"["gpu_1x_h100_sxm5", "gpu_1x_h100*"]"#,
        doc: "The instance types that would do, in order of preference; a `*` at the end stands for any rest.",
    },
    Key {
        path: "presets.NAME.order",
        shape: Shape::OneOf(&["preference", "price"]),
        scope: Scope::Anyone,
        fallback: Fallback::Text("preference"),
        example: r#""price""#,
        doc: "What is asked for first: what stands first, or what costs least.",
    },
    Key {
        path: "presets.NAME.regions",
        shape: Shape::Regions,
        scope: Scope::Anyone,
        fallback: Fallback::Found("wherever a volume lives"),
        example: r#"["us-east-3"]"#,
        doc: "The regions that would do, in order of preference. A volume is made in the first that has a machine free.",
    },
    Key {
        path: "presets.NAME.volumes",
        shape: Shape::Volumes,
        scope: Scope::Anyone,
        fallback: Fallback::Found("`volume.name`"),
        example: r#"["devbox", "devbox-west"]"#,
        doc: "The volumes that would do, in order of preference. A volume lives in one region: more volumes, more regions.",
    },
    Key {
        path: "presets.NAME.image-family",
        shape: Shape::Word,
        scope: Scope::Anyone,
        fallback: Fallback::Text("lambda-stack-24-04"),
        example: r#""lambda-stack-24-04""#,
        doc: "The family of the image, which must exist for the architecture and the region.",
    },
    Key {
        path: "presets.NAME.system",
        shape: Shape::OneOf(&["x86_64-linux", "aarch64-linux"]),
        scope: Scope::Anyone,
        fallback: Fallback::Found(
            "told from the instance type: with a Grace processor `aarch64-linux`, else `x86_64-linux`",
        ),
        example: r#""aarch64-linux""#,
        doc: "What the instance types run, and the environment is built for.",
    },
    Key {
        path: "presets.NAME.boot-timeout",
        shape: Shape::Duration(Timespan::secs(1), Timespan::secs(24 * 3600)),
        scope: Scope::Anyone,
        fallback: Fallback::Found("`box.boot-timeout`"),
        example: r#""25min""#,
        doc: "How long ssh may take to answer after the launch: machines with many GPUs take longer.",
    },
];

/// The key of a preset.
pub fn find_preset_key(leaf: &str) -> Option<&'static Key> {
    PRESET_KEYS.iter().find(|key| key.leaf() == leaf)
}

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

    /// A checked list as its value.
    pub fn list(&self, items: Vec<String>) -> Value {
        match self.shape {
            Shape::Commands => Value::Lines(items),
            _ => Value::Many(items),
        }
    }

    /// Reads a value given as text: by a variable, a flag, or as a default.
    ///
    /// # Errors
    /// [`Kind::Usage`], without the key's name: the caller knows the place.
    pub fn parse(&self, text: &str) -> Result<Value> {
        if !self.shape.is_list() {
            return self.shape.check(text).map(Value::One);
        }
        if matches!(self.shape, Shape::Commands) {
            let commands = text.lines().map(str::trim).filter(|line| !line.is_empty());
            return commands
                .map(|line| self.shape.check(line))
                .collect::<Result<_>>()
                .map(|all| self.list(all));
        }
        let items = text.split_whitespace().map(|item| self.shape.check(item)).collect::<Result<_>>();
        items.map(Value::Many).map_err(|e| match text.contains([',', '[']) {
            true => {
                e.hint("the items of a list stand between blanks here, without brackets or commas: `a b`")
            }
            false => e,
        })
    }
}

/// A checked value in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A single one.
    One(String),
    /// A list.
    Many(Vec<String>),
    /// A list whose items may have blanks.
    Lines(Vec<String>),
}

/// As a variable would give it: a list's items between blanks, or a line each.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(text) => f.pad(text),
            Self::Many(items) => f.pad(&items.join(" ")),
            Self::Lines(items) => f.pad(&items.join("\n")),
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
        assert_eq!(tables, ["environment", "box", "capacity", "volume", "caches", "ssh", "lambda", "local"]);
        assert!(KEYS[0].table().is_empty(), "the top of a file comes before its tables");
    }

    #[test]
    fn every_default_is_valid_and_canonical() {
        for key in KEYS.iter().chain(PRESET_KEYS) {
            if let Fallback::Text(text) = key.fallback {
                assert_eq!(key.parse(text).unwrap().to_string(), text, "{}", key.path);
            }
        }
    }

    #[test]
    fn commands_stand_on_lines_of_their_own() {
        let key = find("environment.checks").unwrap();
        let value = key.parse("check-cuda --fast\n  python3 -c 'import torch'\n\n").unwrap();
        assert_eq!(value, Value::Lines(vec!["check-cuda --fast".into(), "python3 -c 'import torch'".into()]));
        assert_eq!(key.parse(&value.to_string()).unwrap(), value);
        assert_eq!(key.parse("").unwrap(), Value::Lines(vec![]), "none for once");
        assert!(key.parse("a\0b").is_err());
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
