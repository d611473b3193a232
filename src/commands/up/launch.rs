//! The part of `up` that is about the box: launched or found again, reached, set up, given its Nix.

use std::time::Duration;

use jiff::Timestamp;

use super::{BoxUp, Story};
use crate::commands::context::still_there;
use crate::error::{Error, Kind, Result, ignore};
use crate::events::Phase;
use crate::failpoint;
use crate::guest::facts::Facts;
use crate::guest::user_data::{self, UserData};
use crate::guest::{bootstrap, facts, seed};
use crate::journal::Entry;
use crate::names::LaunchId;
use crate::nix::Environment;
use crate::plan::up::Source;
use crate::plan::{UpPlan, Wanted};
use crate::provider::{Attempt, LaunchRequest, Placement, Volume};
use crate::ssh::Guest;
use crate::ssh::connection::KEY_GRACE;
use crate::ssh::keys;

impl Story<'_> {
    /// A box that is reachable and set up: the one that runs, or a new one.
    pub(super) async fn box_up(&self, plan: &UpPlan, volume: &Volume) -> Result<BoxUp> {
        let entry = match &plan.source {
            Source::Running { instance, entry } => {
                let mut entry = Entry::clone(entry);
                if entry.instance.as_ref() != Some(&instance.id) || entry.address != instance.address {
                    entry.instance = Some(instance.id.clone());
                    entry.address = instance.address;
                    self.cx.journal.write(&entry)?;
                }
                entry
            }
            Source::Launch => {
                // The sender lives as long as this story, so the wait ends with the evaluation.
                ignore(self.evaluated.subscribe().wait_for(|evaluated| *evaluated).await);
                self.launch(volume).await?
            }
        };
        let guest = self.cx.guest(&entry, &self.config).await?;
        let fresh = self.reach(&guest, &entry).await?;
        // A step that failed before gets another chance on a box that ran already.
        let again = plan.source != Source::Launch;
        let mut set_up = self.set_up(&guest, &entry, again).await;
        let failed = set_up.as_ref().is_err_and(|e| e.kind() == Kind::Guest);
        if failed && !fresh && !guest.is_connected().await {
            // The open connection was to a box that has lost its power since.
            self.reach(&guest, &entry).await?;
            set_up = self.set_up(&guest, &entry, again).await;
        }
        match set_up {
            Ok(facts) => Ok(BoxUp { guest, entry, facts }),
            Err(e) => Err(self.unless_dead(&entry, e).await),
        }
    }

    /// Launches: intent on disk, then the billable call, then its id on disk.
    async fn launch(&self, volume: &Volume) -> Result<Entry> {
        let Wanted { name, system, .. } = &self.wanted;
        let host_key = keys::fresh_host_key().await?;
        let login = keys::login(&self.cx.paths, self.config.ssh.key.as_deref()).await?;
        let launch = LaunchId::random();
        let mut trusted = self.config.caches.trusted_public_keys.clone();
        trusted.push(self.signing.public.clone());
        let user_data = user_data::render(&UserData {
            name,
            launch,
            system: *system,
            host_key: &host_key,
            authorized_keys: std::slice::from_ref(&login.public),
            mount_point: &volume.mount_point,
            volume_wait: self.provider.volume_wait(),
            store_size: self.config.volume.store_size.as_bytes(),
            substituters: &self.config.caches.substituters,
            trusted_public_keys: &trusted,
        })?;
        let intent = Entry {
            launch,
            name: name.clone(),
            project: self.project_name.clone(),
            root: self.project.root.clone(),
            provider: self.wanted.provider.clone(),
            system: *system,
            volume: volume.name.clone(),
            host_key: host_key.public.clone(),
            asked: Timestamp::now(),
            instance: None,
            address: None,
            cents_per_hour: None,
            ready: None,
            fingerprint: None,
            ended: None,
        };
        self.cx.journal.write(&intent)?;
        failpoint::hit("intent");

        let market = self.provider.market().await?;
        let Some(offer) = market.offers.first() else {
            return Err(Error::new(Kind::Provider, "the provider has nothing to launch"));
        };
        let placement = Placement {
            instance_type: offer.instance_type.clone(),
            region: offer.regions.first().cloned().unwrap_or_default(),
            system: *system,
            cents_per_hour: offer.cents_per_hour,
            image_family: None,
            volume: volume.name.clone(),
        };
        let request = LaunchRequest {
            name: name.clone(),
            launch,
            asked: intent.asked,
            placement,
            volume: volume.clone(),
            login,
            user_data,
        };
        self.asking.set(true);
        let phase = self.cx.ui.events.phase(Phase::Launch);
        let launched = self.provider.launch(&request, &self.cx.ui.events).await;
        failpoint::hit("launched");
        let written = match launched {
            Ok(Attempt::NoCapacity(why) | Attempt::Lost(why)) => Err(Error::new(Kind::Provider, why)),
            Ok(Attempt::Launched(launched)) => {
                phase.done(launched.id().to_string());
                let mut entry = Entry { instance: Some(launched.id().clone()), ..intent };
                match self.cx.journal.write(&entry) {
                    Ok(()) => {
                        let instance = launched.keep();
                        entry.address = instance.address;
                        entry.cents_per_hour = instance.cents_per_hour;
                        self.cx.journal.write(&entry).map(|()| entry)
                    }
                    Err(e) => {
                        self.cx.ui.events.warn("the journal can't be written: ending the instance again");
                        launched.terminate(self.provider.as_ref(), &self.cx.ui.events).await?;
                        Err(e)
                    }
                }
            }
            Err(e) => Err(e),
        };
        self.asking.set(false);
        failpoint::hit("id");
        written
    }

    /// Until ssh answers with the pinned host key; then true. An open connection is nearly as good: false.
    async fn reach(&self, guest: &Guest, entry: &Entry) -> Result<bool> {
        if guest.is_connected().await {
            return Ok(false);
        }
        let phase = self.cx.ui.events.phase(Phase::Boot);
        let address = entry.address.map(|a| a.to_string()).unwrap_or_default();
        phase.doing(format!("waiting for ssh at {address}"));
        let key_grace = if entry.ready.is_some() { Duration::ZERO } else { KEY_GRACE };
        let still_there = || still_there(self.provider.as_ref(), entry);
        let refused = |why: &str| phase.doing(format!("waiting for ssh at {address}: {why}"));
        guest.wait_for_ssh(self.config.box_.boot_timeout, key_grace, still_there, refused).await?;
        phase.done(address.clone());
        Ok(true)
    }

    /// Until the box has volume, store, home and Nix. A box that has been ready before is asked
    /// first: one round trip.
    async fn set_up(&self, guest: &Guest, entry: &Entry, again: bool) -> Result<Facts> {
        let ask = async || {
            let phase = self.cx.ui.events.phase(Phase::Facts);
            let facts = facts::ask(guest, &self.project_name).await?;
            phase.done(format!("Linux {}, Nix {}", facts.kernel, facts.nix.as_deref().unwrap_or("none")));
            Ok::<_, Error>(facts)
        };
        if entry.ready.is_some() {
            match ask().await {
                Ok(facts) if facts.is_set_up() => return Ok(facts),
                Ok(_) => {}
                // On its way down, to come up again: a reboot.
                Err(e) if e.kind() == Kind::Guest && guest.is_connected().await => {}
                Err(e) => return Err(e),
            }
        }
        bootstrap::wait_until_set_up(guest, again, self.config.box_.boot_timeout, &self.cx.ui.events).await?;
        ask().await
    }

    /// The better error: that the box died, where that is why.
    pub(super) async fn unless_dead(&self, entry: &Entry, e: Error) -> Error {
        if e.kind() != Kind::Guest {
            return e;
        }
        // The connection may notice before the provider does.
        for pause in [Duration::ZERO, Duration::from_secs(1)] {
            tokio::time::sleep(pause).await;
            match still_there(self.provider.as_ref(), entry).await {
                Err(dead) if dead.kind() == Kind::Guest => return dead.caused_by(e),
                _ => {}
            }
        }
        e
    }

    /// The box's Nix, where the project names one and the box has another.
    pub(super) async fn seed(&self, environment: &Environment, up: &BoxUp) -> Result<()> {
        let Some(nix) = &environment.guest_nix else {
            if up.facts.nix.is_none() {
                return Err(Error::new(Kind::Guest, format!("`{}` has no Nix", up.entry.name)).hint(
                    "name a package that gives it one: `environment.nix = \"nixpkgs#nix\"` in `devbox.toml`",
                ));
            }
            return Ok(());
        };
        let has =
            up.guest.command(&["readlink", "-e", "/nix/var/nix/profiles/devbox-nix"]).run().await?.text();
        if has.trim() == nix.path {
            return Ok(());
        }
        match seed::seed(&up.guest, nix, &self.cx.ui.events).await {
            Ok(()) => Ok(()),
            Err(e) => Err(self.unless_dead(&up.entry, e).await),
        }
    }
}
