//! Nothing bills unseen: whatever is lost, killed, late or nonsense, there is one box for one `up`, and `down` leaves
//! none.

use serde_json::json;

use crate::lambda_stage::Cloud;
use crate::sim::scenario::{self, Fault, FaultKind, Launch, Outcome};
use crate::sim_stage::Client;
use crate::support::{Run, until};

const UP: [&str; 4] = ["up", "-y", "--preset", "gh200"];

/// A launch whose instance is on the books, and nobody is at it any more.
fn up_and_away(cloud: &mut Cloud) -> Run {
    cloud.env.set("DEVBOX_FAILPOINT", "id");
    let run = cloud.env.devbox(UP).code(128 + 9);
    cloud.env.set("DEVBOX_FAILPOINT", "");
    run
}

/// SIGKILL at every step that is on disk, and while Lambda is being asked: the next `up` ends with exactly one box,
/// `down` with none. The same when the launch went through and its answer was lost.
#[test]
fn a_killed_up_is_continued_and_never_leaves_two() {
    let mut cloud = Cloud::with_boxes();
    let steps = [
        ("transferred", Outcome::Ok),
        ("ready", Outcome::Ok),
        ("address", Outcome::Ok),
        ("intent", Outcome::Ok),
        ("asking", Outcome::Ok),
        ("launched", Outcome::Ok),
        ("id", Outcome::Ok),
        ("unanswered", Outcome::LostAnswer),
        ("launched", Outcome::LostAnswer),
        ("id", Outcome::LostAnswer),
    ];
    for (step, outcome) in steps {
        cloud.script(&[outcome]);
        cloud.env.set("DEVBOX_FAILPOINT", step);
        cloud.env.devbox(UP).code(128 + 9);
        cloud.env.set("DEVBOX_FAILPOINT", "");
        let left = cloud.living().len();
        let open = cloud.env.journal().iter().filter(|e| e["ended"].is_null()).count();
        // Asked for is on the books before it runs, and nothing runs that was not asked for.
        assert_eq!(
            (left, open),
            (usize::from(!["intent", "asking"].contains(&step)), 1),
            "{step}, {outcome:?}"
        );
        // What was asked for without an answer is not called gone.
        assert_eq!(
            cloud.env.devbox(["status", "--json"]).ok().json()["boxes"].as_array().unwrap().len(),
            open
        );

        cloud.env.devbox(UP).ok();
        assert_eq!(cloud.living().len(), 1, "{step}, {outcome:?}");
        println!("{step} ({outcome:?}): {left} left, 1 after `up`");
        cloud.env.devbox(["down"]).ok();
        cloud.assert_nothing_lives();
    }
}

/// SIGKILL between the end of an instance and its line in the books: of one that failed while it booted, and by `down`.
#[test]
fn a_kill_after_an_end_leaves_none() {
    let mut cloud = Cloud::without_boxes();
    cloud.script(&[Outcome::Unhealthy]);
    cloud.env.set("DEVBOX_FAILPOINT", "replaced");
    cloud.env.devbox(UP).code(128 + 9);
    assert!(cloud.living().is_empty());
    assert_eq!(cloud.env.journal().iter().filter(|e| e["ended"].is_null()).count(), 1);
    up_and_away(&mut cloud);
    assert_eq!((cloud.living().len(), cloud.sim.instances().len()), (1, 2));

    cloud.env.set("DEVBOX_FAILPOINT", "ended");
    cloud.env.devbox(["down", "--force"]).code(128 + 9);
    assert!(cloud.living().is_empty());
    cloud.env.set("DEVBOX_FAILPOINT", "");
    cloud.env.devbox(["down"]).ok().says(&["`hello` is down"]);
    cloud.assert_nothing_lives();
}

/// The same steps, and `down` instead of another `up`.
#[test]
fn a_killed_up_can_be_ended() {
    let mut cloud = Cloud::without_boxes();
    for (step, outcome) in [
        ("intent", Outcome::Ok),
        ("asking", Outcome::Ok),
        ("launched", Outcome::Ok),
        ("id", Outcome::Ok),
        ("unanswered", Outcome::LostAnswer),
        ("unanswered", Outcome::Late),
    ] {
        cloud.sim.edit(|s| s.launches = vec![Launch::new(outcome).after(1.0)]);
        cloud.env.set("DEVBOX_FAILPOINT", step);
        cloud.env.devbox(UP).code(128 + 9);
        cloud.env.set("DEVBOX_FAILPOINT", "");
        cloud.env.devbox(["down", "--force"]).ok();
        std::thread::sleep(std::time::Duration::from_millis(1200));
        cloud.assert_nothing_lives();
    }
}

