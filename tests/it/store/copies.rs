//! Snapshots: taken, listed, gone back to.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::{generations, shown_version, snapshot_file, snapshots, store_status, takes, up};
use crate::support::{TestEnv, host, until};

/// A snapshot is a store of its own: there and back again, with the fingerprint that it says.
#[test]
fn there_and_back_again() {
    let env = TestEnv::new("versioned");
    let first = up(&env, "1.0");
    env.devbox(["store", "list"]).ok().says(&["there are no snapshots", "hint: `devbox store snapshot`"]);
    let taken = env.devbox(["store", "snapshot", "one", "--json"]).ok().json();
    assert_eq!((&taken["snapshot"]["name"], &taken["whole"]), (&"one".into(), &true.into()));
    let file = snapshot_file(&env, "one");
    assert_eq!(fs::metadata(&file).unwrap().len(), fs::metadata(env.image()).unwrap().len());
    assert!(takes(&file) < 64 << 20, "{}", takes(&file));
    host("e2fsck", &["-fn", file.to_str().unwrap()]);
    env.devbox(["store", "snapshot", "one"]).code(2).says(&["there is a snapshot `one` already", "--delete"]);
    // Without a name, by the time.
    let unnamed = env.devbox(["store", "snapshot"]).ok().stdout;
    assert!(unnamed.starts_with("snapshot 20"), "{unnamed}");

    let second = up(&env, "2.0");
    env.devbox(["store", "restore", "two", "-y"])
        .code(2)
        .says(&["there is no snapshot `two`", "devbox store list"]);
    env.devbox(["store", "restore", "one"])
        .code(2)
        .says(&["would be replaced", "hint: `devbox store restore one -y`"]);
    let mut work = env.start(["run", "--", "sleep", "600"]);
    until("the work to begin", || env.on_box("pgrep -c -x -f 'sleep 600'; :") == "1");
    env.devbox(["store", "restore", "one", "-y"])
        .code(5)
        .says(&["is busy; nothing was touched", "sleep 600"]);
    assert_eq!(shown_version(&env), "2.0");
    env.on_box("pkill -x -f 'sleep 600'");
    work.wait().unwrap();

    let restored = env.devbox(["store", "restore", "one", "-y", "--json"]).ok().json();
    let now = &restored["restore"]["environments"][0];
    assert_eq!((&now["fingerprint"], &now["generation"]), (&first["fingerprint"], &1.into()));
    assert_eq!(shown_version(&env), "1.0");
    assert_eq!(generations(&env), [(1, true)]);
    let kept = restored["restore"]["kept"].as_str().unwrap().to_owned();
    assert!(kept.starts_with("before-restore-"), "{kept}");
    assert_eq!(snapshots(&env).last(), Some(&kept));

    // And back again, this time without a trace.
    env.devbox(["store", "restore", &kept, "--discard-current", "-y"]).ok().says(&["nothing is left"]);
    assert_eq!(shown_version(&env), "2.0");
    assert_eq!(snapshots(&env).len(), 3);
    let same = env.devbox(["up", "--json"]).ok().result();
    assert_eq!((&same["fingerprint"], &same["copied-paths"]), (&second["fingerprint"], &0.into()));

    env.devbox(["store", "snapshot", "--delete", "one"]).ok().says(&["the snapshot `one` is gone"]);
    env.devbox(["store", "snapshot", "--delete", "one"]).code(2).says(&["there is no snapshot `one`", &kept]);
    assert!(!file.exists() && !file.with_extension("json").exists());
    env.devbox(["down"]).ok();
    // The next box finds the rest.
    env.devbox(["up"]).ok();
    assert_eq!(snapshots(&env).len(), 2);
    env.devbox(["store", "check"]).ok();
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}

/// A snapshot that is damaged itself does not take the place of a store that works; one that was cut off is cleared
/// away.
#[test]
fn the_store_of_now_is_not_lost() {
    let env = TestEnv::new("versioned");
    up(&env, "1.0");
    env.devbox(["store", "snapshot", "one"]).ok();
    let file = snapshot_file(&env, "one");
    host("debugfs", &["-w", "-R", "clri /nix", file.to_str().unwrap()]);
    host("debugfs", &["-w", "-R", "clri /store", file.to_str().unwrap()]);
    let inode = fs::metadata(env.image()).unwrap().ino();
    let refused = env.devbox(["store", "restore", "one", "-y"]).code(7);
    refused.says(&["the snapshot `one` is damaged itself; the store is as it was"]);
    assert_eq!(fs::metadata(env.image()).unwrap().ino(), inode);
    assert_eq!((shown_version(&env).as_str(), env.status()["state"].as_str()), ("1.0", Some("ready")));

    // One that can be mounted, and is no store.
    env.devbox(["store", "snapshot", "empty"]).ok();
    host("mkfs.ext4", &["-q", "-F", snapshot_file(&env, "empty").to_str().unwrap()]);
    host("debugfs", &["-w", "-R", "mkdir var", snapshot_file(&env, "empty").to_str().unwrap()]);
    host("debugfs", &["-w", "-R", "write /dev/null var/nix", snapshot_file(&env, "empty").to_str().unwrap()]);
    let refused = env.devbox(["store", "restore", "empty", "-y"]).code(7);
    refused.says(&["the snapshot `empty` does not come up", "the store of before is back"]);
    assert_eq!(fs::metadata(env.image()).unwrap().ino(), inode);
    assert_eq!((shown_version(&env).as_str(), env.status()["state"].as_str()), ("1.0", Some("ready")));
    assert_eq!(snapshots(&env), ["one", "empty"]);

    // Cut off between the image's second name and the first name's new file.
    fs::hard_link(env.image(), snapshot_file(&env, "before-restore-x")).unwrap();
    fs::write(snapshot_file(&env, "half").with_extension("img.new.0"), "x").unwrap();
    assert_eq!(snapshots(&env), ["one", "empty"]);
    env.devbox(["store", "restore", "before-restore-x", "-y"]).code(2).says(&["there is no snapshot"]);
    env.devbox(["store", "snapshot", "three"]).ok();
    assert_eq!(fs::metadata(env.image()).unwrap().nlink(), 1);
    assert!(!snapshot_file(&env, "half").with_extension("img.new.0").exists());
    env.devbox(["down"]).ok();
}

