//! One guest writes a StoreImage: whoever comes second is refused before it mounts, and a holder that is gone costs
//! nobody a repair.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use crate::support::{TestEnv, host, until};

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
    env.devbox(["ssh", "--plain", "--", "sudo systemctl stop devbox.target"]);
    until("the end", || !env.image().with_extension("holder").exists());
    env.on_box("! mountpoint -q /nix && ! mountpoint -q ~");
    env.devbox(["up"]).ok().says(&["clean"]);
    assert_eq!(holder(&env)["box"], "hello");
    env.devbox(["ssh", "--plain", "--", "sudo systemctl poweroff"]);
    until("the end", || !env.image().with_extension("holder").exists());
    env.devbox(["down", "--force"]).ok();
    env.devbox(["up"]).ok().says(&["clean"]);
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}

/// What keeps the store busy: a shell that heeds no `TERM`, and a mount namespace of its own, as containers have.
const BE_BUSY: &str = "cd /; sudo systemd-run --quiet --collect --unit=stubborn bash -c 'trap \"\" TERM HUP; cd /nix/store; sleep 600; sleep 600'
     sudo systemd-run --quiet --collect --unit=apart unshare --mount --propagation private sleep 600; sleep 0.5";

/// Looks whether the lock is free while the image is attached, as another host would, until it is attached no more. How
/// often that was so.
fn watch_the_lock(env: &TestEnv) -> std::thread::JoinHandle<usize> {
    let image = env.image();
    std::thread::spawn(move || {
        let lock = image.with_extension("lock");
        let attached = || !host("losetup", &["--associated", image.to_str().unwrap()]).is_empty();
        let mut free = 0;
        let until = Instant::now() + Duration::from_secs(60);
        while attached() {
            assert!(Instant::now() < until, "it stays attached");
            let file = fs::File::open(&lock).unwrap();
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && attached() {
                free += 1;
            }
            drop(file);
            std::thread::sleep(Duration::from_millis(20));
        }
        free
    })
}

/// Whoever uses the store, and however it is stopped, the lock is held for as long as the image is attached.
#[test]
fn the_lock_lives_as_long_as_the_mount() {
    let env = TestEnv::new("hello");
    env.devbox(["up", "-y"]).ok();
    let kill = "sudo kill -9 $(systemctl show --property=MainPID --value devbox-store)";
    // Nobody holds it when its holder is killed; what comes after that takes it at once.
    for (end, may_be_free) in
        [("sudo systemctl stop devbox.target", 0), (kill, 5), ("sudo systemctl poweroff", 0)]
    {
        env.on_box(BE_BUSY);
        env.devbox(["down"]).code(5).says(&["is busy; nothing was touched", "sleep 600"]);
        let watch = watch_the_lock(&env);
        env.devbox(["ssh", "--plain", "--", &format!("cd /; {end}")]);
        let free = watch.join().unwrap();
        assert!(free <= may_be_free, "{end}: the lock was free {free} times while the image was attached");
        until("the lease to be given back", || !env.image().with_extension("holder").exists());
        if end.contains("poweroff") {
            break;
        }
        let units = env.on_box("systemctl is-active stubborn apart devbox.target devbox-home devbox-nix; :");
        assert!(!units.lines().any(|state| state == "active"), "{units}");
        assert_eq!(env.status()["ready"], false);
        env.devbox(["up"]).ok().says(&["clean"]);
        env.devbox(["run", "--", "hello"]).ok();
    }
    until("the end of the box", || env.instances()[0]["status"] == "dead");
    env.devbox(["down"]).ok();
    env.devbox(["up"]).ok().says(&["clean"]);
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}

/// Who is at a terminal of the box hears that it is ended, and when.
#[test]
fn people_are_told() {
    let env = TestEnv::new("hello");
    env.devbox(["up", "-y"]).ok();
    let shell = "script --quiet --return --command 'trap \"\" TERM; sleep 60' /dev/null </dev/null";
    let child = env.start(["ssh", "--plain", "--", shell]);
    until("the terminal", || env.on_box("ls /dev/pts | grep -c '^[0-9]'; :") != "0");
    env.devbox(["down", "--force", "--grace", "2s"]).ok();
    let heard = crate::support::finish(child).stdout;
    let words = "devbox: this box is brought to rest and ended now; what still runs in 2 s is killed";
    assert!(heard.contains(words), "{heard}");
    env.assert_nothing_runs();
}

/// A holder that does not say who it is can't be asked about: nobody waits for it in vain, and it needs no hand.
#[test]
fn a_lease_of_nobody() {
    let mut env = TestEnv::new("hello");
    env.set("DEVBOX_VOLUME_LEASE", "text");
    env.devbox(["up", "-y"]).ok();
    env.devbox(["down"]).ok();
    let file = env.image().with_extension("holder");
    let garbage: [fn(&Path); 2] =
        [|file| fs::write(file, "}{ \x1b[31m\n").unwrap(), |file| fs::create_dir(file).unwrap()];
    for make in garbage {
        make(&file);
        let up = env.devbox(["up"]).code(7);
        up.says(&["does not say who has the store image", "`devbox store unlock --force`"]);
        env.devbox(["store", "unlock"]).code(7).says(&["nothing was unlocked"]);
        env.devbox(["store", "unlock", "--force"]).ok().says(&["nobody but you says"]);
        env.devbox(["up"]).ok();
        assert_eq!(holder(&env)["box"], "hello");
        env.devbox(["down"]).ok();
    }
    env.assert_nothing_runs();
}