/// An answer that does not come, or is none: the instance is found by its tag, or another is launched; one box.
#[test]
fn an_answer_that_is_lost_leaves_one_box() {
    let cloud = Cloud::with_boxes();
    for outcome in
        [Outcome::LostAnswer, Outcome::NeverArrived, Outcome::Late, Outcome::Garbage, Outcome::GarbageRefused]
    {
        cloud.sim.edit(|s| s.launches = vec![Launch::new(outcome).after(1.0)]);
        cloud.env.devbox(UP).ok().says(&["the launch was not answered"]);
        assert_eq!(cloud.living().len(), 1, "{outcome:?}");
        cloud.env.devbox(["down"]).ok();
        cloud.assert_nothing_lives();
    }
}

/// An instance that comes while `up` goes on without it holds the volume that the other needs: it is ended.
#[test]
fn an_instance_that_comes_too_late_is_ended() {
    let mut cloud = Cloud::with_boxes();
    cloud.env.set("DEVBOX_LAMBDA_SETTLE_TIME", "500ms");
    cloud.sim.edit(|s| s.launches = vec![Launch::new(Outcome::Late).after(6.0)]);
    cloud
        .env
        .devbox(UP)
        .ok()
        .says(&["no instance came of it", "came after its launch was given up: ending it"]);
    assert_eq!(cloud.living().len(), 1);
    cloud.env.devbox(["down"]).ok();
    cloud.assert_nothing_lives();
}

/// One that comes when `up` has gone is shown as what it is, and the next `up` ends it.
#[test]
fn an_instance_that_comes_later_still_is_seen_and_ended() {
    let mut cloud = Cloud::without_boxes();
    cloud.env.set("DEVBOX_LAMBDA_SETTLE_TIME", "300ms");
    cloud.env.set("DEVBOX_BOX_BOOT_TIMEOUT", "1s");
    cloud.sim.edit(|s| s.launches = vec![Launch::new(Outcome::Late).after(6.0)]);
    up_and_away(&mut cloud).says(&["no instance came of it"]);
    let others = || cloud.env.devbox(["status", "--json"]).ok().json()["others"].clone();
    until("the late one", || others().as_array().unwrap().len() == 1);
    assert_eq!(others()[0]["whose"], "given-up");
    assert!(cloud.env.devbox(["status"]).ok().stdout.contains("came after its launch was given up here"));
    assert_eq!(cloud.living().len(), 2);
    cloud.env.set("DEVBOX_BOX_BOOT_ATTEMPTS", "1");
    let up = cloud.env.devbox(UP).code(4);
    up.says(&["is of no use to it: ending it", "`hello` did not take ssh", "the box failed while it booted"]);
    cloud.assert_nothing_lives();
}

/// `down` without more ends what came too late too.
#[test]
fn what_came_too_late_is_ended_with_the_box() {
    let mut cloud = Cloud::without_boxes();
    cloud.env.set("DEVBOX_LAMBDA_SETTLE_TIME", "300ms");
    cloud.env.set("DEVBOX_BOX_BOOT_TIMEOUT", "1s");
    let late = |cloud: &Cloud| {
        cloud.env.devbox(["status", "--json"]).ok().json()["others"].as_array().unwrap().len()
    };
    for down in [&["down", "--force"][..], &["down", "--all", "-y", "--force"]] {
        cloud.sim.edit(|s| s.launches = vec![Launch::new(Outcome::Late).after(6.0)]);
        up_and_away(&mut cloud);
        until("the late one", || late(&cloud) == 1);
        cloud.env.devbox(down).ok().says(&["nobody has worked on it", "`hello` is down"]);
        cloud.assert_nothing_lives();
    }
    // Also when it is all that runs.
    cloud.sim.edit(|s| s.launches = vec![Launch::new(Outcome::Late).after(3.0)]);
    cloud.env.set("DEVBOX_LAMBDA_SETTLE_TIME", "0s");
    cloud.env.set("DEVBOX_FAILPOINT", "unanswered");
    cloud.env.devbox(UP).code(128 + 9);
    cloud.env.set("DEVBOX_FAILPOINT", "");
    cloud.env.devbox(["down"]).ok().says(&["no instance came of the launch", "nothing was billed"]);
    until("the late one", || late(&cloud) == 1);
    cloud.env.devbox(["down"]).ok().says(&["nobody has worked on it", "`hello` is down"]);
    cloud.assert_nothing_lives();
}