/// Whatever becomes of the one that froze it, a store does not stay frozen, and half a copy does not stay.
#[test]
fn a_frozen_store_thaws() {
    let env = TestEnv::new("hello");
    env.devbox(["up", "-y"]).ok();
    let slow = "#!/bin/sh\nfor to; do :; done\necho half >$to\nsleep 600\n";
    env.on_box(&format!(
        "printf '%s' '{slow}' | sudo tee /usr/local/sbin/cp >/dev/null; sudo chmod +x /usr/local/sbin/cp"
    ));
    let child = env.start(["store", "snapshot", "one"]);
    let half = || {
        let folder = fs::read_dir(snapshot_file(&env, "one").parent().unwrap());
        folder.is_ok_and(|all| all.count() > 0)
    };
    until("the copy to begin", half);
    // Whoever writes into it now waits where no signal reaches it.
    let touch = |file: &str| {
        env.on_box(&format!("sudo touch {file} >/dev/null 2>&1 & for n in $(seq 20); do test -e {file} && break; sleep 0.1; done; test -e {file} || echo frozen"))
    };
    assert_eq!(touch("/nix/while-frozen"), "frozen");
    env.on_box("sudo pkill -KILL -f '[s]tore-snapshot.sh take'");
    let run = crate::support::finish(child);
    assert_eq!(run.code, 5, "{}", run.stderr);
    until("the thaw", || touch("/nix/after") != "frozen");
    until("the copy to go", || !half());
    assert_eq!(store_status(&env)["snapshots"]["count"], 0);
    env.on_box("sudo rm /usr/local/sbin/cp");
    env.devbox(["store", "snapshot", "one"]).ok();
    env.devbox(["down"]).ok();
}

/// Where the volume has no room for a copy, nothing is begun.
#[test]
fn no_room_for_a_copy() {
    let env = TestEnv::new("big");
    fs::write(env.project("size.json"), r#"{"count":1,"mib":40}"#).unwrap();
    let disk = crate::support::SmallDisk::mount(&env.path("volumes"), "size=80m");
    env.devbox(["up", "-y", "--set", "volume.store-size=256MiB"]).ok();
    let refused = env.devbox(["store", "snapshot", "one"]).code(7);
    refused.says(&["was not copied", "and the volume has", "free", "hint: `devbox store gc`"]);
    assert_eq!(snapshots(&env), Vec::<String>::new());
    env.on_box("sudo touch /nix/written");
    env.devbox(["down"]).ok();
    drop(disk);
}

/// Power that goes while a copy is under way costs the copy alone.
#[test]
fn a_restore_that_loses_its_power() {
    let env = TestEnv::new("versioned");
    up(&env, "1.0");
    env.devbox(["store", "snapshot", "one"]).ok();
    up(&env, "2.0");
    let slow = "#!/bin/sh\nfor to; do :; done\necho half >$to\nsleep 600\n";
    env.on_box(&format!(
        "printf '%s' '{slow}' | sudo tee /usr/local/sbin/cp >/dev/null; sudo chmod +x /usr/local/sbin/cp"
    ));
    let child = env.start(["store", "restore", "one", "-y"]);
    let stores = || fs::read_dir(env.image().parent().unwrap()).unwrap();
    let halves =
        || stores().filter(|f| f.as_ref().unwrap().path().to_string_lossy().contains(".new.")).count();
    until("the copy to begin", || halves() == 1);
    env.pull_the_plug();
    crate::support::finish(child);
    assert_eq!(env.devbox(["up", "-y", "--json"]).ok().result()["copied-paths"], 0);
    assert_eq!((shown_version(&env).as_str(), halves()), ("2.0", 0));
    assert_eq!(snapshots(&env), ["one"]);
    env.devbox(["store", "restore", "one", "-y"]).ok();
    assert_eq!(shown_version(&env), "1.0");
    env.devbox(["down"]).ok();
}
