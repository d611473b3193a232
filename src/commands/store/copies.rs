//! `devbox store snapshot`, `list` and `restore`: copies of the store.

use std::time::Duration;

use serde_json::json;

use super::words::{bytes, current, minute};
use super::{at_hand, at_work};
use crate::commands::Context;
use crate::error::{Error, Kind, Result};
use crate::events::{Level, Phase};
use crate::guest::store::answers::{Deleted, Listed, Restored, Snapshot, Taken, read_snapshot};
use crate::guest::store::{Work, ask};
use crate::journal::Entry;
use crate::names::SnapshotName;
use crate::ui::Answer;
use crate::ui::table::{Cell, Column, render_table};

/// How long the store may be frozen for a copy, and how long a copy may take.
const COPY: Duration = Duration::from_secs(3600);
/// How long going back may take: a copy, and the units down and up again.
const RESTORE: Duration = Duration::from_secs(2 * 3600);
/// How long to list and to delete may take.
const LOOK: Duration = Duration::from_secs(60);

/// Runs `devbox store snapshot`.
pub(super) async fn take(cx: &Context, name: Option<&str>, snapshot: Option<&str>) -> Result<()> {
    let snapshot: Option<SnapshotName> = snapshot.map(str::parse).transpose()?;
    let at = at_work(cx, name, "store snapshot").await?;
    let phase = cx.ui.events.phase(Phase::Snapshot);
    let work = Work::new("store-snapshot", COPY).arg("take").maybe(snapshot.map(String::from));
    let taken: Taken = ask(&at.guest, &work, Some(&phase)).await?;
    let Taken { snapshot, whole, milliseconds, free } = taken;
    let snapshot = read_snapshot(snapshot);
    phase.done(snapshot.name.clone());
    if cx.ui.is_json() {
        let name = &at.entry.name;
        cx.ui.document(&json!({
            "box": name, "snapshot": snapshot, "whole": whole, "milliseconds": milliseconds, "volume-free": free,
        }));
    } else {
        cx.ui.data(&format!("{}\n", render_taken(&snapshot, milliseconds, free)));
    }
    if !whole {
        cx.ui.events.warn("the filesystem of the store is damaged, and so is that of its copy");
        let name = &at.entry.name;
        cx.ui.events.note(
            Level::Hint,
            format!("`devbox down {name} --force` and `devbox up {name}` have e2fsck look at it"),
        );
    }
    Ok(())
}

fn render_taken(snapshot: &Snapshot, milliseconds: u64, free: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a copy")]
    let seconds = crate::ui::render_seconds(milliseconds as f64 / 1000.0);
    let how = match snapshot.how.as_deref() {
        Some("reflink") => format!("a clone made in {seconds}, which shares what does not change"),
        _ => format!("a sparse copy made in {seconds}"),
    };
    format!("{}: {} on the volume, {how}; {} free there", snapshot.name, bytes(snapshot.real), bytes(free))
}

/// Runs `devbox store snapshot --delete`.
pub(super) async fn delete(cx: &Context, name: Option<&str>, snapshot: &str) -> Result<()> {
    let snapshot: SnapshotName = snapshot.parse()?;
    let at = at_work(cx, name, "store snapshot --delete").await?;
    let work = Work::new("store-snapshot", LOOK).arg("delete").arg(snapshot.as_str());
    let deleted: Deleted = ask(&at.guest, &work, None).await?;
    if cx.ui.is_json() {
        cx.ui.document(
            &json!({"box": at.entry.name, "deleted": deleted.deleted, "volume-free": deleted.free}),
        );
    } else {
        cx.ui.events.info(format!(
            "the snapshot `{}` is gone; the volume has {} free",
            deleted.deleted,
            bytes(deleted.free)
        ));
    }
    Ok(())
}

const COLUMNS: &[Column] = &[
    Column::new("SNAPSHOT").flexible(20),
    Column::new("MADE"),
    Column::new("TAKES").right(),
    Column::new("CURRENT IN IT").flexible(16).optional(1),
    Column::new("TAKEN BY").flexible(10).optional(2),
    Column::new("HOW").optional(3),
];

