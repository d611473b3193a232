//! `devbox store check`: every store path, or the filesystem of an image that can't be mounted.

use std::time::Duration;

use serde_json::json;

use super::at_work;
use super::words::{count, generations};
use crate::commands::Context;
use crate::error::{Error, Kind, Result};
use crate::events::{Level, Phase};
use crate::guest::store::answers::{Checked, Damage};
use crate::guest::store::{Work, ask};
use crate::ui::card::{Card, render_cards};

/// How long the box may take: everything is read once.
const DEADLINE: Duration = Duration::from_secs(6 * 3600);

/// Runs `devbox store check`.
pub(super) async fn run(cx: &Context, name: Option<&str>, repair: bool) -> Result<()> {
    let at = at_work(cx, name, "store check").await?;
    let phase = cx.ui.events.phase(Phase::Check);
    let work = Work::new("store-check", DEADLINE).maybe(repair.then_some("--repair"));
    let checked: Checked = ask(&at.guest, &work, Some(&phase)).await?;
    phase.done(render_looked(&checked));
    let name = at.entry.name.as_str();
    let verdict = judge(name, repair, &checked);
    if cx.ui.is_json() {
        cx.ui.document(&json!({"box": name, "repair": repair, "whole": verdict.is_ok(), "check": checked}));
    } else {
        cx.ui.data(&render_cards(&[card(name, repair, &checked)], cx.ui.columns()));
    }
    if verdict.is_ok() {
        if !checked.mounted {
            cx.ui.events.note(Level::Hint, format!("`devbox up {name}` mounts it"));
        } else if !checked.thrown.is_empty() || !checked.lost.is_empty() {
            cx.ui.events.note(Level::Hint, format!("`devbox up {name}` brings what was thrown away"));
        }
    }
    verdict
}

fn render_looked(checked: &Checked) -> String {
    if checked.mounted {
        count(checked.paths, "store path", "store paths")
    } else {
        "the filesystem of the store image".to_owned()
    }
}

/// What Nix says of a path, in a word where it is one of the usual things.
fn reason(damage: &Damage) -> &str {
    if damage.why.contains("was modified") {
        "modified"
    } else if damage.why.contains("disappeared") {
        "gone"
    } else {
        &damage.why
    }
}

fn card(name: &str, repair: bool, checked: &Checked) -> Card {
    let mut card = Card::new(&format!("store of {name}"));
    if let Some(fsck) = &checked.fsck {
        let verdict = match fsck.code {
            0 => "the filesystem is whole".to_owned(),
            _ if repair => "the filesystem was repaired".to_owned(),
            code if fsck.replayed => format!("the filesystem is damaged (exit status {code})"),
            code => {
                format!("the filesystem is damaged, or only its journal is not replayed (exit status {code})")
            }
        };
        card.lines("e2fsck", std::iter::once(verdict).chain(fsck.said.iter().cloned()));
        card.maybe("copied first", checked.kept.as_ref().map(|kept| format!("snapshot {kept}")));
    }
    if !checked.mounted {
        return card;
    }
    let bad = checked.damaged.len() as u64;
    let whole = if bad == 0 { "all whole".to_owned() } else { format!("{bad} damaged") };
    let paths = count(checked.paths, "store path", "store paths");
    card.line("looked at", format!("{paths} in {} s: {whole}", checked.seconds));
    let errors = count(checked.errors, "error", "errors");
    card.line("kernel", if checked.errors == 0 { "no errors in the filesystem".to_owned() } else { errors });
    card.lines("damaged", checked.damaged.iter().map(|d| format!("{}: {}", d.path, reason(d))));
    card.lines("also said", &checked.said);
    card.lines("brought anew", &checked.repaired);
    card.lines("thrown away", &checked.thrown);
    card.line("lost with it", generations(&checked.lost));
    card
}

