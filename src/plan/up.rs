//! What `up` has to do: which instance to use or launch, what to clear away, what to refuse.

use std::time::Duration;

use jiff::Timestamp;

use crate::error::{Error, Kind, Result};
use crate::journal::Entry;
use crate::names::{BoxName, LaunchId, VolumeName, shown};
use crate::plan::placement::matches;
use crate::provider::{Instance, InstanceStatus};

/// What the user wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The box.
    pub name: BoxName,
    /// The provider, as the configuration names it.
    pub provider: String,
    /// The instance types that would do, as in [`Wish`](crate::plan::Wish); empty: any.
    pub instance_types: Vec<String>,
    /// The volumes that would do, in order of preference.
    pub volumes: Vec<VolumeName>,
}

/// What there is.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Every launch of the journal, ended or not.
    pub journal: Vec<Entry>,
    /// Every instance of the provider.
    pub instances: Vec<Instance>,
    /// When that was.
    pub now: Timestamp,
    /// How long after a launch was asked for its instance may not show yet.
    pub settle: Duration,
}

/// Where the box comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// It runs already.
    Running {
        /// What the provider says of it.
        instance: Box<Instance>,
        /// What the journal says of it; the id may be missing after a crash, the tag is not.
        entry: Box<Entry>,
    },
    /// It has to be launched.
    Launch,
    /// A launch was asked for a moment ago and not answered: its instance may show yet.
    Unsettled {
        /// From when on it would.
        until: Timestamp,
    },
}

/// What `up` has to do before there is a box.
#[derive(Clone, Debug, PartialEq)]
pub struct UpPlan {
    /// Instances of this box that are of no use any more: to be ended.
    pub clear: Vec<Instance>,
    /// Launches of this box that have no instance any more: to be closed in the journal.
    pub close: Vec<Entry>,
    /// Where the box comes from.
    pub source: Source,
    /// Those of the wanted volumes that a new box can have; for one that runs, none.
    pub volumes: Vec<VolumeName>,
}

/// The instance of a launch: by its id, and after a lost answer by our tag.
pub fn instance_of<'a>(entry: &Entry, instances: &'a [Instance]) -> Option<&'a Instance> {
    instances
        .iter()
        .find(|i| entry.instance.as_ref() == Some(&i.id))
        .or_else(|| instances.iter().find(|i| i.launch == Some(entry.launch)))
}

/// Whether an instance will never be the box it was launched to be. One that was ready once may have work on it,
/// whatever the provider thinks of its health.
pub fn is_lost(instance: &Instance, entry: &Entry) -> bool {
    match instance.status {
        InstanceStatus::Dead => true,
        InstanceStatus::Unhealthy => entry.ready.is_none(),
        _ => false,
    }
}

/// The time before which nobody can tell of a launch that does not show whether it made an instance.
pub fn unsettled_until(entry: &Entry, now: Timestamp, settle: Duration) -> Option<Timestamp> {
    let until = entry.asked.saturating_add(settle).ok()?;
    // Asked for in the future is a clock that was set: no reason to wait.
    (now < until && entry.asked <= now).then_some(until)
}

