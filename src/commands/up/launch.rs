//! The part of `up` that pays: asking for an instance until there is one, and writing down what may bill before it
//! does.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Story;
use super::choose::Sites;
use crate::error::{Error, Kind, Result, ignore};
use crate::events::{Event, Level, Phase, Running};
use crate::failpoint;
use crate::guest::user_data::{self, UserData};
use crate::journal::Entry;
use crate::names::LaunchId;
use crate::plan::cost::render_hourly;
use crate::plan::pause::Pauses;
use crate::plan::placement::{free_elsewhere, plan_round, price_range};
use crate::provider::{Attempt, LaunchRequest, Launched, Offer, Placement};
use crate::ssh::keys::{self, HostKey, LoginKey};
use crate::ui::render_seconds;

/// How many launches may vanish without an answer before `up` gives up.
const MOST_LOST: u32 = 3;

/// Longer ago, a launch shows in the listing that was looked at before.
const RIVALS: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

/// What one box is launched with, wherever it will be.
struct Kit {
    host_key: HostKey,
    login: LoginKey,
}

/// How an attempt came out, with its entry of the journal.
enum Outcome {
    Launched(Box<Entry>),
    NoCapacity(String),
    Lost(String),
}

impl Story<'_> {
    /// An instance, its id on disk: asked for where one may be had until there is one, or the time since `began` is up.
    pub(super) async fn launch(&self, sites: &Sites, login: &LoginKey, began: Instant) -> Result<Entry> {
        let kit = Kit { host_key: keys::fresh_host_key().await?, login: login.clone() };
        let phase = self.cx.ui.events.phase(Phase::Launch);
        let mut offers: Vec<Offer> = sites.market.offers.clone();
        let mut lost = 0;
        let mut last = String::from("nothing is free");
        let mut round = 0;
        // Said aloud in the first round, and again after an answer was lost.
        let mut aloud = true;
        loop {
            for place in plan_round(&sites.placements.all, &offers, round) {
                self.say_asking(&phase, place, began, aloud);
                match self.attempt(sites, place, &kit).await? {
                    Outcome::Launched(entry) => {
                        self.say("bringing it up");
                        let id = entry.instance.as_ref().map(ToString::to_string).unwrap_or_default();
                        phase.done(launched_words(&id, place, sites));
                        self.cx.ui.events.detail(format!("its id is {id}"));
                        return Ok(*entry);
                    }
                    Outcome::NoCapacity(why) => {
                        let refused = format!(
                            "{} in {}: {}",
                            place.instance_type,
                            place.region,
                            why.trim_end_matches('.')
                        );
                        self.say_refused(sites, &offers, &refused, round);
                        last = refused;
                    }
                    Outcome::Lost(why) => {
                        lost += 1;
                        if lost == MOST_LOST {
                            return Err(Error::new(
                                Kind::Provider,
                                format!("{lost} launches were asked for and none was answered"),
                            )
                            .detail(why)
                            .hint("try again later; should one of them come yet, the next `devbox up` or `status` shows it"));
                        }
                        self.cx.ui.events.warn(format!("no instance came of it ({why}): asking again"));
                        last = format!("{} in {}: {why}", place.instance_type, place.region);
                        aloud = true;
                    }
                }
            }
            let left = self.config.capacity.wait.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(self.no_capacity(sites, &offers, began, last));
            }
            aloud = false;
            let what = wanted_words(&sites.placements.all);
            self.pause(&phase, self.pauses().after(round).min(left), &what, &last, began).await;
            // Trouble at Lambda is one more reason to wait; what is final, the next launch says.
            offers = self.provider.offers().await.unwrap_or_else(|e| {
                last = e.to_string();
                self.cx.ui.events.detail(last.clone());
                Vec::new()
            });
            round += 1;
        }
    }

    pub(super) fn pauses(&self) -> Pauses {
        let capacity = &self.config.capacity;
        Pauses { first: capacity.first_pause, factor: capacity.factor(), longest: capacity.longest_pause }
    }

    /// Waits, counting down. What is waited for comes first, for what comes last may have no room.
    pub(super) async fn pause(
        &self,
        phase: &Running,
        pause: Duration,
        what: &str,
        last: &str,
        began: Instant,
    ) {
        let since = jiff::Zoned::now() - began.elapsed();
        self.say(&format!("waiting for capacity since {}, {what}: {last}", since.strftime("%H:%M")));
        let until = Instant::now() + pause;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            phase.doing(format!(
                "{what}; waited {}, again in {} s: {last}",
                render_seconds(began.elapsed().as_secs_f64()),
                left.as_secs() + 1
            ));
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
        }
    }

    fn say_asking(&self, phase: &Running, place: &Placement, began: Instant, aloud: bool) {
        let price = match place.cents_per_hour {
            0 => String::new(),
            cents => format!(", {}", render_hourly(Some(cents))),
        };
        let waited = match began.elapsed() {
            short if short < Duration::from_secs(1) => String::new(),
            long => format!(", waited {}", render_seconds(long.as_secs_f64())),
        };
        let words = format!("asking for {} in {}{price}{waited}", place.instance_type, place.region);
        if place.cents_per_hour > 0 && aloud {
            self.cx.ui.events.info(words.clone());
        }
        phase.doing(words);
    }

    fn say_refused(&self, sites: &Sites, offers: &[Offer], refused: &str, round: u32) {
        let events = &self.cx.ui.events;
        if round == 0 {
            self.say_waiting(refused);
            for line in free_elsewhere(&sites.placements.all, offers) {
                events.note(Level::Hint, line);
            }
        } else {
            events.detail(refused);
        }
    }

    pub(super) fn say_waiting(&self, why: &str) {
        let wait = self.config.capacity.wait;
        let most = match wait.is_zero() {
            true => String::new(),
            false => format!("; waiting for capacity, {} at most", render_seconds(wait.as_secs_f64())),
        };
        self.cx.ui.events.info(format!("{why}{most}"));
    }

    pub(super) fn no_capacity(&self, sites: &Sites, offers: &[Offer], began: Instant, last: String) -> Error {
        let mut kinds: Vec<_> =
            sites.placements.all.iter().map(|p| format!("{} in {}", p.instance_type, p.region)).collect();
        if kinds.is_empty() {
            kinds.clone_from(&sites.wish.instance_types);
        }
        kinds.dedup();
        let error = Error::new(
            Kind::Provider,
            format!(
                "no capacity for {} in {}",
                kinds.join(", "),
                render_seconds(began.elapsed().as_secs_f64())
            ),
        )
        .detail(last);
        let error = free_elsewhere(&sites.placements.all, offers).into_iter().fold(error, Error::hint);
        error
            .hint("`--wait-capacity 2h` waits longer; `devbox list instance-types` shows what is free, and where")
        .hint("a preset with more `instance-types`, and `volumes` in more regions, finds more")
    }

    /// One launch: intent on disk, then the billable call, then its id on disk. What was refused, or never came, is
    /// closed again.
    async fn attempt(&self, sites: &Sites, place: &Placement, kit: &Kit) -> Result<Outcome> {
        let volume = sites
            .volume(&place.volume, &place.region)
            .ok_or_else(|| Error::new(Kind::Volume, format!("there is no volume `{}`", place.volume)))?
            .clone();
        let name = &self.wanted.name;
        let launch = LaunchId::random();
        let mut trusted = self.config.caches.trusted_public_keys.clone();
        trusted.push(self.signing.public.clone());
        let user_data = user_data::render(&UserData {
            name,
            launch,
            system: place.system,
            host_key: &kit.host_key,
            authorized_keys: std::slice::from_ref(&kit.login.public),
            mount_point: &volume.mount_point,
            volume_wait: self.provider.volume_wait(),
            lease: &self.config.volume.lease,
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
            system: place.system,
            volume: volume.name.clone(),
            host_key: kit.host_key.public.clone(),
            asked: Timestamp::now(),
            instance: None,
            address: None,
            cents_per_hour: Some(place.cents_per_hour),
            instance_type: Some(place.instance_type.clone()),
            region: Some(place.region.clone()),
            preset: self.config.box_.preset.clone(),
            account: self.provider.account(&volume),
            login_key: Some(kit.login.private.clone()),
            reached: false,
            ready: None,
            fingerprint: None,
            machine: None,
            rested: false,
            ended: None,
        };
        self.cx.journal.write(&intent)?;
        failpoint::hit("intent");
        if let Some(rival) = self.rival(&intent)? {
            self.cx.journal.end(&intent)?;
            return Err(Error::new(
                Kind::Volume,
                format!(
                    "the volume `{}` is being given to the box `{}` right now",
                    intent.volume, rival.name
                ),
            )
            .hint("give this box another volume: `volume.name`"));
        }

        let request = LaunchRequest {
            name: name.clone(),
            launch,
            asked: intent.asked,
            placement: place.clone(),
            volume,
            login: kit.login.clone(),
            user_data,
        };
        self.asking.set(true);
        let attempt = self.provider.launch(&request, &self.cx.ui.events).await;
        failpoint::hit("launched");
        let outcome = match attempt {
            Ok(Attempt::Launched(launched)) => self.take(*launched, intent).await,
            // Trouble at the provider is waited for as capacity is.
            Ok(Attempt::NoCapacity(why) | Attempt::Unavailable(why)) => {
                self.cx.journal.end(&intent).map(|()| Outcome::NoCapacity(why))
            }
            Ok(Attempt::Lost(why)) => {
                self.given_up.borrow_mut().push(launch);
                self.cx.journal.end(&intent).map(|()| Outcome::Lost(why))
            }
            Ok(Attempt::Refused(e)) => self.cx.journal.end(&intent).and(Err(e)),
            Err(e) => Err(e),
        };
        self.asking.set(false);
        outcome
    }

    /// Another box of this machine that is being launched with the same volume, and was written down first: each
    /// writes its own intent before it looks, so one of two sees the other.
    fn rival(&self, intent: &Entry) -> Result<Option<Entry>> {
        let is_rival = |e: &Entry| {
            e.name != intent.name
                && (&e.provider, &e.volume, &e.region) == (&intent.provider, &intent.volume, &intent.region)
                && (e.asked, e.launch) < (intent.asked, intent.launch)
                && intent.asked.duration_since(e.asked) < RIVALS
        };
        Ok(self.cx.journal.open()?.into_iter().find(is_rival))
    }

    /// Writes down what came. When that can't be done it is ended again: nobody would know of it.
    async fn take(&self, launched: Launched, intent: Entry) -> Result<Outcome> {
        let mut entry = Entry { instance: Some(launched.id().clone()), ..intent };
        if let Err(e) = self.cx.journal.write(&entry) {
            self.cx.ui.events.warn("the journal can't be written: ending the instance again");
            launched.terminate(self.provider.as_ref(), &self.cx.ui.events).await?;
            return Err(e);
        }
        let instance = launched.keep();
        let launched_id = instance.id.to_string();
        entry.address = instance.address;
        entry.cents_per_hour = instance.cents_per_hour.or(entry.cents_per_hour);
        self.cx.journal.write(&entry)?;
        failpoint::hit("id");
        self.cx.ui.events.emit(&Event::Launched {
            r#box: entry.name.to_string(),
            instance: launched_id,
            cents_per_hour: entry.cents_per_hour,
        });
        Ok(Outcome::Launched(Box::new(entry)))
    }

    /// Waits until the environment has been evaluated: before that nothing is paid for.
    pub(super) async fn when_evaluated(&self) {
        // The sender lives as long as this story, so the wait ends with the evaluation.
        ignore(self.evaluated.subscribe().wait_for(|evaluated| *evaluated).await);
    }
}

fn launched_words(id: &str, place: &Placement, sites: &Sites) -> String {
    if place.cents_per_hour == 0 {
        return id.to_owned();
    }
    // Which of them it is, is news where there are several.
    let volume = match sites.placements.all.iter().any(|p| p.volume != place.volume) {
        true => format!(" with the volume `{}`", place.volume),
        false => String::new(),
    };
    let price = render_hourly(Some(place.cents_per_hour));
    format!("{} in {}{volume}, {price}", place.instance_type, place.region)
}

/// `gpu_1x_gh200 in us-east-3, 1.49 USD an hour`: the first of what would do, and how many more.
fn wanted_words(all: &[Placement]) -> String {
    let first = all.first().map(|p| format!("{} in {}", p.instance_type, p.region)).unwrap_or_default();
    let more = if all.len() > 1 { format!(" or {} more", all.len() - 1) } else { String::new() };
    let price = price_range(all).map(|price| format!(", {price}")).unwrap_or_default();
    format!("{first}{more}{price}")
}
