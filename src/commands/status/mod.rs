//! `devbox status`: the boxes of the account, asked live.

mod document;

use std::time::Duration;

use jiff::Timestamp;

use crate::cli::Status;
use crate::commands::Context;
use crate::commands::whereabouts::{Whereabouts, whereabouts};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::guest::facts::{self, Facts};
use crate::journal::Entry;
use crate::provider::{Instance, InstanceStatus, Provider};

use document::{Document, Other, Row, Whose, render};

/// How long one box may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the providers answered.
struct Asked(Vec<(&'static str, Result<Vec<Instance>>)>);

impl Asked {
    async fn all(providers: &[Box<dyn Provider>]) -> Self {
        let mut answers = Vec::new();
        for provider in providers {
            answers.push((provider.name(), provider.list().await));
        }
        Self(answers)
    }

    /// The instances of one provider; nothing when it could not be asked.
    fn of(&self, provider: &str) -> Option<&[Instance]> {
        let (_, answer) = self.0.iter().find(|(name, _)| *name == provider)?;
        answer.as_deref().ok()
    }

    fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.0.iter().filter_map(|(_, answer)| answer.as_ref().ok()).flatten()
    }

    /// Those that could not be asked.
    fn silent(&self) -> Vec<&'static str> {
        self.0.iter().filter(|(_, answer)| answer.is_err()).map(|(name, _)| *name).collect()
    }

    /// The first that could not be asked, as the command's error.
    fn failure(self) -> Result<()> {
        self.0.into_iter().try_for_each(|(_, answer)| answer.map(drop))
    }
}

/// Runs `devbox status`.
///
/// # Errors
/// [`Kind::Provider`](crate::error::Kind::Provider) when a provider can't be asked; what the journal
/// knows has been shown by then.
pub async fn run(cx: &Context, args: &Status) -> Result<()> {
    let (config, all_right) = cx.as_far_as_right()?;
    let (journal, damaged) = cx.journal.read_in_part();
    let all_right = all_right.and_then(|()| cx.journal_is_whole());
    let (entries, unknown) = match &args.name {
        None => (journal.iter().filter(|e| e.is_open()).cloned().collect(), None),
        Some(name) => match cx.find(Some(name))? {
            Ok(entry) => (vec![entry], None),
            // Another machine may have launched it.
            Err(unknown) => (Vec::new(), Some(unknown)),
        },
    };
    let providers = cx.providers(&config)?;
    let asked = Asked::all(&providers).await;
    let mut boxes = Vec::new();
    let mut untold = Ok(());
    for entry in &entries {
        let provider = providers.iter().find(|p| p.name() == entry.provider);
        let found = match (provider, asked.of(&entry.provider)) {
            (Some(provider), Some(instances)) => Some(whereabouts(provider.as_ref(), entry, instances).await),
            _ => None,
        };
        boxes.push(row(cx, &config, entry, found.as_ref()).await);
        if let Some(Err(e)) = found {
            untold = untold.and(Err(e));
        }
    }
    let known = |i: &Instance| {
        let is_it = |e: &Entry| i.launch == Some(e.launch) || e.instance.as_ref() == Some(&i.id);
        journal.iter().any(|e| e.is_open() && is_it(e))
    };
    let is_meant = |i: &Instance| {
        args.name.as_ref().is_none_or(|name| i.id.0 == *name || i.name.eq_ignore_ascii_case(name))
    };
    let (mut others, mut not_ours) = (Vec::new(), Vec::new());
    for instance in asked.instances().filter(|i| is_meant(i) && !known(i) && !i.status.is_ending()) {
        let whose = Whose::new(instance, &journal, &damaged);
        match instance.ours {
            true => others.push(Other::new(instance, whose, Timestamp::now())),
            false => not_ours.push(instance.into()),
        }
    }
    let mut working = cx.journal.working()?;
    working.retain(|w| args.name.as_ref().is_none_or(|name| w.is_of(name)));
    let document = Document { boxes, others, not_ours, working, not_asked: asked.silent() };
    let nothing = document.is_empty();
    if cx.ui.is_json() {
        cx.ui.document(&document);
    } else {
        cx.ui.data(&render(&document, cx.ui.columns()));
        if nothing && all_right.is_ok() && unknown.is_none() {
            cx.ui.events.info("no box is up; `devbox up` in a project brings one");
        }
    }
    let all_told = asked.failure().and(untold).map_err(|e: Error| {
        if entries.is_empty() {
            e
        } else {
            e.hint("what the journal knows is shown above: it may still be billed")
        }
    });
    let found = unknown.filter(|_| nothing).map_or(Ok(()), Err);
    match all_told {
        Ok(()) => all_right.and(found),
        Err(e) => Err(e.behind(all_right)),
    }
}

