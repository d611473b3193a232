//! Configuration: layers of files, environment and flags, validated once into one value.
//!
//! As in git and cargo the nearer wins: default, the user's file, the project's `devbox.toml`,
//! environment variables, flags. A list is replaced as a whole.

pub mod duration;
pub(crate) mod excerpt;
pub mod keys;
pub mod layer;
pub(crate) mod nearest;
pub mod presets;
pub mod project;
pub mod reference;
mod right;
mod shape;
pub mod size;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::config::duration::Timespan;
use crate::config::keys::{Fallback, KEYS, Value};
use crate::config::layer::{Assignment, Layer, Origin, Trust, parse_env, parse_file, parse_flags};
pub use crate::config::presets::Preset;
pub use crate::config::right::{load_what_is_right, presets_that_are_right};
use crate::config::size::Size;
use crate::error::{Error, Kind, OrFail, Result, tick};
use crate::names::{BoxName, ProjectName, System, VolumeName, sanitize};
use crate::paths::Paths;

/// Everything that can be configured. The fields say what the keys of the same names say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `name`; nothing outside a project, unless set.
    pub name: Option<ProjectName>,
    /// `[environment]`.
    pub environment: Environment,
    /// `[box]`.
    pub box_: BoxSettings,
    /// `[volume]`.
    pub volume: Volume,
    /// `[caches]`.
    pub caches: Caches,
    /// `[ssh]`.
    pub ssh: Ssh,
    /// `[capacity]`.
    pub capacity: Capacity,
    /// `[lambda]`.
    pub lambda: Lambda,
    /// `[local]`.
    pub local: Local,
    /// `[presets.NAME]`, by their names, with those that devbox comes with.
    pub presets: BTreeMap<String, Preset>,
}

/// `[environment]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Installable of the dev shell. Never empty, never an option.
    pub shell: String,
    /// Installable whose package gives the box its Nix.
    pub nix: Option<String>,
    /// Where the dev shell is built.
    pub build: BuildSetting,
    /// How many derivations a box builds at once.
    pub max_jobs: u32,
    /// How many cores each of them may use; 0 is all of them.
    pub cores: u32,
    /// Packages that the lock names; a `*` at the end stands for any rest.
    pub packages: Vec<String>,
    /// Commands that must pass on the box.
    pub checks: Vec<String>,
    /// How long each of them may take.
    pub check_timeout: Duration,
}

/// `[box]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoxSettings {
    /// `name`; nothing outside a project, unless set.
    pub name: Option<BoxName>,
    /// Where the box comes from.
    pub provider: ProviderName,
    /// The preset that is chosen; whether it exists, [`Config::preset`] tells.
    pub preset: Option<String>,
    /// Who chose it.
    pub preset_from: Origin,
    /// How long ssh may take to answer after the launch: what somebody said, else what the preset says, else the
    /// default.
    pub boot_timeout: Duration,
    /// How many boxes may fail while they boot.
    pub boot_attempts: u32,
}

/// `[capacity]`: how to wait for a machine to become free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// How long.
    pub wait: Duration,
    /// The first pause.
    pub first_pause: Duration,
    /// How much longer each pause is than the one before, in thousandths.
    pub thousandths: u32,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Capacity {
    /// How much longer each pause is than the one before.
    pub fn factor(&self) -> f64 {
        f64::from(self.thousandths) / 1000.0
    }
}

/// `[lambda]`. The key itself is never part of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lambda {
    /// The API's base address, without a slash at its end.
    pub address: String,
    /// A file that holds the key. Absolute; not looked at yet.
    pub api_key_file: Option<PathBuf>,
    /// A shell command that prints the key.
    pub api_key_command: Option<String>,
    /// Between two requests.
    pub request_interval: Duration,
    /// Between two launches.
    pub launch_interval: Duration,
    /// How long to look for an instance whose launch was not answered.
    pub settle_time: Duration,
}

/// The providers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderName {
    /// A container on this machine.
    Local,
    /// Lambda Cloud.
    Lambda,
}

impl std::fmt::Display for ProviderName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Local => "local",
            Self::Lambda => "lambda",
        })
    }
}

impl FromStr for ProviderName {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "local" => Ok(Self::Local),
            "lambda" => Ok(Self::Lambda),
            other => Err(Error::new(Kind::Usage, format!("`{other}` is no provider"))),
        }
    }
}

/// `environment.build`: where the dev shell is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildSetting {
    /// Here where this machine can, else on the box.
    Auto,
    /// Here, or not at all.
    Local,
    /// On the box.
    Box,
}

