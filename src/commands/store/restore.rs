//! `devbox store restore`: back to a snapshot.

use std::time::Duration;

use serde_json::json;

use super::words::{current, minute};
use super::{at_work, copies};
use crate::commands::Context;
use crate::error::{Error, Kind, Result};
use crate::events::{Level, Phase};
use crate::guest::store::answers::{Current, Restored, Snapshot};
use crate::guest::store::{Work, ask};
use crate::journal::Entry;
use crate::names::{BoxName, SnapshotName, System};
use crate::ui::Answer;

/// How long it may take: a copy, and the units down and up again.
const DEADLINE: Duration = Duration::from_secs(2 * 3600);

/// Runs `devbox store restore`.
pub(super) async fn run(cx: &Context, name: Option<&str>, snapshot: &str, discard: bool) -> Result<()> {
    let wanted: SnapshotName = snapshot.parse()?;
    let at = at_work(cx, name, "store restore").await?;
    let entry = &at.entry;
    let snapshot = found(&wanted, copies::all(&at.guest).await?.0, entry.system)?;
    match cx.ui.confirm(&render_question(&entry.name, &snapshot, discard)).await {
        Answer::Yes => {}
        Answer::No => return Err(Error::new(Kind::Failed, "nothing was changed")),
        Answer::Nobody => {
            let on = name.map(|name| format!(" --box {name}")).unwrap_or_default();
            let discard = if discard { " --discard-current" } else { "" };
            return Err(Error::new(
                Kind::Usage,
                format!("the store of `{}` would be replaced by the snapshot `{wanted}`", entry.name),
            )
            .hint(format!("`devbox store restore {wanted}{discard}{on} -y` does it")));
        }
    }
    let phase = cx.ui.events.phase(Phase::Restore);
    let work = Work::new("store-restore", DEADLINE).arg(wanted.as_str()).maybe(discard.then_some("discard"));
    let restored: Restored = ask(&at.guest, &work, Some(&phase)).await?;
    phase.done(restored.name.clone());
    let now = restored.environments.iter().find(|e| e.project == entry.project.as_str());
    let entry = Entry { fingerprint: now.and_then(|e| e.fingerprint.clone()), ..entry.clone() };
    cx.journal.write(&entry)?;
    if cx.ui.is_json() {
        cx.ui.document(&json!({"box": entry.name, "restore": restored}));
    } else {
        cx.ui.data(&format!("current: {}\n", render_current(&restored.environments)));
    }
    match &restored.kept {
        Some(kept) => cx.ui.events.info(format!("the store of before is the snapshot `{kept}`")),
        None => cx.ui.events.info("nothing is left of the store of before"),
    }
    cx.ui.events.note(
        Level::Hint,
        "`devbox store check` looks at every store path; `devbox up` makes the environment of the flake current again",
    );
    Ok(())
}

/// The snapshot that is meant. Pure.
///
/// # Errors
/// [`Kind::Usage`], naming those that there are.
fn found(wanted: &SnapshotName, all: Vec<Snapshot>, system: System) -> Result<Snapshot> {
    let names: Vec<_> = all.iter().map(|s| s.name.clone()).collect();
    all.into_iter().find(|s| s.name == wanted.as_str()).ok_or_else(|| {
        Error::new(Kind::Usage, format!("there is no snapshot `{wanted}` of the {system} store"))
            .details(names)
            .hint("`devbox store list` shows what there is, `devbox store snapshot` takes one")
    })
}

fn render_current(all: &[Current]) -> String {
    if all.is_empty() { "nothing".to_owned() } else { all.iter().map(current).collect::<Vec<_>>().join(", ") }
}

/// What is asked before anything changes. Pure.
fn render_question(name: &BoxName, snapshot: &Snapshot, discard: bool) -> String {
    let fate = if discard {
        "The store of now is thrown away"
    } else {
        "The store of now stays on the volume, as a snapshot"
    };
    format!(
        "Put the snapshot `{}` of {} in the place of the store of `{name}`? {fate}. Current will be {}.",
        snapshot.name,
        minute(snapshot.made),
        if snapshot.environments.is_empty() {
            "what was".to_owned()
        } else {
            render_current(&snapshot.environments)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::store::answers::{RawSnapshot, read_snapshot};

    fn bare(name: &str) -> Snapshot {
        read_snapshot(RawSnapshot { name: name.into(), size: 1, real: 1, made: 0, about: None })
    }

    #[test]
    fn what_is_not_there_is_said_before_anything_is_asked() {
        let wanted = "two".parse().unwrap();
        let error = found(&wanted, vec![bare("one")], System::X86_64Linux).unwrap_err();
        assert_eq!((error.kind(), error.detail_lines()), (Kind::Usage, &["one".to_owned()][..]));
        assert_eq!(found(&wanted, vec![bare("one"), bare("two")], System::X86_64Linux).unwrap().name, "two");
    }

    #[test]
    fn the_question_says_what_comes_of_both() {
        let name = "hello".parse().unwrap();
        insta::assert_snapshot!(render_question(&name, &bare("one"), false), @"Put the snapshot `one` of 1970-01-01 00:00 UTC in the place of the store of `hello`? The store of now stays on the volume, as a snapshot. Current will be what was.");
        let what = Current {
            project: "hello".into(),
            generation: 3,
            environment: "/nix/store/x".into(),
            fingerprint: None,
        };
        let full = Snapshot { environments: vec![what], ..bare("one") };
        insta::assert_snapshot!(render_question(&name, &full, true), @"Put the snapshot `one` of 1970-01-01 00:00 UTC in the place of the store of `hello`? The store of now is thrown away. Current will be hello 3.");
    }
}
