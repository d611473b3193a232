//! A build that is not the same twice: the store paths of the lock, and other bytes. Those of the lock are taken from where
//! they still are, and what is not identical is never called so.

use std::fs;

use crate::support::{TestEnv, host};

/// A project with one store path whose bytes are other ones whenever it is built.
fn project() -> TestEnv {
    let env = TestEnv::new("hello");
    let packages = fs::read_to_string(env.project("packages.nix")).unwrap();
    let random = packages.replacen(
        "mkdir -p \"$out/share\"",
        "mkdir -p \"$out/share\"; head -c 64 /dev/urandom >\"$out/share/seed\"",
        1,
    );
    assert_ne!(random, packages);
    fs::write(env.project("packages.nix"), random).unwrap();
    // Of this test alone, so that it can be thrown away.
    fs::write(env.project("greeting.txt"), format!("{:?}\n", std::time::SystemTime::now())).unwrap();
    env
}

/// Throws away what was built on this machine, so that the next `up` builds it again.
fn forget(env: &TestEnv, path: &str) {
    fs::remove_dir_all(env.path("home/.local/state/devbox/roots")).unwrap();
    let all = host("nix-store", &["--query", "--referrers-closure", path]);
    let mut delete = vec!["--delete"];
    delete.extend(all.lines());
    host("nix-store", &delete);
}

/// The store path of a package, by the lock.
fn path_of(env: &TestEnv, package: &str) -> String {
    let lock = fs::read_to_string(env.project("devbox.lock")).unwrap();
    let section = lock.split(&format!(".packages.{package}]")).nth(1).unwrap();
    section.split('"').nth(1).unwrap().to_owned()
}

#[test]
fn those_of_the_lock_are_taken_from_volume_or_cache() {
    let mut env = project();
    let first = env.devbox(["up", "-y", "--json"]).ok().result();
    let greeting = path_of(&env, "greeting");
    // A cache on a volume of its own, for later.
    let cached = env.volume().parent().unwrap().join("cached");
    fs::create_dir_all(&cached).unwrap();
    let at = |name: &str| env.path(name).to_str().unwrap().to_owned();
    host("nix-store", &["--generate-binary-cache-key", "cache-1", &at("secret"), &at("public")]);
    let cache = format!("file://{}/cache?secret-key={}", cached.display(), at("secret"));
    host("nix", &["--extra-experimental-features", "nix-command", "copy", "--to", &cache, &greeting]);
    env.devbox(["down"]).ok();

    // The volume has them.
    forget(&env, &greeting);
    let again = env.devbox(["up", "-y", "--locked"]).ok();
    again.says(&["with other bytes than `devbox.lock` names (greeting)", "1 from the volume"]);
    let result = env.devbox(["up", "--json"]).ok();
    assert_eq!(result.result()["fingerprint"], first["fingerprint"]);
    env.devbox(["verify", "--deep"]).ok();
    env.devbox(["down"]).ok();

    // A volume that never had it: nobody has the bytes, and nothing is made current.
    fs::create_dir_all(env.volume().parent().unwrap().join("fresh")).unwrap();
    env.set("DEVBOX_VOLUME_NAME", "fresh");
    let none = env.devbox(["up", "-y"]).code(6);
    none.says(&["other bytes", &greeting, "hint: `devbox lock --update`", "is still running"]);
    env.devbox(["verify"]).code(6);
    env.devbox(["down", "--force"]).ok();

    // A cache has them.
    env.set("DEVBOX_VOLUME_NAME", "cached");
    env.set("DEVBOX_CACHES_SUBSTITUTERS", "file:///lambda/nfs/cached/cache");
    let key = fs::read_to_string(env.path("public")).unwrap();
    env.set("DEVBOX_CACHES_TRUSTED_PUBLIC_KEYS", key.trim());
    let from = env.devbox(["up", "-y"]).ok();
    from.says(&["1 from file:///lambda/nfs/cached/cache"]);
    env.devbox(["verify", "--deep"]).ok();
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}