impl FromStr for BuildSetting {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "local" => Ok(Self::Local),
            "box" => Ok(Self::Box),
            other => Err(Error::new(Kind::Usage, format!("`{other}` is neither `auto`, `local` nor `box`"))),
        }
    }
}

/// An architecture of boxes, as `uname -m` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arch(pub System);

impl FromStr for Arch {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        System::of_machine(text)
            .map(Self)
            .ok_or_else(|| Error::new(Kind::Usage, format!("`{text}` is no architecture of boxes")))
    }
}

/// `[volume]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// Size of the store image when it is made.
    pub store_size: Size,
    /// What the lease of the image is kept by: `auto`, `flock` or `text`.
    pub lease: String,
}

/// `[caches]`: for the box only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caches {
    /// Addresses without blanks.
    pub substituters: Vec<String>,
    /// Keys that parse, without blanks.
    pub trusted_public_keys: Vec<String>,
}

/// `[ssh]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    /// The private key to log in with. Absolute; not looked at yet.
    pub key: Option<PathBuf>,
    /// Whether the box may use the agent.
    pub forward_agent: bool,
}

/// `[local]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// The folder whose subfolders are the volumes. Absolute; may not exist yet.
    pub volumes: PathBuf,
    /// What the boxes run, where that is not what this machine runs.
    pub arch: Option<Arch>,
}

/// The configuration, and who said what.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The one validated value.
    pub config: Config,
    /// Every key in the order of the reference.
    pub settings: Vec<Setting>,
}

/// One key's value, for people and for `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Dotted path.
    pub key: String,
    /// The value as a variable would give it; nothing where there is none.
    pub value: Option<String>,
    /// Who set it.
    pub origin: Origin,
}

impl Resolved {
    /// What to say where the preset that is chosen is of no use, since boxes come from this machine. Somebody's own
    /// file may well name a preset for other projects: only the same place is a slip.
    pub fn idle_preset(&self) -> Option<String> {
        let of = |key: &str| self.settings.iter().find(|s| s.key == key);
        let (provider, preset) = (of("box.provider")?, of("box.preset")?);
        let same = match (&provider.origin, &preset.origin) {
            (Origin::File { path: one, .. }, Origin::File { path: other, .. }) => one == other,
            (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
        };
        let idle = self.config.box_.provider == ProviderName::Local && same;
        let name = preset.value.as_ref().filter(|_| idle)?;
        let place = preset.origin.place("box.preset");
        Some(format!("{place}: `{name}` is not used, since `box.provider` is `local`"))
    }
}

/// What the computed defaults are computed from. All absolute.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// The project's folder, where the command is about one.
    pub project_root: Option<PathBuf>,
    /// The user's home, for `~/`.
    pub home: PathBuf,
    /// devbox's state folder.
    pub state: PathBuf,
}

impl Defaults {
    /// The value of a key that no layer sets.
    ///
    /// # Errors
    /// [`Kind::Usage`] when the project's folder has no usable name.
    fn value(&self, key: &keys::Key, found: &Found) -> Result<Option<Value>> {
        match (key.fallback, key.path) {
            (_, "box.boot-timeout") if found.boot_timeout.is_some() => {
                Ok(found.boot_timeout.map(|span| Value::One(span.to_string())))
            }
            (Fallback::Text(text), _) => key.parse(text).map(Some),
            (Fallback::Found(_), "name") => {
                let Some(root) = &self.project_root else { return Ok(None) };
                let folder = root.file_name().map(|name| name.to_string_lossy());
                let name = folder.as_deref().and_then(sanitize).ok_or_else(|| {
                    Error::new(Kind::Usage, format!("the folder {} makes no project name", tick(root)))
                        .hint(format!("write `{}` at the top of its `{}`", key.sample(), project::FILE))
                })?;
                Ok(Some(Value::One(name)))
            }
            (Fallback::Found(_), "box.name") => Ok(found.name.clone()),
            (Fallback::Found(_), "box.provider") => {
                // Presets are of machines that are rented.
                let provider = if found.preset { ProviderName::Lambda } else { ProviderName::Local };
                Ok(Some(Value::One(provider.to_string())))
            }
            (Fallback::Found(_), "local.volumes") => {
                Ok(Some(Value::One(self.state.join("volumes").to_string_lossy().into_owned())))
            }
            (Fallback::Found(_), _) => Ok(None),
        }
    }
}

