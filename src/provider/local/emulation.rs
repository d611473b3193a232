//! Boxes of another architecture than this machine's, emulated by qemu-user.

use std::path::Path;

use crate::names::System;

use super::preflight::{Missing, tool};

/// Where the kernel says what runs programs that are not its own.
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// What qemu and its packages call the machine.
fn machine(system: System) -> &'static str {
    match system {
        System::X86_64Linux => "x86_64",
        System::Aarch64Linux => "aarch64",
    }
}

/// All that this machine lacks to emulate `system`; with `make`, also to make its root filesystem.
pub(super) fn missing(system: System, make: bool) -> Vec<Missing> {
    let machine = machine(system);
    let mut missing = Vec::new();
    let qemu = format!("qemu-{machine}-static");
    if tool((&qemu, "qemu-user-static", "runs the box's programs")).is_some() {
        missing.push(Missing {
            what: format!("`{qemu}`"),
            why: "runs the box's programs",
            fix: "apt-get install qemu-user-static".into(),
        });
        // The entry comes with it.
        return missing;
    }
    if make {
        missing.extend(tool(("arch-test", "arch-test", "is how mmdebstrap knows that they run")));
    }
    let entry = Path::new(BINFMT).join(format!("qemu-{machine}"));
    let says = std::fs::read_to_string(&entry).unwrap_or_default();
    let why = "hands the box's programs to qemu, `sudo` as root";
    if !Path::new(BINFMT).join("register").exists() {
        missing.push(Missing {
            what: format!("`{BINFMT}`"),
            why,
            fix: format!("mount -t binfmt_misc binfmt_misc {BINFMT}"),
        });
    }
    if !is_fit(&says) {
        let remove = if says.is_empty() { String::new() } else { format!("echo -1 > {}; ", entry.display()) };
        missing.push(Missing {
            what: format!("`{}` with the flags O, C and F", entry.display()),
            why,
            fix: format!(
                "{remove}sed 's/[A-Z]*$/OCPF/' /usr/lib/binfmt.d/qemu-{machine}.conf > {BINFMT}/register"
            ),
        });
    }
    missing
}

/// Whether an entry is in use, opens its interpreter at once (so that it works in the box), and keeps the rights of
/// setuid programs. Pure.
fn is_fit(entry: &str) -> bool {
    let flags = entry.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default();
    entry.lines().any(|line| line == "enabled") && ['O', 'C', 'F'].iter().all(|flag| flags.contains(*flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_needs_its_flags() {
        let entry = |first: &str, flags: &str| {
            format!("{first}\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\n{flags}\noffset 0\n")
        };
        assert!(is_fit(&entry("enabled", "flags: POCF")));
        assert!(is_fit(&entry("enabled", "flags: OCF")));
        // As Debian registers it: `sudo` would be no one's.
        assert!(!is_fit(&entry("enabled", "flags: POF")));
        assert!(!is_fit(&entry("disabled", "flags: OCF")));
        assert!(!is_fit(""));
    }
}
