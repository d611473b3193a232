//! The argument lists of every Nix command we run. Pure.

use std::path::Path;
use std::time::Duration;

use crate::names::System;
use crate::nix::version::Version;
use crate::process::Cmd;

/// Evaluating and building may take hours; what is bounded is our patience with a silent machine
/// elsewhere, not the user's compiler.
const BUILD: Duration = Duration::from_secs(24 * 3600);

fn nix() -> Cmd {
    // Passed on each call, so that nobody has to edit nix.conf first.
    Cmd::new("nix").args(["--extra-experimental-features", "nix-command flakes"])
}

/// The dev shell that `shell` names, for a system: `.#default` becomes
/// `.#devShells.x86_64-linux.default`, as `nix develop` would look it up. Names that spell the
/// output out (`.#devShells.…`, `.#packages.…`) stay as they are.
pub fn installable(shell: &str, outputs: &str, system: System) -> String {
    let (flake, attribute) = shell.split_once('#').unwrap_or((shell, ""));
    let flake = if flake.is_empty() { "." } else { flake };
    let attribute = if attribute.is_empty() { "default" } else { attribute };
    let spelled_out =
        ["devShells.", "packages.", "legacyPackages.", "devShell."].iter().any(|o| attribute.starts_with(o));
    if spelled_out {
        format!("{flake}#{attribute}")
    } else {
        format!("{flake}#{outputs}.{system}.{attribute}")
    }
}

/// Evaluates a derivation and builds nothing; prints its path.
pub fn argv_evaluate(root: &Path, installable: &str) -> Cmd {
    nix()
        .args(["eval", "--log-format", "internal-json", "--raw"])
        .arg(format!("{installable}.drvPath"))
        .dir(root)
        .deadline(BUILD)
}

/// Evaluates and realises a dev shell; the script that enters it comes on standard output, its
/// `…-env` becomes `profile`, which keeps it from the garbage collector.
pub fn argv_print_dev_env(root: &Path, installable: &str, profile: &Path) -> Cmd {
    nix()
        .args(["print-dev-env", "--log-format", "internal-json", "--profile"])
        .arg(profile)
        .arg(installable)
        .dir(root)
        .deadline(BUILD)
}

/// Prints the script that enters an environment: that of a `…-env` path which is there.
pub fn argv_print_made_env(output: &str) -> Cmd {
    nix().args(["print-dev-env", output]).deadline(Duration::from_secs(60))
}

/// Builds a package; `link` becomes a link to its output and a GC root.
pub fn argv_build(root: &Path, installable: &str, link: &Path) -> Cmd {
    nix()
        .args(["build", "--log-format", "internal-json", "--out-link"])
        .arg(link)
        .arg(installable)
        .dir(root)
        .deadline(BUILD)
}

/// The same command of Nix, evaluating all anew.
pub fn without_eval_cache(cmd: Cmd) -> Cmd {
    cmd.args(["--option", "eval-cache", "false"])
}

/// Prints what Nix knows of a flake, as JSON.
pub fn argv_metadata(root: &Path, flake: &str) -> Cmd {
    nix().args(["flake", "metadata", "--json"]).arg(flake).dir(root).deadline(Duration::from_secs(60))
}

/// Prints Nix's settings as JSON; the command has had its new name since 2.20.
pub fn argv_settings(version: Version) -> Cmd {
    let words: &[&str] =
        if version < (Version { major: 2, minor: 20 }) { &["show-config"] } else { &["config", "show"] };
    nix().args(words).arg("--json")
}

/// Copies a derivation, and all that building it takes but what others build, to a guest that ssh knows as `host`. All of
/// it is addressed by its contents, or comes on the word of a trusted user.
pub fn argv_copy_derivation(host: &str, ssh_config: &Path, derivation: &str) -> Cmd {
    argv_copy(host, ssh_config, false, &[derivation.to_owned()]).arg("--derivation")
}

/// Copies a store path, and all it refers to, from a guest that ssh knows as `host`, on the guest's word.
pub fn argv_fetch(host: &str, ssh_config: &Path, path: &str) -> Cmd {
    nix()
        .args(["copy", "--log-format", "internal-json", "--no-check-sigs", "--from"])
        .arg(format!("ssh-ng://{host}"))
        .arg(path)
        .env("NIX_SSHOPTS", format!("-F {}", ssh_config.display()))
        .deadline(BUILD)
}

/// Makes `link` a link to a store path, and a GC root.
pub fn argv_root(path: &str, link: &Path) -> Cmd {
    Cmd::new("nix-store").args(["--realise", "--add-root"]).arg(link).args(["--indirect", path])
}

/// Prints the closure of store paths, one path a line.
pub fn argv_requisites(paths: &[String]) -> Cmd {
    Cmd::new("nix-store").args(["--query", "--requisites"]).args(paths)
}

/// Prints those of the store paths that are not in the store.
pub fn argv_invalid(paths: &[String]) -> Cmd {
    Cmd::new("nix-store").args(["--check-validity", "--print-invalid"]).args(paths)
}

/// Prints the registrations of store paths.
pub fn argv_dump_db(paths: &[String]) -> Cmd {
    Cmd::new("nix-store").arg("--dump-db").args(paths)
}

/// Signs store paths with a key of ours.
pub fn argv_sign(key: &Path, paths: &[String]) -> Cmd {
    nix().args(["store", "sign", "--key-file"]).arg(key).args(paths).deadline(Duration::from_secs(3600))
}

/// Copies store paths, and all they refer to, to a guest that ssh knows as `host`.
pub fn argv_copy(host: &str, ssh_config: &Path, check_signatures: bool, paths: &[String]) -> Cmd {
    let mut cmd =
        nix().args(["copy", "--log-format", "internal-json", "--to"]).arg(format!("ssh-ng://{host}"));
    if !check_signatures {
        cmd = cmd.arg("--no-check-sigs");
    }
    cmd.args(paths).env("NIX_SSHOPTS", format!("-F {}", ssh_config.display())).deadline(BUILD)
}

/// Makes a pair of keys to sign store paths with.
pub fn argv_generate_key(name: &str, secret: &Path, public: &Path) -> Cmd {
    Cmd::new("nix-store").args(["--generate-binary-cache-key", name]).arg(secret).arg(public)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_are_looked_up_as_nix_develop_would() {
        let cases = [
            (".#default", ".#devShells.x86_64-linux.default"),
            (".", ".#devShells.x86_64-linux.default"),
            ("", ".#devShells.x86_64-linux.default"),
            ("#train", ".#devShells.x86_64-linux.train"),
            ("path:.#default", "path:.#devShells.x86_64-linux.default"),
            (".#devShells.aarch64-linux.x", ".#devShells.aarch64-linux.x"),
            ("github:a/b#c", "github:a/b#devShells.x86_64-linux.c"),
        ];
        for (shell, expected) in cases {
            assert_eq!(installable(shell, "devShells", System::X86_64Linux), expected);
        }
    }

    #[test]
    fn a_copy_goes_through_our_ssh_configuration() {
        let cmd = argv_copy("hello", Path::new("/run/x/hello.conf"), true, &["/nix/store/a".into()]);
        assert_eq!(
            cmd.argv()[1..],
            [
                "--extra-experimental-features",
                "nix-command flakes",
                "copy",
                "--log-format",
                "internal-json",
                "--to",
                "ssh-ng://hello",
                "/nix/store/a"
            ]
        );
    }
}
