//! The part of `down` that finds out what is meant.

use std::rc::Rc;

use crate::cli::Down;
use crate::commands::Context;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::journal::Entry;
use crate::names::{BoxName, shown};
use crate::plan::up::instance_of;
use crate::provider::{Instance, Provider};

/// What is to be ended.
pub(super) enum Meant {
    /// Launches of this machine. Those that the journal has as ended came after they were given up.
    Ours(Vec<Entry>),
    /// An instance with our tag that another machine launched.
    Stranger(Box<Instance>, Rc<Box<dyn Provider>>),
}

/// What the journal has as ended and runs all the same, with the ids of the instances. Pure.
fn late(journal: &[Entry], instances: &[Instance]) -> Vec<Entry> {
    let ended = journal.iter().filter(|e| !e.is_open());
    ended
        .filter_map(|entry| {
            let instance = instance_of(entry, instances).filter(|i| !i.status.is_ending())?;
            Some(Entry { instance: Some(instance.id.clone()), ..entry.clone() })
        })
        .collect()
}

/// All that this machine launched and that may be billed, and whether every provider could be asked.
///
/// # Errors
/// When the journal can't be read.
pub(super) async fn everything(cx: &Context, config: &Config) -> Result<(Vec<Entry>, Result<()>)> {
    let journal = cx.journal.read()?;
    let mut entries: Vec<_> = journal.iter().filter(|e| e.is_open()).cloned().collect();
    let mut asked = Ok(());
    for provider in cx.providers(config)? {
        match provider.list().await {
            Ok(instances) => entries.extend(late(&journal, &instances)),
            Err(e) => asked = asked.and(Err(e)),
        }
    }
    Ok((entries, asked))
}

/// What is meant: a box of the journal, with what came too late of the same name; else an instance by its exact id;
/// else one by its name, whatever its case.
///
/// # Errors
/// [`Kind::Usage`] when there is none, it is not ours, or several could be meant.
pub(super) async fn meant(cx: &Context, config: &Config, args: &Down) -> Result<Meant> {
    let journal = cx.journal.read()?;
    let unknown = match cx.chosen(args.name.as_deref()) {
        Ok(entry) => {
            // Trouble with asking is told when it comes to ending the box.
            let instances = match cx.provider_named(&entry.provider, config)?.list().await {
                Ok(instances) if !args.forget => instances,
                _ => Vec::new(),
            };
            let mut entries = late(&journal, &instances);
            entries.retain(|e| e.name == entry.name && e.provider == entry.provider);
            entries.insert(0, entry);
            return Ok(Meant::Ours(entries));
        }
        Err(unknown) => unknown,
    };
    let mut instances = Vec::new();
    for provider in cx.providers(config)? {
        let provider = Rc::new(provider);
        let all = provider.list().await.map_err(|e| e.detail(unknown.to_string()))?;
        instances.extend(all.into_iter().map(|instance| (instance, Rc::clone(&provider))));
    }
    instances.retain(|(i, _)| !i.status.is_ending());
    let Some(name) = &args.name else {
        let all: Vec<_> = instances.into_iter().map(|(i, _)| i).collect();
        let several = journal.iter().any(Entry::is_open);
        return nameless(cx, config, late(&journal, &all), several).ok_or(unknown);
    };
    if instances.iter().any(|(i, _)| i.id.0 == *name) {
        instances.retain(|(i, _)| i.id.0 == *name);
    } else {
        instances.retain(|(i, _)| i.launch.is_some() && i.name.eq_ignore_ascii_case(name));
    }
    let all: Vec<_> = instances.iter().map(|(i, _)| i.clone()).collect();
    let ours = late(&journal, &all);
    if !ours.is_empty() && ours.len() == instances.len() {
        return Ok(Meant::Ours(ours));
    }
    if instances.len() > 1 {
        return Err(Error::new(Kind::Usage, format!("{} instances are called `{name}`", instances.len()))
            .details(instances.iter().map(|(i, _)| format!("{}  ({}, {})", i.id, shown(&i.name), i.status)))
            .hint("name one of them by its id"));
    }
    let Some((instance, provider)) = instances.pop() else { return Err(unknown) };
    if instance.launch.is_none() {
        return Err(Error::new(
            Kind::Usage,
            format!("{} is not ours: it carries no tag of devbox", instance.id),
        )
        .hint("devbox never touches it; end it where it was launched"));
    }
    // After a lost answer the journal has it without its id.
    match journal.into_iter().find(|e| e.is_open() && instance.launch == Some(e.launch)) {
        Some(entry) => Ok(Meant::Ours(vec![entry])),
        None => Ok(Meant::Stranger(Box::new(instance), provider)),
    }
}

/// Without a name: what came too late of the project here; without a project, all that did if it has one name and
/// nothing else could be meant.
fn nameless(cx: &Context, config: &Config, mut late: Vec<Entry>, several: bool) -> Option<Meant> {
    if cx.project().is_ok() {
        let here: Option<BoxName> = config.box_name().ok().cloned();
        late.retain(|e| Some(&e.name) == here.as_ref());
    } else if several {
        return None;
    }
    let first = late.first()?.name.clone();
    late.iter().all(|e| e.name == first).then_some(Meant::Ours(late))
}