/// Runs `devbox store list`.
pub(super) async fn list(cx: &Context, name: Option<&str>) -> Result<()> {
    let (entry, guest) = at_hand(cx, name).await?;
    let listed: Listed = ask(&guest, &Work::new("store-snapshot", LOOK).arg("list"), None).await?;
    let mut snapshots: Vec<Snapshot> = listed.snapshots.into_iter().map(read_snapshot).collect();
    snapshots.sort_by(|a, b| (a.made, &a.name).cmp(&(b.made, &b.name)));
    if cx.ui.is_json() {
        cx.ui.document(&json!({
            "box": entry.name, "system": entry.system, "snapshots": snapshots, "volume-free": listed.free,
        }));
    } else if snapshots.is_empty() {
        cx.ui.events.info(format!("there are no snapshots of the {} store", entry.system));
        cx.ui.events.note(Level::Hint, "`devbox store snapshot` takes one");
    } else {
        cx.ui.data(&table(&snapshots, cx.ui.columns()));
    }
    Ok(())
}

fn table(snapshots: &[Snapshot], width: usize) -> String {
    let row = |s: &Snapshot| -> Vec<Cell> {
        let taken_by = match (s.why.as_deref(), s.taken_by.as_deref()) {
            (Some("asked") | None, taken_by) => taken_by.unwrap_or_default().to_owned(),
            (Some(why), taken_by) => format!("{}, {}", taken_by.unwrap_or_default(), why.replace('-', " ")),
        };
        let how = match s.how.as_deref() {
            Some("reflink") => "clone",
            Some("rename") => "the image itself",
            other => other.unwrap_or_default(),
        };
        vec![
            s.name.as_str().into(),
            minute(s.made).into(),
            bytes(s.real).into(),
            s.environments.iter().map(current).collect::<Vec<_>>().into(),
            taken_by.into(),
            how.into(),
        ]
    };
    render_table(COLUMNS, &snapshots.iter().map(row).collect::<Vec<_>>(), width)
}

/// Runs `devbox store restore`.
pub(super) async fn restore(cx: &Context, name: Option<&str>, snapshot: &str, discard: bool) -> Result<()> {
    let snapshot: SnapshotName = snapshot.parse()?;
    let at = at_work(cx, name, "store restore").await?;
    let entry = &at.entry;
    let fate = if discard {
        "The store of now is thrown away"
    } else {
        "The store of now stays on the volume, as a snapshot"
    };
    let question =
        format!("Put the snapshot `{snapshot}` in the place of the store of `{}`? {fate}.", entry.name);
    match cx.ui.confirm(&question).await {
        Answer::Yes => {}
        Answer::No => return Err(Error::new(Kind::Failed, "nothing was changed")),
        Answer::Nobody => {
            let typed = if discard { " --discard-current" } else { "" };
            return Err(Error::new(
                Kind::Usage,
                format!("the store of `{}` would be replaced by the snapshot `{snapshot}`", entry.name),
            )
            .hint(format!("`devbox store restore {snapshot}{typed} -y` does it")));
        }
    }
    let phase = cx.ui.events.phase(Phase::Restore);
    let work = Work::new("store-restore", RESTORE).arg(snapshot.as_str()).maybe(discard.then_some("discard"));
    let restored: Restored = ask(&at.guest, &work, Some(&phase)).await?;
    phase.done(restored.name.clone());
    let now = restored.environments.iter().find(|e| e.project == entry.project.as_str());
    let entry = Entry { fingerprint: now.and_then(|e| e.fingerprint.clone()), ..entry.clone() };
    cx.journal.write(&entry)?;
    if cx.ui.is_json() {
        cx.ui.document(&json!({"box": entry.name, "restore": restored}));
        return Ok(());
    }
    let all: Vec<_> = restored.environments.iter().map(current).collect();
    let all = if all.is_empty() { "nothing".to_owned() } else { all.join(", ") };
    cx.ui.data(&format!("current: {all}\n"));
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
