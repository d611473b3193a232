//! `devbox diff`: what is different between two environments.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::Diff as Args;
use crate::commands::Context;
use crate::commands::lock::{files, which_system};
use crate::commands::ssh::connect;
use crate::config::Config;
use crate::error::{Error, Kind, Result, tick};
use crate::events::Phase;
use crate::guest::verify::{Remembered, listed};
use crate::journal::Entry;
use crate::lock::diff::{Diff, Side, render_diff};
use crate::lock::{FILE, side_of_outlook};
use crate::names::System;
use crate::nix::environment::{self, evaluate};
use crate::nix::graph::{Outlook, outlook};
use crate::nix::missing::{Missing, missing};
use crate::nix::{self, Fingerprint};

/// What a word on the command line means.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Which {
    /// What the project evaluates to now.
    Flake,
    /// A lock file; without a path, that of the project.
    Lock(Option<String>),
    /// A generation on the box.
    Generation(u64),
}

fn parse_which(word: &str) -> Which {
    match word {
        "flake" => Which::Flake,
        "lock" => Which::Lock(None),
        number => number.parse().map_or_else(|_| Which::Lock(Some(word.to_owned())), Which::Generation),
    }
}

/// An environment to compare.
#[derive(Clone, Debug)]
struct Environment {
    /// In a word or two.
    label: String,
    derivation: Option<String>,
    fingerprint: Option<Fingerprint>,
    /// What there is to say of it; may be empty.
    note: String,
    side: Side,
}

/// Runs `devbox diff`.
///
/// # Errors
/// [`Kind::Usage`] when there is no such file, section or generation; [`Kind::Environment`]; [`Kind::Guest`] when a
/// generation is meant and the box can't be reached.
pub async fn run(cx: &Context, args: &Args) -> Result<()> {
    let (from, to) = (parse_which(&args.from), parse_which(&args.to));
    let config = cx.resolved()?.config;
    let on_box = [&from, &to].into_iter().any(|which| matches!(which, Which::Generation(_)));
    let entry = on_box.then(|| cx.chosen(args.name.as_deref())).transpose()?;
    let system = match (&entry, args.system) {
        (Some(entry), Some(system)) if entry.system != system => {
            let what = format!("`{}` is a box for {}, not for {system}", entry.name, entry.system);
            return Err(Error::new(Kind::Usage, what).hint("leave `--system` out"));
        }
        (Some(entry), _) => entry.system,
        (None, named) => {
            let lock = match cx.project() {
                Ok((project, _)) => files::read(&project.root)?,
                Err(_) => None,
            };
            which_system(&config, lock.as_ref(), named)?
        }
    };
    let asked = Asked { cx, config: &config, entry: entry.as_ref(), system };
    // What is not built yet is told by what it is compared with.
    let (one, other) = match (&from, &to) {
        (Which::Flake, _) => {
            let to = asked.find(&to, None).await?;
            (asked.find(&from, Some(&to.side)).await?, to)
        }
        _ => {
            let from = asked.find(&from, None).await?;
            let to = asked.find(&to, Some(&from.side)).await?;
            (from, to)
        }
    };
    let diff = Diff::new(&one.side, &other.side);
    if cx.ui.is_json() {
        cx.ui.document(&document(system, &one, &other, &diff));
    } else {
        let lines = render(&one, &other, &diff, cx.ui.columns());
        cx.ui.data(&format!("{}\n", lines.join("\n")));
    }
    Ok(())
}

/// All that is needed to find what is meant.
struct Asked<'a> {
    cx: &'a Context,
    config: &'a Config,
    entry: Option<&'a Entry>,
    system: System,
}

