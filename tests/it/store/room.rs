//! Room: what goes, what the volume gets back, what grows.

use std::fs;
use std::time::Duration;

use super::{generations, store_status, takes};
use crate::support::{TestEnv, finish, host, until};

fn up(env: &TestEnv, mib: u32) {
    fs::write(env.project("size.json"), format!(r#"{{"count":1,"mib":{mib}}}"#)).unwrap();
    env.devbox(["lock", "--update"]).ok();
    env.devbox(["up", "-y"]).ok();
}

/// Generations roll off, what only they had goes, and the image takes less on the volume. What is kept still works.
#[test]
fn garbage_goes_and_the_volume_shrinks() {
    let env = TestEnv::new("big");
    for mib in [20, 21, 22, 1] {
        up(&env, mib);
    }
    env.devbox(["rollback", "1"]).ok();
    let rootless = env.on_box("head -c 9000000 /dev/urandom >/tmp/rootless; nix-store --add /tmp/rootless");
    let rooted = env.on_box(
        "head -c 5000000 /dev/urandom >/tmp/rooted; nix-store --realise --add-root ~/result $(nix-store --add /tmp/rooted) >/dev/null; readlink ~/result",
    );
    env.on_box("sudo sync -f /nix");
    let before = takes(&env.image());

    let dry = env.devbox(["store", "gc", "--keep", "1", "--dry-run", "--json"]).ok().json();
    assert_eq!(dry["gc"]["rolled"].as_array().unwrap().len(), 2, "{dry}");
    assert!(dry["gc"]["after"].is_null());
    assert_eq!(generations(&env).len(), 4);

    let gc = env.devbox(["store", "gc", "--keep", "1", "--json"]).ok().json();
    // The newest, and the current one.
    assert_eq!(generations(&env), [(1, true), (4, false)]);
    assert_eq!((&gc["gc"]["rolled"], &gc["gc"]["paths"]), (&dry["gc"]["rolled"], &dry["gc"]["paths"]));
    let freed = before - takes(&env.image());
    assert!(freed > 45 << 20, "{} MiB are back on the volume\n{gc}", freed >> 20);
    let said = gc["gc"]["before"]["volume"].as_u64().unwrap() - gc["gc"]["after"]["volume"].as_u64().unwrap();
    assert!(said.abs_diff(freed) < 4 << 20, "{said} said, {freed} freed");

    assert_eq!(env.on_box(&format!("test -e {rootless} || echo gone")), "gone");
    env.on_box(&format!("test -e {rooted}"));
    let left = env.on_box("ls /nix/var/devbox/shells/*.sh | wc -l");
    assert_eq!(left, "2");
    let manifests = env.volume().join(format!("devbox/generations/{}-linux/big", std::env::consts::ARCH));
    // A manifest and a list of store paths for each.
    assert_eq!(fs::read_dir(manifests).unwrap().count(), 4);
    env.devbox(["rollback", "2"]).code(2).says(&["there is no generation 2"]);
    env.devbox(["run", "--", "true"]).ok();
    env.devbox(["store", "gc", "--keep", "1"]).ok().says(&["0 store paths"]);
    env.devbox(["store", "check"]).ok();
    env.devbox(["down"]).ok();
}

/// The store grows while it is written, or when it is next mounted where the box's root may not do that; it does
/// not shrink.
#[test]
fn a_store_grows() {
    let env = TestEnv::new("hello");
    env.devbox(["up", "-y", "--set", "volume.store-size=1GiB"]).ok();
    let work = env.start([
        "ssh",
        "--plain",
        "--",
        "for n in $(seq 40); do head -c 4000000 /dev/urandom | sudo tee /nix/work-$n >/dev/null; done; cat /nix/work-* | wc -c",
    ]);
    until("the work to begin", || env.on_box("ls /nix | grep -c work-; :") != "0");
    let grown = env.devbox(["store", "grow", "3GiB", "--json"]).ok();
    let document = grown.json();
    assert_eq!(finish(work).ok().stdout.trim(), "160000000");
    assert_eq!(fs::metadata(env.image()).unwrap().len(), 3 << 30);
    let size = || store_status(&env)["filesystem"]["size"].as_u64().unwrap();
    let deferred = document["grow"]["deferred"].as_bool().unwrap();
    let may = env.on_box("sudo grep CapEff /proc/self/status");
    let may = u64::from_str_radix(may.split_whitespace().last().unwrap(), 16).unwrap() & (1 << 24) != 0;
    assert_eq!(deferred, !may, "{document}");
    if deferred {
        grown.says(&["may not grow what is mounted", "hint: `devbox down hello`, then `devbox up hello`"]);
        env.devbox(["down"]).ok();
        env.devbox(["up"]).ok().says(&["grown"]);
    }
    assert!(size() > 2900 << 20, "{}", size());
    env.devbox(["store", "grow", "3GiB"]).ok().says(&["it has 3.00 GiB already"]);
    env.devbox(["store", "grow", "2GiB"]).code(2).says(&["can't be made smaller", "hint: it is sparse"]);
    env.devbox(["store", "grow", "10TiB"])
        .ok()
        .says(&["the store promises", "it can fill up before the store does"]);
    env.devbox(["store", "check"]).ok();
    env.devbox(["down"]).ok();
    host("e2fsck", &["-fn", env.image().to_str().unwrap()]);
}

/// Work on the store goes on when nobody waits for it any more, and nothing else works on it meanwhile.
#[test]
fn what_was_begun_ends_though_nobody_waits() {
    let env = TestEnv::new("hello");
    env.devbox(["up", "-y"]).ok();
    let slow = "#!/bin/sh\nsleep 4\nexec /usr/bin/cp \"$@\"\n";
    env.on_box(&format!(
        "printf '%s' '{slow}' | sudo tee /usr/local/sbin/cp >/dev/null; sudo chmod +x /usr/local/sbin/cp"
    ));
    let mut child = env.start(["store", "snapshot", "kept"]);
    until("the freeze", || env.on_box("ls /run/devbox | grep -c frozen; :") != "0");
    child.kill().unwrap();
    child.wait().unwrap();
    env.devbox(["store", "gc"])
        .code(5)
        .says(&["`store snapshot` is at work on this box", "hint: wait for it"]);
    let file = super::snapshot_file(&env, "kept");
    until("the snapshot", || file.exists());
    until("the end", || {
        std::thread::sleep(Duration::from_millis(200));
        env.devbox(["store", "snapshot", "--delete", "kept"]).code == 0
    });
    assert!(!file.exists());
    env.devbox(["down"]).ok();
}