/// Whether all is well by now. Pure.
fn judge(name: &str, repair: bool, checked: &Checked) -> Result<()> {
    let again = format!("`devbox down {name} --force` and `devbox up {name}` have e2fsck look at it");
    if !checked.mounted {
        return match &checked.fsck {
            Some(fsck) if fsck.code != 0 => Err(Error::new(
                Kind::Volume,
                format!("the store image of `{name}` is damaged; it was not touched"),
            )
            .hint("`devbox store check --repair` copies it, then repairs it")
            .hint("`devbox store list` shows snapshots, `devbox store restore` goes back to one")),
            _ => Ok(()),
        };
    }
    if checked.read_only {
        let error = Error::new(
            Kind::Volume,
            format!("the store of `{name}` has become read-only: nothing was repaired"),
        );
        return Err(error.hint(again));
    }
    if checked.errors > 0 {
        let errors = count(checked.errors, "error", "errors");
        let error = Error::new(
            Kind::Volume,
            format!("the kernel has met {errors} in the filesystem of the store of `{name}`"),
        );
        return Err(error.hint(again));
    }
    let unnamed = checked.code != 0 && checked.damaged.is_empty();
    if unnamed {
        return Err(Error::new(
            Kind::Volume,
            format!("Nix finds the store of `{name}` damaged, and names no path"),
        )
        .details(checked.said.clone())
        .hint("`devbox store list` shows snapshots, `devbox store restore` goes back to one"));
    }
    if !repair && !checked.damaged.is_empty() {
        let many = checked.damaged.len() as u64;
        let are = if many == 1 { "is" } else { "are" };
        let paths = count(many, "store path", "store paths");
        return Err(Error::new(Kind::Volume, format!("{paths} of `{name}` {are} damaged"))
            .hint("`devbox store check --repair` fetches them anew, or throws them away: `devbox up` brings them again"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::store::answers::{Fsck, Numbered};

    fn whole() -> Checked {
        Checked {
            mounted: true,
            fsck: None,
            kept: None,
            errors: 0,
            paths: 812,
            code: 0,
            seconds: 41,
            damaged: vec![],
            said: vec![],
            read_only: false,
            repaired: vec![],
            thrown: vec![],
            lost: vec![],
        }
    }

    fn shown(repair: bool, checked: &Checked) -> String {
        let card = render_cards(&[card("hello", repair, checked)], 80);
        match judge("hello", repair, checked) {
            Ok(()) => card,
            Err(e) => format!("{card}{}", crate::ui::render_error(&e, false)),
        }
    }

    #[test]
    fn every_verdict() {
        let path = "/nix/store/bxm2skg5g3hwy5g12iz9k7ni56iyc70z-hello-tools".to_owned();
        let damaged = Checked {
            code: 1,
            damaged: vec![Damage {
                path: path.clone(),
                why: format!("path '{path}' was modified! expected hash x"),
            }],
            ..whole()
        };
        let repaired = Checked {
            thrown: vec![path],
            lost: vec![Numbered { project: "hello".into(), generation: 3 }],
            fsck: Some(Fsck {
                code: 1,
                replayed: true,
                said: vec!["Entry 'd' in / (2) has deleted/unused inode".into()],
            }),
            kept: Some("before-repair-20260102-030405".into()),
            ..damaged.clone()
        };
        let said = vec!["Inode 2 ref count is 5, should be 4.  Fix? no".to_owned()];
        let fsck = Some(Fsck { code: 4, replayed: false, said });
        let unmounted = Checked { mounted: false, fsck, ..whole() };
        let errors = Checked { errors: 2, ..whole() };
        let read_only = Checked { read_only: true, ..whole() };
        let unnamed = Checked { code: 1, said: vec!["error: database is malformed".into()], ..whole() };
        let all = [
            shown(false, &whole()),
            shown(false, &damaged),
            shown(true, &repaired),
            shown(false, &unmounted),
            shown(false, &errors),
            shown(true, &read_only),
            shown(false, &unnamed),
        ];
        insta::assert_snapshot!(all.join("---\n"));
    }
}
