//! The part of `up` that looks and decides: what there is, what is wanted, where a new box may come from.

use std::time::Duration;

use jiff::Timestamp;

use super::Story;
use crate::commands::whereabouts::{Whereabouts, whereabouts};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::journal::Entry;
use crate::names::VolumeName;
use crate::plan::up::Source;
use crate::plan::{Placements, Seen, UpPlan, Wish, plan_placements, plan_up};
use crate::provider::{Market, Volume};
use crate::ssh::keys::{self, LoginKey};
use crate::ui::Answer;

/// How often to look again for an instance that may still show.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Where a new box may come from.
#[derive(Clone)]
pub(super) struct Sites {
    /// What is asked for.
    pub(super) wish: Wish,
    /// What may be asked for, in order of preference.
    pub(super) placements: Placements,
    /// What was to be had when that was decided.
    pub(super) market: Market,
    /// Their volumes that exist.
    pub(super) volumes: Vec<Volume>,
}

/// Where a volume is made, in words.
pub(super) struct Placed {
    /// ` in us-east-3`, or nothing.
    pub(super) at: String,
    /// What that means.
    pub(super) lasting: &'static str,
}

impl Sites {
    /// The volume of a placement.
    pub(super) fn volume(&self, name: &VolumeName, region: &str) -> Option<&Volume> {
        let here = |v: &&Volume| v.region.as_deref().is_none_or(|r| r == region);
        self.volumes.iter().filter(here).find(|v| v.name == *name)
    }
}

/// What the configuration asks for.
///
/// # Errors
/// [`Kind::Usage`] when it does not say which box.
pub(super) fn wish(config: &Config, provider: &str) -> Result<Wish> {
    let preset = if provider == "local" { None } else { config.preset()? };
    let Some(preset) = preset else {
        if provider == "local" {
            return Ok(Wish {
                instance_types: vec!["*".into()],
                by_price: false,
                regions: Vec::new(),
                volumes: vec![config.volume.name.clone()],
                image_family: None,
                system: None,
            });
        }
        return Err(Error::new(Kind::Usage, "which box? no preset is chosen").hint(
            "`devbox up --preset gh200`, or `preset = \"gh200\"` in `[box]`; `devbox list presets` shows all",
        ));
    };
    let volumes =
        if preset.volumes.is_empty() { vec![config.volume.name.clone()] } else { preset.volumes.clone() };
    Ok(Wish {
        instance_types: preset.instance_types.clone(),
        by_price: preset.by_price,
        regions: preset.regions.clone(),
        volumes,
        image_family: Some(preset.image_family.clone()),
        system: preset.system,
    })
}

impl Story<'_> {
    /// What there is: the journal, and the provider's instances.
    pub(super) async fn look(&self) -> Result<Seen> {
        let journal = self.cx.journal.read()?;
        let mut instances = self.provider.list().await?;
        let ours =
            |e: &&Entry| e.is_open() && e.name == self.wanted.name && e.provider == self.wanted.provider;
        for entry in journal.iter().filter(ours) {
            match whereabouts(self.provider.as_ref(), entry, &instances).await? {
                Whereabouts::There(instance) if instances.iter().all(|i| i.id != instance.id) => {
                    instances.push(*instance)
                }
                _ => {}
            }
        }
        Ok(Seen { journal, instances, now: Timestamp::now(), settle: self.provider.settle_time() })
    }

    /// What to do. A launch of a moment ago that was not answered may still show its instance: nobody launches
    /// another before it would have.
    pub(super) async fn decide(&self) -> Result<UpPlan> {
        let mut said = false;
        loop {
            let plan = plan_up(&self.wanted, &self.look().await?)?;
            let Source::Unsettled { until } = plan.source else { return Ok(plan) };
            let left = Duration::try_from(Timestamp::now().duration_until(until)).unwrap_or_default();
            if !said {
                said = true;
                self.cx.ui.events.info(format!(
                    "a launch of `{}` was asked for and not answered: looking for its instance for {} s more",
                    self.wanted.name,
                    left.as_secs() + 1
                ));
            }
            tokio::time::sleep(left.clamp(Duration::from_millis(50), LOOK_AGAIN)).await;
        }
    }

    /// Where a new box may come from.
    pub(super) async fn sites(&self, plan: &UpPlan) -> Result<Sites> {
        let wish = Wish { volumes: plan.volumes.clone(), ..wish(&self.config, self.provider.name())? };
        let volumes = self.provider.volumes(&wish.volumes).await?;
        let market = self.provider.market().await?;
        let placements = plan_placements(&wish, &market, &volumes)?;
        placements.create.iter().try_for_each(|(name, _)| self.provider.may_create(name))?;
        Ok(Sites { wish, placements, market, volumes })
    }

    /// The same when the user agrees to the volume that has to be made, if one has to be.
    ///
    /// # Errors
    /// [`Kind::Volume`] when the user does not, or can't be asked.
    pub(super) async fn agreed(&self, sites: Sites) -> Result<Sites> {
        for note in &sites.placements.notes {
            self.cx.ui.events.info(note.clone());
        }
        let Some((name, region)) = &sites.placements.create else { return Ok(sites) };
        let Placed { at, lasting } = self.placed(region.as_deref());
        let question = match &sites.placements.all[..] {
            [] => format!(
                "There is no volume `{name}` yet, and nothing is free now. Make it where a machine is free first{lasting}?"
            ),
            _ => format!("There is no volume `{name}` yet. Make it{at}{lasting}?"),
        };
        if self.cx.ui.confirm(&question).await == Answer::Yes {
            return Ok(sites);
        }
        let error = Error::new(Kind::Volume, format!("there is no volume `{name}`"))
            .hint(format!("`{} -y` makes it{at}; `volume.name` names another one", self.typed));
        Err(match region.as_ref().filter(|_| !at.is_empty()) {
            Some(region) => error
                .hint(format!("it would live in {region} for good; `regions` in a preset chooses another")),
            None => error,
        })
    }

    /// Where a volume is made, in words. One of this machine is nowhere else.
    pub(super) fn placed(&self, region: Option<&str>) -> Placed {
        if self.provider.name() == "local" {
            return Placed { at: String::new(), lasting: "" };
        }
        let at = region.map(|region| format!(" in {region}")).unwrap_or_default();
        let lasting = ": it stays there, boxes with it are launched there only, and what is on it is billed";
        Placed { at, lasting }
    }

    /// The key to log in with: of the user's, the one that the provider knows.
    pub(super) async fn login(&self) -> Result<LoginKey> {
        let keys = keys::candidates(
            &self.cx.paths,
            self.config.ssh.key.as_deref(),
            &self.wanted.name,
            &self.cx.ui.events,
        )
        .await?;
        self.provider.login_key(&keys).await
    }
}