/// What defaults are computed from that layers set.
#[derive(Default)]
struct Found {
    /// `name`.
    name: Option<Value>,
    /// Whether a preset is chosen.
    preset: bool,
    /// What it says of `boot-timeout`.
    boot_timeout: Option<Timespan>,
}

/// Lays the layers over one another, the last on top, and validates the result. Pure.
///
/// # Errors
/// [`Kind::Usage`] when a computed default can't be computed, or a preset extends what does not exist, or itself.
pub fn resolve(layers: &[Layer], defaults: &Defaults) -> Result<Resolved> {
    let mut values: Vec<(&'static str, Option<Value>, Origin)> = Vec::new();
    let presets = presets::resolve(layers)?;
    let nearest = |path| layers.iter().rev().find_map(|layer| layer.get(path));
    let mut found = Found::default();
    if let Some((name, _)) = nearest("box.preset") {
        found.preset = true;
        found.boot_timeout =
            presets.get(&name.to_string()).and_then(|p| p.boot_timeout).map(Timespan::of_duration);
    }
    for key in KEYS {
        let (value, origin) = match nearest(key.path) {
            Some((value, origin)) => (Some(value.clone()), origin.clone()),
            None => (defaults.value(key, &found)?, Origin::Default),
        };
        // It comes first in the table, so what depends on it finds it.
        if key.path == "name" {
            found.name.clone_from(&value);
        }
        values.push((key.path, value, origin));
    }
    let config = Typed { values: &values, home: &defaults.home }.config(presets)?;
    let setting = |(key, value, origin): (&str, Option<Value>, _)| Setting {
        key: key.to_owned(),
        value: value.map(|value| value.to_string()),
        origin,
    };
    let mut settings: Vec<_> = values.into_iter().map(setting).collect();
    settings.extend(presets::settings(layers).into_iter().map(|(key, value, origin)| Setting {
        key,
        value: Some(value.to_string()),
        origin,
    }));
    Ok(Resolved { config, settings })
}

/// Canonical texts on their way to typed fields.
struct Typed<'a> {
    values: &'a [(&'static str, Option<Value>, Origin)],
    home: &'a Path,
}

impl Typed<'_> {
    fn config(&self, presets: BTreeMap<String, Preset>) -> Result<Config> {
        Ok(Config {
            name: self.maybe("name")?,
            environment: Environment {
                shell: self.one("environment.shell")?,
                nix: self.maybe("environment.nix")?,
                build: self.one("environment.build")?,
                max_jobs: self.one("environment.max-jobs")?,
                cores: self.one("environment.cores")?,
                packages: self.many("environment.packages"),
                checks: self.many("environment.checks"),
                check_timeout: self.span("environment.check-timeout")?,
            },
            box_: BoxSettings {
                name: self.maybe("box.name")?,
                provider: self.one("box.provider")?,
                preset: self.maybe("box.preset")?,
                preset_from: self.origin("box.preset"),
                boot_timeout: self.span("box.boot-timeout")?,
                boot_attempts: self.one("box.boot-attempts")?,
            },
            capacity: Capacity {
                wait: self.span("capacity.wait")?,
                first_pause: self.span("capacity.first-pause")?,
                thousandths: shape::parse_thousandths(&self.one::<String>("capacity.factor")?)?,
                longest_pause: self.span("capacity.longest-pause")?,
            },
            lambda: Lambda {
                address: self.one("lambda.address")?,
                api_key_file: self.path("lambda.api-key-file"),
                api_key_command: self.maybe("lambda.api-key-command")?,
                request_interval: self.span("lambda.request-interval")?,
                launch_interval: self.span("lambda.launch-interval")?,
                settle_time: self.span("lambda.settle-time")?,
            },
            presets,
            volume: Volume {
                name: self.one("volume.name")?,
                store_size: self.one("volume.store-size")?,
                lease: self.one("volume.lease")?,
            },
            caches: Caches {
                substituters: self.many("caches.substituters"),
                trusted_public_keys: self.many("caches.trusted-public-keys"),
            },
            ssh: Ssh { key: self.path("ssh.key"), forward_agent: self.one("ssh.forward-agent")? },
            local: Local {
                volumes: self.path("local.volumes").ok_or_else(|| missing("local.volumes"))?,
                arch: self.maybe("local.arch")?,
            },
        })
    }

    fn value(&self, path: &str) -> Option<&Value> {
        self.values.iter().find(|(key, ..)| *key == path).and_then(|(_, value, _)| value.as_ref())
    }

    fn origin(&self, path: &str) -> Origin {
        let value = self.values.iter().find(|(key, ..)| *key == path);
        value.map_or(Origin::Default, |(.., origin)| origin.clone())
    }

    fn span(&self, path: &str) -> Result<Duration> {
        Ok(self.one::<Timespan>(path)?.as_duration())
    }

    /// Layers hold checked values, so this parses; if a type ever disagrees with its key, it says so.
    fn maybe<T: FromStr<Err: std::fmt::Display>>(&self, path: &str) -> Result<Option<T>> {
        let parse = |value: &Value| {
            let text = value.to_string();
            text.parse().map_err(|e: T::Err| Error::new(Kind::Usage, format!("`{path}`: {e}")))
        };
        self.value(path).map(parse).transpose()
    }

    fn one<T: FromStr<Err: std::fmt::Display>>(&self, path: &str) -> Result<T> {
        self.maybe(path)?.ok_or_else(|| missing(path))
    }

    fn many(&self, path: &str) -> Vec<String> {
        match self.value(path) {
            Some(Value::Many(items) | Value::Lines(items)) => items.clone(),
            Some(Value::One(item)) => vec![item.clone()],
            None => Vec::new(),
        }
    }

    fn path(&self, path: &str) -> Option<PathBuf> {
        let text = self.value(path)?.to_string();
        Some(match text.strip_prefix("~/") {
            Some(rest) => self.home.join(rest.trim_start_matches('/')),
            None => PathBuf::from(text),
        })
    }
}

