//! What people read about the keys: the reference, and the file that `devbox init` writes.

use std::fmt::Write as _;

use crate::config::keys::{Fallback, KEYS, Key, PRESET_KEYS, Scope, Shape, find};
use crate::config::presets::built_in_names;

/// The reference of every key, as Markdown.
pub fn render_reference() -> String {
    let mut out = String::new();
    let mut table = None;
    for key in KEYS {
        if table != Some(key.table()) {
            table = Some(key.table());
            out.push_str(&match key.table() {
                "" => "### At the top of the file\n\n".to_owned(),
                table => format!("\n### `[{table}]`\n\n"),
            });
        }
        out.push_str(&entry(key));
    }
    let built_in: Vec<_> = built_in_names().map(|name| format!("`{name}`")).collect();
    put(&mut out, format_args!("\n### `[presets.NAME]`\n"));
    put(
        &mut out,
        format_args!(
            "Which machines would do, for `box.preset`. devbox comes with {}; like any other, each can be changed key by \
             key: in a file, or with `--set presets.gh200.regions=us-east-3`. What a preset does not set comes from the \
             one that it extends.\n",
            built_in.join(", ")
        ),
    );
    PRESET_KEYS.iter().for_each(|key| out.push_str(&entry(key)));
    out
}

/// One key as an item of a list.
fn entry(key: &Key) -> String {
    let takes = match key.shape {
        Shape::OneOf(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Shape::Size(min, max) => format!("{}, `{min}` to `{max}`", key.shape),
        Shape::Count(min, max) => format!("{}, {min} to {max}", key.shape),
        Shape::Duration(min, max) => format!("{}, `{min}` to `{max}`", key.shape),
        other => other.to_string(),
    };
    let default = match key.fallback {
        Fallback::Text(text) => format!("`{text}`"),
        Fallback::Found(words) => words.to_owned(),
    };
    let personal = match key.scope {
        Scope::Anyone => "",
        Scope::Personal => " Personal: not in a project's `devbox.toml`.",
    };
    // A preset's keys have no variable: its name would have to be part of it.
    let variable = if find(key.path).is_some() { format!("; `{}`", key.variable()) } else { String::new() };
    format!("- **`{}`** ({takes}; default: {default}{variable}). {}{personal}\n", key.leaf(), key.doc)
}

/// The `devbox.toml` of `nix/templates/minimal`, which `devbox init` writes: what a project is likely to set, the
/// defaults as comments.
pub fn render_template() -> String {
    let mut out = String::from(
        "# What this project needs from its box. A line behind `#` shows the default, or an example.\n\n",
    );
    let mut table = "";
    for path in [
        "name",
        "environment.shell",
        "box.preset",
        "volume.name",
        "volume.store-size",
        "caches.substituters",
        "caches.trusted-public-keys",
    ] {
        let Some(key) = find(path) else { continue };
        if key.table() != table {
            table = key.table();
            put(&mut out, format_args!("\n[{table}]"));
        }
        put(&mut out, format_args!("# {}", key.doc));
        put(&mut out, format_args!("#{}", key.sample()));
    }
    out
}

fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string can't fail.
    crate::error::ignore(writeln!(out, "{line}"));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::layer::{Trust, parse_file};

    #[test]
    fn the_reference() {
        insta::assert_snapshot!(render_reference());
    }

    #[test]
    fn the_template() {
        let text = render_template();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("nix/templates/minimal/devbox.toml");
        if crate::env::get("UPDATE_README").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        let written = std::fs::read_to_string(&file).unwrap();
        assert!(written == text, "{} is stale: UPDATE_README=1 cargo test the_template", file.display());
        let path = Path::new("devbox.toml");
        let layer = parse_file(&text, path, Trust::Project).unwrap();
        assert!(layer.get("name").is_none());
        // What it shows as default is the default, and stands where it belongs.
        let all: String = text
            .lines()
            .map(|line| {
                line.strip_prefix('#').filter(|l| !l.starts_with(' ')).unwrap_or(line).to_owned() + "\n"
            })
            .collect();
        let layer = parse_file(&all, path, Trust::Project).unwrap();
        for key in KEYS {
            if let (Some((value, _)), Fallback::Text(text)) = (layer.get(key.path), key.fallback) {
                assert_eq!(value.to_string(), text, "{}", key.path);
            }
        }
        assert!(layer.get("caches.trusted-public-keys").is_some());
    }

    #[test]
    fn every_example_is_valid() {
        for key in KEYS {
            let table = if key.table().is_empty() { String::new() } else { format!("[{}]\n", key.table()) };
            let text = format!("{table}{}\n", key.sample());
            parse_file(&text, Path::new("x"), Trust::Personal)
                .unwrap_or_else(|e| panic!("{}: {e}", key.path));
        }
        for key in PRESET_KEYS {
            let text = format!("[presets.x]\n{}\n", key.sample());
            parse_file(&text, Path::new("x"), Trust::Project).unwrap_or_else(|e| panic!("{}: {e}", key.path));
        }
    }
}
