//! `devbox init`: what a project needs.

use crate::cli::Init;
use crate::commands::Context;
use crate::config::project::Project;
use crate::config::reference::render_template;
use crate::error::{Error, Kind, OrFail, Result, tick};
use crate::events::Level;
use crate::names::{self, ProjectName};

/// The flake of a project that has none.
const FLAKE: &str = include_str!("../../nix/templates/minimal/flake.nix");

/// Runs `devbox init`.
///
/// # Errors
/// [`Kind::Usage`] when the project has a `devbox.toml`, or its name can't be one.
pub fn run(cx: &Context, args: &Init) -> Result<()> {
    let found = Project::find(&cx.dir).ok();
    let root = found.as_ref().map_or(cx.dir.as_path(), |p| p.root.as_path());
    let file = root.join("devbox.toml");
    if file.exists() {
        return Err(Error::new(Kind::Usage, format!("{} exists already", tick(&file)))
            .hint("edit it; `devbox config` shows what it comes to"));
    }
    let name: ProjectName = match &args.name {
        Some(name) => name.parse()?,
        None => root
            .file_name()
            .and_then(|n| names::sanitize(&n.to_string_lossy()))
            .ok_or_else(|| {
                Error::new(Kind::Usage, format!("{} gives the project no name", tick(root)))
                    .hint("`devbox init --name NAME`")
            })?
            .parse()?,
    };
    if found.is_none() {
        write_new(&root.join("flake.nix"), FLAKE)?;
        cx.ui
            .events
            .info(format!("wrote {}: a dev shell with git and python3", tick(root.join("flake.nix"))));
    }
    write_new(&file, &render_template(&name))?;
    cx.ui.events.info(format!("wrote {}", tick(&file)));
    if root.join(".git").exists() {
        cx.ui.events.note(Level::Hint, "Nix sees what git knows: `git add flake.nix devbox.toml`");
    }
    cx.ui.events.note(Level::Hint, "`devbox up` brings up a box with it, `devbox up --dry-run` says how");
    Ok(())
}

/// Writes a file that must not be there yet.
fn write_new(file: &std::path::Path, text: &str) -> Result<()> {
    use std::io::Write;
    let what = || format!("can't write {}", tick(file));
    let mut new = std::fs::File::options().write(true).create_new(true).open(file).or_fail(what)?;
    new.write_all(text.as_bytes()).or_fail(what)
}
