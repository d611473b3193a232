//! What `up` has to do: which instance to use or launch, what to clear away, what to refuse.

use crate::error::{Error, Kind, Result};
use crate::journal::Entry;
use crate::names::{BoxName, System, VolumeName};
use crate::provider::{Instance, InstanceStatus, Volume};

/// What the user wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The box.
    pub name: BoxName,
    /// The provider, as the configuration names it.
    pub provider: String,
    /// What it has to run.
    pub system: System,
    /// The volume.
    pub volume: VolumeName,
}

/// What there is.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The launches of the journal that have not ended.
    pub journal: Vec<Entry>,
    /// Every instance of the provider.
    pub instances: Vec<Instance>,
    /// The volume, where it exists.
    pub volume: Option<Volume>,
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
}

/// What `up` has to do before there is a box.
#[derive(Clone, Debug, PartialEq)]
pub struct UpPlan {
    /// Whether the volume has to be made first.
    pub create_volume: bool,
    /// Instances of this box that are of no use any more: to be ended.
    pub clear: Vec<Instance>,
    /// Launches of this box that have no instance any more: to be closed in the journal.
    pub close: Vec<Entry>,
    /// Where the box comes from.
    pub source: Source,
}

/// The instance of a launch: by its id, and after a lost answer by our tag.
pub fn instance_of<'a>(entry: &Entry, instances: &'a [Instance]) -> Option<&'a Instance> {
    instances
        .iter()
        .find(|i| entry.instance.as_ref() == Some(&i.id))
        .or_else(|| instances.iter().find(|i| i.launch == Some(entry.launch)))
}

/// Decides.
///
/// # Errors
/// [`Kind::Volume`] when another box has the volume; [`Kind::Provider`] when a box of this name runs
/// that this machine did not launch, or more than one; [`Kind::Usage`] when the running box is not
/// the one that is wanted now.
pub fn plan_up(wanted: &Wanted, seen: &Seen) -> Result<UpPlan> {
    let name = &wanted.name;
    let mut clear = Vec::new();
    let mut close = Vec::new();
    let mut running: Vec<(Instance, Entry)> = Vec::new();
    for entry in seen.journal.iter().filter(|e| e.name == *name && e.provider == wanted.provider) {
        match instance_of(entry, &seen.instances) {
            None => close.push(entry.clone()),
            Some(i) if i.status == InstanceStatus::Terminated => close.push(entry.clone()),
            Some(i) if matches!(i.status, InstanceStatus::Dead | InstanceStatus::Terminating) => {
                clear.push(i.clone());
                close.push(entry.clone());
            }
            Some(i) => running.push((i.clone(), entry.clone())),
        }
    }

    let known =
        |i: &Instance| running.iter().any(|(r, _)| r.id == i.id) || clear.iter().any(|c| c.id == i.id);
    let strangers: Vec<&Instance> = seen
        .instances
        .iter()
        .filter(|i| i.launch.is_some() && i.name == name.as_str() && i.status.may_bill() && !known(i))
        .collect();
    if let Some(stranger) = strangers.first() {
        return Err(Error::new(
            Kind::Provider,
            format!("a box called `{name}` runs that this machine did not launch: {}", stranger.id),
        )
        .hint(format!("`devbox down {}` ends it; `devbox up OTHER-NAME` leaves it alone", stranger.id)));
    }
    if running.len() > 1 {
        let ids: Vec<_> = running.iter().map(|(i, _)| i.id.to_string()).collect();
        return Err(Error::new(Kind::Provider, format!("{} boxes are called `{name}`", ids.len()))
            .details(ids)
            .hint("`devbox down ID` ends one of them"));
    }

    if let Some((instance, entry)) = running.pop() {
        let changed = if entry.volume != wanted.volume {
            Some(format!("has the volume `{}`, not `{}`", entry.volume, wanted.volume))
        } else if entry.system != wanted.system {
            Some(format!("runs {}, not {}", entry.system, wanted.system))
        } else {
            None
        };
        if let Some(changed) = changed {
            return Err(Error::new(Kind::Usage, format!("`{name}` is up and {changed}"))
                .hint(format!("`devbox down {name}` first; home and environment stay on their volume")));
        }
        return Ok(UpPlan {
            create_volume: false,
            clear,
            close,
            source: Source::Running { instance: Box::new(instance), entry: Box::new(entry) },
        });
    }

    let holder = seen.instances.iter().find(|i| {
        i.volumes.iter().any(|v| v == wanted.volume.as_str())
            && !matches!(i.status, InstanceStatus::Terminated | InstanceStatus::Dead)
            && !clear.iter().any(|c| c.id == i.id)
    });
    if let Some(holder) = holder {
        return Err(Error::new(
            Kind::Volume,
            format!(
                "the volume `{}` is in use by the box `{}` ({}, {})",
                wanted.volume, holder.name, holder.id, holder.status
            ),
        )
        .hint(format!(
            "`devbox down {}` frees it; or give this box another volume: `volume.name`",
            holder.name
        )));
    }
    Ok(UpPlan { create_volume: seen.volume.is_none(), clear, close, source: Source::Launch })
}

