//! `devbox lock`: writes what the project's environment is, or holds it against what was written.

pub mod files;
mod refusal;

pub use refusal::{Edited, refuse, render_difference, whole_folder_advice};

use serde_json::json;

use crate::cli::Lock as Args;
use crate::commands::Context;
use crate::config::project::Project;
use crate::config::{Config, ProviderName};
use crate::error::{Error, Kind, Result};
use crate::events::{Level, Phase};
use crate::lock::compare::{not_locked, system_option};
use crate::lock::diff::{Diff, Side, render_diff};
use crate::lock::packages::{is_meant_by, parse_name};
use crate::lock::{FILE, Lock, Made, Now, Section};
use crate::names::System;
use crate::nix::environment::{self, Evaluated, realise_here};
use crate::nix::{self, Environment, Listing};
use crate::provider::catalog::system_of;

/// What the lock is about: a project and a system.
struct Subject<'a> {
    cx: &'a Context,
    project: Project,
    config: Config,
    system: System,
    lock: Option<Lock>,
}

/// Runs `devbox lock`.
///
/// # Errors
/// [`Kind::Differs`] when the project's environment is not the one in the lock, and `--update` is not said, or there is
/// no lock and `--check` is; [`Kind::Usage`] for a lock that is none; [`Kind::Environment`].
pub async fn run(cx: &Context, args: &Args) -> Result<()> {
    let (project, config) = cx.project()?;
    let lock = files::read(&project.root)?;
    nix::version::installed().await?;
    let system = which_system(&config, lock.as_ref(), args.system)?;
    let subject = Subject { cx, project, config, system, lock };
    let before = subject.lock.as_ref().and_then(|lock| lock.sections.get(&system));
    match before {
        Some(section) if !args.update => subject.hold_against(section, args.check).await,
        None if args.check => {
            let write = cx.again(&format!("lock{}", system_option(subject.lock.as_ref(), system)));
            Err(not_locked(system, subject.lock.is_some(), &write))
        }
        _ => subject.write(before).await,
    }
}

/// The system that is meant: the one that is named, or else what the box would run.
///
/// # Errors
/// [`Kind::Usage`] when the preset is wrong, or boxes don't run on this machine's processor.
pub fn which_system(config: &Config, lock: Option<&Lock>, named: Option<System>) -> Result<System> {
    if let Some(system) = named {
        return Ok(system);
    }
    if let (ProviderName::Lambda, Some(preset)) = (config.box_.provider, config.preset()?) {
        let told = || preset.instance_types.first().map(|name| system_of(name));
        return Ok(preset.system.or_else(told).unwrap_or(System::X86_64Linux));
    }
    let only = lock.filter(|lock| lock.sections.len() == 1).and_then(|lock| lock.sections.keys().next());
    if let (ProviderName::Local, Some(arch)) = (config.box_.provider, config.local.arch) {
        return Ok(arch.0);
    }
    let machine = rustix::system::uname();
    let machine = machine.machine().to_string_lossy();
    only.copied().or_else(|| System::of_machine(&machine)).ok_or_else(|| {
        Error::new(Kind::Usage, format!("boxes don't run on the processor `{machine}` of this machine"))
            .hint("`--system x86_64-linux` or `--system aarch64-linux` says for which one")
    })
}

