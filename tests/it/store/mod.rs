//! The store looked at and looked after: `devbox store`, `devbox rollback`.

mod copies;
mod damage;
mod lease;
mod room;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::TestEnv;

/// What a sparse file takes on its disk.
fn takes(file: &Path) -> u64 {
    fs::metadata(file).unwrap().blocks() * 512
}

fn snapshot_file(env: &TestEnv, name: &str) -> PathBuf {
    env.volume().join(format!("devbox/snapshots/{}-linux/{name}.img", std::env::consts::ARCH))
}

fn store_status(env: &TestEnv) -> Value {
    env.devbox(["store", "status", "--json"]).ok().json()
}

/// The generations of the store, as `number:current`.
fn generations(env: &TestEnv) -> Vec<(u64, bool)> {
    let status = store_status(env);
    let all = status["generations"].as_array().unwrap().iter();
    all.map(|g| (g["generation"].as_u64().unwrap(), g["current"].as_bool().unwrap())).collect()
}

/// The names of the snapshots, oldest first.
fn snapshots(env: &TestEnv) -> Vec<String> {
    let listed = env.devbox(["store", "list", "--json"]).ok().json();
    let all = listed["snapshots"].as_array().unwrap().iter();
    all.map(|s| s["name"].as_str().unwrap().to_owned()).collect()
}

/// Brings up the version of the project's flake.
fn up(env: &TestEnv, version: &str) -> Value {
    fs::write(env.project("version"), format!("{version}\n")).unwrap();
    env.devbox(["lock", "--update"]).ok();
    env.devbox(["up", "-y", "--json"]).ok().result()
}

fn shown_version(env: &TestEnv) -> String {
    env.devbox(["run", "--", "show-version"]).ok().stdout.trim().to_owned()
}

/// Without a box each says how to get one; names and sizes are looked at before that.
#[test]
fn a_store_takes_a_box() {
    let env = TestEnv::new("hello");
    for command in [
        &["store", "status"][..],
        &["store", "gc"],
        &["store", "grow", "1GiB"],
        &["store", "check"],
        &["store", "snapshot"],
        &["store", "restore", "x"],
        &["store", "list"],
        &["store", "unlock"],
        &["rollback"],
    ] {
        env.devbox(command).code(2).says(&[
            "no box called `hello` is up",
            "hint: `devbox up hello`",
            "takes a box",
        ]);
    }
    env.devbox(["store", "status", "--box", "other"]).code(2).says(&["no box called `other`"]);
    env.devbox(["store", "grow", "much"]).code(2).says(&["`much` is not a size", "hint:"]);
    env.devbox(["store", "snapshot", "../x"]).code(2).says(&["can't be a snapshot name", "hint:"]);
    env.devbox(["store", "restore", "a/b"]).code(2).says(&["can't be a snapshot name"]);
    env.devbox(["store", "gc", "--keep", "0"]).code(2);
    env.devbox(["store", "snapshot", "a", "--delete", "b"]).code(2);
}

/// Each edit is a generation; an earlier one is current again in seconds, and the next `up` goes on from the flake.
#[test]
fn back_to_an_earlier_generation() {
    let env = TestEnv::new("versioned");
    let first = up(&env, "1.0");
    env.devbox(["rollback"]).code(2).says(&["no generation before the current one"]);
    up(&env, "2.0");
    let third = up(&env, "3.0");
    assert_eq!(generations(&env), [(1, false), (2, false), (3, true)]);
    let status = store_status(&env);
    assert_eq!(status["generations"][2]["fingerprint"], third["fingerprint"]);
    assert_eq!((status["mounted"].as_bool(), status["holder"]["fate"].as_str()), (Some(true), Some("this")));
    assert_eq!(status["image"]["real"].as_u64(), Some(takes(&env.image())));

    env.devbox(["rollback"]).ok().says(&["generation 2, 3 before", "the next `devbox up`"]);
    assert_eq!(shown_version(&env), "2.0");
    let back = env.devbox(["rollback", "1", "--json"]).ok().json();
    assert_eq!(
        (&back["rollback"]["fingerprint"], &back["rollback"]["before"]),
        (&first["fingerprint"], &2.into())
    );
    assert_eq!(shown_version(&env), "1.0");
    assert_eq!(env.status()["fingerprint"], first["fingerprint"]);
    env.devbox(["rollback", "1"]).ok().says(&["generation 1 is current already"]);
    env.devbox(["rollback", "7"]).code(2).says(&[
        "there is no generation 7",
        "generation 1: 20",
        "generation 3: 20",
    ]);
    assert_eq!(generations(&env), [(1, true), (2, false), (3, false)]);

    // What is not what it was does not become current.
    let script = "sudo rm /nix/var/devbox/shells/$(basename $(readlink /nix/var/nix/profiles/devbox/versioned-2-link)).sh";
    env.on_box(script);
    env.devbox(["rollback", "2"]).code(7).says(&["the shell script of generation 2", "hint: `devbox up`"]);
    assert_eq!(shown_version(&env), "1.0");

    let again = env.devbox(["up", "--json"]).ok().result();
    assert_eq!((&again["generation"], &again["copied-paths"]), (&3.into(), &0.into()));
    assert_eq!(shown_version(&env), "3.0");
    env.devbox(["down"]).ok();
}

/// A box that an older devbox set up is told from one that is broken.
#[test]
fn a_box_of_another_version() {
    let env = TestEnv::new("hello");
    env.devbox(["up", "-y"]).ok();
    env.on_box("sudo rm /usr/local/lib/devbox/store-*.sh");
    env.devbox(["store", "status"]).code(5).says(&[
        "was set up by another version of devbox",
        "hint: `devbox down hello`, then `devbox up hello`",
    ]);
    env.devbox(["down"]).ok();
}
