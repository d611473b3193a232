//! Volumes that are missing, read-only, full or damaged. The box takes ssh all the same, and what is
//! on the volume is not touched.

use std::fs;

use crate::support::{SmallDisk, TestEnv, finish, host};

#[test]
fn the_volume_is_not_there() {
    let mut env = TestEnv::new("hello");
    env.devbox(["up"]).code(7).says(&["there is no volume `devbox`", "hint: `devbox up -y` makes it"]);
    fs::write(env.volume(), "a file").unwrap();
    env.devbox(["up", "-y"]).code(7).says(&["hint:"]);
    env.set("DEVBOX_VOLUME_NAME", "other");
    env.set("DEVBOX_LOCAL_VOLUMES", env.path("volumes/devbox").to_str().unwrap());
    env.devbox(["up", "-y"]).code(7);
    env.assert_nothing_runs();
}

#[test]
fn the_volume_is_read_only() {
    let env = TestEnv::new("hello");
    let disk = SmallDisk::mount(&env.path("volumes"), "size=1m");
    fs::create_dir(env.volume()).unwrap();
    host("mount", &["-o", "remount,ro", env.path("volumes").to_str().unwrap()]);
    env.devbox(["up", "-y"]).code(7).says(&["Read-only file system", "hint:"]);
    env.assert_nothing_runs();
    drop(disk);
}

/// The share goes away under a box: it still takes ssh, and `up` says what is wrong.
#[test]
fn a_missing_share_leaves_a_box_that_takes_ssh() {
    let env = TestEnv::new("hello");
    env.devbox(["up", "-y"]).ok();
    let away = "systemctl stop devbox.target; until umount /lambda/nfs/devbox; do sleep 0.1; done";
    env.on_box(&format!("cd /; exec sudo timeout 60 sh -c '{away}'"));
    // Starting it fails, as it would on a boot without the share.
    env.devbox(["ssh", "--plain", "--", "cd /; sudo systemctl start devbox.target"]);
    assert_eq!(env.on_box("cd /; mountpoint -q /nix || echo no store"), "no store");
    let up = env.devbox(["up"]).code(7);
    up.says(&["nothing is mounted at /lambda/nfs/devbox", "hint:", "`hello` is still running"]);
    let status = env.devbox(["status"]).ok().stdout;
    assert!(status.contains("volume failed"), "{status}");
    env.devbox(["run", "--", "true"]).code(5).says(&["the store image is not mounted"]);
    env.devbox(["down", "--force"]).ok();
    env.assert_nothing_runs();
}

#[test]
fn the_volume_is_full_when_the_image_is_made() {
    let env = TestEnv::new("hello");
    let disk = SmallDisk::mount(&env.path("volumes"), "size=2m");
    let up = env.devbox(["up", "-y"]).code(7);
    up.says(&["can't make the store image", "hint: free space on the volume", "`hello` is still running"]);
    let left = fs::read_dir(env.volume().join("devbox/stores")).unwrap();
    let images: Vec<_> =
        left.map(|f| f.unwrap().file_name()).filter(|f| f.to_string_lossy().contains(".img")).collect();
    assert!(images.is_empty(), "half an image is left: {images:?}");
    assert_eq!(env.on_box("echo in"), "in");

    // With room on the volume the same box is set up after all, even where an attempt from before is still under way.
    let slow = "#!/bin/sh\nrm $0\nsleep 2\necho No space left on device >&2\nexit 1\n";
    env.on_box(&format!(
        "printf '{slow}' | sudo tee /usr/local/sbin/mkfs.ext4 && sudo chmod +x /usr/local/sbin/mkfs.ext4"
    ));
    env.on_box("cd /; sudo systemctl start --no-block devbox.target; while test -e /usr/local/sbin/mkfs.ext4; do sleep 0.1; done");
    host("mount", &["-o", "remount,size=300m", env.path("volumes").to_str().unwrap()]);
    env.devbox(["up", "--set", "volume.store-size=256MiB"]).ok();
    env.devbox(["run", "--", "hello"]).ok();
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
    drop(disk);
}

