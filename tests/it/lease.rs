//! One guest writes a StoreImage: whoever comes second is refused before it mounts, and a holder that is gone costs
//! nobody a repair.

use std::fs;
use std::path::PathBuf;

use crate::support::{TestEnv, host};

/// How often the second box tries.
const ROUNDS: usize = 50;

/// A second volume that is the same folder: what no provider could tell apart.
pub(crate) struct Twin(PathBuf);

impl Twin {
    pub(crate) fn of(env: &TestEnv) -> Self {
        let twin = env.path("volumes/twin");
        fs::create_dir_all(&twin).unwrap();
        host("mount", &["--bind", env.volume().to_str().unwrap(), twin.to_str().unwrap()]);
        Self(twin)
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        host("umount", &["--lazy", self.0.to_str().unwrap()]);
    }
}

fn holder(env: &TestEnv) -> serde_json::Value {
    let file = env.image().with_extension("holder");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// One kernel lets a double mount pass, so this looks at the lease: 50 times the second box does not get it, whatever
/// it is kept by, and the first works on.
#[test]
fn two_boxes_on_one_volume() {
    for lease in ["flock", "text"] {
        let mut env = TestEnv::new("hello");
        env.set("DEVBOX_VOLUME_LEASE", lease);
        env.devbox(["up", "-y"]).ok();
        let first = holder(&env);
        assert_eq!((first["box"].as_str(), first["lease"].as_str()), (Some("hello"), Some(lease)));
        let twin = Twin::of(&env);
        let up = env.devbox(["up", "second", "--set", "volume.name=twin"]).code(7);
        up.says(&["the store image is in use by the box `hello`", "hint: `devbox down hello`"]);

        let tries = format!(
            "cd /; sudo sed -i s/^DEVBOX_LEASE_WAIT=.*/DEVBOX_LEASE_WAIT=0/ /etc/devbox/box.env
             sudo systemctl stop devbox.target devbox-store
             for n in $(seq {ROUNDS}); do
               sudo systemctl start devbox-store && exit 1
               mountpoint -q /nix && exit 2
               sudo systemctl reset-failed devbox-store
             done
             grep -o 'in use by the box `hello`' /run/devbox/status.json"
        );
        let work = env.start([
            "run",
            "--box",
            "hello",
            "--",
            "bash",
            "-c",
            "for n in $(seq 300); do hello; done >/dev/null; hello",
        ]);
        let tries = env.devbox(["ssh", "--plain", "second", "--", &tries]).ok();
        assert_eq!(tries.stdout.trim(), "in use by the box `hello`");
        crate::support::finish(work).ok();
        assert_eq!(holder(&env), first);
        let checked =
            env.devbox(["ssh", "--plain", "hello", "--", "sudo nix-store --verify --check-contents"]);
        checked.ok();

        env.devbox(["down", "second"]).ok();
        env.devbox(["down", "hello"]).ok();
        drop(twin);
        assert!(!env.image().with_extension("holder").exists(), "{lease}");
        env.assert_nothing_runs();
    }
}

/// A box that dies leaves its lease. The next `up` gets it in seconds, and says from whom.
#[test]
fn the_lease_of_a_dead_box() {
    for lease in ["flock", "text"] {
        let mut env = TestEnv::new("hello");
        env.set("DEVBOX_VOLUME_LEASE", lease);
        env.devbox(["up", "-y"]).ok();
        let first = holder(&env);
        env.pull_the_plug();
        assert_eq!(holder(&env), first);
        let up = env.devbox(["up", "-v"]).ok();
        up.says(&["the box `hello` (launch ", "did not come to rest"]);
        assert_ne!(holder(&env)["launch"], first["launch"]);
        env.on_box("sudo nix-store --verify --check-contents");
        env.devbox(["down"]).ok();
        assert!(!env.image().with_extension("holder").exists(), "{lease}");
    }
}

/// The end from inside is the same end: unmounted, given back.
#[test]
fn ends_from_inside() {
    let env = TestEnv::new("hello");
    env.devbox(["up", "-y"]).ok();
    env.on_box("cd /; sudo systemctl stop devbox.target devbox-home devbox-store && ! mountpoint -q /nix");
    assert!(!env.image().with_extension("holder").exists());
    env.devbox(["up"]).ok().says(&["clean"]);
    assert_eq!(holder(&env)["box"], "hello");
    env.devbox(["ssh", "--plain", "--", "sudo systemctl poweroff"]);
    crate::support::until("the end", || !env.image().with_extension("holder").exists());
    env.devbox(["down", "--force"]).ok();
    env.devbox(["up"]).ok().says(&["clean"]);
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}