/// The plan as a person reads it, one line for each step.
pub fn render_plan(wanted: &Wanted, plan: &UpPlan, seen: &Seen) -> Vec<String> {
    let Wanted { name, provider, system, volume } = wanted;
    let mut lines = Vec::new();
    for instance in &plan.clear {
        lines.push(format!("clear   the {} instance {}", instance.status, instance.id));
    }
    if plan.create_volume {
        lines.push(format!("create  the volume `{volume}`"));
    } else if let Some(found) = &seen.volume {
        lines.push(format!("use     the volume `{volume}` ({})", found.place));
    }
    match &plan.source {
        Source::Launch => lines.push(format!("launch  `{name}` with {provider}, {system}")),
        Source::Running { instance, .. } => {
            let at = instance.address.map(|a| format!(" at {a}")).unwrap_or_default();
            lines.push(format!("use     `{name}`, {}{at} ({})", instance.status, instance.id));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{InstanceId, LaunchId};
    use proptest::prelude::*;

    fn wanted() -> Wanted {
        Wanted {
            name: "hello".parse().unwrap(),
            provider: "local".into(),
            system: System::X86_64Linux,
            volume: "devbox".parse().unwrap(),
        }
    }

    fn entry(id: Option<&str>) -> Entry {
        Entry {
            launch: LaunchId::random(),
            name: "hello".parse().unwrap(),
            project: "hello".parse().unwrap(),
            root: "/p".into(),
            provider: "local".into(),
            system: System::X86_64Linux,
            volume: "devbox".parse().unwrap(),
            host_key: String::new(),
            asked: jiff::Timestamp::UNIX_EPOCH,
            instance: id.map(|i| InstanceId(i.into())),
            address: None,
            cents_per_hour: None,
            ready: None,
            fingerprint: None,
            ended: None,
        }
    }

    fn instance(id: &str, launch: Option<LaunchId>, status: InstanceStatus) -> Instance {
        Instance {
            id: InstanceId(id.into()),
            name: "hello".into(),
            launch,
            status,
            address: None,
            system: None,
            instance_type: None,
            region: None,
            volumes: vec!["devbox".into()],
            launched_from: None,
            extra: serde_json::Map::new(),
            since: None,
            cents_per_hour: None,
        }
    }

    fn volume() -> Option<Volume> {
        Some(Volume {
            name: "devbox".parse().unwrap(),
            id: "devbox".into(),
            region: None,
            mount_point: "/v".into(),
            place: "/volumes/devbox".into(),
        })
    }

    #[test]
    fn from_nothing_a_volume_is_made_and_a_box_launched() {
        let seen = Seen::default();
        let plan = plan_up(&wanted(), &seen).unwrap();
        insta::assert_snapshot!(render_plan(&wanted(), &plan, &seen).join("\n"), @r"
        create  the volume `devbox`
        launch  `hello` with local, x86_64-linux
        ");
    }

    #[test]
    fn after_a_lost_answer_the_tag_finds_the_instance() {
        let entry = entry(None);
        let there = instance("i-1", Some(entry.launch), InstanceStatus::Active);
        let seen = Seen { journal: vec![entry.clone()], instances: vec![there.clone()], volume: volume() };
        let plan = plan_up(&wanted(), &seen).unwrap();
        assert_eq!(plan.source, Source::Running { instance: Box::new(there), entry: Box::new(entry) });
    }

    #[test]
    fn an_intent_without_an_instance_is_closed_and_launched_anew() {
        let entry = entry(None);
        let seen = Seen { journal: vec![entry.clone()], instances: vec![], volume: volume() };
        let plan = plan_up(&wanted(), &seen).unwrap();
        assert_eq!((plan.close, plan.source), (vec![entry], Source::Launch));
    }

    #[test]
    fn a_dead_box_is_cleared_and_does_not_hold_its_own_volume() {
        let entry = entry(Some("i-1"));
        let seen = Seen {
            instances: vec![instance("i-1", Some(entry.launch), InstanceStatus::Dead)],
            journal: vec![entry],
            volume: volume(),
        };
        let plan = plan_up(&wanted(), &seen).unwrap();
        assert_eq!((plan.clear.len(), plan.close.len(), plan.source), (1, 1, Source::Launch));
    }

    #[test]
    fn a_volume_in_use_is_refused_and_its_holder_named() {
        let mut other = instance("i-9", Some(LaunchId::random()), InstanceStatus::Active);
        other.name = "other".into();
        let seen = Seen { journal: vec![], instances: vec![other], volume: volume() };
        let error = plan_up(&wanted(), &seen).unwrap_err();
        assert_eq!(error.kind(), Kind::Volume);
        assert_eq!(error.to_string(), "the volume `devbox` is in use by the box `other` (i-9, active)");
    }

    #[test]
    fn a_box_of_another_machine_is_never_taken_over() {
        let seen = Seen {
            journal: vec![],
            instances: vec![instance("i-1", Some(LaunchId::random()), InstanceStatus::Active)],
            volume: volume(),
        };
        assert_eq!(plan_up(&wanted(), &seen).unwrap_err().kind(), Kind::Provider);
    }

    #[test]
    fn another_volume_in_the_configuration_is_not_ignored() {
        let entry = Entry { volume: "old".parse().unwrap(), ..entry(Some("i-1")) };
        let seen = Seen {
            instances: vec![instance("i-1", Some(entry.launch), InstanceStatus::Active)],
            journal: vec![entry],
            volume: volume(),
        };
        assert_eq!(plan_up(&wanted(), &seen).unwrap_err().kind(), Kind::Usage);
    }

    fn status() -> impl Strategy<Value = InstanceStatus> {
        prop_oneof![
            Just(InstanceStatus::Booting),
            Just(InstanceStatus::Active),
            Just(InstanceStatus::Dead),
            Just(InstanceStatus::Terminating),
            Just(InstanceStatus::Terminated),
            Just(InstanceStatus::Other("odd".into())),
        ]
    }

    proptest! {
        /// Never a second box: as long as an instance with our tag may live, nothing is launched
        /// unless that instance is ended first.
        #[test]
        fn never_two_boxes(states in proptest::collection::vec((status(), any::<bool>(), any::<bool>()), 0..5)) {
            let mut seen = Seen { volume: volume(), ..Seen::default() };
            for (n, (status, journaled, with_id)) in states.iter().enumerate() {
                let id = format!("i-{n}");
                let entry = entry(with_id.then_some(id.as_str()));
                seen.instances.push(instance(&id, Some(entry.launch), status.clone()));
                if *journaled {
                    seen.journal.push(entry);
                }
            }
            if let Ok(UpPlan { source: Source::Launch, clear, .. }) = plan_up(&wanted(), &seen) {
                for instance in seen.instances.iter().filter(|i| i.status.may_bill()) {
                    prop_assert!(clear.iter().any(|c| c.id == instance.id), "{:?} would stay beside a new box", instance);
                }
            }
        }

        /// Nothing is ended that the journal of this machine does not know.
        #[test]
        fn strangers_are_never_ended(statuses in proptest::collection::vec(status(), 0..5)) {
            let instances: Vec<_> =
                statuses.iter().enumerate().map(|(n, s)| instance(&format!("i-{n}"), None, s.clone())).collect();
            if let Ok(plan) = plan_up(&wanted(), &Seen { instances, ..Seen::default() }) {
                prop_assert!(plan.clear.is_empty());
            }
        }
    }
}
