//! Who rents out instances, in our own words. One trait, one folder for each provider.

pub mod catalog;
pub mod lambda;
pub mod local;

use std::net::IpAddr;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::events::Events;
use crate::names::{BoxName, InstanceId, LaunchId, System, VolumeName};
use crate::ssh::keys::LoginKey;

/// What an instance is doing, as the provider sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceStatus {
    /// It is on its way up.
    Booting,
    /// The provider calls it up. Only ssh tells whether it is.
    Active,
    /// The provider found something wrong with it. It is billed all the same, and may never take ssh.
    Unhealthy,
    /// It is billed, and will not come back by itself: end it.
    Dead,
    /// The provider took it away.
    Preempted,
    /// It is on its way down.
    Terminating,
    /// It is gone.
    Terminated,
    /// What the provider says of it makes no sense to this version.
    Unreadable,
    /// Something this version does not know; shown as it came.
    #[serde(untagged)]
    Other(String),
}

impl InstanceStatus {
    /// Whether it may be billed. What we don't know counts as billed.
    pub fn may_bill(&self) -> bool {
        !matches!(self, Self::Terminated)
    }

    /// Whether its end is under way or over, so that nobody can work on it any more.
    pub fn is_ending(&self) -> bool {
        matches!(self, Self::Terminating | Self::Terminated | Self::Preempted)
    }
}

impl std::fmt::Display for InstanceStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Booting => "booting",
            Self::Active => "active",
            Self::Unhealthy => "unhealthy",
            Self::Dead => "dead",
            Self::Preempted => "preempted",
            Self::Terminating => "terminating",
            Self::Terminated => "terminated",
            Self::Unreadable => "unreadable",
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
    /// Whether it carries our tag, be it one that this version can't read.
    pub ours: bool,
    /// Our launch id, as the tag says.
    pub launch: Option<LaunchId>,
    /// What it is doing.
    pub status: InstanceStatus,
    /// Where ssh may answer, once known.
    pub address: Option<IpAddr>,
    /// What it can run.
    pub system: Option<System>,
    /// What kind of machine it is, in the provider's words.
    pub instance_type: Option<String>,
    /// Where it is, in the provider's words.
    pub region: Option<String>,
    /// The volumes attached to it. Not validated.
    pub volumes: Vec<String>,
    /// When it was asked for, where that is known.
    pub since: Option<Timestamp>,
    /// The machine it was launched from, as its tag says.
    pub launched_from: Option<String>,
    /// What an hour costs now, in US cents; 0 on machines of one's own.
    pub cents_per_hour: Option<u32>,
    /// What else the provider says of it, by the provider's names. Never a secret.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

impl Instance {
    /// Whether it may be of any launch, for all that can be read of it.
    pub fn may_be_anybodys(&self) -> bool {
        self.status == InstanceStatus::Unreadable && self.launch.is_none()
    }
}

/// A persistent filesystem that outlives instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// The provider's id of it; the name where it has none.
    pub id: String,
    /// Where a guest finds it mounted. Absolute.
    pub mount_point: String,
    /// Where it lives; nothing where it can be attached anywhere.
    pub region: Option<String>,
    /// What a person should know about where it is: a folder, a region.
    pub place: String,
}

/// What tells the account of a launch from every other. None of it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Where the provider was asked.
    pub address: String,
    /// The provider's id of the volume of the launch: only that account has it.
    pub volume: String,
}

/// A kind of machine that can be launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// In the provider's words: `gpu_1x_gh200`.
    pub instance_type: String,
    /// What it runs.
    pub system: System,
    /// What an hour costs now, in US cents.
    pub cents_per_hour: u32,
    /// Where the provider says it has one free. No promise: such a launch may be refused.
    pub regions: Vec<String>,
}

/// An operating system image, as far as choosing a place needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageOffer {
    /// What its versions have in common: `lambda-stack-24-04`.
    pub family: String,
    /// What it is made for, where that is a system we know.
    pub system: Option<System>,
    /// Where it can be launched.
    pub region: String,
}

/// What can be launched now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Market {
    /// The kinds of machine.
    pub offers: Vec<Offer>,
    /// The images; empty where the provider brings its own.
    pub images: Vec<ImageOffer>,
}

/// What is asked for in one launch: which machine, where, on which image, with which volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// In the provider's words.
    pub instance_type: String,
    /// In the provider's words.
    pub region: String,
    /// What it runs.
    pub system: System,
    /// What an hour costs, in US cents.
    pub cents_per_hour: u32,
    /// The family of its image, where the provider has several.
    pub image_family: Option<String>,
    /// The volume, which lives there.
    pub volume: VolumeName,
}

