//! The part of `up` about where the dev shell is built.

use super::{BoxUp, Story};
use crate::config::BuildSetting;
use crate::error::Result;
use crate::guest::build::{self, Limits};
use crate::names::System;
use crate::nix::Environment;
use crate::nix::builders::{Builders, builders};
use crate::nix::environment::{Evaluated, Made};
use crate::nix::missing::missing;
use crate::nix::version;
use crate::plan::build::{Place, plan_place, render_derivations};

impl Story<'_> {
    /// Where the dev shell is built.
    pub(super) async fn place(&self, system: System) -> Result<Place> {
        let setting = self.config.environment.build;
        let builders = match setting {
            BuildSetting::Box => Builders::default(),
            _ => builders(version::installed().await?).await?,
        };
        plan_place(setting, system, &builders)
    }

    /// Where the box builds it, what and why: before anything is paid for.
    pub(super) async fn say_place(&self, place: &Place, evaluated: &Evaluated) -> Result<()> {
        let Place::There(why) = place else { return Ok(()) };
        let mut missing = missing(std::slice::from_ref(&evaluated.derivation)).await?;
        missing.build.retain(|drv| *drv != evaluated.derivation);
        self.cx.ui.events.info(match missing.build.len() {
            0 => format!("the box realises the dev shell: {why}"),
            _ => {
                format!(
                    "the box builds what its volume does not have of {}; {why}",
                    render_derivations(&missing)
                )
            }
        });
        Ok(())
    }

    /// The environment: realised here already, or by the box now.
    pub(super) async fn realised(&self, made: Made, up: &BoxUp) -> Result<Environment> {
        let order = match made {
            Made::Here(environment) => return Ok(environment),
            Made::There(order) => order,
        };
        self.say("building on the box");
        let limits = Limits { jobs: self.config.environment.max_jobs, cores: self.config.environment.cores };
        match build::build(&up.guest, &self.project_name, &order, limits, &self.cx.ui.events).await {
            Ok(environment) => Ok(environment),
            Err(e) => {
                let e = self.unless_broken(&up.guest, e).await;
                Err(self.unless_dead(&up.entry, e).await)
            }
        }
    }

    /// `--fetch`: what the box has comes into this machine's store.
    pub(super) async fn fetch(&self, environment: &Environment, up: &BoxUp) -> Result<()> {
        let link = self.cx.roots(&self.project.root, environment.system).join("fetched");
        build::fetch(&up.guest, environment, &link, &self.cx.ui.events).await
    }
}
