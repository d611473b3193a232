//! Two boxes on one share, and a share that is away.

use std::time::{Duration, Instant};

use crate::room::{BOX, Laptop, Room, told};
use crate::support::until;
use crate::synced::{Synced, end_writer, writer};

/// The second box has the same folder, by another name: its devbox and its provider can't know.
const SECOND: [&str; 8] = ["up", "-y", "-v", "--preset", "gh200", "second", "--set", "volume.name=twin"];
/// How often it asks for the lease.
const TRIES: usize = 10;

/// `up` refuses the second box, which goes on waiting; then so does the lease itself, which the guest asks for without
/// any devbox.
#[track_caller]
fn assert_refused(room: &Room, laptop: &Laptop) {
    let held = format!("in use by the box `{BOX}`");
    let hint = format!("`devbox down {BOX}`");
    room.time("refusal of the second", || laptop.cloud.env.devbox(SECOND).code(7).says(&[&held, &hint]));
    let tries = format!(
        "cd /; sudo cp /etc/devbox/box.env /tmp
         sudo sed -i s/^DEVBOX_LEASE_WAIT=.*/DEVBOX_LEASE_WAIT=0/ /etc/devbox/box.env
         sudo systemctl stop devbox.target devbox-store
         for n in $(seq {TRIES}); do
           sudo systemctl start devbox-store && exit 1
           mountpoint -q /nix && exit 2
           sudo systemctl reset-failed devbox-store
         done
         sudo cp /tmp/box.env /etc/devbox
         grep -o '{held}' /run/devbox/status.json"
    );
    assert_eq!(room.time("10 more tries of its own", || laptop.on("second", &tries)), held);
}

/// One writes, the other is refused by the server's lock, and has the store once the first has lost its power.
#[test]
#[ignore = "slow: make test-vm"]
fn two_guests_on_one_share_and_one_of_them_writes() {
    let room = Room::new("two guests");
    let laptop = room.laptop();
    room.time("up of the first", || laptop.up());
    let mut writer = writer(&laptop, "first");
    assert_refused(&room, &laptop);
    assert!(writer.runs(), "the first was harmed: {:?}", writer.heard());

    // It waits when the power of the first goes.
    laptop.on("second", "sudo systemctl start --no-block devbox.target");
    laptop.pull_the_plug(BOX);
    let gone = Instant::now();
    let mut synced = Synced::default();
    synced.add(&writer.end());
    let asked = gone.elapsed().as_secs_f64();
    let up = room
        .time("up of the second", || laptop.cloud.env.devbox(SECOND.iter().chain(&["--json"])).ok().stdout);
    for words in ["is gone: this one gets it", "did not come to rest", "journal replayed"] {
        assert!(up.contains(words), "{up}");
    }
    let waited = asked + told(&up, "store: ").unwrap();
    synced.assert_kept(&laptop, "second");
    laptop.cloud.env.devbox(["down", "--all", "-y"]).ok();
    room.assert_image_is_clean();
    let saw = format!(
        "exit code 7, `the store image is in use by the box …`, hint `devbox down …`; {waited:.0} s after the power \
         went the second has the store mounted; {} that had been synced are there",
        synced.count()
    );
    room.tell("two guests on one share, the first is killed", TRIES + 1, "nothing that was synced", &saw);
}

/// The NFS server is away for a minute under a box that works, while another waits for the store: the work waits and
/// goes on, nothing is lost, and the lease is still the box's own.
#[test]
#[ignore = "slow: make test-vm"]
fn a_share_that_is_away_for_a_minute_is_waited_for() {
    const AWAY: Duration = Duration::from_secs(60);
    const A_MOMENT: Duration = Duration::from_secs(5);
    /// Longer than the server waits for those who held a lock before it stopped.
    const GRACE: Duration = Duration::from_secs(30);
    let room = Room::new("the share is away");
    let laptop = room.laptop();
    room.time("up", || laptop.up());
    let mut writer = writer(&laptop, "away");
    assert_refused(&room, &laptop);
    laptop.on("second", "sudo systemctl start --no-block devbox.target");

    let stopped = Instant::now();
    room.vms.share.stop().unwrap();
    // What it says now was on its way already.
    std::thread::sleep(A_MOMENT);
    let before = writer.heard().len();
    std::thread::sleep(AWAY.saturating_sub(stopped.elapsed()));
    assert_eq!(writer.heard().len(), before, "it goes on without its share");
    assert!(writer.runs(), "it did not wait for its share");
    let back = Instant::now();
    room.start_server();
    until("the writer to go on", || writer.heard().len() >= before + 6);
    let after = back.elapsed();
    room.say(&format!("the writer goes on {:.1} s after the share is back", after.as_secs_f64()));
    std::thread::sleep(GRACE.saturating_sub(back.elapsed()));
    let state = "mountpoint -q /nix && exit 1; systemctl is-active devbox-store; cat /run/devbox/status.json";
    let second = laptop.on("second", state);
    assert!(second.starts_with("activating\n"), "{second}");
    assert!(second.contains(&format!("in use by the box `{BOX}`")), "{second}");

    let mut synced = Synced::default();
    synced.add(&end_writer(&laptop, writer));
    synced.assert_kept(&laptop, BOX);
    assert_eq!(laptop.up().0["copied-paths"], 0);
    room.time("down", || laptop.cloud.env.devbox(["down", "--all", "-y"]).ok());
    room.assert_image_is_clean();
    laptop.cloud.assert_nothing_lives();
    let saw = format!(
        "work stands still, goes on {:.0} s after the share is back, and ends by itself; a second box that waits all \
         the time does not get the store; {} are there",
        after.as_secs_f64(),
        synced.count()
    );
    room.tell("NFS server killed for 60 s", 1, "nothing", &saw);
}
