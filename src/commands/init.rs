//! `devbox init`: what a project needs.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::cli::Init;
use crate::commands::Context;
use crate::config::project::{FILE, Project};
use crate::error::{Error, Kind, OrFail, Result, tick};
use crate::events::Level;
use crate::names::{self, ProjectName};
use crate::process::shell_quote;
use crate::templates::{self, TEMPLATES};

/// The line of the templates' `devbox.toml` that names the project. Until somebody does, its folder does.
const UNNAMED: &str = "#name = \"hello\"\n";

/// A file that the project is to have.
#[derive(Debug)]
struct Wanted {
    path: PathBuf,
    text: String,
    /// What is there.
    found: Option<Vec<u8>>,
}

/// Runs `devbox init`.
///
/// # Errors
/// [`Kind::Usage`] when there is no such template, a file is in the way, or the project can't be called that; nothing
/// was written then. [`Kind::Failed`] when a file can't be read or written.
pub fn run(cx: &Context, args: &Init) -> Result<()> {
    let template = args.template.as_deref().map_or(Ok(&TEMPLATES[0]), templates::find)?;
    // With a template the folder becomes a project of its own, as with `nix flake init`.
    let project = if args.template.is_some() { None } else { Project::find(&cx.dir).ok() };
    let root = project.as_ref().map_or(cx.dir.as_path(), |project| project.root.as_path());
    let name = named(root, args)?;
    let wanted = template
        .files
        .iter()
        // Whoever has a flake lacks the configuration alone.
        .filter(|(file, _)| project.is_none() || *file == FILE)
        .map(|(file, text)| {
            let path = root.join(file);
            let found = read(&path)?;
            Ok(Wanted { path, text: with_name(text, name.as_ref()), found })
        })
        .collect::<Result<Vec<_>>>()?;
    refuse(&wanted, project.is_some(), args.template.as_deref())?;

    for file in &wanted {
        if file.found.is_some() {
            cx.ui.events.info(format!("{} is there already", tick(&file.path)));
        } else {
            write_new(file)?;
            cx.ui.events.info(format!("wrote {}", tick(&file.path)));
        }
    }
    cx.ui.events.info(template.next.trim_end());
    if root.ancestors().any(|folder| folder.join(".git").exists()) {
        let here = std::env::current_dir().or_fail(|| "can't tell the current folder".into())?;
        cx.ui.events.note(Level::Hint, render_git_hint(root, &here, &wanted));
    }
    Ok(())
}

/// The name that was asked for. Without one the folder must give it.
fn named(root: &Path, args: &Init) -> Result<Option<ProjectName>> {
    if let Some(name) = &args.name {
        return name.parse().map(Some);
    }
    let folder = root.file_name().and_then(|n| names::sanitize(&n.to_string_lossy()));
    match folder {
        Some(_) => Ok(None),
        None => Err(Error::new(Kind::Usage, format!("{} gives the project no name", tick(root)))
            .hint("`devbox init --name NAME`")),
    }
}

/// A template's text for a project of that name. Pure.
fn with_name(text: &str, name: Option<&ProjectName>) -> String {
    name.map_or_else(|| text.to_owned(), |name| text.replacen(UNNAMED, &format!("name = \"{name}\"\n"), 1))
}

/// Refuses when a file is there that says something else: nothing is overwritten, and half a template is none. Pure.
fn refuse(wanted: &[Wanted], has_flake: bool, template: Option<&str>) -> Result<()> {
    let other = |file: &&Wanted| file.found.as_ref().is_some_and(|found| found != file.text.as_bytes());
    let in_the_way: Vec<&Path> = wanted.iter().filter(other).map(|file| file.path.as_path()).collect();
    let Some(first) = in_the_way.first() else { return Ok(()) };
    let names: Vec<_> = in_the_way.iter().map(tick).collect();
    let verb = if names.len() == 1 { "exists" } else { "exist" };
    let error = Error::new(Kind::Usage, format!("{} {verb} already", names.join(" and ")));
    if has_flake {
        return Err(error.hint("edit it; `devbox config` shows what it comes to"));
    }
    let error = error.detail("nothing was written");
    let lacks_the_configuration = wanted.iter().any(|file| file.path.ends_with(FILE) && file.found.is_none());
    let error = if first.ends_with("flake.nix") && lacks_the_configuration {
        error.hint(format!(
            "without `--template`, `devbox init` writes `{FILE}` beside the flake that is there"
        ))
    } else {
        error
    };
    let again = template.map_or_else(String::new, |name| format!(" --template {name}"));
    Err(error.hint(format!(
        "move away what is in the way, or take an empty folder: `devbox -C FOLDER init{again}`"
    )))
}

