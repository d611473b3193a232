//! Boxes on this Linux machine: systemd-nspawn, the real cloud-init, a folder as the volume.
//!
//! Needs root. A local box shares this machine's kernel and user ids: it is there to try things out,
//! and is no security boundary.

mod bare;
mod boxes;
mod cgroup;
mod emulation;
mod kernel;
mod late;
mod lock;
mod loops;
mod mounts;
mod network;
mod nspawn;
mod preflight;
mod rootfs;
mod teardown;
mod volumes;

use std::path::PathBuf;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::error::{Error, Kind, Result};
use crate::events::Events;
use crate::names::{InstanceId, System, VolumeName};
use crate::provider::{
    Account, Attempt, Instance, InstanceStatus, LaunchRequest, Launched, Market, Offer, Provider, Volume,
};
use crate::ssh::keys::LoginKey;

use boxes::{Place, Record};
use cgroup::Groups;
pub use preflight::Missing;

/// The one kind of machine, and the one place, that this provider has.
const TYPE: &str = "container";
const REGION: &str = "this machine";

/// Where the local provider keeps things. All absolute.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// Its boxes. Lost, running boxes can no longer be listed.
    pub state: PathBuf,
    /// The root filesystem under every box: what can be made again.
    pub cache: PathBuf,
    /// The folder whose folders are the volumes.
    pub volumes: PathBuf,
    /// Whether boxes have the Nix of their distribution. A cloud's images have none.
    pub nix: bool,
}

/// This machine as a provider.
#[derive(Clone, Debug)]
pub struct LocalProvider {
    config: LocalConfig,
    late_volume: bool,
    system: Option<System>,
}

impl LocalProvider {
    /// A provider that keeps things where `config` says. Touches nothing.
    pub fn new(config: LocalConfig) -> Self {
        Self { config, late_volume: false, system: None }
    }

    /// For clouds whose volumes come late: boxes launched by this one find theirs only after
    /// [`attach_volume`](Self::attach_volume), also when they reboot.
    pub fn with_late_volume(mut self) -> Self {
        self.late_volume = true;
        self
    }

    /// With boxes of this system, emulated where it is not this machine's.
    pub fn with_system(mut self, system: Option<System>) -> Self {
        self.system = system;
        self
    }

    /// All that this machine lacks for local boxes; touches nothing.
    pub fn missing(&self) -> Vec<Missing> {
        preflight::missing(&self.config.cache, self.system)
    }

    /// What its boxes run.
    fn system(&self) -> Result<System> {
        self.system.map_or_else(native, Ok)
    }

    /// Whether its boxes are emulated, and slow.
    fn is_emulated(&self) -> bool {
        self.system.is_some() && self.system != preflight::native()
    }

    /// For fault injection: the box loses its power. Nothing is synced, unmounted or cleaned up; it is
    /// [dead](InstanceStatus::Dead) afterwards.
    ///
    /// # Errors
    /// [`Kind::Provider`] when its processes can't be killed.
    pub async fn kill(&self, id: &InstanceId) -> Result<()> {
        let place = Place::of(&self.boxes(), id)?;
        Groups::of(place.id())?.kill().await.map_err(as_providers)
    }

    /// Mounts the volume of a box that was launched without. Nothing where it is mounted already, or
    /// the box is not that far: whether it is mounted now.
    ///
    /// # Errors
    /// [`Kind::Provider`] when it runs and refuses.
    pub async fn attach_volume(&self, id: &InstanceId) -> Result<bool> {
        let place = Place::of(&self.boxes(), id)?;
        late::attach(&place).await.map_err(as_providers)
    }

    /// For fault injection: the box restarts, as if its power button were pressed.
    ///
    /// # Errors
    /// [`Kind::Provider`] when it does not run or does not obey.
    pub async fn reboot(&self, id: &InstanceId) -> Result<()> {
        let place = Place::of(&self.boxes(), id)?;
        late::reboot(&place).await.map_err(as_providers)
    }

    fn boxes(&self) -> PathBuf {
        self.config.state.join("boxes")
    }

    fn lock_file(&self) -> PathBuf {
        self.config.state.join("lock")
    }

    /// Holds off everybody else who launches or ends boxes of this state folder.
    async fn lock(&self, events: &Events) -> Result<lock::Lock> {
        let waiting = || events.detail("waiting for another devbox to launch or end a local box");
        lock::take(&self.lock_file(), waiting).await.map_err(as_providers)
    }

    fn look(&self, place: &Place) -> Result<Instance> {
        // The record before the processes: a box that starts in between is then booting, not dead.
        let record = place.record();
        let status = self.status(place, record.as_ref())?;
        Ok(Instance {
            id: InstanceId(place.id().to_owned()),
            name: record.as_ref().map_or_else(|| place.id().to_owned(), |r| r.name.to_string()),
            ours: record.is_some(),
            launch: record.as_ref().map(|r| r.launch),
            status,
            address: record.as_ref().and_then(nspawn::address),
            system: record.as_ref().map(|r| r.system),
            instance_type: Some(TYPE.to_owned()),
            region: Some(REGION.to_owned()),
            volumes: record.iter().map(|r| r.volume.to_string()).collect(),
            since: record.as_ref().map(|r| r.since),
            launched_from: None,
            cents_per_hour: Some(0),
            extra: serde_json::Map::new(),
        })
    }

