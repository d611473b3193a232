//! The part of `up` about `devbox.lock`: what is evaluated is held against it before anything is paid for, what was
//! realised afterwards; where it says nothing of the system yet, what came is written down.

use super::Story;
use crate::commands::lock::{Edited, files, now, refuse, section_of, unmet, whole_folder_advice};
use crate::config::project::Project;
use crate::error::Result;
use crate::events::Level;
use crate::lock::compare::{Deviation, not_locked, system_option};
use crate::lock::{FILE, Lock, Section};
use crate::names::System;
use crate::nix::environment::Evaluated;
use crate::nix::{self, Environment};

/// The project's lock, as it was when `up` began.
pub(super) struct Locked {
    pub(super) lock: Option<Lock>,
    /// `--locked`.
    pub(super) strict: bool,
}

impl Locked {
    /// Reads it.
    pub(super) fn read(project: &Project, strict: bool) -> Result<Self> {
        Ok(Self { lock: files::read(&project.root)?, strict })
    }

    pub(super) fn section(&self, system: System) -> Option<&Section> {
        self.lock.as_ref()?.sections.get(&system)
    }
}

impl Story<'_> {
    pub(super) fn lock_command(&self, system: System, option: &str) -> String {
        let system = system_option(self.locked.lock.as_ref(), system);
        self.cx.again(&format!("lock{option}{system}"))
    }

    pub(super) fn edited(&self) -> Edited<'_> {
        Edited { paths: &self.cx.paths, config: &self.config, root: &self.project.root }
    }

    /// With `--locked` there must be something to hold the environment against.
    pub(super) fn demand_lock(&self, system: System) -> Result<()> {
        let Locked { lock, strict } = &self.locked;
        if !strict || self.locked.section(system).is_some() {
            return Ok(());
        }
        Err(not_locked(system, lock.is_some(), &self.lock_command(system, "")))
    }

    /// What the project evaluates to must be what the lock says.
    pub(super) async fn hold_against_lock(&self, system: System, evaluated: &Evaluated) -> Result<()> {
        let Some(section) = self.locked.section(system) else { return Ok(()) };
        let flake_lock = files::flake_lock(&self.project.root)?;
        let now = now(&self.config, flake_lock.as_deref(), evaluated);
        let deviations = section.deviations(&now);
        if deviations.is_empty() {
            return Ok(());
        }
        let update = self.lock_command(system, " --update");
        if self.locked.strict || deviations.iter().any(Deviation::is_of_the_environment) {
            return Err(refuse(&self.edited(), system, section, &deviations, &now, &update).await);
        }
        for line in deviations.iter().flat_map(Deviation::render) {
            self.cx.ui.events.detail(format!("{line}: the environment is the same"));
        }
        Ok(())
    }

    /// Writes the environment down where the lock says nothing of its system.
    pub(super) async fn write_lock(&self, environment: &Environment) -> Result<()> {
        let listing = environment.listing();
        files::keep_listing(&self.cx.paths, &listing)?;
        if self.locked.section(environment.system).is_some() {
            return Ok(());
        }
        let version = nix::version::installed().await?;
        let section = section_of(&self.config, &self.project, environment, &listing, version)?;
        let advice = whole_folder_advice(&self.config, &self.project, &section.derivation).await;
        files::write(&self.project.root, environment.system, &section)?;
        let events = &self.cx.ui.events;
        events.info(format!("wrote `{FILE}`: {}, {}", environment.system, section.fingerprint.short()));
        for pattern in unmet(&self.config.environment.packages, &listing) {
            events.warn(format!("`environment.packages`: the environment has no `{pattern}`"));
        }
        advice.into_iter().for_each(|advice| events.warn(advice));
        events.note(
            Level::Hint,
            "keep it in version control: whoever brings this project up then gets the same bytes",
        );
        Ok(())
    }
}