/// What another account has is not gone: nobody takes it off the books, or launches a second one.
#[test]
fn another_account_hides_nothing() {
    let mut cloud = Cloud::without_boxes();
    cloud.env.set("DEVBOX_LAMBDA_SETTLE_TIME", "300ms");
    up_and_away(&mut cloud);
    let (here, there) = (cloud.sim.base(), cloud.other_account());
    std::thread::sleep(std::time::Duration::from_millis(300));

    cloud.env.set("DEVBOX_LAMBDA_ADDRESS", there.base());
    let in_another = ["`hello` may be running in another account", "--forget"];
    let status = cloud.env.devbox(["status"]).code(4).says(&in_another);
    assert!(status.stdout.contains("unknown"), "{}", status.stdout);
    cloud.env.devbox(UP).code(4).says(&in_another);
    cloud.env.devbox(["down", "--force"]).code(4).says(&in_another);
    cloud.env.devbox(["wait", "--for", "gone"]).code(4).says(&in_another);
    assert!(there.instances().is_empty());
    assert_eq!(cloud.env.journal().iter().filter(|e| e["ended"].is_null()).count(), 1);

    // Whoever is certain may say so; the box shows all the same where it is.
    cloud.env.devbox(["down", "--forget"]).ok().says(&["off the books", "is billed"]);
    assert!(cloud.env.journal().iter().all(|e| !e["ended"].is_null()));
    cloud.env.set("DEVBOX_LAMBDA_ADDRESS", here);
    assert!(cloud.env.devbox(["status"]).ok().stdout.contains("given up here"));
    cloud.env.devbox(["down"]).ok();
    cloud.assert_nothing_lives();

    // What shows as running is not forgotten. What was ended elsewhere is gone, nobody knows since when.
    up_and_away(&mut cloud);
    cloud
        .env
        .devbox(["down", "--forget"])
        .code(2)
        .says(&["was not forgotten", "`devbox down hello` ends it"]);
    let id = cloud.env.status()["instance"].clone();
    let ended = json!({ "instance_ids": [id] });
    Client::of(&cloud.sim).post("/instance-operations/terminate", &ended).ok();
    until("it is gone", || cloud.env.status()["status"] == "gone");
    assert!(cloud.env.devbox(["status"]).ok().stdout.contains("at most"));
    cloud.env.devbox(["down"]).ok().says(&["was gone already", "at most"]);
    cloud.assert_nothing_lives();
}

/// "Lambda can't be reached" never means "nothing runs".
#[test]
fn an_api_that_is_gone_hides_nothing() {
    let mut cloud = Cloud::with_boxes();
    cloud.env.devbox(UP).ok();
    cloud.stop();
    let status = cloud.env.devbox(["status"]).code(4).says(&["can't be reached", "may still be billed"]);
    assert!(status.stdout.contains("with-nix"), "{}", status.stdout);
    cloud.env.devbox(["down"]).code(4).says(&["may still be billed"]);
    cloud.env.devbox(UP).code(4).says(&["can't be reached", "is still running", "devbox down with-nix"]);
    assert_eq!(cloud.env.journal().iter().filter(|e| e["ended"].is_null()).count(), 1);
    cloud.start_again();
    cloud.env.devbox(["down"]).ok();
    cloud.assert_nothing_lives();
}

