//! The box builds the dev shell: its derivation travels, the result is locked, and the next box has the same bytes.

use serde_json::Value;

use crate::lambda_stage::Cloud;
use crate::support::{TestEnv, finish, host, signal, until};

/// A project whose box builds it.
fn project() -> TestEnv {
    let mut env = TestEnv::new("hello");
    env.set("DEVBOX_ENVIRONMENT_BUILD", "box");
    // Of this test alone, so that nothing of it is in this machine's store.
    let greeting = format!("Built at {:?}.\n", std::time::SystemTime::now());
    std::fs::write(env.project("greeting.txt"), greeting).unwrap();
    env
}

fn here(path: &str) -> bool {
    std::path::Path::new(path).exists()
}

#[test]
fn the_box_builds_and_the_next_one_has_the_same() {
    let mut env = project();
    let dry = env.devbox(["up", "--dry-run"]).ok().stdout;
    for words in ["on the box: `environment.build` is `box`", "3 derivations: greeting, hello, hello-all"] {
        assert!(dry.contains(words), "{words} is not in:\n{dry}");
    }
    let up = env.devbox(["up", "-y"]).ok();
    up.says(&["the box builds what its volume does not have of 3 derivations", " built, 7 paths"]);
    let first = env.devbox(["up", "--json"]).ok().result();
    let output = env.on_box("readlink -f /nix/var/nix/profiles/devbox/hello");
    assert!(!here(&output), "{output} is here");
    env.devbox(["run", "--", "hello"]).ok();
    let lock = std::fs::read_to_string(env.project("devbox.lock")).unwrap();
    let print = first["fingerprint"].as_str().unwrap();
    assert!(lock.contains(print), "{print} is not in:\n{lock}");
    env.devbox(["verify", "--deep"]).ok();

    env.devbox(["down"]).ok();
    let again = env.devbox(["up", "-y", "--locked", "--fetch", "--json"]).ok();
    let result = again.result();
    assert_eq!((&result["fingerprint"], &result["copied-paths"]), (&first["fingerprint"], &Value::from(0)));
    assert!(!again.stdout.contains("built, "), "{}", again.stdout);
    assert!(again.stdout.contains(r#""phase":"fetch""#), "{}", again.stdout);
    // Brought back, byte for byte.
    assert!(here(&output), "{output} is not here");
    env.devbox(["verify", "--deep"]).ok();
    env.devbox(["down"]).ok();

    // What is here with the bytes of the lock is built nowhere: another volume gets it from here.
    std::fs::create_dir_all(env.volume().parent().unwrap().join("fresh")).unwrap();
    env.set("DEVBOX_VOLUME_NAME", "fresh");
    let up = env.devbox(["up", "-y", "--locked"]).ok();
    up.says(&["here already"]);
    env.devbox(["verify", "--deep"]).ok();
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}

/// A build that fails shows its log's end, and leaves a box that is told.
#[test]
fn a_build_that_fails_there() {
    let env = project();
    let packages = std::fs::read_to_string(env.project("packages.nix")).unwrap();
    std::fs::write(
        env.project("packages.nix"),
        packages.replace("greeting = ", "greeting = throw \"x\"; unused = "),
    )
    .unwrap();
    env.devbox(["up", "-y"]).code(3);
    env.assert_nothing_runs();
    let broken = packages.replace("mkdir", "echo the compiler says no; false; mkdir");
    assert_ne!(broken, packages);
    std::fs::write(env.project("packages.nix"), &broken).unwrap();
    env.devbox(["up", "-y"]).code(3).says(&[
        "failed on `hello`",
        "the compiler says no",
        "--read-log /nix/store/",
        "`hello` is still running",
    ]);
    std::fs::write(env.project("packages.nix"), packages).unwrap();
    env.devbox(["up", "-y"]).ok();
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}

/// It goes on though nobody looks, and the next `up` takes it up where it is.
#[test]
fn a_build_goes_on_by_itself() {
    let env = project();
    let packages = std::fs::read_to_string(env.project("packages.nix")).unwrap();
    let slow = packages.replacen(
        "mkdir",
        "echo it takes its time; SECONDS=0; while ((SECONDS < 12)); do :; done; mkdir",
        1,
    );
    assert_ne!(slow, packages);
    std::fs::write(env.project("packages.nix"), slow).unwrap();
    let child = env.start_until(["up", "-y", "--json"], r#""event":"started","phase":"build""#);
    let begun = "grep 'it takes its time' /run/devbox/build/hello/log";
    until("the build to begin", || env.devbox(["ssh", "--plain", "--", begun]).code == 0);
    signal(&child, rustix::process::Signal::INT);
    finish(child).code(130);
    assert_eq!(env.on_box("systemctl is-active devbox-build-hello"), "active");
    env.devbox(["up", "-y"]).ok().says(&["built"]);
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}

/// Where this machine can't build it, the box is to, unless that is not wanted: then nothing is launched.
#[test]
fn for_another_processor() {
    let cloud = Cloud::without_boxes();
    let env = &cloud.env;
    let (own, other) = match std::env::consts::ARCH {
        "x86_64" => ("x86_64", "aarch64"),
        own => (own, "x86_64"),
    };
    // Nothing of them is run.
    let bin = |arch: &str| env.project(&format!("bin/{arch}-linux"));
    host("cp", &["-r", bin(own).to_str().unwrap(), bin(other).to_str().unwrap()]);
    let system = format!("presets.gh200.system={other}-linux");
    let up = ["up", "-y", "--preset", "gh200", "--set", &system];
    let only = format!("this machine builds for {own}-linux");
    let no_other = format!("not for {other}-linux");
    let dry = env.devbox(up.iter().chain(&["--dry-run"])).ok().stdout;
    for words in ["on the box: ", &only, &no_other, "hello-all", "the derivations, to be built there"] {
        assert!(dry.contains(words), "{words} is not in:\n{dry}");
    }
    let local = env.devbox(up.iter().chain(&["--set", "environment.build=local"])).code(3);
    local.says(&[&only, &no_other, "`environment.build` is `local`", "hint: `environment.build = \"auto\"`"]);
    cloud.assert_nothing_lives();
    assert!(env.journal().is_empty());
    let lock = env.devbox(["lock", "--system", &format!("{other}-linux")]).code(3);
    lock.says(&["this machine can't build for", "`devbox up` has the box build it"]);
    env.devbox(["up", "--set", "environment.build=somewhere"]).code(2).says(&["`somewhere`", "`box`"]);
}
