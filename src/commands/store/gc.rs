//! `devbox store gc`: generations roll off, what nothing refers to goes, the volume gets the room back.

use std::time::Duration;

use serde_json::json;

use super::at_work;
use super::words::{before_and_after, bytes, count, generations};
use crate::commands::Context;
use crate::error::Result;
use crate::events::{Level, Phase};
use crate::guest::store::answers::Collected;
use crate::guest::store::{Work, ask};
use crate::ui::card::{Card, render_cards};

/// How long the box may take.
const DEADLINE: Duration = Duration::from_secs(2 * 3600);

/// Runs `devbox store gc`.
pub(super) async fn run(cx: &Context, name: Option<&str>, keep: u32, dry_run: bool) -> Result<()> {
    let at = at_work(cx, name, "store gc").await?;
    let phase = cx.ui.events.phase(Phase::Collect);
    let work = Work::new("store-gc", DEADLINE).arg(keep.to_string()).maybe(dry_run.then_some("dry"));
    let collected: Collected = ask(&at.guest, &work, Some(&phase)).await?;
    let gone = count(collected.paths, "store path", "store paths");
    phase.done(if dry_run { format!("{gone} would go") } else { gone });
    let name = at.entry.name.as_str();
    if cx.ui.is_json() {
        cx.ui.document(&json!({"box": name, "keep": keep, "dry-run": dry_run, "gc": collected}));
    } else {
        cx.ui.data(&render_cards(&[card(name, keep, &collected)], cx.ui.columns()));
        if dry_run {
            cx.ui.events.note(Level::Hint, "`devbox store gc` without `--dry-run` does it");
        }
    }
    if !collected.untrimmed.is_empty() {
        cx.ui.events.warn(format!(
            "the volume does not take back what the store no longer uses ({}): the image stays as large there as it \
             once was",
            collected.untrimmed
        ));
    }
    if kept_by_snapshots(&collected) {
        cx.ui.events.note(
            Level::Hint,
            "the snapshots keep what is gone from the store: `devbox store list`, `devbox store snapshot --delete NAME`",
        );
    }
    Ok(())
}

/// Whether most of what the image gave back is not free, for its snapshots share it. Pure.
fn kept_by_snapshots(collected: &Collected) -> bool {
    let Some(after) = collected.after else { return false };
    let given_back = collected.before.volume.saturating_sub(after.volume);
    let free = after.free.saturating_sub(collected.before.free);
    collected.snapshots > 0 && given_back > 64 << 20 && free < given_back / 2
}

fn card(name: &str, keep: u32, collected: &Collected) -> Card {
    let mut card = Card::new(&format!("store of {name}"));
    let done = collected.after.is_some();
    let rolled = generations(&collected.rolled);
    let none = format!("none: each project keeps its newest {keep}, and the current one");
    card.line(
        if done { "rolled off" } else { "would roll off" },
        if rolled.is_empty() { none } else { rolled },
    );
    let paths = count(collected.paths, "store path", "store paths");
    let nothing_refers = if collected.paths == 0 {
        "nothing: every store path belongs to something that stays".to_owned()
    } else {
        let size = bytes(collected.bytes);
        format!("{paths} ({size}): all that nothing refers to, also what was built without a GC root")
    };
    card.line(if done { "gone" } else { "would go" }, nothing_refers);
    match collected.after {
        Some(after) => {
            card.line("in the store", before_and_after(collected.before.store, after.store));
            card.line("on the volume", before_and_after(collected.before.volume, after.volume));
            card.line(
                "free there",
                format!("{} before, {} now", bytes(collected.before.free), bytes(after.free)),
            );
        }
        None => {
            card.line("in the store", bytes(collected.before.store));
            card.line("on the volume", bytes(collected.before.volume));
            card.line("free there", bytes(collected.before.free));
        }
    }
    card
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::store::answers::{Numbered, Room};

    #[test]
    fn what_went_and_what_would() {
        let mut collected = Collected {
            rolled: vec![
                Numbered { project: "hello".into(), generation: 1 },
                Numbered { project: "hello".into(), generation: 2 },
            ],
            paths: 812,
            bytes: 3 << 30,
            trimmed: Some(5 << 30),
            untrimmed: String::new(),
            snapshots: 1,
            before: Room { store: 9 << 30, volume: 12 << 30, free: 1 << 40 },
            after: Some(Room { store: 6 << 30, volume: 7 << 30, free: 1 << 40 }),
        };
        assert!(kept_by_snapshots(&collected));
        assert!(!kept_by_snapshots(&Collected { snapshots: 0, ..collected.clone() }));
        let done = card("hello", 3, &collected);
        collected.after = None;
        let dry = card("hello", 3, &collected);
        collected.rolled.clear();
        collected.paths = 0;
        let nothing = card("hello", 3, &collected);
        insta::assert_snapshot!(render_cards(&[done, dry, nothing], 80));
    }
}
