//! Boxes come and go, lose their power, meet each other on one share, and lose that share for a while.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::room::{Laptop, Room, UP};
use crate::sim_stage::Client;
use crate::support::until;

const WRITER: &str = include_str!("writer.sh");

/// The lines that a writer prints, in the box's own words.
#[derive(Default)]
struct Synced {
    /// Store path, SHA-256 of the file.
    store: Vec<(String, String)>,
    home: Vec<String>,
}

impl Synced {
    fn add(&mut self, lines: &[String]) {
        for line in lines {
            match line.split_once(' ').unwrap() {
                ("store", rest) => {
                    let (path, sum) = rest.split_once(' ').unwrap();
                    self.store.push((path.to_owned(), sum.to_owned()));
                }
                ("home", line) => self.home.push(line.to_owned()),
                _ => panic!("{line}"),
            }
        }
    }

    /// All of it is in the box, as it was written, and so is all else in its store.
    #[track_caller]
    fn assert_kept(&self, laptop: &Laptop) {
        let env = &laptop.cloud.env;
        let ssh = |command: &str, input: &str| {
            env.devbox_reading(["ssh", "--plain", "--", command], input).ok().stdout
        };
        let sums: String = self.store.iter().map(|(path, sum)| format!("{sum}  {path}\n")).collect();
        let paths: String = self.store.iter().map(|(path, _)| format!("{path}\n")).collect();
        if !self.store.is_empty() {
            ssh("sha256sum --check --quiet", &sums);
            ssh("xargs nix-store --verify-path", &paths);
        }
        let home = ssh("cat lines || true", "");
        let home: std::collections::HashSet<_> = home.lines().collect();
        let lost: Vec<_> = self.home.iter().filter(|line| !home.contains(line.as_str())).collect();
        assert!(lost.is_empty(), "lost of the home: {lost:?}");
        assert_store_is_sound(laptop);
    }
}

/// Every path that Nix takes for valid is what it was when it was registered.
#[track_caller]
fn assert_store_is_sound(laptop: &Laptop) {
    let verify = "sudo nix-store --verify --check-contents";
    let run = laptop.cloud.env.devbox(["ssh", "--plain", "--", verify]).ok();
    for word in ["modified", "disappeared", "error"] {
        assert!(!run.stderr.contains(word), "{}", run.stderr);
    }
}

