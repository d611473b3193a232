//! Power that goes at once.

use std::time::Duration;

use crate::room::{BOX, Room, UP};
use crate::synced::{Synced, assert_store_is_sound, writer};

/// A test's seed; `DEVBOX_VM_SEED` repeats one.
fn random(room: &Room) -> fastrand::Rng {
    #[expect(clippy::disallowed_methods, reason = "a test's own setting")]
    let given = std::env::var("DEVBOX_VM_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..1_000_000), |text| text.parse().unwrap());
    room.say(&format!("DEVBOX_VM_SEED={seed}"));
    fastrand::Rng::with_seed(seed)
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
    let mut synced = Synced::default();
    let mut replayed = 0;
    laptop.up();
    for round in 1..=ROUNDS {
        let writer = writer(&laptop, &round.to_string());
        let pause = Duration::from_millis(random.u64(0..12_000));
        std::thread::sleep(pause);
        laptop.pull_the_plug(BOX);
        let lines = writer.end();
        synced.add(&lines);
        room.say(&format!(
            "round {round}: the power went after {:.1} s and {} lines",
            pause.as_secs_f64(),
            lines.len()
        ));
        let (_, found) = room.time("up", || laptop.up());
        room.say(&format!("round {round}: {found}"));
        assert!(
            found.contains(&format!("the box `{BOX}`")) && found.contains("did not come to rest"),
            "{found}"
        );
        assert!(found.contains("journal replayed"), "round {round}: {found}");
        replayed += 1;
        room.time("look at it", || synced.assert_kept(&laptop, BOX));
    }
    laptop.cloud.env.devbox(["down"]).ok();
    room.assert_image_is_clean();
    let saw = format!(
        "up: `the box … did not come to rest, journal replayed` {replayed} times; {} that had been synced are there",
        synced.count()
    );
    room.tell("SIGKILL of QEMU while it writes", ROUNDS, "nothing that was synced", &saw);
    laptop.cloud.assert_nothing_lives();
}

/// The power goes while `up` copies: the next `up` ends with the same bytes.
#[test]
#[ignore = "slow: make test-vm"]
fn power_that_goes_while_up_copies_is_made_good() {
    const ROUNDS: usize = 2;
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
        laptop.pull_the_plug(BOX);
        let failed = crate::support::finish(child);
        assert_ne!(failed.code, 0, "{}", failed.stdout);
        let said = failed.stderr.lines().find(|l| l.starts_with("error")).unwrap_or_default().to_owned();
        room.say(&format!("the power went {:.1} s into {phase}: {said}", pause.as_secs_f64()));
        said
    };
    let mut saw = vec![cut("seed", Duration::from_millis(random.u64(300..6_000)))];
    room.time("up", || laptop.up());
    assert_store_is_sound(&laptop, BOX);
    let mut blobs = 0;
    for _ in 0..ROUNDS {
        for _ in 0..30 {
            let bytes: Vec<u8> = (0..random.usize(1..4_000_000)).map(|_| random.u8(..)).collect();
            std::fs::write(env.project(&format!("blobs/{blobs}")), bytes).unwrap();
            blobs += 1;
        }
        env.devbox(["lock", "--update"]).ok();
        saw.push(cut("transfer", Duration::from_millis(random.u64(300..4_000))));
        let (result, found) = room.time("up", || laptop.up());
        room.say(&format!("{found}; copied {} of {}", result["copied-paths"], result["paths"]));
        assert_store_is_sound(&laptop, BOX);
        assert_eq!(env.status()["fingerprint"], result["fingerprint"]);
    }
    env.devbox(["down"]).ok();
    room.assert_image_is_clean();
    saw.dedup();
    let saw = format!("{}; the next up ends with the same fingerprint", saw.join("; "));
    room.tell("SIGKILL of QEMU while up copies", ROUNDS + 1, "nothing", &saw);
    laptop.cloud.assert_nothing_lives();
}