/// Decides.
///
/// # Errors
/// [`Kind::Volume`] when other boxes have the volumes; [`Kind::Provider`] when a box of this name runs
/// that this machine did not launch, or more than one; [`Kind::Usage`] when the running box is not
/// the one that is wanted now.
pub fn plan_up(wanted: &Wanted, seen: &Seen) -> Result<UpPlan> {
    let name = &wanted.name;
    let mut clear = Vec::new();
    let mut close = Vec::new();
    let mut unsettled = None;
    let mut running: Vec<(Instance, Entry)> = Vec::new();
    let ours = |e: &&Entry| e.name == *name;
    if let Some(elsewhere) =
        seen.journal.iter().filter(ours).find(|e| e.is_open() && e.provider != wanted.provider)
    {
        return Err(Error::new(
            Kind::Usage,
            format!("`{name}` is up with the provider `{}`, not `{}`", elsewhere.provider, wanted.provider),
        )
        .hint(format!("`devbox down {name}` first, or give this box another name: `devbox up OTHER-NAME`")));
    }
    for entry in seen.journal.iter().filter(ours).filter(|e| e.is_open()) {
        match instance_of(entry, &seen.instances) {
            None => match unsettled_until(entry, seen.now, seen.settle) {
                Some(until) => unsettled = unsettled.max(Some(until)),
                None => close.push(entry.clone()),
            },
            Some(i) if i.status.is_ending() => close.push(entry.clone()),
            Some(i) if is_lost(i, entry) => {
                clear.push(i.clone());
                close.push(entry.clone());
            }
            Some(i) => running.push((i.clone(), entry.clone())),
        }
    }
    for (instance, entry) in late(wanted, seen) {
        if is_lost(instance, entry) || (!running.is_empty() && entry.ready.is_none()) {
            clear.push(instance.clone());
        } else {
            running.push((instance.clone(), Entry { ended: None, ..entry.clone() }));
        }
    }
    refuse_strangers(name, seen, &running, &clear)?;
    if running.len() > 1 {
        let ids: Vec<_> = running.iter().map(|(i, _)| i.id.to_string()).collect();
        return Err(Error::new(Kind::Provider, format!("{} boxes are called `{name}`", ids.len()))
            .details(ids)
            .hint("`devbox down ID` ends one of them"));
    }
    if let Some((instance, entry)) = running.pop() {
        refuse_another(wanted, &instance, &entry)?;
        let source = Source::Running { instance: Box::new(instance), entry: Box::new(entry) };
        return Ok(UpPlan { clear, close, source, volumes: Vec::new() });
    }
    let volumes = free_volumes(wanted, seen, &clear)?;
    let source = unsettled.map_or(Source::Launch, |until| Source::Unsettled { until });
    Ok(UpPlan { clear, close, source, volumes })
}

/// Instances of launches that were given up: they came all the same, after their answers were lost.
fn late<'a>(wanted: &Wanted, seen: &'a Seen) -> Vec<(&'a Instance, &'a Entry)> {
    let ended = seen
        .journal
        .iter()
        .rev()
        .filter(|e| !e.is_open() && e.name == wanted.name && e.provider == wanted.provider);
    ended
        .filter_map(|e| Some((instance_of(e, &seen.instances)?, e)))
        .filter(|(i, _)| !i.status.is_ending())
        .collect()
}

/// A box of this name that another machine launched can't be taken over: its host key is there.
fn refuse_strangers(
    name: &BoxName,
    seen: &Seen,
    running: &[(Instance, Entry)],
    clear: &[Instance],
) -> Result<()> {
    let known =
        |i: &Instance| running.iter().any(|(r, _)| r.id == i.id) || clear.iter().any(|c| c.id == i.id);
    let stranger = seen
        .instances
        .iter()
        .find(|i| i.ours && i.name.eq_ignore_ascii_case(name.as_str()) && !i.status.is_ending() && !known(i));
    let Some(stranger) = stranger else { return Ok(()) };
    let from = stranger.launched_from.as_ref().map(|from| format!(" (`{from}` did)")).unwrap_or_default();
    Err(Error::new(
        Kind::Provider,
        format!("a box called `{name}` runs that this machine did not launch{from}: {}", stranger.id),
    )
    .hint(format!(
        "`devbox down {} --force` ends it, and what it has not synced is lost; `devbox up OTHER-NAME` leaves it alone",
        stranger.id
    )))
}

/// The box that runs must be one that is wanted.
fn refuse_another(wanted: &Wanted, instance: &Instance, entry: &Entry) -> Result<()> {
    let name = &wanted.name;
    let kind = instance.instance_type.as_ref().or(entry.instance_type.as_ref());
    let other_kind = kind.filter(|kind| {
        !wanted.instance_types.is_empty() && !wanted.instance_types.iter().any(|p| matches(p, kind))
    });
    let changed = if !wanted.volumes.iter().any(|v| v.is(entry.volume.as_str())) {
        let volumes: Vec<_> = wanted.volumes.iter().map(|v| format!("`{v}`")).collect();
        format!("has the volume `{}`, not {}", entry.volume, volumes.join(" or "))
    } else if let Some(kind) = other_kind {
        format!("is a {kind}, not {}", wanted.instance_types.join(" or "))
    } else {
        return Ok(());
    };
    Err(Error::new(Kind::Usage, format!("`{name}` is up and {changed}"))
        .hint(format!("`devbox down {name}` first; home and environment stay on their volume")))
}

