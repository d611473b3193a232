//! Power that goes while the store is written. The filesystem of the store is shut down without its journal, as a
//! crash of the machine would leave it, and then everything of the box is killed at once.

use std::time::Duration;

use crate::support::{TestEnv, finish};

/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`: what is not on the disk yet never gets there.
const SHUT_DOWN: &str = "cd /; sudo python3 -c 'import fcntl, os, struct; \
    fcntl.ioctl(os.open(\"/nix\", os.O_RDONLY), 0x8004587d, struct.pack(\"I\", 2))'";

fn crash(env: &TestEnv) {
    env.on_box(SHUT_DOWN);
    env.pull_the_plug();
}

/// What was made current is there, whole.
#[test]
fn while_nothing_happens() {
    let env = TestEnv::new("hello");
    let before = env.devbox(["up", "-y", "--json"]).ok().result();
    crash(&env);
    let after = env.devbox(["up", "-y", "--json"]).ok().result();
    assert_eq!(before["fingerprint"], after["fingerprint"]);
    assert_eq!(after["copied-paths"], 0, "{after}");
    env.on_box("sudo nix-store --verify --check-contents");
    env.devbox(["run", "--", "hello"]).ok();
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}

/// What had arrived by halves is thrown away and sent again.
#[test]
fn while_the_environment_is_copied() {
    for pause in [0, 150, 400] {
        let env = TestEnv::new("big");
        std::fs::write(env.project("size.json"), r#"{"count":6,"mib":12}"#).unwrap();
        let child = env.start_until(["up", "-y", "--json"], r#""event":"started","phase":"transfer""#);
        std::thread::sleep(Duration::from_millis(pause));
        env.devbox(["ssh", "--plain", "--", SHUT_DOWN]);
        env.pull_the_plug();
        finish(child);
        env.devbox(["up", "-y"]).ok();
        env.on_box("sudo nix-store --verify --check-contents");
        let left = env.on_box("ls -A /nix/store | grep -vE '^([0-9a-z]{32}-.*|.links)$' || echo none");
        assert_eq!(left, "none");
        env.devbox(["down"]).ok();
    }
}

/// What the box builds while its power goes: everything that was synced is there, nothing is there by halves.
#[test]
fn while_the_box_builds() {
    let env = TestEnv::new("hello");
    env.devbox(["up", "-y"]).ok();
    for round in 0..3 {
        let build = format!(
            "cd /tmp; for n in $(seq 100); do
               head -c 3000000 /dev/urandom >f-{round}-$n; path=$(nix-store --add f-{round}-$n) || exit
               if ((n % 5 == 0)); then sudo sync -f /nix && echo $path >>~/synced && sync -f ~; fi
             done"
        );
        let child = env.start(["ssh", "--plain", "--", &build]);
        std::thread::sleep(Duration::from_millis(1500 + 400 * round));
        crash(&env);
        finish(child);
        let up = env.devbox(["up", "-y"]).ok();
        up.says(&["did not come to rest"]);
        env.on_box("sudo nix-store --verify --check-contents");
        let synced = env.on_box("wc -l <~/synced");
        assert!(synced.parse::<u32>().unwrap() > 0, "nothing was synced");
        env.on_box("while read -r path; do sudo nix-store --verify-path $path || exit 1; done <~/synced");
    }
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}
