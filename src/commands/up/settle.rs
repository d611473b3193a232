//! The part of `up` between the plan and the first launch: the volume is made, and whoever had it has let go of it.

use std::time::{Duration, Instant};

use super::Story;
use super::choose::{Placed, Sites};
use crate::error::{Error, Kind, Result};
use crate::events::{Phase, Running};
use crate::names::VolumeName;
use crate::plan::plan_placements;
use crate::plan::up::still_writing;

/// How long a box may take to end that still has a volume that is wanted.
const END_PATIENCE: Duration = Duration::from_secs(600);

impl Story<'_> {
    /// Sites whose volume exists. One that has to be made is made now: where a machine is free, as soon as one is.
    ///
    /// # Errors
    /// [`Kind::Provider`] when nothing becomes free in time; [`Kind::Volume`] when it can't be made.
    pub(super) async fn settled(&self, sites: &Sites, began: Instant) -> Result<Sites> {
        let mut sites = sites.clone();
        let mut round = 0;
        let mut phase = None;
        while sites.placements.all.is_empty() {
            let what = sites.wish.instance_types.join(" or ");
            let nowhere = format!("no {what} is free anywhere");
            let left = self.config.capacity.wait.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(self.nowhere(&sites, began));
            }
            if round == 0 {
                self.say_waiting(&format!("{nowhere}, so the volume can't be made yet"));
            }
            let phase = phase.get_or_insert_with(|| self.cx.ui.events.phase(Phase::Market));
            self.pause(phase, self.pauses().after(round).min(left), &what, "free nowhere", began).await;
            match self.provider.offers().await {
                Ok(offers) => sites.market.offers = offers,
                Err(e) => self.cx.ui.events.detail(e.to_string()),
            }
            let placements = plan_placements(&sites.wish, &sites.market, &[])?;
            // What is being built is for one system.
            if placements.system == sites.placements.system {
                sites.placements = placements;
            }
            round += 1;
        }
        if let (Some(phase), Some(first)) = (phase, sites.placements.all.first()) {
            phase.done(format!("{} is free in {}", first.instance_type, first.region));
        }
        if let Some((name, region)) = sites.placements.create.take() {
            sites.volumes.push(self.provider.create_volume(&name, region.as_deref()).await?);
            let Placed { at, lasting } = self.placed(region.as_deref());
            self.cx.ui.events.info(format!("made the volume `{name}`{at}{lasting}"));
        }
        Ok(sites)
    }

    fn nowhere(&self, sites: &Sites, began: Instant) -> Error {
        let volumes = sites.wish.volumes.first().map(ToString::to_string).unwrap_or_default();
        self.no_capacity(sites, &sites.market.offers, began, "nothing is free anywhere".to_owned()).hint(format!(
            "`regions = [\"us-east-3\"]` in the preset chooses where the volume `{volumes}` is made, free or not"
        ))
    }

    /// Until no box that is on its way down can write to the volumes any more. One that was brought to rest does not.
    ///
    /// # Errors
    /// [`Kind::Volume`] when one takes too long; [`Kind::Provider`] when nobody can tell.
    pub(super) async fn until_let_go(&self, volumes: &[VolumeName]) -> Result<()> {
        let began = Instant::now();
        let mut phase: Option<Running> = None;
        loop {
            let (journal, instances) = (self.cx.journal.read()?, self.provider.list().await?);
            let Some(holder) = still_writing(volumes, &journal, &instances) else {
                if let Some(phase) = phase {
                    phase.done("let go");
                }
                return Ok(());
            };
            let what = format!("{} ({}) still has the volume", holder.id, holder.status);
            if began.elapsed() > END_PATIENCE {
                return Err(Error::new(Kind::Volume, format!("{what} after {} s", END_PATIENCE.as_secs()))
                    .hint("nothing was launched; look at it in the provider's console, then run `devbox up` again"));
            }
            let phase = phase.get_or_insert_with(|| self.cx.ui.events.phase(Phase::LetGo));
            phase.doing(format!("{what}, and may write to it: waiting for its end"));
            tokio::time::sleep(self.provider.pace()).await;
        }
    }
}
