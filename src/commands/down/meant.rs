//! The part of `down` that finds out what is meant.

use std::rc::Rc;

use crate::cli::Down;
use crate::commands::Context;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::journal::{Entry, Working};
use crate::names::{BoxName, shown};
use crate::plan::up::instance_of;
use crate::provider::{Instance, Provider};

/// What is to be ended.
pub(super) enum Meant {
    /// Launches of this machine. Those that the journal has as ended came after they were given up.
    Ours(Vec<Entry>),
    /// An instance with our tag that the journal here does not know.
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

/// All that runs with our tag.
pub(super) struct Everything {
    /// Launches of this machine.
    pub(super) ours: Vec<Entry>,
    /// Instances that the journal here does not know.
    pub(super) strangers: Vec<Instance>,
    /// Whether every provider could be asked.
    pub(super) asked: Result<()>,
}

/// All that this machine launched and that may be billed, and what others did.
///
/// # Errors
/// When the journal can't be read at all.
pub(super) async fn everything(cx: &Context, config: &Config) -> Result<Everything> {
    let journal = cx.launches();
    let mut ours: Vec<_> = journal.iter().filter(|e| e.is_open()).cloned().collect();
    let (mut strangers, mut asked) = (Vec::new(), Ok(()));
    for provider in cx.providers(config)? {
        match provider.list().await {
            Ok(instances) => {
                ours.extend(late(&journal, &instances));
                strangers.extend(instances.into_iter().filter(|i| is_stranger(i, &journal)));
            }
            Err(e) => asked = asked.and(Err(e)),
        }
    }
    Ok(Everything { ours, strangers, asked })
}

fn is_stranger(instance: &Instance, journal: &[Entry]) -> bool {
    let known = |e: &Entry| instance_of(e, std::slice::from_ref(instance)).is_some();
    instance.ours && !instance.status.is_ending() && !journal.iter().any(known)
}

/// What is meant: a box of the journal, with what came too late of the same name; else an instance by its exact id;
/// else one by its name, whatever its case.
///
/// # Errors
/// [`Kind::Usage`] when there is none, it is not ours, or several could be meant; [`Kind::Failed`] when it is only
/// being asked for.
pub(super) async fn meant(cx: &Context, config: &Config, args: &Down) -> Result<Meant> {
    let journal = cx.launches();
    let working = cx.journal.working()?;
    let at_work = |name: &str| working.iter().find(|w| w.is_of(name)).map(being_brought_up);
    let unknown = match cx.find(args.name.as_deref())? {
        Ok(entry) => {
            // Asked for right now: there is nothing to end yet, and there may never be.
            if let Some(e) = at_work(entry.name.as_str()).filter(|_| entry.instance.is_none()) {
                return Err(e);
            }
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
    let in_a_project = cx.project().is_ok();
    let name = match &args.name {
        Some(name) => Some(name.clone()),
        None if in_a_project => config.box_name().ok().map(ToString::to_string),
        None => None,
    };
    if let Some(e) = name.as_deref().and_then(at_work) {
        return Err(e);
    }
    let mut instances = Vec::new();
    for provider in cx.providers(config)? {
        let provider = Rc::new(provider);
        let all = provider.list().await.map_err(|e| e.detail(unknown.to_string()))?;
        instances.extend(all.into_iter().map(|instance| (instance, Rc::clone(&provider))));
    }
    instances.retain(|(i, _)| !i.status.is_ending());
    let Some(name) = name else {
        let all: Vec<_> = instances.into_iter().map(|(i, _)| i).collect();
        let several = journal.iter().any(Entry::is_open);
        return nameless(late(&journal, &all), several).ok_or(unknown);
    };
    if instances.iter().any(|(i, _)| i.id.0 == name) {
        instances.retain(|(i, _)| i.id.0 == name);
    } else {
        instances.retain(|(i, _)| i.name.eq_ignore_ascii_case(&name));
        // What is not ours is meant by its id alone, unless nothing else has the name.
        if instances.iter().any(|(i, _)| i.ours) {
            instances.retain(|(i, _)| i.ours);
        }
    }
    let all: Vec<_> = instances.iter().map(|(i, _)| i.clone()).collect();
    let ours = late(&journal, &all);
    if !ours.is_empty() && ours.len() == instances.len() {
        return Ok(Meant::Ours(ours));
    }
    if instances.len() > 1 {
        return Err(Error::new(
            Kind::Usage,
            format!("{} instances are called `{}`", instances.len(), shown(&name)),
        )
        .details(instances.iter().map(|(i, _)| format!("{}  ({}, {})", i.id, shown(&i.name), i.status)))
        .hint("name one of them by its id"));
    }
    let Some((instance, provider)) = instances.pop() else { return Err(unknown) };
    if !instance.ours {
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

/// Without a name or a project: what came too late, if it has one name and nothing else could be meant.
fn nameless(late: Vec<Entry>, several: bool) -> Option<Meant> {
    let first: BoxName = late.first().filter(|_| !several)?.name.clone();
    late.iter().all(|e| e.name == first).then_some(Meant::Ours(late))
}

/// The error where there is nothing to end yet, and another devbox is at it.
pub(super) fn being_brought_up(working: &Working) -> Error {
    let error = Error::new(Kind::Failed, format!("`{}` is being worked on: {}", working.name, working.who));
    match working.process() {
        Some(process) => error.hint(format!(
            "Ctrl-C there, or `kill -INT {process}`, ends that; then `devbox down {}` ends what came of it",
            working.name
        )),
        None => error.hint("end that one first"),
    }
}
