//! `environment.checks`: what must pass in the dev shell on the box before it is called ready.

use rustix::process::Signal;

use crate::support::{TestEnv, finish, signal, until};

/// The whole life of checks, on one box.
#[test]
fn a_box_is_ready_when_its_checks_have_passed() {
    let mut env = TestEnv::new("versioned");
    let toml = std::fs::read_to_string(env.project("devbox.toml")).unwrap();
    // In the dev shell, as one line of its bash, without input.
    let check =
        r#"echo noise >&2; printf '\e[31m%s\e[0m\n' "version $(show-version) of $DEVBOX_PROJECT"; ! read -r"#;
    let with = format!("[environment]\nchecks = [\"true\", '''{check}''']\n");
    let with = toml.replace("[environment]\n", &with);
    std::fs::write(env.project("devbox.toml"), with).unwrap();

    // One that does not pass: nothing is called ready, and what runs is named.
    env.set("DEVBOX_ENVIRONMENT_CHECKS", "echo first\necho so bad >&2; exit 3\ntouch ~/never");
    let failed = env.devbox(["up", "-y"]).code(1).says(&[
        "error: the check `echo so bad >&2; exit 3` failed (exit status 3) on `versioned`",
        "  so bad\n",
        "hint: the environment is current there: `devbox ssh versioned` takes you in",
        "hint: `versioned` is still running",
        "`devbox down versioned` ends it",
    ]);
    assert!(!failed.stderr.contains("is ready"), "{}", failed.stderr);
    assert_eq!(env.on_box("ls never 2>&1; :"), "ls: cannot access 'never': No such file or directory");
    let status = env.status();
    assert_eq!((&status["ready"], &status["status"]), (&false.into(), &"active".into()));
    assert!(
        status["state"].as_str().unwrap().contains("its check `echo so bad >&2; exit 3` failed"),
        "{status}"
    );
    env.devbox(["wait", "--timeout", "2s"]).code(5).says(&["was not ready", "its check `echo so bad"]);
    env.devbox(["up"]).code(1);

    // One that takes too long is ended there too.
    env.set("DEVBOX_ENVIRONMENT_CHECKS", "sleep 601");
    env.devbox(["up", "--set", "environment.check-timeout=1s"])
        .code(1)
        .says(&["the check `sleep 601` did not end within 1 s"]);
    assert_eq!(env.on_box("pgrep -c -x -f 'sleep 601'; :"), "0");

    // So is one whose devbox is interrupted, or killed.
    for (how, code) in [(Signal::INT, 130), (Signal::KILL, 137)] {
        let up = env.start_until(["up", "--json", "-v"], r#""event":"started","phase":"checks""#);
        until("the check to run", || env.on_box("pgrep -c -x -f 'sleep 601'; :") == "1");
        signal(&up, how);
        finish(up).code(code);
        until("the check to end", || env.on_box("pgrep -c -x -f 'sleep 601'; :") == "0");
        assert!(env.status()["state"].as_str().unwrap().contains("its checks have not passed yet"));
    }

    env.unset("DEVBOX_ENVIRONMENT_CHECKS");
    let passed =
        env.devbox(["up"]).ok().says(&["2 passed: version 1.0 of versioned\n", "`versioned` is ready"]);
    assert!(!passed.stderr.contains("noise") && !passed.stderr.contains('\u{1b}'), "{}", passed.stderr);
    assert_eq!(env.status()["state"], "ready");
    env.devbox(["wait"]).ok();

    // Not again while nothing is new, unless somebody says so.
    let again = env.devbox(["up", "--json"]).ok();
    assert!(!again.stdout.contains(r#""phase":"checks""#), "{}", again.stdout);
    assert_eq!(again.result()["checks"][0], "true");
    env.devbox(["up", "--check", "-v"]).ok().says(&["\nnoise\n", "2 passed"]);
    // What is new: the environment, a check, a boot, whose `/run` is empty.
    std::fs::write(env.project("version"), "2.0\n").unwrap();
    env.devbox(["lock", "--update"]).ok();
    env.devbox(["up"]).ok().says(&["2 passed: version 2.0 of versioned\n"]);
    env.on_box("sudo rm -r /run/devbox/checks");
    env.devbox(["up"]).ok().says(&["2 passed"]);
    env.set("DEVBOX_ENVIRONMENT_CHECKS", "exit 255");
    env.devbox(["up"]).code(1).says(&["failed (exit status 254)"]);
    // None any more: what failed before is forgotten.
    let none = env.devbox(["up", "--json", "--set", "environment.checks="]).ok();
    assert!(!none.stdout.contains(r#""phase":"checks""#), "{}", none.stdout);
    assert_eq!(env.status()["state"], "ready");
    env.devbox(["down"]).ok();
}

/// They are part of the plan.
#[test]
fn a_dry_run_names_them() {
    let env = TestEnv::new("hello");
    let dry = env.devbox(["up", "--dry-run", "--set", "environment.checks=check-cuda --fast"]).ok();
    assert!(dry.stdout.contains("check   `check-cuda --fast`, in the dev shell there\n"), "{}", dry.stdout);
}
