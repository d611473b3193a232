//! Who rents out instances, in our own words. One trait, one folder for each provider.

pub mod local;

use std::net::IpAddr;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::events::Events;
use crate::names::{BoxName, InstanceId, LaunchId, System, VolumeName};

/// What an instance is doing, as the provider sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceStatus {
    /// It is on its way up.
    Booting,
    /// The provider calls it up. Only ssh tells whether it is.
    Active,
    /// It is billed, and will not come back by itself: end it.
    Dead,
    /// It is on its way down.
    Terminating,
    /// It is gone.
    Terminated,
    /// Something this version does not know; shown as it came.
    #[serde(untagged)]
    Other(String),
}

impl InstanceStatus {
    /// Whether it may be billed. What we don't know counts as billed.
    pub fn may_bill(&self) -> bool {
        !matches!(self, Self::Terminated)
    }
}

impl std::fmt::Display for InstanceStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Booting => "booting",
            Self::Active => "active",
            Self::Dead => "dead",
            Self::Terminating => "terminating",
            Self::Terminated => "terminated",
            Self::Other(other) => other,
        })
    }
}

/// What the provider bills.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Instance {
    /// The provider's id.
    pub id: InstanceId,
    /// Its name there. Not validated: other clients name instances too.
    pub name: String,
    /// Our launch id, when it carries our tag.
    pub launch: Option<LaunchId>,
    /// What it is doing.
    pub status: InstanceStatus,
    /// Where ssh may answer, once known.
    pub address: Option<IpAddr>,
    /// What it can run.
    pub system: Option<System>,
    /// The volume attached to it.
    pub volume: Option<String>,
    /// When it was asked for, where the provider knows.
    pub since: Option<Timestamp>,
    /// What an hour costs, in US cents; 0 on machines of one's own.
    pub cents_per_hour: Option<u32>,
}

/// A persistent filesystem that outlives instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// Where a guest finds it mounted. Absolute.
    pub mount_point: String,
    /// What a person should know about where it is: a folder, a region.
    pub place: String,
}

/// All that a provider needs to launch.
#[derive(Clone, Debug)]
pub struct LaunchRequest {
    /// Name and host name.
    pub name: BoxName,
    /// Our tag. Launching the same id twice yields the same instance.
    pub launch: LaunchId,
    /// What the box has to run.
    pub system: System,
    /// What to attach.
    pub volume: Volume,
    /// cloud-init user data: plain text, at most 1 MB. Holds the ssh host key of the box, so it is
    /// never logged.
    pub user_data: String,
}

/// An instance just launched. It is billed from now on, so somebody has to take it:
/// [`keep`](Launched::keep) it once its id is on disk, or terminate it.
#[must_use = "a launched instance bills: journal it and keep it, or terminate it"]
#[derive(Debug)]
pub struct Launched(Instance);

impl Launched {
    /// For providers: `instance` exists now.
    pub fn new(instance: Instance) -> Self {
        Self(instance)
    }

    /// Its id, for the journal.
    pub fn id(&self) -> &InstanceId {
        &self.0.id
    }

    /// Its id is on disk: it is the caller's from here.
    pub fn keep(self) -> Instance {
        self.0
    }

    /// Ends it: nobody could take it.
    ///
    /// # Errors
    /// As [`Provider::terminate`].
    pub async fn terminate(self, provider: &dyn Provider, events: &Events) -> Result<()> {
        provider.terminate(&self.0.id, events).await
    }
}

/// Somebody who rents out instances.
#[async_trait(?Send)]
pub trait Provider {
    /// The word in the configuration.
    fn name(&self) -> &'static str;

    /// What an instance here runs, unless asked otherwise.
    fn default_system(&self) -> Result<System>;

    /// Whether this machine can use the provider at all; touches nothing.
    ///
    /// # Errors
    /// [`Kind::Provider`](crate::error::Kind::Provider), naming all that is missing and how to get it.
    async fn check(&self) -> Result<()>;

    /// Every instance there is, ours or not. An answer that could not be had is an error, never an
    /// empty list.
    ///
    /// # Errors
    /// [`Kind::Provider`](crate::error::Kind::Provider).
    async fn list(&self) -> Result<Vec<Instance>>;

    /// How long a volume may take to appear on a guest that is up.
    fn volume_wait(&self) -> std::time::Duration;

    /// The volume of that name, if it exists.
    ///
    /// # Errors
    /// [`Kind::Volume`](crate::error::Kind::Volume) when it exists and can't be used.
    async fn volume(&self, name: &VolumeName) -> Result<Option<Volume>>;

    /// Makes the volume. It exists afterwards.
    ///
    /// # Errors
    /// [`Kind::Volume`](crate::error::Kind::Volume).
    async fn create_volume(&self, name: &VolumeName) -> Result<Volume>;

    /// Launches. Afterwards exactly one instance carries `request.launch`; when it fails, none does,
    /// or [`list`](Provider::list) shows the one that does.
    ///
    /// # Errors
    /// [`Kind::Provider`](crate::error::Kind::Provider).
    async fn launch(&self, request: &LaunchRequest, events: &Events) -> Result<Launched>;

    /// Ends an instance as if its plug were pulled. Afterwards nothing of it is left. Ending what is
    /// gone is no error.
    ///
    /// # Errors
    /// [`Kind::Provider`](crate::error::Kind::Provider), naming what is left.
    async fn terminate(&self, id: &InstanceId, events: &Events) -> Result<()>;
}