#[test]
fn the_image_is_full_when_the_closure_is_copied() {
    let env = TestEnv::new("big");
    fs::write(env.project("size.json"), r#"{"count":3,"mib":24}"#).unwrap();
    let up = env.devbox(["up", "-y", "--set", "volume.store-size=64MiB"]).code(7);
    up.says(&[
        "are to be copied to `big`, and only",
        "hint: `devbox store gc --box big`",
        "`big` is still running",
    ]);
    env.on_box("sudo nix-store --verify --check-contents");
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}

/// A truncated image and one that is none: refused, untouched, the choices named.
#[test]
fn a_damaged_image_is_left_alone() {
    let env = TestEnv::new("hello");
    env.devbox(["up", "-y", "--set", "volume.store-size=256MiB"]).ok();
    env.devbox(["down"]).ok();
    let whole = env.path("whole.img");
    host("cp", &["--sparse=always", env.image().to_str().unwrap(), whole.to_str().unwrap()]);

    let file = fs::File::options().write(true).open(env.image()).unwrap();
    file.set_len(100 << 20).unwrap();
    let before = fs::read(env.image()).unwrap();
    let up = env.devbox(["up"]).code(7);
    up.says(&[
        "is truncated: 104857600 of 268435456 bytes",
        "hint: `devbox store check`",
        "`hello` is still running",
    ]);
    assert_eq!(env.on_box("echo in"), "in");
    assert!(!env.image().with_extension("holder").exists(), "nobody holds what could not be mounted");
    env.devbox(["down", "--force"]).ok();
    assert!(fs::read(env.image()).unwrap() == before, "the truncated image was touched");

    fs::write(env.image(), "this is no filesystem").unwrap();
    env.devbox(["up"]).code(7).says(&["is no ext4 filesystem", "hint:"]);
    env.devbox(["down", "--force"]).ok();
    assert_eq!(fs::read(env.image()).unwrap(), b"this is no filesystem");

    // The copy back in its place, everything is as it was.
    fs::rename(&whole, env.image()).unwrap();
    let again = env.devbox(["up", "--json"]).ok().result();
    assert_eq!(again["copied-paths"], 0);
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}

/// One volume, two boxes: the second is refused before anything is launched, and told who has it.
#[test]
fn a_volume_in_use_is_refused() {
    let env = TestEnv::new("hello");
    env.devbox(["up", "-y"]).ok();
    env.devbox(["up", "second"])
        .code(7)
        .says(&["the volume `devbox` is in use by the box `hello`", "hint: `devbox down hello`"]);
    assert_eq!(env.instances().len(), 1);
    env.devbox(["up", "second", "-y", "--set", "volume.name=second"]).ok();
    assert_eq!(env.instances().len(), 2);
    env.devbox(["down", "--all", "-y"]).ok();
    env.assert_nothing_runs();
}

/// The volume fills up under a mounted store: what was written is not there, and `down` does not
/// pretend that it is.
#[test]
fn a_volume_that_fills_up_is_not_taken_for_safe() {
    let env = TestEnv::new("hello");
    let disk = SmallDisk::mount(&env.path("volumes"), "size=64m");
    env.devbox(["up", "-y", "--set", "volume.store-size=1GiB"]).ok();
    let filler = env.path("volumes/filler");
    let rest = host("df", &["--output=avail", "--block-size=1M", env.path("volumes").to_str().unwrap()]);
    let rest: usize = rest.lines().last().unwrap().trim().parse().unwrap();
    fs::write(&filler, vec![1; (rest - 2) << 20]).unwrap();
    // The page cache takes it; the volume does not.
    env.on_box("cd /; sudo dd if=/dev/urandom of=/nix/lost bs=1M count=16 status=none");
    // The kernel tells of it once: who asks first is not to be the only one who knows.
    env.on_box("cd /; for n in 1 2 3; do sudo sync -f /nix; done; :");

    assert_eq!(env.status()["ready"], false);
    env.devbox(["up"])
        .code(7)
        .says(&["met errors", "hint: `devbox down hello --force`, then `devbox up hello`"]);
    for work in [&["gc"][..], &["gc", "--dry-run"], &["grow", "2GiB"]] {
        env.devbox([&["store"], work].concat())
            .code(7)
            .says(&["met errors", "hint: make room on the volume"]);
    }
    let down = env.devbox(["down", "-y"]).code(7);
    down.says(&["not all on its volume", "hint: save what you need", "--force"]);
    assert_eq!(env.instances().len(), 1);
    let down = env.devbox(["down", "--force"]).ok();
    let down = down.says(&["what was written last is not all on the volume"]);
    assert!(!down.stderr.contains("home and store are on the volume"), "{}", down.stderr);
    env.assert_nothing_runs();
    // With room again, the store is as it was when it was last synced.
    fs::remove_file(filler).unwrap();
    env.devbox(["up"]).ok().says(&["journal replayed"]);
    env.on_box("sudo nix-store --verify --check-contents");
    env.devbox(["down"]).ok();
    drop(disk);
}

/// The volume, or a quota on it, comes to its end while the environment is copied: that is what is said, and the next
/// `up` finds nothing by halves.
#[test]
fn the_volume_fills_up_during_the_copy() {
    let env = TestEnv::new("big");
    let disk = SmallDisk::mount(&env.path("volumes"), "size=400m");
    fs::write(env.project("size.json"), r#"{"count":5,"mib":40}"#).unwrap();
    let child = env.start_until(
        ["up", "-y", "--json", "--set", "volume.store-size=1GiB"],
        r#""event":"started","phase":"transfer""#,
    );
    let filler = fs::File::create(env.path("volumes/filler")).unwrap();
    let rest = host("df", &["--output=avail", "--block-size=1", env.path("volumes").to_str().unwrap()]);
    let rest: u64 = rest.lines().last().unwrap().trim().parse().unwrap();
    rustix::fs::fallocate(&filler, rustix::fs::FallocateFlags::empty(), 0, rest - (8 << 20)).unwrap();
    let up = finish(child).code(7);
    up.says(&[
        "met errors",
        "hint: make room on the volume",
        "`devbox down big --force`",
        "`big` is still running",
    ]);
    env.devbox(["down", "--force"]).ok();
    env.devbox(["up"])
        .code(7)
        .says(&["can't be brought in order on a full volume", "hint: make room on the volume"]);
    env.devbox(["down", "--force"]).ok();
    fs::remove_file(env.path("volumes/filler")).unwrap();
    drop(filler);
    env.devbox(["up"]).ok().says(&["journal replayed"]);
    env.on_box("sudo nix-store --verify --check-contents");
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
    drop(disk);
}

/// A share that can't be written any more when a box comes up on it: nothing is mounted, and what is there stays.
#[test]
fn the_share_is_read_only() {
    let mut env = TestEnv::new("hello");
    env.set("DEVBOX_VOLUME_STORE_SIZE", "512MiB");
    env.devbox(["up", "-y"]).ok();
    env.on_box("cd /; sudo systemctl stop devbox.target devbox-home devbox-store; sudo mount -o remount,bind,ro /lambda/nfs/devbox");
    let before = host("sha256sum", &[env.image().to_str().unwrap()]);
    for work in [&["snapshot"][..], &["check"]] {
        env.devbox([&["store"], work].concat()).code(7).says(&[
            "can't",
            "Read-only file system",
            "hint: the volume must be writable",
        ]);
    }
    env.devbox(["up"]).code(7).says(&[
        "the volume at /lambda/nfs/devbox can't be written",
        "Read-only file system",
        "hint: make the volume writable",
        "`hello` is still running",
    ]);
    assert_eq!(env.on_box("mountpoint -q /nix || echo no store"), "no store");
    assert_eq!(host("sha256sum", &[env.image().to_str().unwrap()]), before);
    env.on_box("sudo mount -o remount,bind,rw /lambda/nfs/devbox");
    env.devbox(["up"]).ok().says(&["clean"]);
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}