/// One launch of the journal. `found` is nothing where the provider could not be asked.
async fn row(cx: &Context, config: &Config, entry: &Entry, found: Option<&Result<Whereabouts>>) -> Row {
    let name = &entry.name;
    let (status, instance) = match found {
        None | Some(Err(_)) => ("unknown".to_owned(), None),
        Some(Ok(Whereabouts::There(instance))) => (instance.status.to_string(), Some(instance.as_ref())),
        Some(Ok(Whereabouts::Unsettled(_))) => ("asked for, does not show yet".to_owned(), None),
        Some(Ok(Whereabouts::Gone)) => ("gone".to_owned(), None),
    };
    let alive = instance.is_some_and(|i| !i.status.is_ending() && i.status != InstanceStatus::Dead);
    let facts = match found {
        None => facts_of(cx, config, entry, instance).await,
        Some(Ok(Whereabouts::There(_))) if alive => facts_of(cx, config, entry, instance).await,
        Some(Ok(Whereabouts::There(_))) => Err("down".to_owned()),
        Some(Ok(Whereabouts::Unsettled(_))) => {
            Err(format!("`devbox up {name}` continues, `devbox down {name}` ends it"))
        }
        Some(Ok(Whereabouts::Gone)) => Err(format!("`devbox down {name}` takes it off this list")),
        Some(Err(e)) => Err(e.to_string()),
    };
    let (ready, state) = match &facts {
        Ok(Facts { errors: Some(why), .. }) => (false, why.clone()),
        Ok(facts) if facts.is_set_up() && facts.nix.is_some() => {
            let hindrance = facts.checks.as_ref().and_then(|checks| checks.hindrance(name));
            (hindrance.is_none(), hindrance.unwrap_or_else(|| "ready".to_owned()))
        }
        Ok(facts) if facts.is_at_rest() => (false, format!("at rest; `devbox up {name}` sets it to work")),
        Ok(facts) => match facts.status.failed() {
            Some(step) => (false, format!("{} failed: {}", step.step, step.detail)),
            None if facts.is_set_up() => (false, "setting up, it has no Nix yet".to_owned()),
            None => (false, "setting up".to_owned()),
        },
        Err(why) => (false, why.clone()),
    };
    let now = Timestamp::now();
    let facts = facts.ok();
    let recorded = entry.fingerprint.as_ref().map(|f| f.0.clone());
    Row {
        name: entry.name.to_string(),
        status,
        state,
        ready,
        instance: entry.instance.as_ref().or(instance.map(|i| &i.id)).map(|i| i.0.clone()),
        address: entry.address.or(instance.and_then(|i| i.address)).map(|a| a.to_string()),
        project: entry.project.to_string(),
        root: entry.root.display().to_string(),
        system: entry.system.to_string(),
        instance_type: entry.instance_type.clone().or(instance.and_then(|i| i.instance_type.clone())),
        region: entry.region.clone().or(instance.and_then(|i| i.region.clone())),
        volume: entry.volume.to_string(),
        launched: entry.asked,
        age_seconds: now.as_second() - entry.asked.as_second(),
        cents_per_hour: entry.cents_per_hour,
        cents: entry.cents_until(now),
        environment: facts.as_ref().and_then(|f| f.environment.clone()),
        generation: facts.as_ref().map(|f| f.generation),
        fingerprint: facts.as_ref().map_or(recorded, |f| f.fingerprint.as_ref().map(|f| f.0.clone())),
        machine: facts.as_ref().map(Facts::whole_machine).or_else(|| entry.machine.clone()),
        nix: facts.and_then(|f| f.nix),
    }
}

/// Asks a box, or says in a word why that did not work.
async fn facts_of(
    cx: &Context,
    config: &Config,
    entry: &Entry,
    instance: Option<&Instance>,
) -> Result<Facts, String> {
    let address = entry.address.or(instance.and_then(|i| i.address));
    let entry = Entry { address, ..entry.clone() };
    let asked = async {
        let guest = cx.guest(&entry, config).await?;
        facts::ask(&guest, &entry.project).await
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(facts)) => Ok(facts),
        Ok(Err(e)) if entry.ready.is_none() => Err(format!("setting up ({e})")),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(format!("no answer in {} s", PATIENCE.as_secs())),
    }
}