/// Refusals that waiting does not help end at once with Lambda's own suggestion; want of capacity ends when the time
/// is up; either leaves nothing open. Other trouble on Lambda's side is gone through.
#[test]
fn refusals_end_and_trouble_passes() {
    let cloud = Cloud::without_boxes();
    let env = &cloud.env;
    cloud.sim.edit(|s| {
        let mut quota = Launch::new(Outcome::Error);
        (quota.status, quota.code) = (Some(400), Some("global/quota-exceeded".into()));
        (quota.message, quota.suggestion) = (Some("Quota exceeded.".into()), Some("Contact Support.".into()));
        s.launches = vec![quota];
    });
    env.devbox(UP).code(4).says(&["Quota exceeded (global/quota-exceeded)", "hint: Contact Support."]);
    cloud.assert_nothing_lives();

    cloud.script(&[Outcome::ListedButRefused; 50]);
    let waited = env.devbox(["up", "-y", "--preset", "gh200", "--wait-capacity", "1s"]).code(4);
    waited.says(&["no capacity for gpu_1x_gh200 in us-east-3", "--wait-capacity 2h"]);
    cloud.assert_nothing_lives();

    cloud.sim.edit(|s| {
        s.launches.clear();
        s.faults = [
            FaultKind::Internal,
            FaultKind::RateLimited,
            FaultKind::Drop,
            FaultKind::ProviderError,
            FaultKind::Garbage,
        ]
        .map(|kind| Fault::new("GET", "/api/v1/instances", kind))
        .into();
    });
    assert_eq!(env.instances().len(), 0);
    cloud.sim.edit(|s| s.faults = vec![Fault { times: 100, ..Fault::new("GET", "*", FaultKind::Internal) }]);
    env.devbox(UP).code(4).says(&["can't tell which instances there are", "try again later"]);
    assert!(env.journal().iter().all(|e| !e["ended"].is_null()));
}

/// Trouble at Lambda while capacity is waited for is waited for too: while it is asked what is free, and while it is
/// asked for a launch.
#[test]
fn an_outage_does_not_end_a_wait_for_capacity() {
    let mut cloud = Cloud::without_boxes();
    cloud.script(&[Outcome::ListedButRefused, Outcome::ListedButRefused]);
    cloud.sim.edit(|s| {
        let listing = Fault::new("GET", "/api/v1/instance-types", FaultKind::Internal);
        let launch = Fault::new("POST", "/api/v1/instance-operations/launch", FaultKind::RateLimited);
        s.faults = vec![Fault { skip: 1, times: 8, ..listing }, Fault { skip: 1, times: 8, ..launch }];
    });
    cloud.env.set("DEVBOX_FAILPOINT", "id");
    let up = cloud.env.devbox(["up", "-y", "-v", "--preset", "gh200"]).code(128 + 9);
    up.says(&["can't list the instance types", "too-many-requests"]);
    cloud.env.set("DEVBOX_FAILPOINT", "");
    assert_eq!(cloud.living().len(), 1);
    cloud.env.devbox(["down", "--force"]).ok();
    cloud.assert_nothing_lives();
}

/// An outage while a box boots ends no boot: it is paid for, and ssh answers all the same.
#[test]
fn an_outage_does_not_end_a_boot() {
    let cloud = Cloud::with_boxes();
    cloud.sim.edit(|s| {
        let outage = Fault::new("GET", "/api/v1/instances/*", FaultKind::Internal);
        s.faults = vec![Fault { times: 8, ..outage }];
    });
    cloud.env.devbox(UP).ok();
    assert!(cloud.sim.requests().iter().filter(|r| r.path.contains("/instances/")).count() > 8);
    cloud.env.devbox(["down"]).ok();
    cloud.assert_nothing_lives();
}

/// A box that never takes ssh is not paid for longer than it may take to boot.
#[test]
fn a_box_that_never_takes_ssh_is_ended() {
    let mut cloud = Cloud::without_boxes();
    cloud.env.set("DEVBOX_BOX_BOOT_TIMEOUT", "1s");
    cloud.env.set("DEVBOX_BOX_BOOT_ATTEMPTS", "2");
    let up = cloud.env.devbox(UP).code(4);
    up.says(&[
        "`hello` did not take ssh while it booted: ending it",
        "2 boxes failed",
        "gpu_1x_gh200 in us-east-3",
        "ended after 0.",
    ]);
    assert_eq!(cloud.sim.instances().len(), 2);
    cloud.assert_nothing_lives();
}

