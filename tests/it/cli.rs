//! The command line where no box is needed. The help texts are the manual, so they are snapshots.

use std::fs;

use devbox::config::reference::render_reference;

use crate::support::{TestEnv, host, repository};

const COMMANDS: [&str; 16] = [
    "init",
    "up",
    "down",
    "ssh",
    "run",
    "status",
    "list",
    "wait",
    "lock",
    "verify",
    "diff",
    "rollback",
    "store",
    "config",
    "doctor",
    "completions",
];
const STORE_COMMANDS: [&str; 8] = ["status", "gc", "grow", "check", "snapshot", "restore", "list", "unlock"];

/// Help as on a terminal of 100 columns: no line is longer, wherever the test runs.
#[test]
fn the_manual() {
    let env = TestEnv::empty();
    let help = env.devbox(["--help"]).ok().stdout;
    insta::assert_snapshot!("help", help);
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in the list");
        let text = env.devbox([command, "--help"]).ok().stdout;
        assert!(text.lines().all(|l| l.chars().count() <= 100), "a line of {command} is too long");
        insta::assert_snapshot!(format!("help-{command}"), text);
    }
    for command in STORE_COMMANDS {
        let text = env.devbox(["store", command, "--help"]).ok().stdout;
        assert!(text.lines().all(|l| l.chars().count() <= 100), "a line of store {command} is too long");
        insta::assert_snapshot!(format!("help-store-{command}"), text);
    }
}

#[test]
fn completions_are_scripts_that_know_the_commands() {
    let env = TestEnv::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = env.devbox(["completions", shell]).ok().stdout;
        for command in COMMANDS {
            assert!(script.contains(command), "{shell} does not know {command}");
        }
        if shell == "bash" {
            let file = env.path("completions");
            fs::write(&file, script).unwrap();
            host("bash", &["-n", file.to_str().unwrap()]);
        }
    }
    env.devbox(["completions", "tcsh"]).code(2);
}

