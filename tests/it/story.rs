//! The main job, from an empty machine to a dev shell and back again.

use crate::support::{TestEnv, finish, host, until};

/// Up, work, down, up again: nothing copied, nothing changed, nothing lost, nothing left.
#[test]
fn a_box_comes_and_goes_and_everything_stays() {
    let env = TestEnv::new("hello");
    let up = env.devbox(["up", "-y", "--json"]).ok();
    assert!(
        !up.stdout.contains('━') && !up.stdout.contains(r#""message":"""#),
        "drawn in JSON: {}",
        up.stdout
    );
    let first = up.result();
    assert_eq!(first["generation"], 1);
    assert_eq!(first["copied-paths"], first["paths"]);
    assert_eq!(env.status()["fingerprint"], first["fingerprint"]);

    // From the store image, with the words as they are, stdin, exit code and nothing else on stdout.
    let path = env.devbox(["run", "--", "bash", "-c", "type -P hello"]).ok().stdout;
    assert!(path.starts_with("/nix/store/"), "{path}");
    let mount = env.devbox(["run", "--", "findmnt", "-no", "SOURCE,FSTYPE", "/nix"]).ok().stdout;
    assert!(mount.starts_with("/dev/loop") && mount.trim_end().ends_with("ext4"), "{mount}");
    let words = ["two words", "$HOME", "it's", "*", "", "-c", "--"];
    let args = ["run", "--", "printf", "%s\\n"].into_iter().chain(words);
    assert_eq!(env.devbox(args).ok().stdout, words.map(|w| format!("{w}\n")).concat());
    assert_eq!(env.devbox_reading(["run", "--", "cat"], "in\nand out").ok().stdout, "in\nand out");
    env.devbox(["run", "--", "sh", "-c", "exit 7"]).code(7);
    assert_eq!(env.devbox(["ssh", "--", "echo", "$HELLO_LANGUAGE", "|", "cat"]).ok().stdout, "en\n");
    assert_eq!(
        env.devbox(["run", "--", "sh", "-c", "echo $TMPDIR; ls -d /tmp/nix-shell.* | wc -l"]).ok().stdout,
        "\n0\n"
    );

    assert!(env.on_box("echo 'type -P hello' | devbox-shell hello bash").starts_with("/nix/store/"));
    env.devbox(["run", "--", "sh", "-c", "echo kept > ~/note"]).ok();
    env.devbox(["down"]).ok().says(&["home and store are on the volume", "`hello` is down"]);
    env.assert_nothing_runs();
    assert!(!env.path("home/.ssh/devbox/hello.conf").exists());

    let second = env.devbox(["up", "--json"]).ok().result();
    assert_eq!(second["fingerprint"], first["fingerprint"]);
    assert_eq!((second["copied-paths"].as_u64(), second["generation"].as_u64()), (Some(0), Some(1)));
    assert_eq!(env.devbox(["run", "--", "cat", "note"]).ok().stdout, "kept\n");
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}

/// A box that is current stays as it is; an edit moves what changed and is a generation of its own.
#[test]
fn an_edit_moves_what_changed_and_nothing_else_is_touched() {
    let env = TestEnv::new("versioned");
    let dry = env.devbox(["up", "--dry-run"]).ok().stdout;
    assert!(dry.contains("launch  `versioned`") && dry.contains("create  the volume"), "{dry}");
    env.assert_nothing_runs();
    assert!(!env.volume().exists());

    let first = env.devbox(["up", "-y", "--json"]).ok().result();
    let same = env.devbox(["up", "--json"]).ok();
    assert!(!same.stdout.contains(r#""phase":"transfer""#), "{}", same.stdout);
    assert_eq!(same.result()["generation"], first["generation"]);

    std::fs::write(env.project("version"), "2.0\n").unwrap();
    env.devbox(["lock", "--update"]).ok();
    let edited = env.devbox(["up", "--json"]).ok().result();
    assert_ne!(edited["fingerprint"], first["fingerprint"]);
    assert_eq!(edited["generation"], 2);
    let copied = edited["copied-paths"].as_u64().unwrap();
    assert!(copied > 0 && copied < edited["paths"].as_u64().unwrap(), "{edited}");
    assert_eq!(edited["instance"], first["instance"]);
    let manifest =
        env.volume().join(format!("devbox/generations/{}-linux/versioned/2.json", std::env::consts::ARCH));
    let manifest = std::fs::read_to_string(manifest).unwrap();
    assert!(manifest.contains(edited["fingerprint"].as_str().unwrap()), "{manifest}");
    env.devbox(["down"]).ok();
}

/// Two at once are one box: the second waits for the first and finds its work done.
#[test]
fn two_ups_at_once_are_one_box() {
    let env = TestEnv::new("hello");
    let (one, two) = (env.start(["up", "-y"]), env.start(["up", "-y"]));
    let (one, two) = (finish(one).ok(), finish(two).ok());
    let waited = [&one, &two].iter().filter(|r| r.stderr.contains("waiting for `devbox up`")).count();
    assert_eq!(waited, 1, "{}\n{}", one.stderr, two.stderr);
    assert_eq!(env.instances().len(), 1);
    env.devbox(["wait"]).ok();
    env.devbox(["down", "--all", "-y"]).ok();
    env.devbox(["wait", "--for", "gone"]).ok();
    env.assert_nothing_runs();
}

/// Who works on a box is not thrown out unasked.
#[test]
fn a_busy_box_is_not_taken_down() {
    let env = TestEnv::new("hello");
    env.devbox(["up", "-y"]).ok();
    let mut work = env.start(["run", "--", "sleep", "600"]);
    until("the work to begin", || env.on_box("pgrep -c -x -f 'sleep 600'; :") == "1");
    env.devbox(["down", "-y"]).code(5).says(&[
        "`hello` is busy; nothing was touched",
        "sleep 600",
        "hint:",
        "--force",
    ]);
    assert_eq!(env.status()["state"], "ready");
    // What saves when it is asked to end has the time to. What does not end is ended.
    let saves = "trap 'sleep 1; echo saved >~/saved; exit' TERM; while :; do sleep 0.1; done";
    let mut saving = env.start(["run", "--", "bash", "-c", saves]);
    let stubborn = "trap '' TERM HUP; while :; do sleep 0.2; done";
    let mut staying = env.start(["run", "--", "bash", "-c", stubborn]);
    until("both to work", || env.on_box("pgrep -c -f '[t]rap .* TERM'; :") == "2");
    let down = env.devbox(["down", "--force", "--grace", "3s"]).ok();
    down.says(&[
        "warning: ending what is busy, in 3.0 s at most: ",
        "sleep 600",
        "what was not saved is lost",
    ]);
    for child in [&mut work, &mut saving, &mut staying] {
        child.wait().unwrap();
    }
    env.assert_nothing_runs();
    assert_eq!(std::fs::read_to_string(env.volume().join("devbox/home/saved")).unwrap(), "saved\n");
}

/// A reboot comes back by itself, plain ssh works, and the keys of the launch do too.
#[test]
fn plain_ssh_and_a_reboot() {
    let env = TestEnv::new("hello");
    // A home that another key was let into, long ago.
    let ssh = env.volume().join("devbox/home/.ssh");
    std::fs::create_dir_all(&ssh).unwrap();
    std::fs::write(ssh.join("authorized_keys"), "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOther somebody\n")
        .unwrap();
    for folder in [env.volume().join("devbox/home"), ssh] {
        std::os::unix::fs::chown(&folder, Some(1000), Some(1000)).unwrap();
    }
    env.devbox(["up", "-y"]).ok();
    assert!(env.on_box("cat ~/.ssh/authorized_keys").contains("somebody"));

    let config = env.path("home/.ssh/config");
    assert!(std::fs::read_to_string(&config).unwrap().contains("Include devbox/*.conf"));
    let people = env.path("home/.ssh/devbox/hello.conf");
    let plain = |command: &str| host("ssh", &["-F", people.to_str().unwrap(), "hello", command]);
    assert_eq!(plain("whoami").trim(), "ubuntu");
    assert_eq!(plain("echo agent:$SSH_AUTH_SOCK").trim(), "agent:");
    let text = std::fs::read_to_string(&people).unwrap();
    assert!(text.contains("StrictHostKeyChecking yes") && text.contains("ForwardAgent no"), "{text}");

    // `/run` starts empty on each boot.
    env.on_box("sudo touch /run/before-the-reboot");
    // The connection ends with the box, so the exit code says nothing.
    env.devbox(["ssh", "--plain", "--", "sudo systemctl reboot"]);
    until("another boot", || {
        std::thread::sleep(std::time::Duration::from_secs(1));
        env.devbox(["ssh", "--plain", "--", "test ! -e /run/before-the-reboot"]).code == 0
    });
    env.devbox(["wait"]).ok();
    assert_eq!(env.on_box("mountpoint -q /nix && mountpoint -q ~ && echo both"), "both");
    env.devbox(["run", "--", "hello"]).ok();
    let again = env.devbox(["up", "--json"]).ok().result();
    assert_eq!(again["copied-paths"], 0);
    env.devbox(["down"]).ok();
}

/// A project may bring the Nix of its box; the next box finds it in the store image.
#[test]
fn the_box_runs_the_nix_that_the_project_names() {
    let env = TestEnv::empty();
    host(
        crate::support::repository().join("tests/fixtures/guest-nix.sh").to_str().unwrap(),
        &[env.project("").to_str().unwrap()],
    );
    env.devbox(["up", "-y"]).ok();
    let daemon = |env: &TestEnv| env.on_box("sudo readlink -f /run/devbox/nix-daemon; nix-store --version");
    let first = daemon(&env);
    assert!(first.starts_with("/nix/store/"), "{first}");
    env.devbox(["down"]).ok();
    let second = env.devbox(["up", "--json"]).ok();
    assert!(!second.stdout.contains(r#""phase":"seed""#), "{}", second.stdout);
    assert_eq!(daemon(&env), first);
    env.devbox(["down"]).ok();
}
