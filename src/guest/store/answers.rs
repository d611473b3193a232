//! What the scripts of the store commands answer.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::nix::Fingerprint;

/// A project's generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// The project.
    pub project: String,
    /// Its generation.
    pub generation: u64,
}

/// What the store takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// In its filesystem.
    pub store: u64,
    /// On the volume.
    pub volume: u64,
    /// What the volume has free.
    pub free: u64,
}

/// The answer of `store-gc.sh`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "kebab-case"))]
pub struct Collected {
    /// The generations that rolled off, or would.
    pub rolled: Vec<Numbered>,
    /// How many store paths went, or would.
    pub paths: u64,
    /// The size of their NARs.
    pub bytes: u64,
    /// How many bytes the filesystem said it does not use, when it was trimmed.
    pub trimmed: Option<u64>,
    /// Why it was not trimmed; empty where it was.
    #[serde(default)]
    pub untrimmed: String,
    /// How many snapshots there are.
    #[serde(default)]
    pub snapshots: u64,
    /// What the store took.
    pub before: Room,
    /// What it takes now; nothing where nothing was done.
    pub after: Option<Room>,
}

/// The answer of `store-grow.sh`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "kebab-case"))]
pub struct Grown {
    /// The size that the filesystem had.
    pub before: u64,
    /// The one that it has.
    pub after: u64,
    /// What is used of it.
    pub used: u64,
    /// What is free in it.
    pub free: u64,
    /// What the image takes on the volume.
    pub real: u64,
    /// What the volume has free.
    pub volume_free: u64,
    /// The size of the image.
    pub promised: u64,
    /// Whether this box may not grow what is mounted: the next mount does.
    pub deferred: bool,
}

/// The answer of `store-check.sh`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "kebab-case"))]
pub struct Checked {
    /// Whether the store is mounted, so that store paths could be looked at.
    pub mounted: bool,
    /// What e2fsck found, where it was asked.
    pub fsck: Option<Fsck>,
    /// The snapshot of before the repair.
    pub kept: Option<String>,
    /// How many errors the kernel has met in the filesystem.
    #[serde(default)]
    pub errors: u64,
    /// How many store paths were looked at.
    #[serde(default)]
    pub paths: u64,
    /// The exit status of Nix's verification.
    #[serde(default)]
    pub code: i64,
    /// How long that took.
    #[serde(default)]
    pub seconds: u64,
    /// Store paths that are not what they must be.
    #[serde(default)]
    pub damaged: Vec<Damage>,
    /// What else was said.
    #[serde(default)]
    pub said: Vec<String>,
    /// Whether nothing could be repaired, for the filesystem has become read-only.
    #[serde(default)]
    pub read_only: bool,
    /// Damaged paths that were fetched or built anew.
    #[serde(default)]
    pub repaired: Vec<String>,
    /// Damaged paths that were thrown away, and what referred to them.
    #[serde(default)]
    pub thrown: Vec<String>,
    /// Generations that have gone with them.
    #[serde(default)]
    pub lost: Vec<Numbered>,
}

/// A store path that is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Which.
    pub path: String,
    /// What Nix says of it.
    pub why: String,
}

/// What e2fsck found in an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fsck {
    /// Its exit status: 0 for clean, 1 for repaired.
    pub code: i64,
    /// Whether its journal had been replayed; without that, it finds more than there is.
    pub replayed: bool,
    /// What it said, shortened.
    pub said: Vec<String>,
}

/// A snapshot as `store-snapshot.sh` has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RawSnapshot {
    /// Its name.
    pub name: String,
    /// The size of its image.
    pub size: u64,
    /// What it takes on the volume.
    pub real: u64,
    /// When its file was last changed, in seconds since 1970.
    pub made: i64,
    /// The file that describes it, as it is.
    pub about: Option<String>,
}

/// A snapshot of a store image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// The size of its image.
    pub size: u64,
    /// What it takes on the volume. Of a clone, what it shares with the image counts too.
    pub real: u64,
    /// When it was taken.
    pub made: Timestamp,
    /// What for: `asked`, `before-repair`, `before-restore`; nothing where it is not known.
    pub why: Option<String>,
    /// The box that took it.
    pub taken_by: Option<String>,
    /// `reflink`, `copy` or `rename`.
    pub how: Option<String>,
    /// What was current in it.
    pub environments: Vec<Current>,
}

