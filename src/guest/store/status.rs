//! What a box tells of its store image, and of what else is on its volume.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::guest::bootstrap::Status as SetUp;
use crate::guest::store::answers::Current;
use crate::names::LaunchId;
use crate::nix::Fingerprint;

/// The answer of `store-status.sh`. What others wrote comes as the text that it is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RawStatus {
    /// The architecture.
    pub system: String,
    /// The box.
    #[serde(rename = "box")]
    pub box_: String,
    /// Its launch.
    pub launch: LaunchId,
    /// Where the image is.
    pub path: String,
    /// Whether it is mounted here.
    pub mounted: bool,
    /// How many errors the kernel has met in it.
    pub errors: u64,
    /// Its file; nothing where there is none.
    pub image: Option<File>,
    /// Its filesystem, where it is mounted.
    pub filesystem: Option<Filesystem>,
    /// What its superblock says, where it can be read.
    pub superblock: Option<Superblock>,
    /// The volume.
    pub volume: Volume,
    /// `flock` or `text`.
    pub lease: String,
    /// Who has it.
    pub holder: Option<String>,
    /// When its contents were last looked at.
    pub checked: Option<String>,
    /// The steps of the box's set-up.
    pub status: SetUp,
    /// The snapshots.
    pub snapshots: Snapshots,
    /// The generations of all projects.
    pub generations: Vec<RawGeneration>,
    /// The store images of all architectures.
    pub images: Vec<RawImage>,
}

/// A sparse file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// What it promises.
    pub size: u64,
    /// What it takes.
    pub real: u64,
}

/// A filesystem, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// All of it.
    pub size: u64,
    /// What is used.
    pub used: u64,
    /// What is free.
    pub free: u64,
}

/// A superblock, times in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Superblock {
    /// `clean`, or what is wrong.
    pub state: String,
    /// When e2fsck last looked at all of it.
    pub checked: Option<i64>,
    /// When it was last mounted.
    pub mounted: Option<i64>,
    /// Whether its journal has been replayed.
    pub replayed: bool,
}

/// The volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Where the box has it.
    pub path: String,
    /// Its filesystem.
    #[serde(rename = "type")]
    pub kind: String,
    /// All of it, in bytes.
    pub size: u64,
    /// What is free, in bytes.
    pub free: u64,
}

/// All snapshots of this architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshots {
    /// How many.
    pub count: u64,
    /// What they take on the volume, in bytes.
    pub real: u64,
}

/// A generation, as the store and the volume have it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RawGeneration {
    /// Of which project.
    pub project: String,
    /// Its number.
    pub generation: u64,
    /// Whether it is current.
    pub current: bool,
    /// Its store path.
    pub environment: String,
    /// Whether that is there.
    pub there: bool,
    /// When its link was made, in seconds since 1970.
    pub made: i64,
    /// Its manifest; empty where there is none.
    pub manifest: String,
}

/// The store image of some architecture.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RawImage {
    /// Which one, by its file name.
    pub system: String,
    /// What it promises, in bytes.
    pub size: u64,
    /// What it takes, in bytes.
    pub real: u64,
    /// Who has it.
    pub holder: Option<String>,
}

/// Who has a store image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holder {
    /// The name of the box.
    #[serde(rename = "box")]
    pub box_: String,
    /// Its launch.
    pub launch: String,
    /// Its instance, as its provider calls it.
    pub instance: String,
    /// Its host name.
    pub host: String,
    /// The boot of it that took the lease.
    pub boot: String,
    /// Since when.
    pub since: String,
    /// What keeps the lease: `flock` or `text`.
    pub lease: String,
}

impl Holder {
    /// The holder's launch, where it has said one.
    pub fn launch(&self) -> Option<LaunchId> {
        self.launch.parse().ok()
    }
}

/// Reads a holder's file. One that can't be read is somebody all the same. Pure.
pub fn parse_holder(text: &str) -> Holder {
    serde_json::from_str(text).unwrap_or_default()
}

/// When the contents were last looked at, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCheck {
    /// When.
    pub at: Timestamp,
    /// How many store paths there were.
    pub paths: u64,
    /// How many of them were damaged.
    pub damaged: u64,
}

/// A generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Generation {
    /// What it is.
    #[serde(flatten)]
    pub what: Current,
    /// Whether it is current.
    pub current: bool,
    /// Whether its store path is there.
    pub there: bool,
    /// When it was made current first.
    pub made: Timestamp,
    /// How many store paths it has, where anybody remembers.
    pub paths: Option<u64>,
    /// How many bytes of NARs that is.
    pub bytes: Option<u64>,
}

/// A generation, by the store's word and the manifest, which may be missing or damaged. Pure.
pub fn read_generation(raw: RawGeneration) -> Generation {
    #[derive(Default, Deserialize)]
    struct Manifest {
        fingerprint: Option<Fingerprint>,
        paths: Option<u64>,
        bytes: Option<u64>,
        made: Option<Timestamp>,
    }
    let manifest: Manifest = serde_json::from_str(&raw.manifest).unwrap_or_default();
    let made = manifest.made.or_else(|| Timestamp::from_second(raw.made).ok());
    Generation {
        what: Current {
            project: raw.project,
            generation: raw.generation,
            environment: raw.environment,
            fingerprint: manifest.fingerprint,
        },
        current: raw.current,
        there: raw.there,
        made: made.unwrap_or(Timestamp::UNIX_EPOCH),
        paths: manifest.paths,
        bytes: manifest.bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_holder_that_can_not_be_read_is_somebody() {
        let text = r#"{"box":"hello","launch":"00000000000000000000000000000001","instance":"i-1","host":"h","boot":"b","since":"2026-01-02T03:04:05Z","lease":"flock"}"#;
        let holder = parse_holder(text);
        assert_eq!((holder.box_.as_str(), holder.launch().is_some()), ("hello", true));
        assert_eq!(parse_holder("").launch(), None);
    }

    #[test]
    fn what_the_manifest_does_not_say_the_link_does() {
        let raw = |manifest: &str| RawGeneration {
            project: "p".into(),
            generation: 3,
            current: true,
            environment: "/nix/store/x".into(),
            there: true,
            made: 60,
            manifest: manifest.into(),
        };
        let bare = read_generation(raw(""));
        assert_eq!((bare.made.as_second(), bare.paths, bare.what.fingerprint), (60, None, None));
        let full =
            read_generation(raw(r#"{"fingerprint":"ab","paths":5,"bytes":7,"made":"1970-01-01T00:02:00Z"}"#));
        let print = full.what.fingerprint.map(|print| print.0);
        assert_eq!((full.made.as_second(), full.paths, print.as_deref()), (120, Some(5), Some("ab")));
    }

    proptest! {
        #[test]
        fn no_file_panics(text in "(.|\n){0,200}", made: i64) {
            parse_holder(&text);
            read_generation(RawGeneration {
                project: String::new(), generation: 0, current: false, environment: String::new(), there: false, made,
                manifest: text,
            });
        }
    }
}
