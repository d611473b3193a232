//! Flakes that are wrong, and Nix that is missing. Nothing is launched for any of them, except where
//! only the build tells.

use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::TestEnv;

#[test]
fn no_flake() {
    let env = TestEnv::empty();
    env.devbox(["up", "-y"]).code(3).says(&["no `flake.nix` in", "hint: `devbox init` writes one", "-C DIR"]);
    env.assert_nothing_runs();
}

#[test]
fn a_flake_without_that_dev_shell() {
    let env = TestEnv::new("no-shell");
    env.devbox(["up", "-y"]).code(3).says(&["has no `path:.#devShells.", "hint: `nix flake show`"]);
    env.assert_nothing_runs();
}

#[test]
fn an_evaluation_error() {
    let env = TestEnv::new("eval-error");
    env.devbox(["up", "-y"]).code(3).says(&[
        "could not be realised",
        "the moon is in the wrong phase",
        "hint:",
    ]);
    env.assert_nothing_runs();
}

/// An input that is locked and not to be had: Nix looks for its source in the caches, as it does for what it realises,
/// and has evaluated nothing yet.
#[test]
fn an_input_that_can_not_be_fetched() {
    let mut env = TestEnv::new("hello");
    env.set("NIX_CONFIG", "download-attempts = 1\nconnect-timeout = 1");
    let flake = "{ inputs.far.url = \"http://127.0.0.1:1/far.tar.gz\"; inputs.far.flake = false;
      outputs = { far, ... }: { devShells.x86_64-linux.default = import \"${far}/shell.nix\"; }; }";
    std::fs::write(env.project("flake.nix"), flake).unwrap();
    let lock = r#"{"nodes": {"root": {"inputs": {"far": "far"}}, "far": {"flake": false,
      "locked": {"narHash": "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "type": "tarball", "url": "http://127.0.0.1:1/far.tar.gz"},
      "original": {"type": "tarball", "url": "http://127.0.0.1:1/far.tar.gz"}}}, "root": "root", "version": 7}"#;
    std::fs::write(env.project("flake.lock"), lock).unwrap();
    let up = env.devbox(["up", "-y", "--json"]).code(3);
    assert!(!up.stdout.contains(r#""phase":"launch""#), "{}", up.stdout);
    assert!(env.journal().is_empty());
    env.assert_nothing_runs();
}

#[test]
fn a_failing_build() {
    let env = TestEnv::new("build-fails");
    let run = env.devbox(["up", "-y"]).code(3).says(&[
        "building `broken` failed",
        "line 30 of the log",
        "hint:",
        "nix log /nix/store/",
    ]);
    let shown = run.stderr.lines().filter(|l| l.contains("of the log")).count();
    assert_eq!(shown, 19, "the last 20 lines, one of which is the builder's own:\n{}", run.stderr);
    // Only the build could tell. Whether the launch beside it had begun by then is a matter of
    // milliseconds; where it had, the box is named.
    if !env.instances().is_empty() {
        assert!(run.stderr.contains("`build-fails` is still running"), "{}", run.stderr);
        env.devbox(["down"]).ok();
    }
    env.assert_nothing_runs();
}

#[test]
fn a_flake_that_git_does_not_know() {
    let env = TestEnv::empty();
    crate::support::host("git", &["init", "-q", env.project("").to_str().unwrap()]);
    std::fs::write(env.project("flake.nix"), "{ outputs = _: { }; }").unwrap();
    env.devbox(["up", "-y"]).code(3).says(&["git does not know the flake", "hint: `git add flake.nix`"]);
    env.assert_nothing_runs();
}

/// A PATH with everything but Nix; then with a Nix that is too old.
#[test]
fn nix_is_missing_or_too_old() {
    let mut env = TestEnv::new("hello");
    let bin = env.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let path = std::env::split_paths(&devbox::env::get("PATH").unwrap()).collect::<Vec<_>>();
    for program in path.iter().rev().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten() {
        let name = program.file_name();
        let link = bin.join(&name);
        if !name.to_string_lossy().starts_with("nix") && link.symlink_metadata().is_err() {
            symlink(program.path(), link).unwrap();
        }
    }
    env.set("PATH", bin.to_str().unwrap());
    env.devbox(["up", "-y"]).code(3).says(&["Nix is not installed on this machine", "hint: install it"]);
    env.devbox(["doctor"]).code(1).says(&["missing"]);

    std::fs::write(bin.join("nix"), "#!/bin/sh\necho 'nix (Nix) 2.3.16'\n").unwrap();
    std::fs::set_permissions(bin.join("nix"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(bin.join("nix-store"), "#!/bin/sh\nwhile [ $# -gt 2 ]; do shift; done; echo k:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= | tee $1 > $2\n").unwrap();
    std::fs::set_permissions(bin.join("nix-store"), std::fs::Permissions::from_mode(0o755)).unwrap();
    env.devbox(["up", "-y"]).code(3).says(&["Nix 2.3 is too old", "2.8 or newer", "hint: upgrade"]);
    env.assert_nothing_runs();
}

#[test]
fn a_configuration_that_is_wrong() {
    let env = TestEnv::new("hello");
    let good = std::fs::read(env.project("devbox.toml")).unwrap();
    let cases = [
        ("[volume]\nstore-sise = \"1GiB\"\n", vec!["devbox.toml:2:1", "store-sise", "store-size", "hint:"]),
        ("[volume]\nstore-size = 100\n", vec!["devbox.toml:2:14", "takes a size", "hint:"]),
        ("[volume]\nstore-size = \"lots\"\n", vec!["devbox.toml:2:14", "`lots` is not a size", "hint:"]),
        ("[volume]\nname = \"../up\"\n", vec!["devbox.toml:2:8", "can't be a volume name", "hint:"]),
        ("[ssh]\nkey = \"~/x\"\n", vec!["devbox.toml:2:1", "ssh.key", "hint:"]),
        ("name = \n", vec!["devbox.toml:1", "hint:"]),
    ];
    for (text, words) in cases {
        std::fs::write(env.project("devbox.toml"), text).unwrap();
        let run = env.devbox(["up", "-y"]).code(2);
        for word in words.iter().filter(|w| **w != "hint:" || !text.starts_with("name")) {
            assert!(run.stderr.contains(word), "`{word}` is not in:\n{}", run.stderr);
        }
    }
    std::fs::write(env.project("devbox.toml"), good).unwrap();
    env.assert_nothing_runs();
}

#[test]
fn names_that_are_none() {
    let env = TestEnv::new("hello");
    let long = "x".repeat(300);
    for name in ["a/b", "../config", "..", "a b", "", "-x", long.as_str()] {
        for command in ["up", "down", "ssh", "status", "wait"] {
            let run = env.devbox([command, "--", name]);
            // `ssh -- NAME` is a command for the box.
            let run = if command == "ssh" { env.devbox(["ssh", name]) } else { run };
            assert_eq!(run.code, 2, "{command} {name:?}: {}", run.stderr);
        }
    }
    env.devbox(["up", "a/b"]).code(2).says(&[
        "`a/b` can't be a box name",
        "hint: use 1 to 63",
        "for example `a-b`",
    ]);
    env.assert_nothing_runs();
    assert!(!env.path("home/.ssh").exists());
}
