//! `devbox.lock`: written once, held against everything afterwards.

use std::fs;

use crate::support::TestEnv;

/// Store paths and sizes differ from machine to machine: the static programs in them are the machine's own.
fn shown(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let words: Vec<String> = line
            .split_inclusive(' ')
            .map(|word| match word.split_once("/nix/store/") {
                Some((before, path)) if path.len() > 33 => format!("{before}/nix/store/HASH{}", &path[32..]),
                _ => word.to_owned(),
            })
            .collect();
        out.push_str(words.concat().trim_end());
        out.push('\n');
    }
    out
}

fn lock_text(env: &TestEnv) -> String {
    fs::read_to_string(env.project("devbox.lock")).unwrap()
}

fn system() -> String {
    format!("{}-linux", std::env::consts::ARCH)
}

/// `up` writes the lock, the next box is held against it, and so is whoever else brings the project up, on a volume
/// that has nothing of it.
#[test]
fn up_writes_it_and_the_next_box_is_identical() {
    let env = TestEnv::new("hello");
    let up = env.devbox(["up", "-y"]).ok();
    up.says(&["wrote `devbox.lock`", "hint: keep it in version control"]);
    let lock = lock_text(&env);
    let print = env.status()["fingerprint"].as_str().unwrap().to_owned();
    assert!(lock.contains(&format!("[{}]\n", system())) && lock.contains(&print), "{lock}");
    assert!(lock.contains(".packages.greeting]\n"), "{lock}");
    let list = env.path(&format!("home/.local/state/devbox/environments/{print}.paths"));
    assert_eq!(crate::support::host("sha256sum", &[list.to_str().unwrap()])[..64], print);

    let again = env.devbox(["up"]).ok();
    assert!(!again.stderr.contains("devbox.lock"), "{}", again.stderr);
    env.devbox(["lock"]).ok().says(&["`devbox.lock` has this environment"]);
    env.devbox(["down"]).ok();
    let second = env.devbox(["up", "--locked", "--json"]).ok().result();
    assert_eq!(second["fingerprint"].as_str(), Some(print.as_str()));
    env.devbox(["down"]).ok();

    let colleague = TestEnv::new("hello");
    fs::copy(env.project("devbox.lock"), colleague.project("devbox.lock")).unwrap();
    let third = colleague.devbox(["up", "-y", "--locked", "--json"]).ok().result();
    assert_eq!(third["fingerprint"].as_str(), Some(print.as_str()));
    assert_eq!(third["copied-paths"], third["paths"]);
    colleague.devbox(["down"]).ok();
    assert_eq!((lock_text(&env), lock_text(&colleague)), (lock.clone(), lock));
}

/// What differs is refused before anything is paid for, by everything but `lock --update`.
#[test]
fn an_edited_project_is_refused_until_the_lock_is_updated() {
    let mut env = TestEnv::new("versioned");
    env.set("DEVBOX_ENVIRONMENT_PACKAGES", "show-version");
    env.devbox(["lock"]).ok().says(&["wrote `devbox.lock`"]);
    let first = lock_text(&env);
    env.devbox(["lock"]).ok();
    env.devbox(["lock", "--check"]).ok();
    env.devbox(["lock", "--update"]).ok().says(&["nothing to change"]);
    assert_eq!(lock_text(&env), first);

    // One that was never built, so that nobody has it.
    let version = format!("3.{:08}", std::process::id());
    fs::write(env.project("version"), format!("{version}\n")).unwrap();
    for command in [&["up", "-y"][..], &["up", "-y", "--locked"], &["lock"], &["lock", "--check"]] {
        env.devbox(command).code(6).says(&[
            "is not the one in `devbox.lock`: the project was edited",
            "hint: `devbox lock --update` takes",
        ]);
    }
    assert!(env.journal().is_empty());
    assert_eq!(lock_text(&env), first);
    let refused = env.devbox(["lock", "--check"]).code(6);
    let error = &refused.stderr[refused.stderr.find("error:").unwrap()..];
    insta::assert_snapshot!(
        "lock-refused",
        shown(error).replace(&system(), "SYSTEM").replace(&version, "3.VERSION0")
    );

    let updated = env.devbox(["lock", "--update"]).ok().says(&["updated `devbox.lock`"]);
    // The size of the closure is that of this machine's static programs.
    let table = updated.stdout.split("closure  ").next().unwrap();
    insta::assert_snapshot!("lock-update", shown(table).replace(&version, "3.VERSION0"));
    assert_ne!(lock_text(&env), first);
    env.devbox(["lock", "--check"]).ok();
}