/// What is in a file, if there is one.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).or_fail(|| format!("can't read {}", tick(path))),
    }
}

/// Writes a file that must not be there yet.
fn write_new(file: &Wanted) -> Result<()> {
    use std::io::Write;
    let what = || format!("can't write {}", tick(&file.path));
    let mut new = std::fs::File::options().write(true).create_new(true).open(&file.path).or_fail(what)?;
    new.write_all(file.text.as_bytes()).or_fail(what)
}

/// In a git repository Nix sees a file only once git knows it. Pure.
fn render_git_hint(root: &Path, here: &Path, wanted: &[Wanted]) -> String {
    let place =
        if root == here { String::new() } else { format!(" -C {}", shell_quote(&root.to_string_lossy())) };
    let names: Vec<_> =
        wanted.iter().filter_map(|f| f.path.file_name()).map(|n| n.to_string_lossy()).collect();
    format!(
        "in a git repository Nix sees only what git knows: `git{place} add {}`",
        if names.len() == 1 { format!("flake.nix {}", names[0]) } else { names.join(" ") }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(files: &[(&str, Option<&str>)]) -> Vec<Wanted> {
        files
            .iter()
            .map(|(name, found)| Wanted {
                path: Path::new("/p").join(name),
                text: "new".into(),
                found: found.map(|text| text.as_bytes().to_vec()),
            })
            .collect()
    }

    #[test]
    fn what_is_there_is_kept_and_what_differs_is_in_the_way() {
        let check = |files: &[_], has_flake| refuse(&wanted(files), has_flake, Some("minimal"));
        check(&[("flake.nix", None), ("devbox.toml", None)], false).unwrap();
        check(&[("flake.nix", Some("new")), ("devbox.toml", None)], false).unwrap();

        let error = check(&[("flake.nix", Some("mine")), ("devbox.toml", None)], false).unwrap_err();
        assert_eq!((error.message(), error.kind()), ("`/p/flake.nix` exists already", Kind::Usage));
        assert!(error.hints()[0].contains("without `--template`"), "{:?}", error.hints());

        let both = [("flake.nix", Some("mine")), ("devbox.toml", Some("mine"))];
        let error = check(&both, false).unwrap_err();
        assert_eq!(error.message(), "`/p/flake.nix` and `/p/devbox.toml` exist already");
        assert!(error.hints()[0].contains("init --template minimal`"), "{:?}", error.hints());

        let error = check(&[("devbox.toml", Some("mine"))], true).unwrap_err();
        assert!(error.hints()[0].contains("devbox config"), "{:?}", error.hints());
    }

    #[test]
    fn a_name_takes_the_place_of_the_example() {
        let name = "mine".parse().unwrap();
        for template in &TEMPLATES {
            for (file, text) in template.files {
                let named = with_name(text, Some(&name));
                assert_eq!(named.contains("\nname = \"mine\"\n"), *file == FILE, "{} {file}", template.name);
                assert_eq!(named.lines().count(), text.lines().count());
                assert_eq!(with_name(text, None), *text);
            }
        }
    }

    #[test]
    fn git_is_told_where_the_files_are() {
        let files = wanted(&[("flake.nix", None), ("devbox.toml", None)]);
        let hint = |here: &str| render_git_hint(Path::new("/p"), Path::new(here), &files);
        assert!(hint("/p").ends_with("`git add flake.nix devbox.toml`"), "{}", hint("/p"));
        assert!(hint("/q").ends_with("`git -C /p add flake.nix devbox.toml`"), "{}", hint("/q"));
    }
}
