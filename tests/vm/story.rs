//! A box comes and goes.

use std::time::Duration;

use serde_json::json;

use crate::room::{BOX, Room};
use crate::sim_stage::Client;
use crate::support::until;
use crate::synced::assert_store_is_sound;

/// From an empty volume to a dev shell, a clean end, a second box that finds everything, a reset of that.
#[test]
#[ignore = "slow: make test-vm"]
fn a_guest_comes_and_goes_and_everything_stays() {
    let room = Room::new("comes and goes");
    let laptop = room.laptop();
    let (env, cloud) = (&laptop.cloud.env, &laptop.cloud);
    let (first, found) = room.time("up", || laptop.up());
    assert!(found.contains("clean") && found.contains("lease by flock"), "{found}");
    // It is the real thing: a kernel of its own, the store on a loop device on NFS.
    let here = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_ne!(laptop.on(BOX, "cat /proc/sys/kernel/random/boot_id"), here.trim());
    let mounts =
        laptop.on(BOX, "findmnt -no SOURCE,FSTYPE /nix; findmnt -no SOURCE,FSTYPE /lambda/nfs/devbox");
    assert!(mounts.contains("/dev/loop") && mounts.contains("10.0.2.2:/volumes/devbox nfs4"), "{mounts}");
    // On a machine of its own root may grow what is mounted.
    let grown = room.time("grow", || env.devbox(["store", "grow", "120GiB", "--json"]).ok().json());
    assert_eq!(grown["grow"]["deferred"], false, "{grown}");
    let size = laptop.on(BOX, "df --output=size --block-size=1G /nix | tail -n 1");
    assert!(size.trim().parse::<u32>().unwrap() > 115, "{size}");
    laptop.on(BOX, "echo kept > note");
    room.time("down", || env.devbox(["down"]).ok().says(&["home and store are on the volume"]));
    cloud.assert_nothing_lives();
    room.assert_image_is_clean();

    let (second, found) = room.time("up again", || laptop.up());
    assert!(found.contains("clean"), "{found}");
    assert_eq!((&second["fingerprint"], &second["copied-paths"]), (&first["fingerprint"], &json!(0)));
    room.tell(
        "clean end",
        1,
        "nothing",
        &format!("second up: {found}; no path copied, the same fingerprint"),
    );

    // A reset tells nobody inside: the same box, everything mounted by itself. What cloud-init has just written must be
    // on the box's own disk by then, or it would come back without host keys and units.
    let boot = "cat /proc/sys/kernel/random/boot_id";
    let before = laptop.on(BOX, boot);
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
    assert_eq!(laptop.on(BOX, "mountpoint -q /nix && mountpoint -q ~ && cat note"), "kept");
    assert!(env.devbox(["run", "--", "bash", "-c", "type -P bash"]).ok().stdout.starts_with("/nix/store/"));
    assert_eq!(laptop.up().0["copied-paths"], 0);
    assert_store_is_sound(&laptop, BOX);

    // The end from inside, with somebody who heeds nothing.
    laptop.on(BOX, "cd /; sudo systemd-run --quiet --unit=stubborn bash -c 'trap \"\" TERM HUP; cd /nix/store; sleep 600; sleep 600'");
    env.devbox(["ssh", "--plain", "--", "sudo systemctl poweroff"]);
    let holder = room.vms.share.volume("devbox").join("devbox/stores/x86_64-linux.holder");
    room.time("poweroff", || until("the lease to be given back", || !holder.exists()));
    env.devbox(["down", "--force"]).ok();
    room.assert_image_is_clean();
    room.tell(
        "poweroff from inside, the store busy",
        1,
        "nothing",
        "what is busy is told and ended after 10 s; the image is clean",
    );
    room.tell(
        "reset of the box",
        1,
        "nothing",
        "ssh answers again, store and home are mounted by themselves",
    );
    cloud.assert_nothing_lives();
    cloud.assert_faithful();
}