impl Asked<'_> {
    async fn find(&self, which: &Which, other: Option<&Side>) -> Result<Environment> {
        match which {
            Which::Lock(path) => self.lock(path.as_deref()),
            Which::Generation(number) => self.generation(*number).await,
            Which::Flake => self.flake(other).await,
        }
    }

    fn patterns(&self) -> &[String] {
        &self.config.environment.packages
    }

    fn lock(&self, path: Option<&str>) -> Result<Environment> {
        let (label, file) = match path {
            Some(path) => (path.to_owned(), self.cx.dir.join(path)),
            None => (FILE.to_owned(), files::file(&self.cx.project()?.0.root)),
        };
        let Some(lock) = files::read_file(&file)? else { return Err(no_such_lock(&file, path.is_some())) };
        let Some(section) = lock.sections.get(&self.system) else {
            let has: Vec<_> = lock.sections.keys().map(|s| s.as_str()).collect();
            let error =
                Error::new(Kind::Usage, format!("{} has no section for {}", tick(&file), self.system));
            return Err(match has.first() {
                Some(first) => error.hint(format!("it has {}: `--system {first}`", has.join(" and "))),
                None => error.hint("`devbox lock` writes it"),
            });
        };
        let kept = files::kept_listing(&self.cx.paths, &section.fingerprint);
        Ok(Environment {
            label,
            derivation: Some(section.derivation.clone()),
            fingerprint: Some(section.fingerprint.clone()),
            note: String::new(),
            side: match kept {
                Some(listing) => Side::of_listing(&listing, self.patterns()),
                None => Side::of_section(section, None),
            },
        })
    }

    async fn generation(&self, number: u64) -> Result<Environment> {
        let Some(entry) = self.entry else {
            return Err(Error::new(Kind::Failed, "no box is chosen"));
        };
        let (_, guest) = connect(self.cx, Some(entry.name.as_str())).await?;
        let found = listed(&guest, &entry.project, &number.to_string()).await?;
        let listing = found.listing().ok_or_else(|| {
            Error::new(Kind::Volume, format!("what the volume remembers of generation {number} is damaged"))
                .hint("`devbox store status` shows what there is")
        })?;
        let remembered: Remembered = serde_json::from_str(&found.manifest).unwrap_or_default();
        let made = remembered.made.map(|made| format!("made {}", made.strftime("%Y-%m-%d %H:%M UTC")));
        Ok(Environment {
            label: format!("generation {number} of {}", entry.name),
            derivation: remembered.derivation,
            fingerprint: Some(listing.fingerprint()),
            note: made.unwrap_or_default(),
            side: Side::of_listing(&listing, self.patterns()),
        })
    }

    async fn flake(&self, other: Option<&Side>) -> Result<Environment> {
        let (project, config) = self.cx.project()?;
        nix::version::installed().await?;
        let phase = self.cx.ui.events.phase(Phase::Environment);
        phase.doing("evaluating");
        let wanted = environment::Wanted {
            root: project.root.clone(),
            shell: config.environment.shell.clone(),
            guest_nix: None,
            system: self.system,
            roots: self.cx.roots(&project.root, self.system),
            locked: None,
        };
        let derivation = evaluate(&wanted, &phase).await?;
        let outlook = outlook(&derivation).await?;
        let (fingerprint, note) = match &outlook {
            Outlook::Here(listing) => (Some(listing.fingerprint()), String::new()),
            Outlook::ToCome(_) => {
                phase.doing("asking what is missing");
                (None, render_missing(&missing(std::slice::from_ref(&derivation)).await?, &derivation))
            }
        };
        phase.done("");
        let nothing = Side::default();
        let before = &other.unwrap_or(&nothing).packages;
        Ok(Environment {
            label: "the project now".to_owned(),
            derivation: Some(derivation),
            fingerprint,
            note,
            side: side_of_outlook(&outlook, before, self.patterns()),
        })
    }
}

fn no_such_lock(file: &Path, named: bool) -> Error {
    let error = Error::new(Kind::Usage, format!("there is no {}", tick(file)));
    match named {
        true => error.hint("name a lock file, the number of a generation, `lock` or `flake`"),
        false => error.hint("`devbox lock` writes it"),
    }
}

