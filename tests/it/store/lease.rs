//! Who waits for a store, and when it may be taken.

use crate::lease::Twin;
use crate::support::TestEnv;

/// A living holder keeps its store, whatever one says; one that is gone loses it when one says so.
#[test]
fn a_lease_is_taken_from_the_dead_alone() {
    let mut env = TestEnv::new("hello");
    env.set("DEVBOX_VOLUME_LEASE", "text");
    env.devbox(["up", "-y"]).ok();
    env.devbox(["store", "unlock"]).ok().says(&["this box has it: there is nothing to unlock"]);
    let twin = Twin::of(&env);
    env.devbox(["up", "second", "--set", "volume.name=twin"]).code(7);

    let second = |args: &[&str]| env.devbox([&["store"], args, &["--box", "second"]].concat());
    let status = second(&["status", "--json"]).ok().json();
    assert_eq!((&status["mounted"], &status["holder"]["box"]), (&false.into(), &"hello".into()));
    assert_eq!(status["holder"]["fate"], "lives");
    for force in [&["unlock"][..], &["unlock", "--force"]] {
        second(force).code(7).says(&["waits for `hello`, which lives", "hint: `devbox down hello`"]);
    }
    // Nothing that wants the image to itself gets at it.
    second(&["check", "--repair"]).code(7).says(&["in use by the box `hello`"]);
    second(&["snapshot", "x"]).code(7).says(&["in use by the box `hello`"]);
    second(&["restore", "x", "-y"]).code(2).says(&["there is no snapshot"]);
    second(&["gc"]).code(7).says(&["is not mounted", "hint: `devbox store status`"]);

    // The first box dies; both are told apart by their launches.
    let instances = env.instances();
    let first = instances.iter().find(|i| i["name"] == "hello").unwrap()["id"].as_str().unwrap().to_owned();
    crate::support::block(env.provider().kill(&devbox::names::InstanceId(first))).unwrap();
    let explained = second(&["unlock"]).code(7);
    assert!(explained.stdout.contains("the box hello (launch "), "{}", explained.stdout);
    explained.says(&["nothing was unlocked", "the provider says that it is gone", "--force"]);
    assert_eq!(second(&["status", "--json"]).ok().json()["mounted"], false);
    second(&["unlock", "--force"]).ok().says(&["the store is destroyed", "`second` has the store"]);
    assert_eq!(second(&["status", "--json"]).ok().json()["holder"]["fate"], "this");
    second(&["check"]).ok();
    env.devbox(["down", "--all", "-y"]).ok();
    env.assert_nothing_runs();
    drop(twin);
}
