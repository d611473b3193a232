//! What the cloud remembers, over a restart too: one JSON file, written whenever it changed.

use std::path::{Path, PathBuf};

use devbox::error::{OrFail, Result, tick};
use devbox::names::LaunchId;
use devbox::paths::write_atomic;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::scenario::{Launch, Scenario};

/// All of it. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    /// The first start.
    pub(crate) born: f64,
    /// For ids and addresses: how many things were made.
    pub(crate) made: u64,
    pub(crate) instances: Vec<Instance>,
    pub(crate) filesystems: Vec<Filesystem>,
    pub(crate) ssh_keys: Vec<SshKey>,
    pub(crate) rulesets: Vec<Ruleset>,
    /// The account's rules, also those of the ruleset `global`.
    pub(crate) rules: Vec<Value>,
    /// The audit log: oldest first, as it is shown.
    pub(crate) events: Vec<Value>,
    /// Places not listed until some time, after a launch without capacity.
    pub(crate) shut: Vec<Shut>,
    /// The script of launches it began with, and how far it is.
    pub(crate) script: Script,
}

/// A script of launches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Script {
    pub(crate) whole: Vec<Launch>,
    /// What is still to come of it.
    pub(crate) left: Vec<Launch>,
}

/// A place without capacity for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shut {
    pub(crate) instance_type: String,
    pub(crate) region: String,
    pub(crate) until: f64,
}

/// What was decided about an instance when it was launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fate {
    Well,
    Unhealthy,
    Preempted,
}

/// An instance. Its times are fixed when it is launched, so that it lives on as it began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) id: String,
    /// The how manieth launch made it, from 1.
    pub(crate) launch: u64,
    pub(crate) name: Option<String>,
    pub(crate) hostname: String,
    pub(crate) region: String,
    pub(crate) instance_type: String,
    pub(crate) ssh_key_names: Vec<String>,
    pub(crate) public_key: String,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) image: String,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) rulesets: Vec<String>,
    pub(crate) user_data: String,
    pub(crate) ip: String,
    pub(crate) private_ip: String,
    pub(crate) token: String,
    pub(crate) fate: Fate,
    /// When it was launched.
    pub(crate) since: f64,
    /// When listings begin to show it.
    pub(crate) seen: f64,
    /// When its address is shown.
    pub(crate) addressed: f64,
    /// When it is up: `active`, or `unhealthy`.
    pub(crate) up: f64,
    /// When the filesystem is to be mounted, if that is later than the boot.
    pub(crate) mounted: Option<f64>,
    /// When it is taken away, if it is.
    pub(crate) preempted: Option<f64>,
    /// When its plug is pulled, once somebody asked for that.
    pub(crate) ending: Option<f64>,
    /// When it was gone.
    pub(crate) gone: Option<f64>,
    /// The box of the local provider, where there is to be one.
    pub(crate) machine: Option<Machine>,
}

/// A filesystem of an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mount {
    pub(crate) filesystem: String,
    pub(crate) name: String,
    pub(crate) mount_point: String,
}

/// The box behind an instance. Written down before it is started, so that it can be ended whatever happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// What the local provider makes its id of.
    pub(crate) launch: LaunchId,
    /// Whether its volume is mounted later than it boots, or never.
    pub(crate) late: bool,
    /// It was asked to restart.
    pub(crate) restart: bool,
    pub(crate) state: MachineState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MachineState {
    /// To be started, or being started.
    Wanted,
    /// It was started.
    Running {
        /// The local provider's id of it.
        id: String,
    },
    /// It could not be started.
    Failed(String),
    /// Nothing is left of it.
    Gone,
}

/// A filesystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Filesystem {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) created: String,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SshKey {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) public_key: String,
}

/// A firewall ruleset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ruleset {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) rules: Vec<Value>,
    pub(crate) created: String,
}