/// What has to be done for an environment, in words: `3 to build, 2 to fetch`. The dev shell itself is never built. Pure.
fn render_missing(missing: &Missing, derivation: &str) -> String {
    let build = missing.build.iter().filter(|drv| *drv != derivation).count();
    let parts = [(build, "to build"), (missing.fetch.len(), "to fetch")];
    let parts: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if parts.is_empty() { "not all here yet".to_owned() } else { parts.join(", ") }
}

/// As a person reads it. Pure.
fn render(from: &Environment, to: &Environment, diff: &Diff, width: usize) -> Vec<String> {
    let head = |what: &str, environment: &Environment| {
        let print = environment.fingerprint.as_ref().map(|print| print.short().to_owned());
        let parts = [Some(environment.label.clone()), print, Some(environment.note.clone())];
        let parts: Vec<_> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
        format!("{what:<4}  {}", parts.join(", "))
    };
    let mut lines = vec![head("from", from), head("to", to), String::new()];
    let is_exact = from.fingerprint.is_some() && to.fingerprint.is_some();
    if is_exact && from.fingerprint == to.fingerprint {
        lines.push(match (&from.derivation, &to.derivation) {
            (Some(one), Some(other)) if one != other => {
                "every store path is the same; the dev shell's own variables are not".to_owned()
            }
            _ => "no difference".to_owned(),
        });
    } else if diff.is_empty() && !is_exact {
        lines.push("no package that is named differs; what else does shows when it is built".to_owned());
    } else {
        lines.extend(render_diff(diff, width));
    }
    lines
}

fn document(system: System, from: &Environment, to: &Environment, diff: &Diff) -> Value {
    let environment = |environment: &Environment| {
        json!({
            "what": environment.label,
            "derivation": environment.derivation,
            "fingerprint": environment.fingerprint,
            "note": environment.note,
        })
    };
    json!({
        "system": system,
        "from": environment(from),
        "to": environment(to),
        // Nothing where one of them is not built yet.
        "identical": from.fingerprint.as_ref().zip(to.fingerprint.as_ref()).map(|(one, other)| one == other),
        "packages": diff.packages,
        "size": {"from": diff.size_from, "to": diff.size_to},
        "others": diff.others,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::tests::{listing, section};

    #[test]
    fn words_of_the_command_line() {
        assert_eq!(parse_which("flake"), Which::Flake);
        assert_eq!(parse_which("lock"), Which::Lock(None));
        assert_eq!(parse_which("7"), Which::Generation(7));
        assert_eq!(parse_which("./7"), Which::Lock(Some("./7".into())));
        assert_eq!(parse_which("old/devbox.lock"), Which::Lock(Some("old/devbox.lock".into())));
    }

    fn environment(label: &str, listing: Option<&nix::Listing>) -> Environment {
        Environment {
            label: label.into(),
            derivation: Some(section().derivation),
            fingerprint: listing.map(nix::Listing::fingerprint),
            note: String::new(),
            side: listing.map_or_else(Side::default, |listing| Side::of_listing(listing, &[])),
        }
    }

    #[test]
    fn every_verdict() {
        let lock = environment("devbox.lock", Some(&listing()));
        let mut other = listing();
        other.0.remove(&section().packages["torch"].path);
        let mut generation = environment("generation 2 of hello", Some(&other));
        generation.note = "made 2026-01-02 03:04 UTC".into();
        let drv = section().derivation;
        let torch = "/nix/store/r9hmymlx5mjvs3fgycxsh8ddfdskgvyd-torch.drv".to_owned();
        let todo =
            Missing { build: vec![drv.clone(), torch.clone()], fetch: vec![torch], ..Missing::default() };
        let mut to_come = environment("the project now", None);
        to_come.note = render_missing(&todo, &drv);
        to_come.side.packages = lock.side.packages.clone();
        let variables = Environment { derivation: Some("x".into()), ..lock.clone() };
        let all = [(&lock, &generation), (&lock, &to_come), (&lock, &variables), (&lock, &lock)]
            .map(|(from, to)| render(from, to, &Diff::new(&from.side, &to.side), 80).join("\n"));
        insta::assert_snapshot!(all.join("\n---\n"));
    }
}
