//! What is said where a project was edited since its lock was written: which packages differ, and why it may never match.

use std::path::Path;

use crate::config::Config;
use crate::config::project::Project;
use crate::error::Error;
use crate::lock::compare::edited;
use crate::lock::diff::{Diff, Side, render_diff};
use crate::lock::{Deviation, Now, Section, side_of_outlook};
use crate::names::System;
use crate::nix::graph::{Outlook, outlook};
use crate::nix::source::{render_way_out, whole_folder};
use crate::paths::Paths;

use super::files;

/// What a table may take behind the indentation of an error.
const WIDTH: usize = 78;

/// A project that was edited.
pub struct Edited<'a> {
    /// Where lists of store paths are kept.
    pub paths: &'a Paths,
    /// Its configuration.
    pub config: &'a Config,
    /// Its folder.
    pub root: &'a Path,
}

/// The error where a project is not what its lock says. `update` is the command that accepts it.
pub async fn refuse(
    subject: &Edited<'_>,
    system: System,
    section: &Section,
    deviations: &[Deviation],
    now: &Now<'_>,
    update: &str,
) -> Error {
    let another = section.derivation != now.derivation;
    // Without the packages it is a refusal all the same.
    let diff = match another {
        true => outlook(now.derivation).await.map(|outlook| render_difference(subject, section, &outlook)),
        false => Ok(Vec::new()),
    };
    let error = edited(system, deviations, &diff.unwrap_or_default(), update);
    match another.then(|| whole_folder(subject.root, now.shell, now.derivation)) {
        Some(whole) => whole.await.into_iter().fold(error, |error, path| error.hint(render_way_out(&path))),
        None => error,
    }
}

/// What is different between a section of the lock and what the project evaluates to, in lines.
pub fn render_difference(subject: &Edited<'_>, section: &Section, outlook: &Outlook) -> Vec<String> {
    let patterns = &subject.config.environment.packages;
    let before = match files::kept_listing(subject.paths, &section.fingerprint) {
        Some(listing) => Side::of_listing(&listing, patterns),
        None => Side::of_section(section, None),
    };
    if let Outlook::Here(listing) = outlook
        && listing.fingerprint() == section.fingerprint
    {
        return vec!["every store path is the same; the dev shell's own variables are not".to_owned()];
    }
    let now = side_of_outlook(outlook, &before.packages, patterns);
    let diff = Diff::new(&before, &now);
    if diff.is_empty() { Vec::new() } else { render_diff(&diff, WIDTH) }
}

/// What to say of a lock that will not match for long. Asked before it is written, since that changes the folder.
pub async fn whole_folder_advice(config: &Config, project: &Project, derivation: &str) -> Option<String> {
    whole_folder(&project.root, &config.environment.shell, derivation).await.map(|path| render_way_out(&path))
}