/// An environment that is, or was, current.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// Of which project.
    pub project: String,
    /// Its generation.
    pub generation: u64,
    /// Its store path.
    pub environment: String,
    /// Its fingerprint, where anybody remembers.
    #[serde(deserialize_with = "unless_empty")]
    pub fingerprint: Option<Fingerprint>,
}

fn unless_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Fingerprint>, D::Error> {
    Ok(Some(String::deserialize(from)?).filter(|print| !print.is_empty()).map(Fingerprint))
}

/// What a snapshot is, by the script's answer and the file beside its image, which may be missing or damaged. Pure.
pub fn read_snapshot(raw: RawSnapshot) -> Snapshot {
    #[derive(Default, Deserialize)]
    struct About {
        made: Option<Timestamp>,
        why: Option<String>,
        #[serde(rename = "box")]
        box_: Option<String>,
        how: Option<String>,
        #[serde(default)]
        environments: Vec<Current>,
    }
    let about: About = raw.about.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let made = about.made.or_else(|| Timestamp::from_second(raw.made).ok()).unwrap_or(Timestamp::UNIX_EPOCH);
    Snapshot {
        name: raw.name,
        size: raw.size,
        real: raw.real,
        made,
        why: about.why,
        taken_by: about.box_,
        how: about.how,
        environments: about.environments,
    }
}

/// The answer of `store-snapshot.sh list`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Listed {
    /// Every snapshot of this architecture.
    pub snapshots: Vec<RawSnapshot>,
    /// Bytes free on the volume.
    pub free: u64,
}

/// The answer of `store-snapshot.sh take`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Taken {
    /// The snapshot.
    pub snapshot: RawSnapshot,
    /// Whether its filesystem is.
    pub whole: bool,
    /// How long the store was frozen for it.
    pub milliseconds: u64,
    /// Bytes free on the volume.
    pub free: u64,
}

/// The answer of `store-snapshot.sh delete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Its name.
    pub deleted: String,
    /// Bytes free on the volume before.
    pub before: u64,
    /// And now.
    pub free: u64,
}

/// The answer of `store-restore.sh`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The snapshot.
    pub name: String,
    /// The snapshot that the image of before became.
    pub kept: Option<String>,
    /// `reflink` or `copy`.
    pub how: String,
    /// How long the copy took.
    pub milliseconds: u64,
    /// What was current.
    pub before: Vec<Current>,
    /// What is current now.
    pub environments: Vec<Current>,
}

/// The answer of `rollback.sh`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// The project.
    pub project: String,
    /// The generation that is current now.
    pub generation: u64,
    /// The one that was.
    pub before: u64,
    /// Its environment.
    pub environment: String,
    /// Its fingerprint, from what Nix registered on the box.
    pub fingerprint: Fingerprint,
    /// How many store paths that is.
    pub paths: u64,
    /// How many bytes of NARs that is.
    pub bytes: u64,
    /// What the volume remembers of it, as it is.
    #[serde(skip_serializing)]
    pub manifest: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_snapshot_without_its_description_is_one_all_the_same() {
        let raw = |about: Option<&str>| RawSnapshot {
            name: "a".into(),
            size: 2,
            real: 1,
            made: 60,
            about: about.map(str::to_owned),
        };
        let bare = read_snapshot(raw(None));
        assert_eq!((bare.made.as_second(), bare.why), (60, None));
        assert_eq!(read_snapshot(raw(Some("{"))).how, None);
        let about = r#"{"name":"a","why":"asked","system":"x86_64-linux","made":"2026-01-02T03:04:05Z","box":"hello","launch":"l",
            "how":"copy","size":2,"environments":[{"project":"p","generation":3,"environment":"/nix/store/x","fingerprint":""}]}"#;
        let full = read_snapshot(raw(Some(about)));
        assert_eq!((full.taken_by.as_deref(), full.how.as_deref()), (Some("hello"), Some("copy")));
        assert_eq!((full.environments[0].generation, full.environments[0].fingerprint.clone()), (3, None));
    }

    proptest! {
        #[test]
        fn no_description_panics(about in "(.|\n){0,200}") {
            read_snapshot(RawSnapshot { name: String::new(), size: 0, real: 0, made: i64::MAX, about: Some(about) });
        }
    }
}