    fn status(&self, place: &Place, record: Option<&Record>) -> Result<InstanceStatus> {
        if Groups::of(place.id())?.populated()? {
            return Ok(InstanceStatus::Active);
        }
        // Not running and never seen running: under way if anybody is at it, else cut off.
        let under_way = record.is_some_and(|r| !r.started) && lock::is_held(&self.lock_file())?;
        Ok(if under_way { InstanceStatus::Booting } else { InstanceStatus::Dead })
    }

    /// The box at `place`, if it is up.
    fn running(&self, place: &Place) -> Result<Option<Instance>> {
        let up = place.record().is_some_and(|r| r.started) && Groups::of(place.id())?.populated()?;
        if up { self.look(place).map(Some) } else { Ok(None) }
    }

    /// Starts the box anew: what an earlier attempt left is removed, what this one makes is removed
    /// again when it fails.
    async fn launch_at(&self, place: &Place, request: &LaunchRequest, lower: &std::path::Path) -> Result<()> {
        let mut record = Record {
            launch: request.launch,
            name: request.name.clone(),
            system: request.placement.system,
            volume: request.volume.name.clone(),
            folder: volumes::folder(&self.config.volumes, &request.volume.name),
            mount_point: Some(request.volume.mount_point.clone()),
            late: self.late_volume,
            nix: self.config.nix,
            since: Timestamp::now(),
            address: None,
            started: false,
        };
        if place.record().is_none() {
            place.write(&record)?;
        }
        crate::failpoint::hit("local-recorded");
        teardown::clear(place).await?;
        place.write(&record)?;
        let Err(failed) = nspawn::start(place, &mut record, request, lower).await else { return Ok(()) };
        match teardown::tear_down(place).await {
            Ok(()) => Err(failed),
            Err(left) => Err(failed.detail(left.message().to_owned()).details(left.detail_lines().to_vec())),
        }
    }
}

#[async_trait(?Send)]
impl Provider for LocalProvider {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn check(&self) -> Result<()> {
        preflight::render_error(&self.missing()).map_or(Ok(()), Err)
    }

    async fn list(&self) -> Result<Vec<Instance>> {
        let places = Place::all(&self.boxes())?;
        places.iter().map(|place| self.look(place)).collect::<Result<_>>().map_err(as_providers)
    }

    fn volume_wait(&self) -> std::time::Duration {
        // It is bound before the box boots, so it is there or it never comes.
        std::time::Duration::from_secs(if self.is_emulated() { 60 } else { 5 })
    }

    fn account(&self, _volume: &Volume) -> Option<Account> {
        None
    }

    async fn is_account(&self, _account: Option<&Account>) -> Result<bool> {
        Ok(true)
    }

    async fn market(&self) -> Result<Market> {
        let offer = Offer {
            instance_type: TYPE.to_owned(),
            system: self.system()?,
            cents_per_hour: 0,
            regions: vec![REGION.to_owned()],
        };
        Ok(Market { offers: vec![offer], images: Vec::new() })
    }

    fn images_have_nix(&self) -> bool {
        true
    }

    fn settle_time(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    fn pace(&self) -> std::time::Duration {
        std::time::Duration::from_secs(2)
    }

    async fn volumes(&self, names: &[VolumeName]) -> Result<Vec<Volume>> {
        names.iter().filter_map(|name| volumes::find(&self.config.volumes, name).transpose()).collect()
    }

    async fn create_volume(&self, name: &VolumeName, _: Option<&str>) -> Result<Volume> {
        volumes::create(&self.config.volumes, name)
    }

    async fn login_key(&self, keys: &[LoginKey]) -> Result<LoginKey> {
        // A box takes whatever key its user data carries.
        keys.first().cloned().ok_or_else(|| Error::new(Kind::Failed, "there is no key to log in with"))
    }

    async fn launch(&self, request: &LaunchRequest, events: &Events) -> Result<Attempt> {
        self.check().await?;
        let system = self.system()?;
        if request.placement.system != system {
            return Err(Error::new(
                Kind::Provider,
                format!("local boxes here run {system}, not {}", request.placement.system),
            )
            .hint("`local.arch` in the configuration chooses, or use a provider that has such machines"));
        }
        if volumes::find(&self.config.volumes, &request.volume.name)?.is_none() {
            return Err(Error::new(Kind::Volume, format!("there is no volume `{}`", request.volume.name)));
        }
        let lower = rootfs::ready(&self.config.cache, system, events).await.map_err(as_providers)?;

        let _lock = self.lock(events).await?;
        let place = Place::of(&self.boxes(), &boxes::id_of(&request.launch))?;
        if let Some(instance) = self.running(&place)? {
            return Ok(Attempt::Launched(Box::new(Launched::new(instance))));
        }
        self.launch_at(&place, request, &lower)
            .await
            .map_err(as_providers)
            .map_err(|e| e.hint("`devbox doctor` looks for what may be missing"))?;
        self.look(&place).map(|instance| Attempt::Launched(Box::new(Launched::new(instance))))
    }

    async fn terminate(&self, id: &InstanceId, events: &Events) -> Result<()> {
        let place = Place::of(&self.boxes(), id)?;
        let _lock = self.lock(events).await?;
        teardown::tear_down(&place).await.map_err(as_providers)
    }
}

/// What local boxes run.
fn native() -> Result<System> {
    preflight::native().ok_or_else(|| {
        let machine = rustix::system::uname();
        let machine = machine.machine().to_string_lossy();
        Error::new(Kind::Provider, format!("local boxes don't run on the processor `{machine}`"))
    })
}

fn as_providers(e: Error) -> Error {
    e.with_kind(Kind::Provider)
}