fn missing(path: &str) -> Error {
    Error::new(Kind::Usage, format!("`{path}` is not set"))
}

impl Config {
    /// The preset that is chosen, if one is.
    ///
    /// # Errors
    /// [`Kind::Usage`] when there is none of that name, or it names no instance types.
    pub fn preset(&self) -> Result<Option<&Preset>> {
        let chosen = |name: &str| presets::chosen(&self.presets, name, &self.box_.preset_from);
        self.box_.preset.as_deref().map(chosen).transpose()
    }

    /// How long ssh may take to answer after the launch.
    pub fn boot_timeout(&self) -> Duration {
        self.box_.boot_timeout
    }

    /// The project's name, for commands that need one.
    ///
    /// # Errors
    /// [`Kind::Usage`] outside a project.
    pub fn project_name(&self) -> Result<&ProjectName> {
        self.name.as_ref().ok_or_else(|| missing("name").hint("go to a project's folder, or use `-C DIR`"))
    }

    /// The box's name, for commands that need one.
    ///
    /// # Errors
    /// [`Kind::Usage`] outside a project.
    pub fn box_name(&self) -> Result<&BoxName> {
        self.box_.name.as_ref().ok_or_else(|| {
            missing("box.name").hint("name the box").hint("go to a project's folder, or use `-C DIR`")
        })
    }
}

/// Reads every layer and resolves them. `file` is that of `--config`, in place of the user's own.
///
/// # Errors
/// [`Kind::Usage`] for whatever is wrong with them, and when a file can't be read.
pub fn load(
    paths: &Paths,
    project_root: Option<&Path>,
    file: Option<&Path>,
    flags: &[Assignment],
) -> Result<Resolved> {
    let mut layers = vec![match file {
        Some(file) => read(file, Trust::Personal)?.ok_or_else(|| no_such_file(file))?,
        None => read(&paths.config.join("config.toml"), Trust::Personal)?.unwrap_or_default(),
    }];
    if let Some(root) = project_root {
        layers.extend(read(&root.join(project::FILE), Trust::Project)?);
    }
    let ours = crate::env::ours();
    layers.push(parse_env(ours.iter().map(|(name, value)| (name.as_str(), value.as_str())))?);
    layers.push(parse_flags(flags)?);
    let defaults = Defaults {
        project_root: project_root.map(Path::to_owned),
        home: paths.home.clone(),
        state: paths.state.clone(),
    };
    resolve(&layers, &defaults)
}

fn no_such_file(file: &Path) -> Error {
    Error::new(Kind::Usage, format!("there is no {}", tick(file))).hint("`--config` must name a file")
}

/// A file's layer; nothing where there is no file.
fn read(path: &Path, trust: Trust) -> Result<Option<Layer>> {
    read_text(path)?.map(|text| parse_file(&text, path, trust)).transpose()
}

/// A file's text; nothing where there is no file.
fn read_text(path: &Path) -> Result<Option<String>> {
    let bytes = match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.or_kind(Kind::Usage, || format!("can't read {}", tick(path)))?,
    };
    String::from_utf8(bytes).map(Some).or_kind(Kind::Usage, || format!("{} is not UTF-8 text", tick(path)))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