impl Instance {
    /// What the API calls it at `now`.
    pub(crate) fn status(&self, now: f64) -> &'static str {
        if self.gone.is_some() {
            return if self.ending.is_some() { "terminated" } else { "preempted" };
        }
        if self.ending.is_some() {
            return "terminating";
        }
        if self.preempted.is_some_and(|at| now >= at) {
            return "preempted";
        }
        let failed = matches!(self.machine, Some(Machine { state: MachineState::Failed(_), .. }));
        if self.is_up(now) {
            if failed || self.fate == Fate::Unhealthy { "unhealthy" } else { "active" }
        } else {
            "booting"
        }
    }

    fn is_up(&self, now: f64) -> bool {
        let started = !matches!(self.machine, Some(Machine { state: MachineState::Wanted, .. }));
        now >= self.up && started
    }

    /// Whether the API shows it at `now`; `listed` is how long the end of one is shown.
    pub(crate) fn is_shown(&self, now: f64, listed: f64) -> bool {
        now >= self.seen && self.gone.is_none_or(|gone| now < gone + listed)
    }

    /// The address, once it is shown.
    pub(crate) fn address(&self, now: f64) -> Option<&str> {
        let started = !matches!(
            self.machine,
            Some(Machine { state: MachineState::Wanted | MachineState::Failed(_), .. })
        );
        (now >= self.addressed && started).then_some(self.ip.as_str())
    }

    /// When its plug is to be pulled, or was.
    pub(crate) fn pulled(&self) -> Option<f64> {
        match (self.ending, self.preempted) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

impl State {
    /// What a new account has.
    pub(crate) fn new(now: f64) -> Self {
        let rule = |protocol: &str, ports: Option<[u16; 2]>, description: &str| {
            let mut rule =
                json!({"protocol": protocol, "source_network": "0.0.0.0/0", "description": description});
            if let Some(ports) = ports {
                rule["port_range"] = json!(ports);
            }
            rule
        };
        Self {
            born: now,
            rules: vec![rule("icmp", None, "Allow ICMP"), rule("tcp", Some([22, 22]), "Allow SSH")],
            ..Self::default()
        }
    }

    /// An id that nothing had before.
    pub(crate) fn fresh_id(&mut self) -> String {
        self.made += 1;
        let random = LaunchId::random().to_string();
        format!("{}{:04x}", &random[..28], self.made & 0xffff)
    }

    /// What the scenario says the account has from the start, where it has not.
    pub(crate) fn seed(&mut self, scenario: &Scenario, now: &str) {
        for (name, public_key) in &scenario.ssh_keys {
            if self.ssh_keys.iter().all(|key| key.name != *name) {
                let id = self.fresh_id();
                self.ssh_keys.push(SshKey { id, name: name.clone(), public_key: public_key.clone() });
            }
        }
        for seed in &scenario.filesystems {
            if self.filesystems.iter().all(|f| f.name != seed.name) {
                let id = self.fresh_id();
                let (name, region) = (seed.name.clone(), seed.region.clone());
                self.filesystems.push(Filesystem { id, name, region, created: now.to_owned() });
            }
        }
    }

    /// Goes on with the script of launches, if it is the one it began with.
    pub(crate) fn resume(&mut self, scenario: &mut Scenario) {
        if self.script.whole == scenario.launches {
            scenario.launches.clone_from(&self.script.left);
        } else {
            self.script = Script { whole: scenario.launches.clone(), left: scenario.launches.clone() };
        }
    }

    /// Whether an instance that is not gone has the filesystem.
    pub(crate) fn in_use(&self, filesystem: &str) -> bool {
        self.instances
            .iter()
            .any(|i| i.gone.is_none() && i.mounts.iter().any(|mount| mount.filesystem == filesystem))
    }
}

/// The file.
pub(crate) fn file(dir: &Path) -> PathBuf {
    dir.join("sim.json")
}

/// What is remembered in `dir`; nothing if it is new.
pub(crate) fn load(dir: &Path) -> Result<Option<State>> {
    let file = file(dir);
    match std::fs::read(&file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        text => {
            let text = text.or_fail(|| format!("can't read {}", tick(&file)))?;
            serde_json::from_slice(&text).or_fail(|| format!("{} is no state of a simulator", tick(&file)))
        }
    }
}

/// Writes `text`, a [`State`], for the owner alone: user data holds host keys.
pub(crate) fn save(dir: &Path, text: &[u8]) -> Result<()> {
    write_atomic(&file(dir), text, 0o600)
}
