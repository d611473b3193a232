//! What is used, launched, cleared away, refused.

use super::*;
use crate::names::{InstanceId, LaunchId, System};
use crate::plan::placement::Placements;
use crate::plan::show::{plan_document, render_plan};
use crate::provider::{Offer, Placement};
use proptest::prelude::*;

fn wanted() -> Wanted {
    Wanted {
        name: "hello".parse().unwrap(),
        provider: "local".into(),
        instance_types: vec![],
        volumes: vec!["devbox".parse().unwrap()],
    }
}

fn seen(journal: Vec<Entry>, instances: Vec<Instance>) -> Seen {
    Seen {
        journal,
        instances,
        now: Timestamp::from_second(1_000_000).unwrap(),
        settle: Duration::from_secs(60),
    }
}

fn running(plan: UpPlan) -> (Instance, Entry) {
    match plan.source {
        Source::Running { instance, entry } => (*instance, *entry),
        other => panic!("{other:?}"),
    }
}

fn entry(id: Option<&str>) -> Entry {
    Entry {
        asked: jiff::Timestamp::UNIX_EPOCH,
        instance: id.map(|i| InstanceId(i.into())),
        cents_per_hour: None,
        ..crate::journal::tests::entry()
    }
}

fn instance(id: &str, launch: Option<LaunchId>, status: InstanceStatus) -> Instance {
    Instance {
        id: InstanceId(id.into()),
        name: "hello".into(),
        ours: launch.is_some(),
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

#[test]
fn from_nothing_a_box_is_launched() {
    let plan = plan_up(&wanted(), &seen(vec![], vec![])).unwrap();
    assert_eq!((&plan.source, &plan.volumes), (&Source::Launch, &wanted().volumes));
    let place = |kind: &str, cents| Placement {
        instance_type: kind.into(),
        region: "us-east-3".into(),
        system: System::Aarch64Linux,
        cents_per_hour: cents,
        image_family: None,
        volume: "devbox".parse().unwrap(),
    };
    let placements = Placements {
        all: vec![place("gpu_1x_gh200", 149), place("gpu_2x_gh200", 298)],
        system: System::Aarch64Linux,
        create: Some(("devbox".parse().unwrap(), Some("us-east-3".into()))),
        notes: vec!["left out: x".into()],
    };
    let wanted = || Wanted { provider: "lambda".into(), ..wanted() };
    let offer = |kind: &str, regions: &[&str]| Offer {
        instance_type: kind.into(),
        system: System::Aarch64Linux,
        cents_per_hour: 149,
        regions: regions.iter().map(ToString::to_string).collect(),
    };
    let offers = [offer("gpu_1x_gh200", &["us-east-3"])];
    let lines = render_plan(&wanted(), &plan, Some(&placements), &offers);
    insta::assert_snapshot!(lines.join("\n"));
    let elsewhere = [offer("gpu_1x_gh200", &["us-west-1", "us-west-2"])];
    insta::assert_snapshot!(render_plan(&wanted(), &plan, Some(&placements), &elsewhere).join("\n"));
    let west = Placement {
        volume: "west".parse().unwrap(),
        region: "us-west-1".into(),
        ..place("gpu_1x_gh200", 149)
    };
    let two = Placements { all: vec![place("gpu_1x_gh200", 149), west], create: None, ..placements.clone() };
    insta::assert_snapshot!(render_plan(&wanted(), &plan, Some(&two), &offers).join("\n"));
    let nowhere =
        Placements { all: vec![], create: Some(("devbox".parse().unwrap(), None)), ..placements.clone() };
    insta::assert_snapshot!(render_plan(&wanted(), &plan, Some(&nowhere), &[]).join("\n"));
    let document = plan_document(&wanted(), &plan, Some(&placements), &offers, &lines);
    insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap());
}

#[test]
fn after_a_lost_answer_the_tag_finds_the_instance() {
    let entry = entry(None);
    let there = instance("i-1", Some(entry.launch), InstanceStatus::Active);
    let plan = plan_up(&wanted(), &seen(vec![entry.clone()], vec![there.clone()])).unwrap();
    assert_eq!(running(plan), (there, entry));
}

#[test]
fn an_intent_without_an_instance_is_closed_and_launched_anew() {
    let entry = entry(None);
    let plan = plan_up(&wanted(), &seen(vec![entry.clone()], vec![])).unwrap();
    assert_eq!((plan.close, plan.source), (vec![entry], Source::Launch));
}

#[test]
fn an_intent_of_a_moment_ago_is_waited_for() {
    let mut seen = seen(vec![entry(None)], vec![]);
    seen.journal[0].asked = seen.now - Duration::from_secs(59);
    let plan = plan_up(&wanted(), &seen).unwrap();
    assert_eq!(plan.source, Source::Unsettled { until: seen.now + Duration::from_secs(1) });
    assert!(plan.close.is_empty());
    // Also one that was answered: a listing may come later than an answer.
    seen.journal[0].instance = Some(InstanceId("i-1".into()));
    assert!(matches!(plan_up(&wanted(), &seen).unwrap().source, Source::Unsettled { .. }));
    seen.journal[0].asked = seen.now - seen.settle;
    assert_eq!(plan_up(&wanted(), &seen).unwrap().source, Source::Launch);
}

#[test]
fn an_instance_that_came_after_it_was_given_up_is_taken_or_ended() {
    let given_up = Entry { ended: Some(Timestamp::UNIX_EPOCH), ..entry(None) };
    let late = instance("i-late", Some(given_up.launch), InstanceStatus::Active);
    let alone = plan_up(&wanted(), &seen(vec![given_up.clone()], vec![late.clone()])).unwrap();
    assert_eq!(running(alone), (late.clone(), Entry { ended: None, ..given_up.clone() }));

    let current = entry(Some("i-1"));
    let other = instance("i-1", Some(current.launch), InstanceStatus::Active);
    let both = plan_up(&wanted(), &seen(vec![given_up.clone(), current], vec![late.clone(), other])).unwrap();
    assert_eq!(both.clear, std::slice::from_ref(&late));
    assert_eq!(running(both).0.id.0, "i-1");

    // What is on its way out needs nobody's help.
    let ending = Instance { status: InstanceStatus::Terminating, ..late };
    assert_eq!(plan_up(&wanted(), &seen(vec![given_up], vec![ending])).unwrap().source, Source::Launch);
}

#[test]
fn a_dead_box_is_cleared_and_does_not_hold_its_own_volume() {
    for status in [InstanceStatus::Dead, InstanceStatus::Unhealthy] {
        let entry = entry(Some("i-1"));
        let dead = instance("i-1", Some(entry.launch), status);
        let plan = plan_up(&wanted(), &seen(vec![entry], vec![dead])).unwrap();
        assert_eq!((plan.clear.len(), plan.close.len(), plan.source), (1, 1, Source::Launch));
    }
}

#[test]
fn an_unhealthy_box_that_was_ready_may_have_work_on_it() {
    let entry = Entry { ready: Some(Timestamp::UNIX_EPOCH), ..entry(Some("i-1")) };
    let ill = instance("i-1", Some(entry.launch), InstanceStatus::Unhealthy);
    let plan = plan_up(&wanted(), &seen(vec![entry], vec![ill])).unwrap();
    assert!(plan.clear.is_empty());
    assert_eq!(running(plan).0.id.0, "i-1");
}

#[test]
fn a_volume_in_use_is_refused_and_its_holder_named() {
    let mut other = instance("i-9", Some(LaunchId::random()), InstanceStatus::Active);
    other.name = "other".into();
    let error = plan_up(&wanted(), &seen(vec![], vec![other.clone()])).unwrap_err();
    assert_eq!(error.kind(), Kind::Volume);
    assert_eq!(error.to_string(), "the volume `devbox` is in use by the box `other` (i-9, active)");

    let two = Wanted { volumes: vec!["devbox".parse().unwrap(), "west".parse().unwrap()], ..wanted() };
    let free = plan_up(&two, &seen(vec![], vec![other.clone()])).unwrap().volumes;
    assert_eq!(free, ["west".parse().unwrap()]);
    // What is not ours does not run devbox; the lease on the volume guards against what we can't see.
    (other.ours, other.launch) = (false, None);
    assert!(plan_up(&wanted(), &seen(vec![], vec![other])).is_ok());
}

/// Power that is still on may write to the store image, unless it was brought to rest first.
#[test]
fn a_box_on_its_way_down_is_waited_for() {
    let devbox = || vec!["devbox".parse().unwrap()];
    let gone = Entry { ended: Some(Timestamp::UNIX_EPOCH), ..entry(Some("i-1")) };
    let ending = instance("i-1", Some(gone.launch), InstanceStatus::Terminating);
    let instances = [ending];
    let waits = |entry: Entry| still_writing(&devbox(), &[entry], &instances).is_some();
    assert!(
        waits(gone.clone()) && waits(Entry { launch: LaunchId::random(), instance: None, ..gone.clone() })
    );
    assert!(!waits(Entry { rested: true, ..gone.clone() }));
    assert!(still_writing(&["other".parse().unwrap()], std::slice::from_ref(&gone), &instances).is_none());
    for status in [InstanceStatus::Terminated, InstanceStatus::Preempted, InstanceStatus::Active] {
        let instances = [Instance { status, ..instances[0].clone() }];
        assert!(still_writing(&devbox(), std::slice::from_ref(&gone), &instances).is_none());
    }
}

#[test]
fn a_box_of_another_machine_is_never_taken_over() {
    let mut stranger = instance("i-1", Some(LaunchId::random()), InstanceStatus::Active);
    stranger.launched_from = Some("laptop".into());
    let error = plan_up(&wanted(), &seen(vec![], vec![stranger])).unwrap_err();
    assert_eq!(error.kind(), Kind::Provider);
    assert!(error.to_string().contains("(`laptop` did): i-1"), "{error}");
}

#[test]
fn what_is_wanted_now_is_not_ignored() {
    let old_volume = Entry { volume: "old".parse().unwrap(), ..entry(Some("i-1")) };
    let mut there = instance("i-1", Some(old_volume.launch), InstanceStatus::Active);
    let error = plan_up(&wanted(), &seen(vec![old_volume], vec![there.clone()])).unwrap_err();
    assert_eq!(error.to_string(), "`hello` is up and has the volume `old`, not `devbox`");

    let entry = entry(Some("i-1"));
    there.launch = Some(entry.launch);
    there.instance_type = Some("gpu_1x_gh200".into());
    let wants =
        |types: &[&str]| Wanted { instance_types: types.iter().map(|t| (*t).into()).collect(), ..wanted() };
    let seen = seen(vec![entry.clone()], vec![there]);
    let error = plan_up(&wants(&["gpu_1x_h100*"]), &seen).unwrap_err();
    assert_eq!(error.to_string(), "`hello` is up and is a gpu_1x_gh200, not gpu_1x_h100*");
    assert!(plan_up(&wants(&["gpu_1x_*"]), &seen).is_ok());

    let elsewhere = Wanted { provider: "lambda".into(), ..wanted() };
    let error = plan_up(&elsewhere, &seen).unwrap_err();
    assert_eq!(error.to_string(), "`hello` is up with the provider `local`, not `lambda`");
}

fn status() -> impl Strategy<Value = InstanceStatus> {
    prop_oneof![
        Just(InstanceStatus::Booting),
        Just(InstanceStatus::Active),
        Just(InstanceStatus::Dead),
        Just(InstanceStatus::Unhealthy),
        Just(InstanceStatus::Preempted),
        Just(InstanceStatus::Terminating),
        Just(InstanceStatus::Terminated),
        Just(InstanceStatus::Other("odd".into())),
    ]
}

/// A store is given to another box only when it is certain that its holder can't write any more.
#[test]
fn who_holds_a_store() {
    use InstanceStatus::*;
    let (holder, other) = (LaunchId::random(), LaunchId::random());
    let with = |status| {
        plan_holder(holder, &[instance("i-2", Some(other), Active), instance("i-1", Some(holder), status)])
    };
    for status in [Booting, Active, Unhealthy, Unreadable, InstanceStatus::Other("new".into())] {
        let instance = instance("i-1", Some(holder), status.clone());
        assert_eq!(with(status), Holder::Lives(Box::new(instance)));
    }
    for status in [Terminating, Preempted] {
        assert_eq!(with(status), Holder::IsEnding);
    }
    for status in [Terminated, Dead] {
        assert_eq!(with(status), Holder::IsGone);
    }
    assert_eq!(plan_holder(holder, &[]), Holder::IsGone);
    assert_eq!(plan_holder(holder, &[instance("i-2", Some(other), Active)]), Holder::IsGone);
    // An instance of which nothing can be read may be it.
    let odd = [instance("i-2", Some(other), Active), instance("i-3", None, Unreadable)];
    assert_eq!(plan_holder(holder, &odd), Holder::Unknown("i-3".into()));
}

proptest! {
    /// Never a second box: as long as an instance with our tag may live, nothing is launched
    /// unless that instance is ended first.
    #[test]
    fn never_two_boxes(states in proptest::collection::vec((status(), any::<bool>(), any::<bool>(), any::<bool>()), 0..5)) {
        let mut seen = seen(vec![], vec![]);
        for (n, (status, journaled, with_id, ended)) in states.iter().enumerate() {
            let id = format!("i-{n}");
            let mut entry = entry(with_id.then_some(id.as_str()));
            entry.ended = ended.then_some(Timestamp::UNIX_EPOCH);
            seen.instances.push(instance(&id, Some(entry.launch), status.clone()));
            if *journaled {
                seen.journal.push(entry);
            }
        }
        let plan = plan_up(&wanted(), &seen);
        if let Ok(UpPlan { source: Source::Launch, clear, .. }) = plan {
            for instance in seen.instances.iter().filter(|i| !i.status.is_ending()) {
                prop_assert!(clear.iter().any(|c| c.id == instance.id), "{:?} would stay beside a new box", instance);
            }
        }
    }

    /// Nothing is ended that the journal of this machine does not know.
    #[test]
    fn strangers_are_never_ended(statuses in proptest::collection::vec(status(), 0..5)) {
        let instances: Vec<_> =
            statuses.iter().enumerate().map(|(n, s)| instance(&format!("i-{n}"), None, s.clone())).collect();
        if let Ok(plan) = plan_up(&wanted(), &seen(vec![], instances)) {
            prop_assert!(plan.clear.is_empty());
        }
    }
}
