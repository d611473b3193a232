//! Damage: found, named, repaired where that can be, never at the cost of what there was.

use std::fs;
use std::path::Path;

use super::{shown_version, snapshot_file, snapshots, store_status, up};
use crate::support::{TestEnv, host};

/// Damages the filesystem of an image the way a kernel would have noticed, beyond what is repaired unasked.
fn damage(image: &Path) {
    let image = image.to_str().unwrap();
    for what in ["clri /store", "clri /var/nix/profiles", "set_super_value state 2"] {
        host("debugfs", &["-w", "-R", what, image]);
    }
}

/// A store path whose bytes changed: found by name, fetched or thrown away, brought again.
#[test]
fn a_damaged_path_is_named_and_brought_again() {
    let env = TestEnv::new("versioned");
    up(&env, "1.0");
    let first = up(&env, "2.0");
    env.devbox(["store", "check"]).ok();
    assert_eq!(store_status(&env)["last-check"]["damaged"], 0);
    let path = env.on_box("ls -d /nix/store/*-show-version-2.0");
    env.on_box(&format!(
        "sudo chmod u+w {path}/bin/show-version; echo '# x' | sudo tee -a {path}/bin/show-version"
    ));

    let found = env.devbox(["store", "check"]).code(7);
    assert!(found.stdout.contains(&format!("{path}: modified")), "{}", found.stdout);
    found.says(&["1 store path of `versioned` is damaged", "hint: `devbox store check --repair`"]);
    assert_eq!(store_status(&env)["last-check"]["damaged"], 1);
    let json = env.devbox(["store", "check", "--json"]).code(7).json();
    assert_eq!(
        (&json["whole"], &json["check"]["damaged"][0]["path"]),
        (&false.into(), &path.as_str().into())
    );

    // No cache has it: it goes, with the environment that needs it, and nothing else does.
    let repaired = env.devbox(["store", "check", "--repair"]).ok();
    assert!(repaired.stdout.contains("lost with it  versioned 2"), "{}", repaired.stdout);
    repaired.says(&["hint: `devbox up versioned` brings what was thrown away"]);
    env.devbox(["store", "check"]).ok();
    env.devbox(["rollback", "1"]).ok();
    assert_eq!(shown_version(&env), "1.0");
    env.devbox(["rollback", "2"]).code(7).says(&["generation 2", "is not whole any more", "hint:"]);
    let again = env.devbox(["up", "--json"]).ok().result();
    assert_eq!(again["fingerprint"], first["fingerprint"]);
    assert!(again["copied-paths"].as_u64().unwrap() < again["paths"].as_u64().unwrap(), "{again}");
    assert_eq!(shown_version(&env), "2.0");
    env.devbox(["down"]).ok();
}

/// What e2fsck can't repair by itself stops the mount, leaves the image byte for byte as it is, and names the
/// choices. Asked to, it is copied, repaired, and what is left of it works.
#[test]
fn an_image_that_can_not_be_mounted() {
    let mut env = TestEnv::new("versioned");
    env.set("DEVBOX_VOLUME_STORE_SIZE", "512MiB");
    up(&env, "1.0");
    env.devbox(["store", "snapshot", "good"]).ok();
    env.devbox(["down"]).ok();
    damage(&env.image());
    let sum = || host("sha256sum", &[env.image().to_str().unwrap()]);
    let before = sum();

    env.devbox(["up"]).code(7).says(&[
        "damaged beyond what is repaired unasked",
        "it was not touched",
        "hint: `devbox store check`",
        "`devbox store restore` goes back to a snapshot",
    ]);
    assert_eq!(sum(), before);
    let status = store_status(&env);
    assert_eq!(status["mounted"], false);
    assert!(status["why-not"].as_str().unwrap().contains("damaged beyond"), "{status}");
    let found = env.devbox(["store", "check"]).code(7);
    assert!(found.stdout.contains("e2fsck  the filesystem is damaged"), "{}", found.stdout);
    found.says(&["it was not touched", "hint: `devbox store check --repair`", "hint: `devbox store list`"]);
    assert_eq!(sum(), before);
    env.devbox(["store", "gc"]).code(7).says(&["is not mounted"]);

    // Back to the snapshot; the damaged image is one too.
    let restored = env.devbox(["store", "restore", "good", "-y", "--json"]).ok().json();
    assert_eq!(shown_version(&env), "1.0");
    let kept = restored["restore"]["kept"].as_str().unwrap().to_owned();
    let kept_sum = host("sha256sum", &[snapshot_file(&env, &kept).to_str().unwrap()]);
    assert_eq!(kept_sum.split(' ').next(), before.split(' ').next());
    env.devbox(["down"]).ok();

    // Or repaired, which copies it first.
    damage(&env.image());
    let before = sum();
    env.devbox(["up"]).code(7);
    let repaired = env.devbox(["store", "check", "--repair", "--json"]).ok().json();
    let copied = repaired["check"]["kept"].as_str().unwrap().to_owned();
    assert!(copied.starts_with("before-repair-"), "{repaired}");
    let copied_sum = host("sha256sum", &[snapshot_file(&env, &copied).to_str().unwrap()]);
    assert_eq!(copied_sum.split(' ').next(), before.split(' ').next());
    assert_eq!(store_status(&env)["mounted"], true);
    env.devbox(["up"]).ok();
    assert_eq!(shown_version(&env), "1.0");
    env.devbox(["store", "check"]).ok();
    assert_eq!(snapshots(&env), ["good", &kept, &copied]);
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}

/// An image that lost its end, and one that lost its beginning.
#[test]
fn half_an_image_is_repaired_when_asked() {
    let env = TestEnv::new("versioned");
    up(&env, "1.0");
    env.devbox(["store", "grow", "100GiB"]).ok();
    env.devbox(["down"]).ok();
    let file = fs::File::options().write(true).open(env.image()).unwrap();
    file.set_len(60 << 30).unwrap();
    env.devbox(["up"]).code(7).says(&["is truncated", "hint: `devbox store check`"]);
    env.devbox(["store", "check"]).code(7);
    assert_eq!(fs::metadata(env.image()).unwrap().len(), 60 << 30);
    env.devbox(["store", "check", "--repair"]).ok();
    env.devbox(["up"]).ok();
    assert_eq!(shown_version(&env), "1.0");
    env.devbox(["down"]).ok();

    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 4096], 0).unwrap();
    let image = fs::File::options().write(true).open(env.image()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&image, &[0; 4096], 0).unwrap();
    env.devbox(["up"]).code(7).says(&["is no ext4 filesystem"]);
    env.devbox(["store", "check", "--repair"]).ok();
    env.devbox(["up"]).ok();
    assert_eq!(shown_version(&env), "1.0");
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}
