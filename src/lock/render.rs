//! A lock as its file has it.

use crate::lock::{Package, Section, VERSION};
use crate::names::System;

/// The file before its first section.
pub(super) fn header() -> String {
    format!(
        "# The exact environment of this project, a section for each system. devbox writes it, and holds\n\
         # against it what is built and what a box has. Keep it in version control; only\n\
         # `devbox lock --update` changes it. The fingerprint is the SHA-256 of the sorted lines\n\
         # `STORE-PATH sha256:NAR-HASH NAR-SIZE` of all that the dev shell refers to.\n\
         version = {VERSION}\n"
    )
}

/// The text of a section, its header first.
pub(super) fn render_section(system: System, section: &Section) -> String {
    let mut text = format!("[{system}]\n");
    let mut set = |key: &str, value: &str| text.push_str(&format!("{key} = {}\n", quoted(value)));
    set("shell", &section.shell);
    if let Some(hash) = &section.flake_lock {
        set("flake-lock", hash);
    }
    set("derivation", &section.derivation);
    set("output", &section.output);
    set("output-from", &section.output_from);
    if let Some(nix) = &section.nix {
        set("nix", nix);
    }
    set("fingerprint", &section.fingerprint.0);
    text.push_str(&format!("size = {}\npaths = {}\n", section.size, section.paths));
    for (name, package) in &section.packages {
        text.push_str(&render_package(system, name, package));
    }
    text
}

fn render_package(system: System, name: &str, package: &Package) -> String {
    let version = package.version.iter().map(|v| format!("version = {}\n", quoted(v)));
    format!(
        "\n[{system}.packages.{}]\n{}path = {}\nnar-hash = {}\nsize = {}\n",
        key(name),
        version.collect::<String>(),
        quoted(&package.path),
        quoted(&format!("sha256:{}", package.nar_hash)),
        package.size
    )
}

/// A key, bare where TOML lets it.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if bare { name.to_owned() } else { quoted(name) }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