impl Subject<'_> {
    fn update_command(&self) -> String {
        self.cx.again(&format!("lock --update{}", system_option(self.lock.as_ref(), self.system)))
    }

    fn wanted(&self) -> environment::Wanted {
        environment::Wanted {
            root: self.project.root.clone(),
            shell: self.config.environment.shell.clone(),
            guest_nix: self.config.environment.nix.clone(),
            system: self.system,
            roots: self.cx.roots(&self.project.root, self.system),
            locked: None,
        }
    }

    /// The environment of now is held against the lock; with `check` nothing is built for it.
    async fn hold_against(&self, section: &Section, check: bool) -> Result<()> {
        let compare = async |evaluated: &Evaluated| {
            let flake_lock = files::flake_lock(&self.project.root)?;
            let now = now(&self.config, flake_lock.as_deref(), evaluated);
            match section.deviations(&now) {
                none if none.is_empty() => Ok(()),
                deviations => {
                    let update = self.update_command();
                    let subject =
                        Edited { paths: &self.cx.paths, config: &self.config, root: &self.project.root };
                    Err(refuse(&subject, self.system, section, &deviations, &now, &update).await)
                }
            }
        };
        if check {
            let phase = self.cx.ui.events.phase(Phase::Environment);
            phase.doing("evaluating");
            let wanted = self.wanted();
            let nix = environment::guest_nix(&wanted, &phase).await?.map(|nix| nix.path);
            let derivation = environment::evaluate(&wanted, &phase).await?;
            compare(&Evaluated { derivation, guest_nix: nix }).await?;
            phase.done(format!("evaluates to what `{FILE}` has, {}", section.fingerprint.short()));
            self.tell(section, "same-derivation");
            return Ok(());
        }
        let environment = realise_here(&self.wanted(), &self.cx.ui.events, compare).await?;
        let listing = environment.listing();
        if listing.fingerprint() != section.fingerprint {
            return Err(self.other_bytes(section, &listing));
        }
        files::keep_listing(&self.cx.paths, &listing)?;
        self.cx.ui.events.info(format!("`{FILE}` has this environment for {}", self.system));
        self.tell(section, "same");
        Ok(())
    }

    /// The error where a build here came to other bytes than those of the lock.
    fn other_bytes(&self, section: &Section, listing: &Listing) -> Error {
        let error = Error::new(
            Kind::Differs,
            format!("the environment for {} has the store paths of `{FILE}`, and other bytes", self.system),
        )
        .detail(format!("lock  {}", section.fingerprint))
        .detail(format!("here  {}", listing.fingerprint()));
        let named = files::kept_listing(&self.cx.paths, &section.fingerprint)
            .map(|kept| kept.other_bytes(listing))
            .unwrap_or_default();
        error
            .details(named)
            .hint("it was built here, and its build is not the same twice: `devbox up` takes the bytes of the lock from a volume or a cache that has them")
            .hint(format!("`{}` accepts those of here", self.update_command()))
    }

    /// Realises the environment and writes it down.
    async fn write(&self, before: Option<&Section>) -> Result<()> {
        let version = nix::version::installed().await?;
        let environment =
            realise_here(&self.wanted(), &self.cx.ui.events, async |_: &Evaluated| Ok(())).await?;
        let listing = environment.listing();
        let section =
            section_of(&self.config, &self.project, &environment, &listing, version)?.settled(before);
        let advice = whole_folder_advice(&self.config, &self.project, &section.derivation).await;
        files::write(&self.project.root, self.system, &section)?;
        files::keep_listing(&self.cx.paths, &listing)?;
        let events = &self.cx.ui.events;
        let done = match before {
            None => "wrote",
            Some(before) if *before == section => "there is nothing to change in",
            Some(_) => "updated",
        };
        if let Some(before) = before.filter(|b| **b != section) {
            let kept = files::kept_listing(&self.cx.paths, &before.fingerprint);
            let diff = Diff::new(
                &Side::of_section(before, kept),
                &Side::of_section(&section, Some(listing.clone())),
            );
            if !diff.is_empty() && !self.cx.ui.is_json() {
                self.cx.ui.data(&format!("{}\n", render_diff(&diff, self.cx.ui.columns()).join("\n")));
            }
        }
        events.info(format!("{done} `{FILE}`: {}, {}", self.system, section.fingerprint.short()));
        for pattern in unmet(&self.config.environment.packages, &listing) {
            events.warn(format!("`environment.packages`: the environment has no `{pattern}`"));
        }
        advice.into_iter().for_each(|advice| events.warn(advice));
        if before.is_none() {
            events.note(Level::Hint, "keep it in version control");
        }
        self.tell(&section, if before == Some(&section) { "same" } else { "written" });
        Ok(())
    }

    fn tell(&self, section: &Section, result: &str) {
        if self.cx.ui.is_json() {
            self.cx.ui.document(&json!({
                "system": self.system,
                "file": files::file(&self.project.root),
                "result": result,
                "derivation": section.derivation,
                "fingerprint": section.fingerprint,
                "size": section.size,
                "paths": section.paths,
                "packages": section.packages,
            }));
        }
    }
}

/// What the project evaluates to.
pub fn now<'a>(config: &'a Config, flake_lock: Option<&'a str>, evaluated: &'a Evaluated) -> Now<'a> {
    Now {
        shell: &config.environment.shell,
        flake_lock,
        derivation: &evaluated.derivation,
        // One that only the provider makes necessary is devbox's own, and no part of the project.
        nix: evaluated.guest_nix.as_deref().filter(|_| config.environment.nix.is_some()),
    }
}

/// The section of the lock for an environment that was realised.
///
/// # Errors
/// When `flake.lock` can't be read.
pub fn section_of(
    config: &Config,
    project: &Project,
    environment: &Environment,
    listing: &Listing,
    version: nix::version::Version,
) -> Result<Section> {
    // Nix may have written it while it evaluated.
    let flake_lock = files::flake_lock(&project.root)?;
    let evaluated = Evaluated {
        derivation: environment.derivation.clone(),
        guest_nix: environment.guest_nix.as_ref().map(|nix| nix.path.clone()),
    };
    Ok(Section::new(&Made {
        now: now(config, flake_lock.as_deref(), &evaluated),
        output: &environment.output,
        output_from: &format!("Nix {version}"),
        listing,
        patterns: &config.environment.packages,
    }))
}

/// Patterns that mean nothing in an environment.
pub fn unmet<'a>(patterns: &'a [String], listing: &Listing) -> Vec<&'a String> {
    let names: Vec<_> = listing.0.keys().map(|path| parse_name(path)).collect();
    patterns.iter().filter(|pattern| !names.iter().any(|name| is_meant_by(pattern, name))).collect()
}
