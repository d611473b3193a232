//! What a box is and has, asked in one round trip.

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::guest::bootstrap::Status;
use crate::guest::checks::Standing;
use crate::guest::machine::Machine;
use crate::guest::script;
use crate::names::{LaunchId, ProjectName};
use crate::nix::Fingerprint;
use crate::ssh::Guest;

/// An NVIDIA driver, as the kernel tells of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Driver {
    /// Its version; nothing where it is not loaded.
    pub version: Option<String>,
    /// How programs of Nix find its libraries: `ready`, `plain` (they don't find one another), `mismatch` (they are of
    /// another version), `unloaded`, or what went wrong.
    pub state: String,
    /// The models of its GPUs.
    pub gpus: Vec<String>,
}

/// The answer of `facts.sh`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Facts {
    /// The id of this boot.
    pub boot: String,
    /// Seconds since its kernel booted.
    pub uptime: f64,
    /// The launch it was set up for.
    pub launch: LaunchId,
    /// What `uname -m` says.
    pub machine: String,
    /// What `uname -r` says.
    pub kernel: String,
    /// The size of its pages in bytes.
    #[serde(default, rename = "page-size")]
    pub page_size: Option<u64>,
    /// Its NVIDIA driver, where it has one.
    #[serde(default)]
    pub driver: Option<Driver>,
    /// How the project's checks stand, where some were run since it booted.
    #[serde(default)]
    pub checks: Option<Standing>,
    /// The version of its Nix, where it has one.
    pub nix: Option<String>,
    /// What systemd says of `devbox.target`; `stopped` when nothing brings it up either.
    pub target: String,
    /// The steps of its set-up.
    pub status: Status,
    /// Bytes that fit into the store: free in the image, and on the volume that keeps it.
    pub room: u64,
    /// What the kernel has met in the store's filesystem: what was written last may not be on the volume then.
    #[serde(default)]
    pub errors: Option<String>,
    /// The environment that is current for the project.
    pub environment: Option<String>,
    /// The SHA-256 of the script that enters it.
    #[serde(default)]
    pub script: Option<String>,
    /// Its generation; 0 where there is none.
    pub generation: u64,
    /// Its fingerprint, from what Nix registered on the box.
    pub fingerprint: Option<Fingerprint>,
    /// How many store paths that is.
    pub paths: u64,
    /// How many bytes of NARs that is.
    pub bytes: u64,
}

impl Facts {
    /// Whether the set-up is over and well.
    pub fn is_set_up(&self) -> bool {
        self.target == "active"
    }

    /// What Nix does not pin of it.
    pub fn whole_machine(&self) -> Machine {
        Machine {
            processor: self.machine.clone(),
            kernel: self.kernel.clone(),
            page_size: self.page_size,
            driver: self.driver.as_ref().and_then(|d| d.version.clone()),
            gpus: self.driver.as_ref().map(|d| d.gpus.clone()).unwrap_or_default(),
        }
    }

    /// What keeps programs of Nix from its NVIDIA driver, in a sentence.
    pub fn driver_trouble(&self) -> Option<String> {
        let driver = self.driver.as_ref().filter(|d| d.state != "ready")?;
        let detail = self.status.steps.iter().find(|s| s.step == "driver").map(|s| s.detail.as_str());
        let detail = detail.unwrap_or("its libraries were not looked at");
        let way = match driver.state.as_str() {
            "plain" => "put `pkgs.patchelf` into the dev shell",
            "mismatch" => "`devbox ssh --plain -- sudo reboot` makes them one",
            "unloaded" => "`devbox ssh --plain -- sudo modprobe nvidia` tells more",
            _ => "`devbox ssh --plain -- journalctl -u devbox-driver` tells more",
        };
        Some(format!("CUDA may not work: {detail}; {way}"))
    }

    /// Whether it was brought to rest, and nothing sets it to work again by itself.
    pub fn is_at_rest(&self) -> bool {
        self.target == "stopped" && self.status.failed().is_none()
    }
}

/// Reads the answer of `facts.sh`.
///
/// # Errors
/// [`Kind::Guest`] where it is no such answer.
pub fn parse_facts(text: &str) -> Result<Facts> {
    serde_json::from_str(text).map_err(|e| {
        Error::new(Kind::Guest, "the box answers with something that is no description of it")
            .detail(text.chars().take(200).collect::<String>())
            .hint("it may have been set up by another version of devbox: `devbox down`, then `devbox up`")
            .caused_by(e)
    })
}

/// Asks a box what it is and has.
///
/// # Errors
/// [`Kind::Guest`] when it can't be reached or does not answer.
pub async fn ask(guest: &Guest, project: &ProjectName) -> Result<Facts> {
    let output = guest.check(&[script("facts").as_str(), project.as_str()]).await?;
    parse_facts(&output.text())
}

/// Which of these store paths the box lacks, in one round trip for any number of them.
///
/// # Errors
/// [`Kind::Guest`] when it can't be reached or does not answer.
pub async fn missing(guest: &Guest, paths: &[String]) -> Result<Vec<String>> {
    let output = guest.checked(&guest.command(&[script("missing")]).input(paths.join("\n"))).await?;
    Ok(output.text().lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_box_without_an_environment() {
        let facts = parse_facts(
            r#"{"boot":"b","uptime":1.2,"launch":"00000000000000000000000000000001","machine":"x86_64","kernel":"6","nix":null,
                "target":"active","status":{"steps":[]},"room":5,"environment":null,"generation":0,"fingerprint":null,"paths":0,"bytes":0}"#,
        )
        .unwrap();
        assert!(facts.is_set_up());
        assert_eq!(facts.environment, None);
    }

    #[test]
    fn a_driver_that_programs_do_not_find_is_told_of() {
        let with = |driver: &str| {
            parse_facts(&format!(
                r#"{{"boot":"b","uptime":1.2,"launch":"00000000000000000000000000000001","machine":"aarch64","kernel":"6","nix":null,
                "target":"active","status":{{"steps":[{{"step":"driver","state":"done","detail":"NVIDIA 570, 3 libraries, alone"}}]}},
                "room":5,"errors":null,"page-size":65536,"driver":{driver},
                "environment":null,"generation":0,"fingerprint":null,"paths":0,"bytes":0}}"#
            ))
            .unwrap()
        };
        let driver = |state: &str| format!(r#"{{"version":"570","state":"{state}","gpus":["GH200"]}}"#);
        assert_eq!(with("null").driver_trouble(), None);
        assert_eq!(with(&driver("ready")).driver_trouble(), None);
        assert_eq!(
            with(&driver("plain")).driver_trouble().unwrap(),
            "CUDA may not work: NVIDIA 570, 3 libraries, alone; put `pkgs.patchelf` into the dev shell"
        );
        assert!(with(&driver("mismatch")).driver_trouble().unwrap().contains("sudo reboot"));
        let unloaded = with(r#"{"version":null,"state":"unloaded","gpus":[]}"#);
        assert!(unloaded.driver_trouble().unwrap().contains("modprobe"));
        assert_eq!(unloaded.whole_machine().driver, None);
        assert!(with(&driver("failed")).driver_trouble().unwrap().contains("journalctl -u devbox-driver"));
        let machine = with(&driver("ready")).whole_machine();
        assert_eq!((machine.driver.as_deref(), machine.page_size), (Some("570"), Some(65536)));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            drop(parse_facts(&text));
        }
    }
}