#[test]
fn words_that_are_no_command_line() {
    let env = TestEnv::empty();
    env.devbox(["upp"]).code(2).says(&["unrecognized subcommand 'upp'", "similar"]);
    env.devbox(["up", "--fast"]).code(2).says(&["--fast"]);
    env.devbox(["down", "--all", "hello"]).code(2).says(&["--all"]);
    env.devbox(["run"]).code(2);
    env.devbox(["-C", "/no/such/folder", "status"])
        .code(2)
        .says(&["can't go to the folder `/no/such/folder`"]);
    env.devbox(["--set", "volume.sise=1GiB", "config"]).code(2).says(&["volume.sise", "hint:"]);
    env.devbox(["--set", "nonsense", "config"]).code(2).says(&["KEY=VALUE"]);
    env.devbox(["--config", "/no/such/file", "config"]).code(2).says(&["there is no `/no/such/file`"]);
    for both in [["--json", "list", "presets", "--table"], ["list", "--table", "presets", "--json"]] {
        assert_eq!(env.devbox(both).code(2).says(&["`--table` and `--json`", "hint:"]).stdout, "");
    }
    env.devbox(["wait", "--timeout", "soon"]).code(2).says(&["`soon`", "hint:"]);
    assert_eq!(env.devbox(["--version"]).ok().stdout, format!("devbox {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn without_a_home_there_is_nothing_to_work_from() {
    let mut env = TestEnv::empty();
    env.set("HOME", "");
    env.devbox(["status"]).code(2).says(&["`HOME` is not set", "hint:"]);
}

#[test]
fn init_writes_what_is_missing_and_nothing_else() {
    let env = TestEnv::empty();
    env.devbox(["init", "--name", "My Project"])
        .code(2)
        .says(&["can't be a project name", "for example `my-project`"]);
    let new = env.devbox(["init"]).ok().says(&["flake.nix", "flake.lock", "devbox.toml", "devbox up"]);
    assert!(!new.stderr.contains("git add"), "there is no repository: {}", new.stderr);
    let flake = fs::read_to_string(env.project("flake.nix")).unwrap();
    assert!(flake.contains("devShells"), "{flake}");
    assert_eq!(env.devbox(["config", "--json"]).ok().json()["settings"][0]["value"], "project");

    fs::write(env.project("flake.nix"), "# mine").unwrap();
    env.devbox(["init"]).ok().says(&["devbox.toml` is there already"]);
    env.devbox(["init", "--name", "x"]).code(2).says(&["devbox.toml` exists already", "hint:"]);
    fs::remove_file(env.project("devbox.toml")).unwrap();
    fs::create_dir(env.project("inner")).unwrap();
    env.devbox(["-C", "inner", "init", "--name", "x"]).ok();
    assert!(env.project("devbox.toml").exists(), "beside the flake, not in the folder below it");
    assert_eq!(env.devbox(["config", "--json"]).ok().json()["settings"][0]["value"], "x");
    assert_eq!(fs::read_to_string(env.project("flake.nix")).unwrap(), "# mine");

    // A repository of its own has a project of its own.
    fs::create_dir_all(env.project("vendored/.git")).unwrap();
    let in_git = "add flake.nix flake.lock devbox.toml`";
    env.devbox(["-C", "vendored", "init"]).ok().says(&["flake.nix", "in a git repository", in_git]);
    assert!(env.project("vendored/flake.nix").exists() && env.project("vendored/devbox.toml").exists());
}

#[test]
fn init_starts_from_a_template() {
    let env = TestEnv::empty();
    let init = |args: &[&str]| env.devbox([&["init", "--template"], args].concat());
    init(&["cuda"]).code(2).says(&[
        "there is no template `cuda`",
        "did you mean `cuda-torch`?",
        "`minimal` (A dev shell",
    ]);
    let new = init(&["cuda-torch"]).ok().says(&["wrote `", "check_cuda.py", "devbox up", "check-cuda"]);
    assert_eq!(new.stdout, "");
    // Again: all is there, and says so.
    let again = init(&["cuda-torch"]).ok();
    assert!(!again.stderr.contains("wrote"), "{}", again.stderr);
    // The box that it asks for is the one that the preset gives.
    let settings = env.devbox(["config", "--json"]).ok().json();
    let of = |key: &str| settings["settings"].as_array().unwrap().iter().find(|s| s["key"] == key).cloned();
    assert_eq!(of("box.preset").unwrap()["value"], "gh200", "{settings}");

    // One that differs is in the way of all, and stays as it is.
    fs::create_dir_all(env.project("old/.git")).unwrap();
    fs::write(env.project("old/flake.nix"), "# mine").unwrap();
    env.devbox(["-C", "old", "init", "-t", "minimal"]).code(2).says(&[
        "old/flake.nix` exists already",
        "nothing was written",
        "without `--template`",
    ]);
    assert_eq!(fs::read_to_string(env.project("old/flake.nix")).unwrap(), "# mine");
    assert_eq!(fs::read_dir(env.project("old")).unwrap().count(), 2);

    // In a folder of a project, and of a repository, it is a project of its own.
    fs::create_dir(env.project("old/inner")).unwrap();
    let inner = env.devbox(["-C", "old/inner", "init", "-t", "minimal"]).ok();
    inner.says(&[
        "in a git repository Nix sees only what git knows: `git -C ",
        "inner add flake.nix flake.lock",
    ]);
    assert!(env.project("old/inner/flake.nix").exists());
}

#[test]
fn config_says_where_each_value_comes_from() {
    let mut env = TestEnv::new("hello");
    fs::create_dir_all(env.path("home/.config/devbox")).unwrap();
    let user = "[volume]\nname = \"mine\"\nstore-size = \"10GiB\"\n[ssh]\nforward-agent = true\n";
    fs::write(env.path("home/.config/devbox/config.toml"), user).unwrap();
    fs::write(
        env.project("devbox.toml"),
        "name = \"p\"\n[volume]\nname = \"theirs\"\nstore-size = \"20GiB\"\n[presets.gh200]\nregions = [\"us-east-3\"]\n",
    )
    .unwrap();
    env.set("DEVBOX_VOLUME_STORE_SIZE", "30GiB");
    env.set("LAMBDA_API_KEY", "not-to-be-shown");
    let text = env.devbox(["config", "--set", "box.boot-timeout=90s"]).ok().stdout;
    let text = text.replace(env.path("").to_str().unwrap(), "/T/");
    assert!(!text.contains("not-to-be-shown"));
    insta::assert_snapshot!("config", text);
    env.set("DEVBOX_VOLUME_SIZE", "1GiB");
    env.devbox(["config"]).code(2).says(&["DEVBOX_VOLUME_SIZE", "DEVBOX_VOLUME_STORE_SIZE"]);
}

/// What is wrong with a preset is said before anything is asked for, and by the name that the user wrote.
#[test]
fn a_preset_or_a_wait_that_can_not_be() {
    let mut env = TestEnv::new("hello");
    env.set("LAMBDA_API_KEY", "secret_x");
    // The example wants a local box, which has no preset.
    fs::write(env.project("devbox.toml"), "").unwrap();
    let up = |args: &[&str]| env.devbox([&["up"], args].concat()).code(2);
    up(&["--preset", "gh20"]).says(&[
        "`--preset`: there is no preset `gh20`",
        "did you mean `gh200`?",
        "`8xh100`",
    ]);
    up(&["--preset", "GH_200"])
        .says(&["`--preset`: `gh_200` can't be a preset name", "for example `gh-200`"]);
    up(&["--wait-capacity", "soon"]).says(&["`--wait-capacity`: `soon` is not a duration", "hint:"]);
    up(&["--set", "presets.gh200.extends=gh200"])
        .says(&["`--set presets.gh200.extends`: the preset extends itself"]);
    fs::write(env.project("devbox.toml"), "[box]\npreset = \"train\"\n[presets.train]\n").unwrap();
    up(&[]).says(&[
        "devbox.toml:2:1: `box.preset`: the preset `train` names no instance types",
        "[presets.train]",
    ]);
}

/// A slip in one preset hides no other, and is named with its place.
#[test]
fn presets_that_are_right_are_listed_beside_those_that_are_not() {
    let env = TestEnv::empty();
    let user = env.path("home/.config/devbox/config.toml");
    fs::create_dir_all(user.parent().unwrap()).unwrap();
    fs::write(&user, "[presets.train]\nextends = 'h100'\n[presets.gh200]\nregion = ['x']\n").unwrap();
    for form in [&["list", "presets"][..], &["list", "presets", "--table"], &["list", "presets", "--json"]] {
        let listed = env.devbox(form).code(2).says(&[
            "config.toml:4:1: unknown key `presets.gh200.region`",
            "did you mean `regions`?",
            "left out of the list for that: `gh200`",
        ]);
        assert!(listed.stdout.contains("train") && !listed.stdout.contains("gh200"), "{}", listed.stdout);
    }
    fs::write(&user, "[presets.train").unwrap();
    let listed = env.devbox(["list", "presets"]).code(2).says(&["this is not TOML", "no preset of `"]);
    assert!(listed.stdout.contains("gh200"), "{}", listed.stdout);
    fs::remove_file(&user).unwrap();
    env.devbox(["list", "presets", "--config", "/no/such/file"])
        .code(2)
        .says(&["there is no `/no/such/file`"]);
}

#[test]
fn nothing_runs_and_all_say_so() {
    let env = TestEnv::new("hello");
    env.devbox(["status"]).ok().says(&["no box is up", "devbox up"]);
    assert_eq!(env.devbox(["status", "--json"]).ok().json()["boxes"], serde_json::json!([]));
    env.devbox(["list", "instances"]).ok().says(&["no instances at `local`", "hint: `devbox up`"]);
    assert_eq!(env.devbox(["list", "instances", "--json"]).ok().json()["instances"], serde_json::json!([]));
    env.devbox(["down", "--all"]).ok().says(&["no box up"]);
    env.devbox(["wait", "--for", "gone"]).ok();
    for command in
        [&["down"][..], &["ssh"], &["run", "--", "true"], &["wait"], &["down", "other"], &["status", "other"]]
    {
        env.devbox(command).code(2).says(&["no box called `", "hint: `devbox up"]);
    }
}

/// An error is one line of JSON among the events, and talk for a person all the same.
#[test]
fn an_error_as_json() {
    let env = TestEnv::empty();
    let run = env.devbox(["up", "--json"]).code(3);
    let event: serde_json::Value = serde_json::from_str(run.stdout.trim()).unwrap();
    assert_eq!((event["event"].as_str(), event["exit-code"].as_i64()), (Some("error"), Some(3)));
    assert!(event["hints"][0].as_str().unwrap().contains("devbox init"));
    run.says(&["error: no `flake.nix`"]);
}

#[test]
fn colour_where_it_is_asked_for() {
    let mut env = TestEnv::empty();
    let error = |env: &TestEnv, when: &str| env.devbox(["up", "--color", when]).code(3).stderr;
    assert!(error(&env, "always").starts_with("\u{1b}["));
    assert!(error(&env, "auto").starts_with("error:"), "a pipe is no terminal");
    assert!(error(&env, "never").starts_with("error:"));
    env.set("NO_COLOR", "1");
    assert!(error(&env, "auto").starts_with("error:"));
}

#[test]
fn doctor_finds_what_is_missing_and_says_how_to_get_it() {
    let mut env = TestEnv::new("hello");
    let fine = env.devbox(["doctor"]).ok().stdout;
    for line in ["ok       configuration", "ok       nix", "ok       local provider", "note     plain ssh"] {
        assert!(fine.contains(line), "`{line}` is not in:\n{fine}");
    }
    env.set("PATH", "/nonexistent");
    let lacking = env.devbox(["doctor"]).code(1).says(&["things that devbox needs are missing"]).stdout;
    for line in [
        "missing  nix",
        "missing  ssh ",
        "fix: apt-get install openssh-client",
        "missing  local: `mmdebstrap`",
    ] {
        assert!(lacking.contains(line), "`{line}` is not in:\n{lacking}");
    }
    let checks = env.devbox(["doctor", "--json"]).code(1).json();
    assert!(checks["missing"].as_i64().unwrap() > 3, "{checks}");
}

/// The demo is a devbox of its own: no setting of the user's, and no key of theirs, gets into it.
#[test]
fn the_demos_sandbox_has_nothing_of_the_users() {
    let env = TestEnv::empty();
    let script = r#"sandbox=$1 root=$2; . "$root/scripts/sandbox.sh"; env"#;
    let (sandbox, root) = (env.path("sandbox"), repository().to_str().unwrap());
    let theirs = ["LAMBDA_API_KEY=secret", "DEVBOX_BOX_PRESET=gh200", "NOT_OURS=kept"];
    let words = ["bash", "-euc", script, "demo.sh", sandbox.to_str().unwrap(), root];
    let inside = host("env", &[&theirs[..], &words].concat());
    assert!(inside.contains("NOT_OURS=kept"), "{inside}");
    assert!(!inside.contains("LAMBDA") && !inside.contains("DEVBOX_"), "{inside}");
}

/// README's reference of the configuration is the one that the types give. `UPDATE_README=1` writes it.
#[test]
fn the_readme_is_not_stale() {
    let file = repository().join("README.md");
    let text = fs::read_to_string(&file).unwrap();
    let (begin, end) = ("<!-- configuration: begin -->\n", "<!-- configuration: end -->");
    let (before, rest) = text.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let fresh = format!("{before}{begin}\n{}\n{end}{after}", render_reference().trim());
    if devbox::env::get("UPDATE_README").is_some() {
        fs::write(&file, &fresh).unwrap();
        return;
    }
    assert!(fresh == text, "README.md is stale: UPDATE_README=1 cargo test --test it readme");
}
