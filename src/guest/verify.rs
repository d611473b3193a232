//! What a box has of a project's environment, for a proof.

use std::time::Duration;

use serde::Deserialize;

use crate::error::Result;
use crate::events::Running;
use crate::guest::store::answers::Damage;
use crate::guest::store::{Work, ask};
use crate::names::ProjectName;
use crate::nix::listing::parse_listing;
use crate::nix::{Fingerprint, Listing};
use crate::ssh::Guest;

/// How long the box may take to say what is registered.
const LOOK: Duration = Duration::from_secs(120);
/// How long it may take to read everything.
const READ: Duration = Duration::from_secs(6 * 3600);

/// The answer of `verify.sh`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Found {
    /// The generation that is current.
    pub generation: u64,
    /// Its environment: Nix's `…-env` path.
    pub environment: String,
    /// Its fingerprint, from what Nix registered on the box; empty where it is not registered.
    pub fingerprint: Fingerprint,
    /// How many store paths it refers to, without itself.
    pub paths: u64,
    /// The bytes of their NARs.
    pub bytes: u64,
    /// What the volume remembers of the generation, as it is; empty where there is nothing.
    pub manifest: String,
    /// The SHA-256 of the script that enters it; empty where there is none.
    pub script: String,
    /// Store paths of it that are not there, whatever is registered.
    pub gone: Vec<String>,
    /// Whether every file was read.
    pub deep: bool,
    /// How many seconds that took.
    pub seconds: u64,
    /// Store paths whose files are not what was registered.
    pub damaged: Vec<Damage>,
    /// The lines of its listing; empty where it has the fingerprint that was asked for.
    pub listing: Vec<String>,
}

/// What is remembered of a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Remembered {
    /// The dev shell's own derivation.
    #[serde(default)]
    pub derivation: Option<String>,
    /// The SHA-256 of the script that enters it.
    #[serde(default)]
    pub script: Option<String>,
    /// When it was made.
    #[serde(default)]
    pub made: Option<jiff::Timestamp>,
}

impl Found {
    /// What its manifest says; nothing where that is missing or damaged.
    pub fn remembered(&self) -> Remembered {
        serde_json::from_str(&self.manifest).unwrap_or_default()
    }
}

/// The answer of `listing.sh`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Listed {
    /// The generation; 0 where there is none with that fingerprint.
    pub generation: u64,
    /// What the volume remembers of it, as it is.
    pub manifest: String,
    /// The lines of its listing.
    pub listing: Vec<String>,
}

impl Listed {
    /// Its store paths; nothing where the volume has them not, or damaged.
    pub fn listing(&self) -> Option<Listing> {
        parse_listing(&self.listing.join("\n")).ok().filter(|listing| !listing.0.is_empty())
    }
}

/// What the volume remembers of a generation, by its number or its fingerprint.
///
/// # Errors
/// [`Kind::Usage`](crate::error::Kind::Usage) when there is no such number; else as [`look`].
pub async fn listed(guest: &Guest, project: &ProjectName, which: &str) -> Result<Listed> {
    ask(guest, &Work::look("listing", LOOK).arg(project.as_str()).arg(which), None).await
}

/// Asks a box what it has; with `deep` it reads every file, and `phase` shows how far it is.
///
/// # Errors
/// [`Kind::Guest`](crate::error::Kind::Guest) when it can't be reached; [`Kind::Volume`](crate::error::Kind::Volume) when
/// its store is not mounted; [`Kind::Differs`](crate::error::Kind::Differs) when the project has nothing there.
pub async fn look(
    guest: &Guest,
    project: &ProjectName,
    expected: &Fingerprint,
    deep: bool,
    phase: &Running,
) -> Result<Found> {
    let work = Work::look("verify", if deep { READ } else { LOOK }).arg(project.as_str()).arg(&expected.0);
    ask(guest, &work.maybe(deep.then_some("--deep")), Some(phase)).await
}
