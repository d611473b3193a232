//! `devbox store snapshot` and `list`: copies of the store.

use std::time::Duration;

use serde_json::json;

use super::words::{bytes, current, minute};
use super::{at_hand, at_work};
use crate::commands::Context;
use crate::error::Result;
use crate::events::{Level, Phase};
use crate::guest::store::answers::{Deleted, Listed, Snapshot, Taken, read_snapshot};
use crate::guest::store::{Work, ask};
use crate::names::SnapshotName;
use crate::ssh::Guest;
use crate::ui::card::{Card, render_cards};
use crate::ui::table::{Cell, Column, render_table};

/// How long the store may be frozen for a copy, and how long a copy may take.
const COPY: Duration = Duration::from_secs(3600);
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
        let card = card(&snapshot, milliseconds, free);
        cx.ui.data(&render_cards(&[card], cx.ui.columns()));
    }
    if is_short(&snapshot, free) {
        cx.ui.events.warn(format!(
            "the volume has {} free now, and the store may still grow: what is written to a full volume is lost",
            bytes(free)
        ));
        cx.ui.events.note(Level::Hint, "`devbox store snapshot --delete NAME` makes room");
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

/// Whether so few bytes are left that the store may soon meet the end of its volume. Pure.
fn is_short(snapshot: &Snapshot, free: u64) -> bool {
    let promised = snapshot.size.saturating_sub(snapshot.real);
    free < promised.min(5 << 30)
}

fn card(snapshot: &Snapshot, milliseconds: u64, free: u64) -> Card {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a copy")]
    let seconds = crate::ui::render_seconds(milliseconds as f64 / 1000.0);
    let mut card = Card::new(&format!("snapshot {}", snapshot.name));
    card.line("takes", format!("{} on the volume, which has {} free", bytes(snapshot.real), bytes(free)));
    card.line(
        "how",
        match snapshot.how.as_deref() {
            Some("reflink") => format!("a clone made in {seconds}: it shares what does not change"),
            _ => format!("a sparse copy made in {seconds}"),
        },
    );
    card.lines("current in it", snapshot.environments.iter().map(current));
    card
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
    // To be typed, so it is whole where that can be.
    Column::new("SNAPSHOT").flexible(31),
    Column::new("MADE"),
    Column::new("TAKES").right(),
    Column::new("CURRENT IN IT").flexible(18).optional(1),
    Column::new("TAKEN BY").flexible(10).optional(2),
    Column::new("HOW").optional(3),
];

/// Runs `devbox store list`.
pub(super) async fn list(cx: &Context, name: Option<&str>) -> Result<()> {
    let (entry, guest) = at_hand(cx, name).await?;
    let (snapshots, free) = all(&guest).await?;
    if cx.ui.is_json() {
        cx.ui.document(&json!({
            "box": entry.name, "system": entry.system, "snapshots": snapshots, "volume-free": free,
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
        let how = match s.how.as_deref() {
            Some("reflink") => "clone",
            Some("rename") => "moved",
            other => other.unwrap_or_default(),
        };
        vec![
            s.name.as_str().into(),
            minute(s.made).into(),
            bytes(s.real).into(),
            s.environments.iter().map(current).collect::<Vec<_>>().into(),
            s.taken_by.clone().unwrap_or_default().into(),
            how.into(),
        ]
    };
    render_table(COLUMNS, &snapshots.iter().map(row).collect::<Vec<_>>(), width)
}

/// All snapshots that a box has, oldest first, and the bytes free on its volume.
pub(super) async fn all(guest: &Guest) -> Result<(Vec<Snapshot>, u64)> {
    let listed: Listed = ask(guest, &Work::new("store-snapshot", LOOK).arg("list"), None).await?;
    let mut snapshots: Vec<Snapshot> = listed.snapshots.into_iter().map(read_snapshot).collect();
    snapshots.sort_by(|a, b| (a.made, &a.name).cmp(&(b.made, &b.name)));
    Ok((snapshots, listed.free))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::store::answers::RawSnapshot;

    fn snapshot(name: &str, made: &str, why: &str, how: &str) -> Snapshot {
        let about = format!(
            r#"{{"made":"{made}","why":"{why}","box":"hello","how":"{how}","environments":[
                {{"project":"hello","generation":3,"environment":"/nix/store/x","fingerprint":"2be80df48331aaaa"}},
                {{"project":"other-project","generation":12,"environment":"/nix/store/y","fingerprint":""}}]}}"#
        );
        read_snapshot(RawSnapshot {
            name: name.into(),
            size: 100 << 30,
            real: 9 << 30,
            made: 0,
            about: Some(about),
        })
    }

    #[test]
    fn what_is_seen() {
        let all = [
            snapshot("before-the-experiment", "2026-01-02T03:04:05Z", "asked", "reflink"),
            snapshot("before-repair-20260103-030405", "2026-01-03T03:04:05Z", "before-repair", "copy"),
            snapshot("before-restore-20260104-030405", "2026-01-04T03:04:05Z", "before-restore", "rename"),
            read_snapshot(RawSnapshot { name: "found".into(), size: 1, real: 1, made: 0, about: None }),
        ];
        let cards = [card(&all[0], 12, 1 << 42), card(&all[1], 71_300, 0)];
        let tables = [60, 80, 120].map(|width| format!("--- {width}\n{}", table(&all, width)));
        insta::assert_snapshot!(render_cards(&cards, 80) + &tables.concat());
    }
}