/// All that a provider needs to launch.
#[derive(Clone)]
pub struct LaunchRequest {
    /// Name and host name.
    pub name: BoxName,
    /// Our tag. Launching the same id twice yields the same instance.
    pub launch: LaunchId,
    /// When it was asked for, as the journal has it.
    pub asked: Timestamp,
    /// What, and where.
    pub placement: Placement,
    /// What to attach.
    pub volume: Volume,
    /// Who may log in.
    pub login: LoginKey,
    /// cloud-init user data: plain text, at most 1 MB. Holds the ssh host key of the box, so it is
    /// never logged, and this has no `Debug`.
    pub user_data: String,
}

/// How a launch that was asked for came out.
#[derive(Debug)]
pub enum Attempt {
    /// There is an instance.
    Launched(Box<Launched>),
    /// There is none: nothing of that kind is free there.
    NoCapacity(
        /// What the provider said.
        String,
    ),
    /// There is none, and later there may be: the provider is out of reach, or too busy.
    Unavailable(
        /// What happened instead of an answer, or was the answer.
        String,
    ),
    /// There is none: it was refused for another reason, or never sent.
    Refused(
        /// Why.
        Error,
    ),
    /// The answer was lost, and by all that the provider has said since there is no instance.
    Lost(
        /// What came instead of an answer.
        String,
    ),
}

impl Attempt {
    /// The instance, if there is one.
    pub fn launched(self) -> Option<Launched> {
        match self {
            Self::Launched(launched) => Some(*launched),
            Self::NoCapacity(_) | Self::Unavailable(_) | Self::Refused(_) | Self::Lost(_) => None,
        }
    }
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

    /// One instance; nothing where the provider knows of none with that id.
    ///
    /// # Errors
    /// As [`list`](Provider::list).
    async fn describe(&self, id: &InstanceId) -> Result<Option<Instance>> {
        Ok(self.list().await?.into_iter().find(|i| i.id == *id))
    }

    /// What will tell later that a launch with this volume was of this account; nothing where there is only one.
    fn account(&self, volume: &Volume) -> Option<Account>;

    /// Whether that account is the one that is asked here. What is not listed in another one is not gone.
    ///
    /// # Errors
    /// As [`list`](Provider::list).
    async fn is_account(&self, account: Option<&Account>) -> Result<bool>;

    /// What can be launched now.
    ///
    /// # Errors
    /// [`Kind::Provider`](crate::error::Kind::Provider).
    async fn market(&self) -> Result<Market>;

    /// The kinds of machine that can be launched now.
    ///
    /// # Errors
    /// [`Kind::Provider`](crate::error::Kind::Provider).
    async fn offers(&self) -> Result<Vec<Offer>> {
        Ok(self.market().await?.offers)
    }

    /// Whether a box has a Nix of its own before it gets that of the environment.
    fn images_have_nix(&self) -> bool;

    /// How long after a launch was asked for [`list`](Provider::list) may still not show its instance.
    fn settle_time(&self) -> std::time::Duration;

    /// How long a volume may take to appear on a guest that is up.
    fn volume_wait(&self) -> std::time::Duration;

    /// How often to ask whether an instance is still there, while waiting for it.
    fn pace(&self) -> std::time::Duration;

    /// Those of the volumes that exist, in the order of their names here.
    ///
    /// # Errors
    /// [`Kind::Volume`](crate::error::Kind::Volume) when one exists and can't be used.
    async fn volumes(&self, names: &[VolumeName]) -> Result<Vec<Volume>>;

    /// Whether a volume may be made under this name.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) when the provider's rules for names are narrower than ours.
    fn may_create(&self, name: &VolumeName) -> Result<()> {
        let _ = name;
        Ok(())
    }

    /// Makes the volume, in a region where the provider has several. It exists afterwards.
    ///
    /// # Errors
    /// [`Kind::Volume`](crate::error::Kind::Volume).
    async fn create_volume(&self, name: &VolumeName, region: Option<&str>) -> Result<Volume>;

    /// The one of the user's keys to log in with: one that the provider knows already, or else the
    /// first, which it knows afterwards. `keys` is not empty.
    ///
    /// # Errors
    /// [`Kind::Provider`](crate::error::Kind::Provider).
    async fn login_key(&self, keys: &[LoginKey]) -> Result<LoginKey>;

    /// Asks for an instance, once. Afterwards exactly one carries `request.launch` or none, as the
    /// [`Attempt`] says.
    ///
    /// # Errors
    /// [`Kind::Provider`](crate::error::Kind::Provider): nobody knows whether there is one; when the provider can
    /// be asked again, [`list`](Provider::list) shows it.
    async fn launch(&self, request: &LaunchRequest, events: &Events) -> Result<Attempt>;

    /// Ends an instance as if its plug were pulled. Afterwards the provider shows it as ending, or not at
    /// all. Ending what is gone is no error.
    ///
    /// # Errors
    /// [`Kind::Provider`](crate::error::Kind::Provider), naming what is left.
    async fn terminate(&self, id: &InstanceId, events: &Events) -> Result<()>;
}
