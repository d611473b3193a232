//! The part of `up` about a box that is there: reached, set up, given its Nix.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use super::choose::Sites;
use super::{BoxUp, Story};
use crate::commands::whereabouts::{still_there, unsettled};
use crate::error::{Error, Kind, Result, ignore};
use crate::events::Phase;
use crate::failpoint;
use crate::guest::facts::Facts;
use crate::guest::{bootstrap, facts, script, seed, store_broke};
use crate::journal::Entry;
use crate::names::LaunchId;
use crate::nix::environment::GuestNix;
use crate::plan::UpPlan;
use crate::plan::cost::render_price;
use crate::plan::up::{Holder, Source, in_use, is_lost, plan_holder};
use crate::provider::Instance;
use crate::ssh::Guest;
use crate::ssh::connection::KEY_GRACE;

/// ` (gpu_1x_gh200 in us-east-3)`, as far as the journal has it.
fn place_of(entry: &Entry) -> String {
    match (&entry.instance_type, &entry.region) {
        (Some(kind), Some(region)) => format!(" ({kind} in {region})"),
        _ => String::new(),
    }
}

impl Story<'_> {
    /// A box that is reachable and set up: the one that runs, or a new one. What comes meanwhile of launches that were
    /// given up is ended.
    pub(super) async fn box_up(&self, plan: &UpPlan, sites: Option<&Sites>) -> Result<BoxUp> {
        tokio::select! {
            up = self.one_box_up(plan, sites) => up,
            () = self.end_late_ones() => Err(Error::new(Kind::Failed, "nothing more to end")),
        }
    }

    async fn one_box_up(&self, plan: &UpPlan, sites: Option<&Sites>) -> Result<BoxUp> {
        let (entry, guest, fresh) = match (&plan.source, sites) {
            (Source::Running { instance, entry }, _) => {
                let entry = self.adopt(instance, entry)?;
                let until = self.boots_until(&entry);
                match self.reach(entry.clone()).await {
                    Ok(reached) => reached,
                    Err(e) => self.instead_of(&entry, until, e).await?,
                }
            }
            (_, Some(sites)) => {
                let login = self.login().await?;
                self.when_evaluated().await;
                self.new_box(sites, &login).await?
            }
            (_, None) => return Err(Error::new(Kind::Failed, "there is nowhere to launch")),
        };
        // A step that failed before gets another chance on a box that ran already.
        let again = matches!(plan.source, Source::Running { .. });
        let mut set_up = self.set_up(&guest, &entry, again).await;
        let failed = set_up.as_ref().is_err_and(|e| e.kind() == Kind::Guest);
        if failed && !fresh && !guest.is_connected().await {
            // The open connection was to a box that has lost its power since.
            let (entry, guest, _) = self.reach(entry.clone()).await?;
            set_up = self.set_up(&guest, &entry, again).await;
        }
        match set_up {
            Ok(facts) => Ok(BoxUp { guest, entry, facts }),
            Err(e) => Err(self.unless_dead(&entry, e).await),
        }
    }

    /// The box that runs, as the journal has it from now on.
    fn adopt(&self, instance: &Instance, entry: &Entry) -> Result<Entry> {
        let entry = Entry {
            instance: Some(instance.id.clone()),
            address: instance.address.or(entry.address),
            cents_per_hour: entry.cents_per_hour.or(instance.cents_per_hour),
            ..entry.clone()
        };
        self.cx.journal.write(&entry)?;
        Ok(entry)
    }

    /// Another box in place of one that ran already and will never be a box: what a new one gets.
    async fn instead_of(&self, entry: &Entry, until: Instant, e: Error) -> Result<(Entry, Guest, bool)> {
        let Some(why) = self.never_a_box(entry, until).await else { return Err(e) };
        let cost = self.give_up(entry, &why).await?;
        let plan = self.decide().await?;
        let sites = self.agreed(self.sites(&plan).await?).await?;
        // What is being built is for the system of the one that was ended.
        if sites.placements.system != entry.system {
            return Err(Error::new(Kind::Guest, format!("`{}` {why}: it was ended{cost}", entry.name))
                .caused_by(e)
                .hint(format!("`{}` launches another", self.typed)));
        }
        let login = self.login().await?;
        self.new_box(&sites, &login).await
    }

    /// Why a box that has not been ready yet will never be one; nothing while it may, or where nobody can tell.
    async fn never_a_box(&self, entry: &Entry, until: Instant) -> Option<String> {
        let in_vain = || self.is_in_vain(entry, until).then(|| "did not take ssh".to_owned());
        match self.lost(entry).await {
            Ok(why) => why.filter(|_| entry.ready.is_none()).or_else(in_vain),
            Err(unknown) => {
                self.cx.ui.events.detail(unknown.to_string());
                None
            }
        }
    }

    /// Launches until a box takes ssh. One that the provider gives up while it boots, or that never takes ssh, is ended
    /// and replaced, a few times: it would be billed and never answer. One that costs nothing is left for a look.
    async fn new_box(
        &self,
        sites: &Sites,
        login: &crate::ssh::keys::LoginKey,
    ) -> Result<(Entry, Guest, bool)> {
        let mut began = Instant::now();
        let sites = self.settled(sites, began).await?;
        let mut failed: Vec<String> = Vec::new();
        loop {
            self.until_let_go(&sites.wish.volumes).await?;
            let entry = self.launch(&sites, login, began).await?;
            let until = self.boots_until(&entry);
            let e = match self.reach(entry.clone()).await {
                Ok(reached) => return Ok(reached),
                Err(e) => e,
            };
            let Some(why) = self.never_a_box(&entry, until).await else { return Err(e) };
            let cost = self.give_up(&entry, &why).await?;
            let id = entry.instance.as_ref().map(ToString::to_string).unwrap_or_default();
            failed.push(format!("{id}{} {why}, ended{cost}", place_of(&entry)));
            if failed.len() >= self.config.box_.boot_attempts as usize {
                let what = match failed.len() {
                    1 => "the box failed while it booted, nothing runs".to_owned(),
                    many => format!("{many} boxes failed while they booted, nothing runs"),
                };
                let error = Error::new(Kind::Provider, what);
                return Err(error.details(failed).caused_by(e).hint(
                    "try another preset or region, or again later; `box.boot-timeout` gives them longer to take ssh",
                ));
            }
            began = Instant::now();
        }
    }

    /// Until when a box may take to answer. One that never did has that time from its launch, and a minute at least:
    /// it may have been up for long, and nobody looked.
    fn boots_until(&self, entry: &Entry) -> Instant {
        let all = self.config.boot_timeout();
        if entry.reached || entry.ready.is_some() {
            return Instant::now() + all;
        }
        let age = Duration::try_from(entry.asked.duration_until(Timestamp::now())).unwrap_or_default();
        Instant::now() + all.saturating_sub(age).max(all.min(Duration::from_secs(60)))
    }

    /// Whether a box that costs something has had its time to take ssh, and never did.
    fn is_in_vain(&self, entry: &Entry, until: Instant) -> bool {
        !entry.reached && entry.ready.is_none() && entry.cents_per_hour != Some(0) && Instant::now() >= until
    }

    /// Ends a box that nobody has worked on, and takes it off the books. Says what it cost: ` after 0.37 USD`.
    async fn give_up(&self, entry: &Entry, why: &str) -> Result<String> {
        let cost = match entry.cents_until(Timestamp::now()) {
            Some(cents) if cents > 0 => format!(" after {}", render_price(cents)),
            _ => String::new(),
        };
        self.cx.ui.events.warn(format!("`{}` {why} while it booted: ending it{cost}", entry.name));
        if let Some(id) = &entry.instance {
            self.provider.terminate(id, &self.cx.ui.events).await?;
        }
        failpoint::hit("replaced");
        self.cx.journal.end(entry).map_err(|e| {
            e.detail(format!("`{}` has been ended, only the journal does not know it yet", entry.name))
        })?;
        Ok(cost)
    }

    /// Ends what comes of launches that were given up: such a box would be billed, and may hold the volume that ours
    /// waits for. Never done; trouble with asking is no reason to stop what goes on beside.
    async fn end_late_ones(&self) {
        let events = &self.cx.ui.events;
        loop {
            tokio::time::sleep(self.provider.pace().max(Duration::from_millis(50))).await;
            let given_up = self.given_up.borrow().clone();
            if given_up.is_empty() {
                continue;
            }
            let instances = match self.provider.list().await {
                Ok(instances) => instances,
                Err(e) => {
                    events.detail(e.to_string());
                    continue;
                }
            };
            let late = |i: &&Instance| i.launch.is_some_and(|launch| given_up.contains(&launch));
            for instance in instances.iter().filter(late).filter(|i| !i.status.is_ending()) {
                events.warn(format!("{} came after its launch was given up: ending it", instance.id));
                if let Err(e) = self.provider.terminate(&instance.id, events).await {
                    events.warn(e.to_string());
                }
            }
        }
    }

    /// Why an instance will not become a box any more, in the provider's word; nothing while it may.
    async fn lost(&self, entry: &Entry) -> Result<Option<String>> {
        let Some(id) = &entry.instance else { return Ok(None) };
        Ok(match self.provider.describe(id).await? {
            None if unsettled(self.provider.as_ref(), entry) => None,
            None => Some("died".to_owned()),
            Some(i) if is_lost(&i, entry) || i.status.is_ending() => Some(format!("died ({})", i.status)),
            Some(_) => None,
        })
    }

    /// Until ssh answers with the pinned host key; then with true. An open connection is nearly as good: false.
    async fn reach(&self, entry: Entry) -> Result<(Entry, Guest, bool)> {
        let began = Instant::now();
        let patience = self.boots_until(&entry).saturating_duration_since(began);
        if entry.address.is_some() {
            let guest = self.cx.guest(&entry, &self.config).await?;
            if guest.is_connected().await {
                return Ok((entry, guest, false));
            }
        }
        let phase = self.cx.ui.events.phase(Phase::Boot);
        let entry = self.address(entry, &phase, patience).await?;
        let guest = self.cx.guest(&entry, &self.config).await?;
        let address = entry.address.map(|a| a.to_string()).unwrap_or_default();
        phase.doing(format!("waiting for ssh at {address}"));
        let key_grace = if entry.ready.is_some() { Duration::ZERO } else { KEY_GRACE };
        let still_there = || self.still_there(&entry);
        let refused = |why: &str| phase.doing(format!("waiting for ssh at {address}: {why}"));
        let left = patience.saturating_sub(began.elapsed()).max(Duration::from_secs(1));
        guest.wait_for_ssh(left, key_grace, self.provider.pace(), still_there, refused).await?;
        let entry = match entry.reached {
            true => entry,
            false => {
                let entry = Entry { reached: true, ..entry };
                self.cx.journal.write(&entry)?;
                entry
            }
        };
        phase.done(address.clone());
        Ok((entry, guest, true))
    }

    /// The entry with the address of its instance, which the provider may know only after a while.
    async fn address(
        &self,
        entry: Entry,
        phase: &crate::events::Running,
        patience: Duration,
    ) -> Result<Entry> {
        let Some(id) = entry.instance.clone().filter(|_| entry.address.is_none()) else { return Ok(entry) };
        let began = Instant::now();
        let mut trouble = None;
        while began.elapsed() < patience {
            // It boots on while nobody can be asked.
            match self.provider.describe(&id).await {
                Ok(Some(instance)) if !is_lost(&instance, &entry) && !instance.status.is_ending() => {
                    if let Some(address) = instance.address {
                        let entry = Entry { address: Some(address), ..entry };
                        failpoint::hit("address");
                        self.cx.journal.write(&entry)?;
                        return Ok(entry);
                    }
                    trouble = None;
                    phase.doing(format!("{id} is {}, it has no address yet", instance.status));
                }
                Ok(_) => self.still_there(&entry).await?,
                Err(e) => {
                    phase.doing(e.to_string());
                    trouble = Some(e);
                }
            }
            tokio::time::sleep(self.provider.pace()).await;
        }
        Err(trouble.unwrap_or_else(|| {
            Error::new(
                Kind::Guest,
                format!("`{}` ({id}) has no address after {} s", entry.name, patience.as_secs()),
            )
            .hint("`devbox up` goes on waiting; `box.boot-timeout` gives it longer")
        }))
    }

    /// The instance may not have died meanwhile. Trouble with asking ends no boot: what is paid for boots on, and ssh
    /// may answer all the same.
    async fn still_there(&self, entry: &Entry) -> Result<()> {
        match still_there(self.provider.as_ref(), entry).await {
            Err(e) if e.kind() == Kind::Provider => {
                self.cx.ui.events.detail(e.to_string());
                Ok(())
            }
            known => known,
        }
    }

    /// Until the box has volume, store, home and Nix. A box that has been ready before is asked
    /// first: one round trip.
    async fn set_up(&self, guest: &Guest, entry: &Entry, again: bool) -> Result<Facts> {
        let ask = async || {
            let phase = self.cx.ui.events.phase(Phase::Facts);
            let facts = facts::ask(guest, &self.project_name).await?;
            phase.done(format!("Linux {}, Nix {}", facts.kernel, facts.nix.as_deref().unwrap_or("none")));
            match &facts.errors {
                Some(why) => Err(store_broke(&guest.name, why)),
                None => Ok(facts),
            }
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
        let (tell, heard) = watch::channel(None);
        let told = |holder| ignore(tell.send(holder));
        let patience = self.config.boot_timeout();
        tokio::select! {
            done = bootstrap::wait_until_set_up(guest, again, patience, &self.cx.ui.events, told) => done?,
            Err(e) = self.judge_holder(guest, entry.launch, heard) => return Err(e),
        }
        ask().await
    }

    /// Who has the store image that our box waits for. One that lives is the end of the wait. Of one that is gone by
    /// the word of the provider our box may take it, which it would not do by itself where locks stay within one host.
    /// The holder had the volume, so it was in this account. Where it is `ours` itself a store command is at work on it.
    async fn judge_holder(
        &self,
        guest: &Guest,
        ours: LaunchId,
        mut heard: watch::Receiver<Option<LaunchId>>,
    ) -> Result<()> {
        let events = &self.cx.ui.events;
        let mut granted = None;
        loop {
            let holder = *heard.borrow_and_update();
            let Some(holder) = holder.filter(|h| holder != granted && *h != ours) else {
                if heard.changed().await.is_err() {
                    // The wait is over.
                    return Ok(());
                }
                continue;
            };
            match self.provider.list().await.map(|all| plan_holder(holder, &all)) {
                Ok(Holder::Lives(instance)) => return Err(in_use(&instance)),
                Ok(Holder::IsGone) => {
                    events.info(format!(
                        "the box that had the store image (launch {holder}) is gone: this one gets it"
                    ));
                    guest.check(&["sudo", &script("grant"), &holder.to_string()]).await?;
                    granted = Some(holder);
                }
                Ok(Holder::IsEnding) => tokio::time::sleep(self.provider.pace()).await,
                Ok(Holder::Unknown(odd)) => {
                    events.detail(format!(
                        "the provider's words about {odd} make no sense, and it may be the one"
                    ));
                    tokio::time::sleep(self.provider.pace()).await;
                }
                Err(e) => {
                    events.detail(e.to_string());
                    tokio::time::sleep(self.provider.pace()).await;
                }
            }
        }
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

    /// The better error: that the store broke while it was written to, where that is why. The box lives.
    pub(super) async fn unless_broken(&self, guest: &Guest, e: Error) -> Error {
        if e.kind() != Kind::Guest || !guest.answers().await {
            return e;
        }
        match facts::ask(guest, &self.project_name).await {
            Ok(Facts { errors: Some(why), .. }) => store_broke(&guest.name, &why).caused_by(e),
            _ => e,
        }
    }

    /// The box's Nix, where the project names one and the box has another.
    pub(super) async fn seed(&self, nix: Option<&GuestNix>, up: &BoxUp) -> Result<()> {
        let Some(nix) = nix else {
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
