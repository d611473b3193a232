//! What an interruption leaves, wherever it comes: never a second box, never one unseen.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{TestEnv, finish, signal, until};

/// SIGKILL at every step that is on disk: the next `up` ends with exactly one box, `down` with none.
#[test]
fn a_killed_up_is_continued() {
    for step in ["intent", "local-recorded", "launched", "id", "transferred"] {
        let mut env = TestEnv::new("hello");
        env.set("DEVBOX_FAILPOINT", step);
        env.devbox(["up", "-y"]).code(128 + 9);
        env.set("DEVBOX_FAILPOINT", "");
        // Whatever runs by then is seen.
        let instances = env.instances().len();
        let open = env.journal().iter().filter(|e| e["ended"].is_null()).count();
        assert!(instances <= open, "{step}: {instances} instances, {open} in the journal");

        env.devbox(["up", "-y"]).ok();
        assert_eq!(env.instances().len(), 1, "{step}");
        env.devbox(["run", "--", "hello"]).ok();
        env.devbox(["down"]).ok();
        env.assert_nothing_runs();
    }
}

/// Ctrl-C says what runs and how to go on, and the next `up` does.
#[test]
fn an_interrupted_up_says_what_runs() {
    let env = TestEnv::new("hello");
    let child = env.start_until(["up", "-y", "--json"], r#""event":"started","phase":"boot""#);
    signal(&child, Signal::INT);
    finish(child).code(130).says(&[
        "error: interrupted",
        "`hello` is still running",
        "devbox up hello",
        "devbox down hello",
    ]);
    assert_eq!(env.instances().len(), 1);
    let up = env.devbox(["up", "--json"]).ok();
    assert!(!up.stdout.contains(r#""phase":"launch""#), "{}", up.stdout);
    assert_eq!(env.instances().len(), 1);
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}

/// A box that dies while it boots is noticed at once, not at the end of a time-out, and replaced.
#[test]
fn a_box_that_dies_while_it_boots() {
    let env = TestEnv::new("hello");
    let child = env.start_until(["up", "-y", "--json"], r#""event":"started","phase":"boot""#);
    env.pull_the_plug();
    let began = Instant::now();
    // It is replaced within the same `up`.
    finish(child).ok();
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    let ended = env.journal().iter().filter(|e| !e["ended"].is_null()).count();
    assert_eq!((env.journal().len(), ended), (2, 1));
    assert_eq!(env.instances().len(), 1);
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}

/// A box that dies while it is sent its environment: what arrived is whole, the next box gets the rest.
#[test]
fn a_box_that_dies_in_the_middle_of_a_copy() {
    let env = TestEnv::new("big");
    std::fs::write(env.project("size.json"), r#"{"count":2,"mib":24}"#).unwrap();
    let child = env.start_until(["up", "-y", "--json"], r#""event":"started","phase":"transfer""#);
    std::thread::sleep(Duration::from_millis(300));
    env.pull_the_plug();
    let began = Instant::now();
    finish(child).code(5).says(&["`big` died"]);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    env.devbox(["up"]).ok();
    env.on_box("sudo nix-store --verify --check-contents");
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}

/// A slip in a configuration file keeps nobody from seeing and ending what runs.
#[test]
fn a_wrong_configuration_does_not_hide_a_box() {
    let env = TestEnv::new("hello");
    env.devbox(["up", "-y"]).ok();
    std::fs::write(env.project("devbox.toml"), "[volume]\nsise = 1\n").unwrap();
    let status = env.devbox(["status"]).code(2).says(&["devbox.toml:2:1"]);
    assert!(status.stdout.contains("hello") && status.stdout.contains("ready"), "{}", status.stdout);
    env.devbox(["up"]).code(2);
    env.devbox(["down"]).code(2).says(&["devbox.toml:2:1", "name the box"]);
    env.devbox(["down", "hello"]).ok().says(&["going on without what is wrong"]);
    std::fs::remove_file(env.project("devbox.toml")).unwrap();
    env.assert_nothing_runs();
}

/// SIGKILL of `down` between rest and end: the box runs on, at rest. Another `up` sets it to work again, another `down`
/// ends it.
#[test]
fn a_killed_down_can_be_taken_back() {
    let mut env = TestEnv::new("hello");
    env.devbox(["up", "-y"]).ok();
    env.on_box("echo kept > note");
    env.set("DEVBOX_FAILPOINT", "rested");
    env.devbox(["down"]).code(128 + 9);
    env.set("DEVBOX_FAILPOINT", "");
    assert_eq!(env.instances().len(), 1);
    env.devbox(["up"]).ok();
    assert_eq!(env.on_box("cat note"), "kept");
    env.set("DEVBOX_FAILPOINT", "rested");
    env.devbox(["down"]).code(128 + 9);
    env.set("DEVBOX_FAILPOINT", "");
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}

/// A box that has died is said to have, and ended without a question: there is nothing left to save.
#[test]
fn a_dead_box_is_ended() {
    let env = TestEnv::new("hello");
    env.devbox(["up", "-y"]).ok();
    env.pull_the_plug();
    let status = env.status();
    assert_eq!((status["status"].as_str(), status["ready"].as_bool()), (Some("dead"), Some(false)));
    env.devbox(["run", "--", "true"]).code(5).says(&["`hello` died", "hint:"]);
    env.devbox(["wait", "--timeout", "5s"]).code(5).says(&["`hello` is gone"]);
    env.devbox(["down"]).ok().says(&["runs no more"]);
    env.assert_nothing_runs();
}

/// A box whose ssh refuses is not lost sight of, and not ended without being told to.
#[test]
fn a_box_that_refuses_ssh() {
    let env = TestEnv::new("hello");
    env.devbox(["up", "-y"]).ok();

    // Another host key than the pinned one, and a connection that is made anew.
    let entries = env.path("home/.local/state/devbox/journal");
    let file = std::fs::read_dir(entries).unwrap().next().unwrap().unwrap().path();
    let kept = std::fs::read_to_string(&file).unwrap();
    let mut entry: serde_json::Value = serde_json::from_str(&kept).unwrap();
    entry["host_key"] =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDevboxTestOfAnotherHostKeyThanThePinnedOne".into();
    env.devbox(["ssh", "--plain", "--", "sudo systemctl restart ssh; sudo pkill sshd-session"]);
    std::fs::write(&file, serde_json::to_string(&entry).unwrap()).unwrap();
    env.devbox(["run", "--", "true"]).code(5).says(&["another ssh host key", "hint:"]);
    std::fs::write(&file, kept).unwrap();

    // Nobody listens any more.
    env.devbox(["ssh", "--plain", "--", "sudo systemctl stop ssh; sudo pkill sshd-session"]);
    until("the port to close", || env.status()["ready"] == false);
    let up = env.devbox(["up", "--set", "box.boot-timeout=3s"]).code(5);
    up.says(&["port 22 of `hello`", "hint:", "`hello` is still running", "devbox down hello"]);
    env.devbox(["down"]).code(5).says(&[
        "was not ended: it could not be brought to rest",
        "port 22",
        "--force",
        "not synced",
    ]);
    assert_eq!(env.instances().len(), 1);
    env.devbox(["down", "--force"]).ok().says(&["would be lost"]);
    env.assert_nothing_runs();
}

/// Steps come and go while others put them together: no script falls over that, for one that does would leave the
/// store mounted.
#[test]
fn steps_that_go_meanwhile_make_nobody_fall() {
    let env = TestEnv::new("hello");
    env.devbox(["up", "-y"]).ok();
    let script = "STEP=9-test
        . /usr/local/lib/devbox/lib.sh
        until [[ -e $run/enough ]]; do echo {} >$run/steps/8-x.json; rm -f $run/steps/8-x.json; done &
        for n in $(seq 300); do publish; done
        : >$run/enough
        wait
        publish";
    env.devbox(["ssh", "--plain", "--", &format!("cd /; sudo bash -c '{script}'")]).ok();
    assert_eq!(env.status()["state"], "ready");
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}

/// A script on the box that falls over without a word: `up` says so at once, with the evidence.
#[test]
fn a_set_up_that_falls_over_is_not_waited_for() {
    let env = TestEnv::new("hello");
    env.devbox(["up", "-y"]).ok();
    let script = "#!/bin/sh\necho out of order\nexit 3\n";
    env.on_box(&format!("printf '{script}' | sudo tee /usr/local/lib/devbox/nix.sh >/dev/null"));
    env.devbox(["ssh", "--plain", "--", "cd /; sudo systemctl restart devbox.target"]);
    let began = Instant::now();
    env.devbox(["up"]).code(5).says(&["`hello` was not set up", "a unit failed", "out of order", "hint:"]);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(env.status()["ready"], false);
    env.devbox(["down", "--force"]).ok();
    env.assert_nothing_runs();
}
