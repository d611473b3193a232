//! `devbox verify`: proves that a box has the environment of the lock.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::Verify;
use crate::commands::Context;
use crate::commands::lock::files;
use crate::commands::ssh::connect;
use crate::error::{Error, Kind, Result};
use crate::events::Phase;
use crate::guest::facts::{self, Facts};
use crate::guest::verify::{Found, look};
use crate::journal::Entry;
use crate::lock::compare::not_locked;
use crate::lock::proof::{Finding, findings, ways_out};
use crate::lock::{FILE, Lock, Section};
use crate::nix::closure::render_paths;
use crate::process::shell_quote;
use crate::ui::card::{Card, render_cards};

/// How many findings a person is shown.
const SHOWN: usize = 20;

/// All that a report needs.
struct Report<'a> {
    entry: &'a Entry,
    section: &'a Section,
    facts: Option<&'a Facts>,
    found: &'a Found,
    findings: &'a [Finding],
    at: Timestamp,
}

/// Runs `devbox verify`.
///
/// # Errors
/// [`Kind::Differs`] when anything is not as the lock says, or the lock does not say anything of it; [`Kind::Guest`]
/// when the box can't be reached; [`Kind::Volume`] when its store is not mounted.
pub async fn run(cx: &Context, args: &Verify) -> Result<()> {
    let entry = cx.chosen(args.name.as_deref())?;
    let lock = files::read(&entry.root)?;
    let section = section_of(&entry, lock.as_ref())?;
    let (entry, guest) = connect(cx, Some(entry.name.as_str())).await?;
    let phase = cx.ui.events.phase(Phase::Verify);
    let (facts, found) = tokio::join!(
        facts::ask(&guest, &entry.project),
        look(&guest, &entry.project, &section.fingerprint, args.deep, &phase)
    );
    let found = found?;
    let facts = facts.map_err(|e| cx.ui.events.detail(e.to_string())).ok();
    let kept = match found.listing.is_empty() {
        true => None,
        false => files::known_listing(&cx.paths, &guest, &entry.project, &section.fingerprint).await,
    };
    let findings = findings(section, kept.as_ref(), &found);
    let report = Report {
        entry: &entry,
        section,
        facts: facts.as_ref(),
        found: &found,
        findings: &findings,
        at: Timestamp::now(),
    };
    let verdict = report.judge();
    match &verdict {
        Ok(()) => phase.done(section.fingerprint.short()),
        Err(_) => drop(phase),
    }
    if cx.ui.is_json() {
        cx.ui.document(&report.document());
    } else {
        cx.ui.data(&render_cards(&[report.card()], cx.ui.columns()));
    }
    verdict
}

/// What the lock of the box's project says of its system.
fn section_of<'a>(entry: &Entry, lock: Option<&'a Lock>) -> Result<&'a Section> {
    lock.and_then(|lock| lock.sections.get(&entry.system)).ok_or_else(|| {
        let root = shell_quote(&entry.root.display().to_string());
        let write = format!("devbox -C {root} lock --system {}", entry.system);
        not_locked(entry.system, lock.is_some(), &write)
    })
}

impl Report<'_> {
    fn judge(&self) -> Result<()> {
        let name = &self.entry.name;
        if self.findings.is_empty() {
            return Ok(());
        }
        let more = self.findings.len().saturating_sub(SHOWN);
        let more = (more > 0).then(|| format!("and {more} more: `--json` names all"));
        let error = Error::new(Kind::Differs, format!("`{name}` does not have just what `{FILE}` says"))
            .details(self.findings.iter().take(SHOWN).map(Finding::render).chain(more));
        Err(ways_out(self.findings, name.as_str()).into_iter().fold(error, Error::hint))
    }

    fn card(&self) -> Card {
        let Self { entry, section, found, .. } = self;
        let mut card =
            Card::new(&format!("{}, held against {}", entry.name, files::file(&entry.root).display()));
        card.line(
            "verdict",
            match self.findings.is_empty() {
                true => format!("identical, {}", section.fingerprint.short()),
                false => "differs".to_owned(),
            },
        );
        card.line("in use", format!("generation {}, {}", found.generation, found.environment));
        let paths = usize::try_from(found.paths).unwrap_or(usize::MAX);
        let size = indicatif::BinaryBytes(found.bytes);
        card.line("registered", format!("{}, {size}", render_paths(paths)));
        card.line(
            "contents",
            match found.deep {
                true => format!("every file was read, in {} s", found.seconds),
                false => "not read: `--deep` reads every file".to_owned(),
            },
        );
        card.lines(
            "packages",
            section.packages.iter().map(|(name, package)| match &package.version {
                Some(version) => format!("{name} {version}"),
                None => name.clone(),
            }),
        );
        if let Some(facts) = self.facts {
            let machine = facts.whole_machine();
            let nix = facts.nix.as_deref().unwrap_or("none");
            card.line("machine", format!("{}, {}, Nix {nix}", machine.processor, machine.render_system()));
            card.maybe("gpu", machine.render_gpu());
        }
        card
    }

    /// What one files with an experiment.
    fn document(&self) -> Value {
        let Self { entry, section, found, findings, at, .. } = self;
        json!({
            "verdict": if findings.is_empty() { "identical" } else { "differs" },
            "at": at,
            "devbox": env!("CARGO_PKG_VERSION"),
            "box": entry.name,
            "project": entry.project,
            "provider": entry.provider,
            "instance": entry.instance,
            "instance-type": entry.instance_type,
            "region": entry.region,
            "system": entry.system,
            // What Nix does not pin.
            "machine": self.facts.map(Facts::whole_machine),
            "nix": self.facts.map(|facts| &facts.nix),
            "boot": self.facts.map(|facts| &facts.boot),
            "lock": {
                "file": files::file(&entry.root),
                "shell": section.shell,
                "flake-lock": section.flake_lock,
                "derivation": section.derivation,
                "fingerprint": section.fingerprint,
                "paths": section.paths,
                "size": section.size,
            },
            "found": {
                "generation": found.generation,
                "environment": found.environment,
                "derivation": found.remembered().derivation,
                "fingerprint": Some(&found.fingerprint).filter(|print| !print.0.is_empty()),
                "paths": found.paths,
                "size": found.bytes,
                "every-file-read": found.deep,
            },
            "packages": section.packages,
            "findings": findings,
        })
    }
}