/// A test's seed; `DEVBOX_VM_SEED` repeats one.
fn random(room: &Room) -> fastrand::Rng {
    #[expect(clippy::disallowed_methods, reason = "a test's own setting")]
    let given = std::env::var("DEVBOX_VM_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..1_000_000), |text| text.parse().unwrap());
    room.say(&format!("DEVBOX_VM_SEED={seed}"));
    fastrand::Rng::with_seed(seed)
}

/// From an empty volume to a dev shell, a clean end, a second box that finds everything, a reset of that.
#[test]
#[ignore = "slow: make test-vm"]
fn a_guest_comes_and_goes_and_everything_stays() {
    let room = Room::new("comes and goes");
    let laptop = room.laptop();
    let (env, cloud) = (&laptop.cloud.env, &laptop.cloud);
    let (first, found) = room.time("up", || laptop.up());
    assert!(found.contains("clean"), "{found}");
    // It is the real thing: a kernel of its own, the store on a loop device on NFS.
    let here = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_ne!(env.on_box("cat /proc/sys/kernel/random/boot_id"), here.trim());
    let mounts = env.on_box("findmnt -no SOURCE,FSTYPE /nix; findmnt -no SOURCE,FSTYPE /lambda/nfs/devbox");
    assert!(mounts.contains("/dev/loop") && mounts.contains("10.0.2.2:/volumes/devbox nfs4"), "{mounts}");
    env.devbox(["ssh", "--plain", "--", "echo kept > note"]).ok();
    room.time("down", || env.devbox(["down"]).ok().says(&["home and store are on the volume"]));
    cloud.assert_nothing_lives();
    room.assert_image_is_clean();

    let (second, found) = room.time("up again", || laptop.up());
    assert!(found.contains("clean"), "{found}");
    assert_eq!((&second["fingerprint"], &second["copied-paths"]), (&first["fingerprint"], &json!(0)));
    assert_eq!(env.on_box("cat note"), "kept");
    assert!(env.devbox(["run", "--", "bash", "-c", "type -P bash"]).ok().stdout.starts_with("/nix/store/"));

    // A reset tells nobody inside: journal replayed, the same box, everything mounted by itself.
    let boot = "cat /proc/sys/kernel/random/boot_id";
    let before = env.on_box(boot);
    let ids = json!({ "instance_ids": [second["instance"]] });
    Client::of(&cloud.sim).post("/instance-operations/restart", &ids).ok();
    room.time("reset", || {
        until("another boot", || {
            std::thread::sleep(Duration::from_secs(1));
            let now = env.devbox(["ssh", "--plain", "--", boot]);
            now.code == 0 && now.stdout.trim() != before
        });
        env.devbox(["wait"]).ok();
    });
    assert_eq!(env.on_box("mountpoint -q /nix && mountpoint -q ~ && cat note"), "kept");
    assert_eq!(laptop.up().0["copied-paths"], 0);
    assert_store_is_sound(&laptop);
    env.devbox(["down"]).ok();
    room.assert_image_is_clean();
    cloud.assert_nothing_lives();
    cloud.assert_faithful();
}

/// Ten times the power goes while store and home are written to: the next box mounts the store, and finds everything
/// that was synced, and nothing that is half there.
#[test]
#[ignore = "slow: make test-vm"]
fn power_that_goes_while_it_writes_costs_nothing_that_was_synced() {
    const ROUNDS: usize = 10;
    let room = Room::new("power goes");
    let mut random = random(&room);
    let laptop = room.laptop();
    let env = &laptop.cloud.env;
    let mut synced = Synced::default();
    let mut replayed = 0;
    for round in 1..=ROUNDS {
        let (_, found) = laptop.up();
        assert!(round == 1 || found.contains("journal replayed"), "round {round}: {found}");
        replayed += usize::from(found.contains("journal replayed"));
        synced.assert_kept(&laptop);
        if round == 1 {
            env.devbox_reading(["ssh", "--plain", "--", "cat > writer; chmod +x writer; sync"], WRITER).ok();
        }
        let writer = laptop.listen(&format!("exec ./writer {round}"));
        until("the first words of the writer", || !writer.heard().is_empty());
        let pause = Duration::from_millis(random.u64(0..12_000));
        std::thread::sleep(pause);
        laptop.pull_the_plug();
        let lines = writer.end();
        synced.add(&lines);
        room.say(&format!(
            "round {round}: {found}; the power went after {:.1} s and {} lines",
            pause.as_secs_f64(),
            lines.len()
        ));
    }
    let (_, found) = laptop.up();
    replayed += usize::from(found.contains("journal replayed"));
    synced.assert_kept(&laptop);
    env.devbox(["down"]).ok();
    room.assert_image_is_clean();
    room.say(&format!(
        "{} store paths and {} lines kept, the journal replayed {replayed} times",
        synced.store.len(),
        synced.home.len()
    ));
    laptop.cloud.assert_nothing_lives();
}

/// The power goes while `up` copies: the next `up` ends with the same bytes.
#[test]
#[ignore = "slow: make test-vm"]
fn power_that_goes_while_up_copies_is_made_good() {
    const ROUNDS: usize = 3;
    let room = Room::new("up is cut off");
    let mut random = random(&room);
    let laptop = room.laptop();
    let env = &laptop.cloud.env;
    // A dev shell with as many blobs as there are in the folder.
    let flake = env.project("flake.nix");
    let text = std::fs::read_to_string(&flake).unwrap();
    let blobs = "(builtins.genList (n: kit.file \"blob\" (./blobs + \"/${toString n}\")) \
                 (builtins.length (builtins.attrNames (builtins.readDir ./blobs))))";
    let edited = text.replace("[ kit.base ]", &format!("([ kit.base ] ++ {blobs})"));
    assert_ne!(text, edited);
    std::fs::write(&flake, edited).unwrap();
    std::fs::create_dir(env.project("blobs")).unwrap();

    let cut = |phase: &str, pause: Duration| {
        let child = env.start_until(UP, &format!(r#""event":"started","phase":"{phase}""#));
        std::thread::sleep(pause);
        laptop.pull_the_plug();
        let failed = crate::support::finish(child);
        assert_ne!(failed.code, 0, "{}", failed.stdout);
        room.say(&format!("the power went {:.1} s into {phase}", pause.as_secs_f64()));
    };
    cut("seed", Duration::from_millis(random.u64(500..8_000)));
    room.time("up", || laptop.up());
    assert_store_is_sound(&laptop);
    let mut blobs = 0;
    for _ in 0..ROUNDS {
        for _ in 0..30 {
            let bytes: Vec<u8> = (0..random.usize(1..400_000)).map(|_| random.u8(..)).collect();
            std::fs::write(env.project(&format!("blobs/{blobs}")), bytes).unwrap();
            blobs += 1;
        }
        cut("transfer", Duration::from_millis(random.u64(1_000..8_000)));
        let (result, found) = room.time("up", || laptop.up());
        room.say(&format!("{found}; copied {} of {}", result["copied-paths"], result["paths"]));
        assert_store_is_sound(&laptop);
        assert_eq!(env.status()["fingerprint"], result["fingerprint"]);
    }
    env.devbox(["down"]).ok();
    room.assert_image_is_clean();
    laptop.cloud.assert_nothing_lives();
}

/// Two boxes on one share, of two accounts that know nothing of each other: the second is refused by the box itself,
/// and has the store once the first has lost its power.
#[test]
#[ignore = "slow: make test-vm"]
fn two_guests_on_one_share_and_one_of_them_writes() {
    let room = Room::new("two guests");
    let (one, two) = (room.laptop(), room.laptop());
    room.time("up of the first", || one.up());
    one.cloud.env.devbox(["ssh", "--plain", "--", "echo mine > note"]).ok();
    room.time("refusal of the second", || {
        two.cloud.env.devbox(["up", "-y", "--preset", "gh200", "second"]).code(7).says(&[
            "`second` could not set up its store",
            "in use",
            "box with-nix",
        ]);
    });
    assert_eq!(two.cloud.env.on_box("mountpoint -q /nix || echo no store"), "no store");
    assert_eq!(one.cloud.env.on_box("mountpoint -q /nix && cat note"), "mine");

    one.pull_the_plug();
    room.time("the second gets it", || {
        two.cloud.env.devbox(["up", "second"]).ok();
    });
    assert_eq!(two.cloud.env.on_box("cat note"), "mine");
    assert_store_is_sound(&two);
    two.cloud.env.devbox(["down", "second"]).ok();
    room.assert_image_is_clean();
    one.cloud.env.devbox(["down"]).ok();
}

/// The NFS server is away for a minute under a box that works: the work waits and goes on, nothing is lost, and the
/// lease is still the box's own.
#[test]
#[ignore = "slow: make test-vm"]
fn a_share_that_is_away_for_a_minute_is_waited_for() {
    const AWAY: Duration = Duration::from_secs(60);
    let room = Room::new("the share is away");
    let (one, two) = (room.laptop(), room.laptop());
    room.time("up", || one.up());
    let env = &one.cloud.env;
    env.devbox_reading(["ssh", "--plain", "--", "cat > writer; chmod +x writer"], WRITER).ok();
    let mut writer = one.listen("exec ./writer away");
    until("the first words of the writer", || writer.heard().len() >= 4);

    room.vms.share.stop().unwrap();
    // What it says now was on its way already.
    std::thread::sleep(Duration::from_secs(5));
    let before = writer.heard().len();
    std::thread::sleep(AWAY - Duration::from_secs(5));
    assert_eq!(writer.heard().len(), before, "it goes on without its share");
    assert!(writer.runs(), "it did not wait for its share");
    let back = Instant::now();
    room.start_server();
    until("the writer to go on", || writer.heard().len() >= before + 6);
    room.say(&format!("the writer goes on {:.1} s after the share is back", back.elapsed().as_secs_f64()));

    let up = two.cloud.env.devbox(["up", "-y", "--preset", "gh200", "second"]).code(7);
    up.says(&["`second` could not set up its store", "in use", "box with-nix"]);
    room.say("another box is refused");
    two.cloud.env.devbox(["down", "second", "--force"]).ok();

    env.devbox(["ssh", "--plain", "--", "pkill -x writer; sudo pkill -f /nix/nois[e]; true"]).ok();
    let mut synced = Synced::default();
    synced.add(&writer.end());
    synced.assert_kept(&one);
    let (result, _) = one.up();
    assert_eq!(result["copied-paths"], 0);
    room.time("down", || env.devbox(["down"]).ok());
    room.assert_image_is_clean();
    one.cloud.assert_nothing_lives();
}