/// `--locked` is for those who want no surprise: no lock, no section, another `flake.lock` are one.
#[test]
fn locked_takes_nothing_that_the_lock_does_not_say() {
    let env = TestEnv::new("hello");
    let none = |env: &TestEnv, what: &str| {
        for command in [&["up", "-y", "--locked"][..], &["lock", "--check"]] {
            env.devbox(command).code(6).says(&[what, "hint: `devbox lock"]);
        }
    };
    none(&env, "there is no `devbox.lock`");
    env.devbox(["lock"]).ok();
    let ours = lock_text(&env);
    let other = if system() == "x86_64-linux" { "aarch64-linux" } else { "x86_64-linux" };
    fs::write(env.project("devbox.lock"), ours.replace(&system(), other)).unwrap();
    env.devbox(["up", "-y", "--locked"])
        .code(6)
        .says(&[&format!("has no section for {}", system()), "hint:"]);
    // The other section stays as it is, byte for byte.
    env.devbox(["lock", "--system", &system()]).ok();
    let both = lock_text(&env);
    let section = |text: &str, name: &str| {
        let from = text.find(&format!("[{name}]")).unwrap();
        let rest = &text[from..];
        rest[..rest.find("\n\n[").map_or(rest.len(), |_| {
            rest.match_indices("\n\n[")
                .find(|(at, _)| !rest[at + 3..].starts_with(name))
                .map_or(rest.len(), |(at, _)| at + 1)
        })]
            .to_owned()
    };
    assert_eq!(section(&both, other), section(&ours.replace(&system(), other), other));
    assert_eq!(section(&both, &system()), section(&ours, &system()));

    fs::write(env.project("devbox.lock"), &ours).unwrap();
    fs::write(env.project("flake.lock"), r#"{"nodes":{"root":{}},"root":"root","version":7}"#).unwrap();
    env.devbox(["up", "-y", "--locked"]).code(6).says(&["`flake.lock` has changed", "is the same"]);
    env.devbox(["lock"]).code(6).says(&["`flake.lock` has changed"]);
    env.devbox(["lock", "--update"]).ok();
    assert!(lock_text(&env).contains("flake-lock = \"sha256:"));
    assert!(env.journal().is_empty());
    env.assert_nothing_runs();
}

/// A file that is no lock is never taken for one, nor written over.
#[test]
fn a_lock_that_is_none() {
    let env = TestEnv::new("hello");
    env.devbox(["lock"]).ok();
    let good = lock_text(&env);
    let cases = [
        (good.replace("size =", "sise ="), "unknown key `sise`"),
        (format!("<<<<<<< HEAD\n{good}"), "from a merge"),
        (good.replace("version = 1\n", "version = 2\n"), "upgrade"),
        ("\u{0}".to_owned(), "devbox.lock:1:"),
    ];
    for (text, words) in cases {
        fs::write(env.project("devbox.lock"), &text).unwrap();
        for command in [&["up", "-y"][..], &["lock"], &["lock", "--update"], &["lock", "--check"]] {
            env.devbox(command).code(2).says(&["devbox.lock:", words, "hint:"]);
        }
        assert_eq!(lock_text(&env), text);
    }
    assert!(env.journal().is_empty());
}

/// Whatever is not as the lock says is found, with its store path and the way out.
#[test]
fn verify_finds_what_was_tampered_with() {
    let env = TestEnv::new("hello");
    env.devbox(["verify"]).code(2).says(&["no box called `hello` is up"]);
    env.devbox(["up", "-y"]).ok();
    let card = env.devbox(["verify", "--deep"]).ok().stdout;
    assert!(card.contains("identical") && card.contains("every file was read"), "{card}");
    let report = env.devbox(["verify", "--json"]).ok().json();
    assert_eq!(report["verdict"], "identical");
    assert_eq!(report["lock"]["fingerprint"], report["found"]["fingerprint"]);
    assert_eq!(report["lock"]["derivation"], report["found"]["derivation"]);
    assert_eq!(report["packages"].as_object().unwrap().len(), 2);
    let greeting = report["packages"]["greeting"]["path"].as_str().unwrap().to_owned();

    // A byte in a file. Only who reads it can tell.
    env.on_box(&format!("sudo sh -c 'chmod u+w {greeting}/share/* && echo >>{greeting}/share/greeting.txt'"));
    env.devbox(["verify"]).ok();
    let modified = format!("modified   {greeting}");
    env.devbox(["verify", "--deep"]).code(6).says(&[&modified, "hint: `devbox store check --repair"]);
    let report = env.devbox(["verify", "--deep", "--json"]).code(6).json();
    assert_eq!((&report["verdict"], report["findings"].as_array().unwrap().len()), (&"differs".into(), 1));
    // A path that is gone, though it is registered.
    env.on_box(&format!("sudo rm -rf {greeting}"));
    env.devbox(["verify"]).code(6).says(&[&format!("missing   {greeting}")]);
    // What the hints say.
    env.devbox(["store", "check", "--repair"]).ok();
    env.devbox(["up"]).ok();
    env.devbox(["verify", "--deep"]).ok();

    // The script that enters the environment is in no store path.
    env.on_box("echo export EVIL=1 | sudo tee -a /nix/var/devbox/shells/*-env.sh");
    env.devbox(["verify"]).code(6).says(&[
        "the script that enters it",
        "it was changed",
        "hint: `devbox up hello`",
    ]);
    env.devbox(["up"]).ok();
    env.devbox(["verify"]).ok();

    // Another environment in use: another variable is enough, though every store path is the same.
    let packages = fs::read_to_string(env.project("packages.nix")).unwrap();
    fs::write(env.project("packages.nix"), packages.replace("LANGUAGE = \"en\"", "LANGUAGE = \"de\""))
        .unwrap();
    env.devbox(["lock", "--update"]).ok();
    env.devbox(["verify"]).code(6).says(&[
        "another environment",
        "generation 1 is current",
        "hint: `devbox up",
    ]);
    env.devbox(["up"]).ok();
    env.devbox(["verify"]).ok();
    env.devbox(["rollback"]).ok();
    env.devbox(["verify"]).code(6).says(&["another environment", "generation 1 is current"]);

    fs::remove_file(env.project("devbox.lock")).unwrap();
    env.devbox(["verify"]).code(6).says(&["there is no `devbox.lock`", "hint: `devbox -C"]);
    env.devbox(["down"]).ok();
}

/// Two environments side by side, built or not; nothing is built for it, and nothing changes.
#[test]
fn diff_and_dry_run_say_what_an_edit_means() {
    let mut env = TestEnv::new("versioned");
    env.set("DEVBOX_ENVIRONMENT_PACKAGES", "show-version");
    env.devbox(["diff"]).code(2).says(&["there is no `", "devbox.lock`", "hint: `devbox lock` writes it"]);
    env.devbox(["up", "-y"]).ok();
    let first = lock_text(&env);
    assert!(env.devbox(["diff"]).ok().stdout.ends_with("\nno difference\n"));
    let same = env.devbox(["up", "--dry-run"]).ok().stdout;
    assert!(
        same.contains("all of it is here") && same.contains("`devbox.lock` has this environment"),
        "{same}"
    );
    assert!(same.contains("copy    nothing: the box has all of it"), "{same}");

    // A version that was never built, so that nobody has it.
    let version = format!("2.{:08}", std::process::id());
    fs::write(env.project("version"), format!("{version}\n")).unwrap();
    let drv_of = |env: &TestEnv| env.devbox(["up", "--dry-run", "--json"]).ok().json()["environment"].clone();
    let ahead = drv_of(&env);
    assert_eq!((&ahead["lock"], ahead["build"].as_array().unwrap().len()), (&"differs".into(), 1), "{ahead}");
    let masked = |text: &str| {
        shown(text).replace(&version, "2.VERSION0").replace(env.path("").to_str().unwrap(), "/T/")
    };
    insta::assert_snapshot!(
        "diff-to-come",
        masked(&env.devbox(["diff"]).ok().stdout).replace(&lock_print(&first), "PRINT")
    );
    let dry = env.devbox(["up", "--dry-run"]).ok().stdout;
    let address = dry.find("use     ").unwrap()..dry.find("copy    ").unwrap();
    insta::assert_snapshot!("dry-run-refused", masked(&dry.replace(&dry[address], "")));
    env.devbox(["up", "--dry-run", "--locked"]).code(6).says(&["is not the one in `devbox.lock`"]);
    let again = drv_of(&env);
    assert_eq!(again["build"], ahead["build"], "something was built for a look");
    assert_eq!(lock_text(&env), first);

    // Built: now the sizes are known too.
    fs::copy(env.project("devbox.lock"), env.project("old.lock")).unwrap();
    env.devbox(["lock", "--update"]).ok();
    assert!(env.devbox(["diff"]).ok().stdout.ends_with("\nno difference\n"));
    let built = env.devbox(["diff", "old.lock", "lock", "--json"]).ok().json();
    assert_eq!(built["packages"][0]["to"]["version"], version.as_str());
    assert!(built["packages"][0]["to"]["size"].is_u64() && built["size"]["to"].is_u64());
    assert_eq!(built["others"]["added"], 0);
    let dry = env.devbox(["up", "--dry-run"]).ok().stdout;
    assert!(dry.contains("copy    1 of "), "{dry}");
    env.devbox(["up"]).ok();
    let generations = env.devbox(["diff", "1", "2", "--json"]).ok().json();
    assert_eq!(generations["packages"], built["packages"]);
    assert_eq!(env.devbox(["diff", "2", "lock", "--json"]).ok().json()["identical"], true);
    env.devbox(["diff", "7"]).code(2).says(&["there is no generation 7", "generation 2, current"]);
    env.devbox(["diff", "nothing.lock"]).code(2).says(&["there is no `", "nothing.lock`", "hint:"]);
    env.devbox(["down"]).ok();
    let dry = env.devbox(["up", "--dry-run"]).ok().stdout;
    assert!(dry.contains("copy    nothing: the volume had all of it on 20"), "{dry}");
    env.assert_nothing_runs();
}

fn lock_print(text: &str) -> String {
    let line = text.lines().find(|line| line.starts_with("fingerprint = ")).unwrap();
    line["fingerprint = \"".len()..][..12].to_owned()
}

/// A dev shell that has the project folder in it can't be locked for long, and the reason is said.
#[test]
fn a_shell_made_of_the_whole_folder_is_told() {
    let env = TestEnv::new("whole-folder");
    env.devbox(["lock"])
        .ok()
        .says(&["warning: the dev shell is made of the whole project folder", "lib.fileset"]);
    env.devbox(["lock", "--check"])
        .code(6)
        .says(&["the project was edited", "hint: the dev shell is made of the whole"]);
    // Nor where git tells Nix what is in it.
    let git = TestEnv::new("whole-folder");
    let dir = git.project("");
    let dir = dir.to_str().unwrap();
    fs::write(
        git.project("devbox.toml"),
        "name = \"x\"\n[environment]\nshell = \".#default\"\n[box]\nprovider = \"local\"\n",
    )
    .unwrap();
    crate::support::host("git", &["-C", dir, "init", "-q"]);
    crate::support::host("git", &["-C", dir, "add", "--force", "."]);
    git.devbox(["lock"]).ok().says(&["warning: the dev shell is made of the whole project folder"]);
}