/// A box that this `up` did not launch itself, but one that was killed, is ended and replaced all the same.
#[test]
fn a_box_that_is_continued_and_fails_is_replaced() {
    let mut cloud = Cloud::with_boxes();
    cloud.sim.edit(|s| s.launches = vec![Launch::new(Outcome::Unhealthy).after(1.0)]);
    up_and_away(&mut cloud);
    cloud.env.devbox(UP).ok().says(&["died (unhealthy) while it booted: ending it"]);
    assert_eq!((cloud.living().len(), cloud.sim.instances().len()), (1, 2));
    cloud.env.devbox(["down"]).ok();
    cloud.assert_nothing_lives();
}

/// Nothing is made, and nothing launched, for a flake that does not evaluate.
#[test]
fn nothing_is_made_for_a_flake_that_fails() {
    let cloud = Cloud::without_boxes();
    cloud
        .env
        .devbox([
            "up",
            "-y",
            "--preset",
            "gh200",
            "--set",
            "volume.name=fresh",
            "--set",
            "environment.shell=.#nothing",
        ])
        .code(3);
    assert!(cloud.env.devbox(["list", "filesystems"]).ok().stdout.lines().all(|line| line != "fresh"));
    assert!(cloud.sim.instances().is_empty());
}

/// A volume that has to be made is made where a machine is free first, and that is waited for.
#[test]
fn a_new_volume_waits_for_a_region() {
    let mut cloud = Cloud::without_boxes();
    cloud.env.set("DEVBOX_VOLUME_NAME", "fresh");
    let free_in = |regions: &str| {
        let text = format!("capacity = {{ gpu_1x_gh200 = [{regions}] }}");
        cloud.sim.edit(|s| s.capacity = scenario::parse(&text).unwrap().capacity);
    };
    free_in("");
    cloud
        .env
        .devbox(["up", "-y", "--preset", "gh200", "--wait-capacity", "0s"])
        .code(4)
        .says(&["no capacity for gpu_1x_gh200", "`regions"]);
    assert!(cloud.env.devbox(["up", "--preset", "gh200", "--dry-run"]).ok().stdout.contains("nowhere now"));
    cloud.env.set("DEVBOX_FAILPOINT", "id");
    let child =
        cloud.env.start_until(["up", "-y", "--json", "--preset", "gh200"], "the volume can't be made yet");
    free_in("'us-west-1'");
    crate::support::finish(child).code(128 + 9);
    cloud.env.set("DEVBOX_FAILPOINT", "");
    let made = cloud.env.devbox(["list", "filesystems"]).ok().stdout;
    assert!(made.contains("fresh") && made.contains("us-west-1"), "{made}");
    cloud.env.devbox(["down", "--force"]).ok();
    cloud.assert_nothing_lives();
}

/// Boxes that fail while they boot are replaced, a few times; each is ended.
#[test]
fn boxes_that_fail_again_and_again_are_given_up() {
    let cloud = Cloud::without_boxes();
    cloud.script(&[Outcome::Unhealthy, Outcome::Preempted, Outcome::Unhealthy]);
    cloud.env.devbox(UP).code(4).says(&["3 boxes failed while they booted", "nothing runs"]);
    assert_eq!(cloud.sim.instances().len(), 3);
    cloud.assert_nothing_lives();
}

/// Ctrl-C while waiting for capacity: nothing runs, and that is what it says.
#[test]
fn an_interrupted_wait_for_capacity_leaves_nothing() {
    let cloud = Cloud::without_boxes();
    cloud.script(&[Outcome::ListedButRefused; 200]);
    let child = cloud.env.start_until(["up", "-y", "--json", "--preset", "gh200"], "waiting for capacity");
    std::thread::sleep(std::time::Duration::from_millis(100));
    // Who looks meanwhile sees that somebody waits.
    let status = cloud.env.devbox(["status"]).ok().stdout;
    assert!(status.contains("no instance") && status.contains("waiting for capacity since"), "{status}");
    crate::support::signal(&child, rustix::process::Signal::INT);
    crate::support::finish(child).code(130);
    assert!(cloud.living().is_empty());
}