/// What is known of the box that has a store image.
#[derive(Clone, Debug, PartialEq)]
pub enum Holder {
    /// It may write it.
    Lives(Box<Instance>),
    /// It is on its way down, and may still write.
    IsEnding,
    /// It is certain that it can't write any more.
    IsGone,
    /// Nobody can tell: the instance of this id can't be read, and may be it.
    Unknown(String),
}

/// Whether the launch that holds a store image can still write it, by all instances of the account.
pub fn plan_holder(holder: LaunchId, instances: &[Instance]) -> Holder {
    match instances.iter().find(|i| i.launch == Some(holder)) {
        None => match instances.iter().find(|i| i.may_be_anybodys()) {
            Some(odd) => Holder::Unknown(shown(&odd.id.0)),
            None => Holder::IsGone,
        },
        Some(i) => match i.status {
            InstanceStatus::Terminated | InstanceStatus::Dead => Holder::IsGone,
            InstanceStatus::Terminating | InstanceStatus::Preempted => Holder::IsEnding,
            _ => Holder::Lives(Box::new(i.clone())),
        },
    }
}

/// The error where a living box has what another wants.
pub fn in_use(holder: &Instance) -> Error {
    Error::new(
        Kind::Volume,
        format!(
            "the store image is in use by the box `{}` ({}, {})",
            shown(&holder.name),
            holder.id,
            holder.status
        ),
    )
    .hint(format!(
        "`devbox down {}` frees it; or give this box another volume: `volume.name`",
        shown(&holder.name)
    ))
}

/// The wanted volumes that no living box of ours has.
fn free_volumes(wanted: &Wanted, seen: &Seen, clear: &[Instance]) -> Result<Vec<VolumeName>> {
    let holder = |volume: &VolumeName| {
        seen.instances.iter().find(|i| {
            i.ours
                && i.volumes.iter().any(|v| volume.is(v))
                && !i.status.is_ending()
                && i.status != InstanceStatus::Dead
                && !clear.iter().any(|c| c.id == i.id)
        })
    };
    let (held, free): (Vec<_>, Vec<_>) =
        wanted.volumes.iter().map(|v| (v, holder(v))).partition(|(_, holder)| holder.is_some());
    if let (Some((volume, Some(holder))), true) = (held.first(), free.is_empty()) {
        return Err(Error::new(
            Kind::Volume,
            format!(
                "the volume `{volume}` is in use by the box `{}` ({}, {})",
                holder.name, holder.id, holder.status
            ),
        )
        .hint(format!("{}; or give this box another volume: `volume.name`", way_to_free(holder, seen))));
    }
    Ok(free.into_iter().map(|(volume, _)| volume.clone()).collect())
}

/// How to end the holder of a volume. Where this machine did not launch it, it can't be brought to rest from here.
fn way_to_free(holder: &Instance, seen: &Seen) -> String {
    let ours = |e: &Entry| instance_of(e, std::slice::from_ref(holder)).is_some();
    match seen.journal.iter().any(ours) {
        true => format!("`devbox down {}` frees it", holder.name),
        false => {
            format!("`devbox down {} --force` frees it, and what it has not synced is lost", holder.id)
        }
    }
}

/// An instance that is on its way down with a volume that is wanted, and was not brought to rest: until its power is
/// off it may write to the store image.
pub fn still_writing<'a>(
    volumes: &[VolumeName],
    journal: &[Entry],
    instances: &'a [Instance],
) -> Option<&'a Instance> {
    let rested =
        |i: &Instance| journal.iter().any(|e| e.rested && instance_of(e, std::slice::from_ref(i)).is_some());
    instances.iter().find(|i| {
        i.ours
            && i.status == InstanceStatus::Terminating
            && i.volumes.iter().any(|name| volumes.iter().any(|v| v.is(name)))
            && !rested(i)
    })
}

#[cfg(test)]
#[path = "up_tests.rs"]
mod tests;
