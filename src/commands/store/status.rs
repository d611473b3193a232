//! `devbox store status`: size, use, holder, last check, generations, snapshots.

use std::time::Duration;

use serde::Serialize;

use super::at_hand;
use super::words::{bytes, count, minute};
use crate::commands::Context;
use crate::error::Result;
use crate::guest::bootstrap::{Status as SetUp, StepState};
use crate::guest::store::status::{
    File, Filesystem, Generation, Holder, LastCheck, RawStatus, Snapshots, Volume, parse_holder,
    read_generation,
};
use crate::guest::store::{Work, ask};
use crate::journal::Entry;
use crate::names::LaunchId;
use crate::plan::up::{Holder as Fate, plan_holder};
use crate::provider::Instance;
use crate::ssh::Guest;
use crate::ui::card::{Card, render_cards};
use crate::ui::table::{Cell, Column, render_table};

/// How long the box may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// What `store status` shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Document {
    #[serde(rename = "box")]
    pub(super) box_: String,
    pub(super) system: String,
    pub(super) mounted: bool,
    /// Why it is not mounted; nothing where it is.
    pub(super) why_not: Option<String>,
    pub(super) path: String,
    pub(super) image: Option<File>,
    pub(super) filesystem: Option<Filesystem>,
    /// `clean`, or what is wrong, by the superblock.
    pub(super) state: Option<String>,
    /// How many errors the kernel has met in it.
    pub(super) errors: u64,
    pub(super) volume_name: String,
    pub(super) volume: Volume,
    /// `flock` or `text`.
    pub(super) lease: String,
    pub(super) holder: Option<HeldBy>,
    pub(super) last_check: Option<LastCheck>,
    pub(super) last_fsck: Option<jiff::Timestamp>,
    pub(super) last_mount: Option<jiff::Timestamp>,
    pub(super) snapshots: Snapshots,
    pub(super) generations: Vec<Generation>,
    /// The store images of other architectures.
    pub(super) others: Vec<Other>,
}

/// Who has a store image, and what the provider says of that box.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct HeldBy {
    #[serde(flatten)]
    pub(super) holder: Holder,
    /// `this`, `lives`, `is ending`, `is gone`; `unknown` when nobody can tell.
    pub(super) fate: &'static str,
}

/// The store image of another architecture.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Other {
    system: String,
    #[serde(flatten)]
    file: File,
    holder: Option<HeldBy>,
}

/// What has become of a holder. `instances` is nothing when the provider can't be asked. Pure.
pub(super) fn held_by(text: &str, ours: LaunchId, instances: Option<&[Instance]>) -> HeldBy {
    let holder = parse_holder(text);
    let fate = match (holder.launch(), instances) {
        (Some(launch), _) if launch == ours => "this",
        (Some(launch), Some(instances)) => match plan_holder(launch, instances) {
            Fate::Lives(_) => "lives",
            Fate::IsEnding => "is ending",
            Fate::IsGone => "is gone",
            Fate::Unknown(_) => "unknown",
        },
        _ => "unknown",
    };
    HeldBy { holder, fate }
}

/// Why the store is not mounted, by the steps of the set-up. Pure.
fn why_not(set_up: &SetUp) -> String {
    let said = |state| {
        let step = set_up.steps.iter().find(|s| s.state == state)?;
        Some(format!("{}: {}", step.step, step.detail))
    };
    said(StepState::Failed)
        .or_else(|| said(StepState::Running))
        .unwrap_or_else(|| "its unit is stopped".to_owned())
}

/// Puts together what the box, its provider and the journal say. Pure.
pub(super) fn document(entry: &Entry, raw: RawStatus, instances: Option<&[Instance]>) -> Document {
    let time = |seconds: Option<i64>| seconds.and_then(|s| jiff::Timestamp::from_second(s).ok());
    let held = |text: &str| held_by(text, raw.launch, instances);
    let others = raw.images.iter().filter(|i| i.system != raw.system).map(|i| Other {
        system: i.system.clone(),
        file: File { size: i.size, real: i.real },
        holder: i.holder.as_deref().map(held),
    });
    Document {
        others: others.collect(),
        holder: raw.holder.as_deref().map(held),
        why_not: (!raw.mounted).then(|| why_not(&raw.status)),
        last_fsck: time(raw.superblock.as_ref().and_then(|s| s.checked)),
        last_mount: time(raw.superblock.as_ref().and_then(|s| s.mounted)),
        state: raw
            .superblock
            .map(|s| if s.replayed { s.state } else { format!("{}, journal not replayed", s.state) }),
        last_check: raw.checked.and_then(|text| serde_json::from_str(&text).ok()),
        generations: raw.generations.into_iter().map(read_generation).collect(),
        box_: raw.box_,
        system: raw.system,
        mounted: raw.mounted,
        path: raw.path,
        image: raw.image,
        filesystem: raw.filesystem,
        errors: raw.errors,
        volume_name: entry.volume.to_string(),
        volume: raw.volume,
        lease: raw.lease,
        snapshots: raw.snapshots,
    }
}

/// Asks a box, and its provider where another box has the store image.
pub(super) async fn look(cx: &Context, entry: &Entry, guest: &Guest) -> Result<Document> {
    let raw: RawStatus = ask(guest, &Work::new("store-status", DEADLINE), None).await?;
    let holders = raw.images.iter().filter_map(|i| i.holder.as_deref());
    let strange = holders.map(parse_holder).any(|h| h.launch() != Some(raw.launch));
    let instances = if strange {
        let provider = cx.provider_named(&entry.provider, &cx.resolved()?.config)?;
        match provider.list().await {
            Ok(instances) => Some(instances),
            Err(e) => {
                cx.ui.events.warn(format!("whether the holder lives can't be told: {e}"));
                None
            }
        }
    } else {
        Some(Vec::new())
    };
    Ok(document(entry, raw, instances.as_deref()))
}

/// Runs `devbox store status`.
pub(super) async fn run(cx: &Context, name: Option<&str>) -> Result<()> {
    let (entry, guest) = at_hand(cx, name).await?;
    let document = look(cx, &entry, &guest).await?;
    if cx.ui.is_json() {
        cx.ui.document(&document);
    } else {
        cx.ui.data(&render(&document, cx.ui.columns()));
    }
    Ok(())
}

/// `the box x (launch 0123456789ab, id) since …, which lives`. Pure.
pub(super) fn render_holder(held: &HeldBy) -> String {
    let Holder { box_, launch, instance, since, .. } = &held.holder;
    if held.fate == "this" {
        return format!("this box, since {}", since_when(since));
    }
    if launch.is_empty() {
        return "a box that has not said who it is".to_owned();
    }
    let launch = launch.get(..12).unwrap_or(launch);
    let instance = if instance.is_empty() { String::new() } else { format!(", {instance}") };
    let fate = match held.fate {
        "unknown" => "nobody can tell whether it lives".to_owned(),
        fate => format!("the provider says that it {fate}"),
    };
    format!("the box {box_} (launch {launch}{instance}) since {}; {fate}", since_when(since))
}

fn since_when(since: &str) -> String {
    since.parse().map_or_else(|_| since.to_owned(), minute)
}

fn render(document: &Document, width: usize) -> String {
    let mut cards = vec![card(document)];
    cards.extend(document.others.iter().map(|other| {
        let mut card = Card::new(&format!("store for {}", other.system));
        card.line("size", format!("{}, {} on the volume", bytes(other.file.size), bytes(other.file.real)));
        card.maybe("holder", other.holder.as_ref().map(render_holder));
        card
    }));
    let mut text = render_cards(&cards, width);
    if !document.generations.is_empty() {
        text.push('\n');
        text.push_str(&table(&document.generations, width));
    }
    text
}

fn card(document: &Document) -> Card {
    let Document { filesystem, image, volume, .. } = document;
    let mut card = Card::new(&format!("store of {} ({})", document.box_, document.system));
    let state = document.state.as_deref().unwrap_or("unreadable");
    let errors = match document.errors {
        0 => String::new(),
        n => format!(", the kernel has met {} in it", count(n, "error", "errors")),
    };
    card.line(
        "state",
        match (&document.why_not, image) {
            (None, _) => format!("mounted, {state}{errors}"),
            (Some(why), Some(_)) => format!("not mounted, {state}; {why}"),
            (Some(why), None) => format!("there is no image; {why}"),
        },
    );
    if let Some(f) = filesystem {
        card.line("size", format!("{}, {} used, {} free", bytes(f.size), bytes(f.used), bytes(f.free)));
    }
    if let Some(image) = image {
        card.line("takes", format!("{} of {} on the volume", bytes(image.real), bytes(image.size)));
    }
    card.line(
        "volume",
        format!("{}, {} free, {} at {}", document.volume_name, bytes(volume.free), volume.kind, volume.path),
    );
    card.line("holder", document.holder.as_ref().map_or_else(|| "nobody".to_owned(), render_holder));
    card.line(
        "lease",
        match document.lease.as_str() {
            "flock" => "kept by flock, which the volume's filesystem carries between hosts".to_owned(),
            _ => "kept by its file: flocks stay within one host on this volume".to_owned(),
        },
    );
    let checked = document.last_check.as_ref().map(|c| {
        let verdict = if c.damaged == 0 { "all whole".to_owned() } else { format!("{} damaged", c.damaged) };
        format!("{}: {}, {verdict}", minute(c.at), count(c.paths, "store path", "store paths"))
    });
    if document.mounted {
        card.line(
            "last check",
            checked.unwrap_or_else(|| "never: `devbox store check` looks at every store path".into()),
        );
    }
    card.maybe("last e2fsck", document.last_fsck.map(|t| format!("{}, of all of it", minute(t))));
    let Snapshots { count: many, real } = document.snapshots;
    if many > 0 {
        card.line("snapshots", format!("{many}, {} on the volume", bytes(real)));
    }
    card
}

const COLUMNS: &[Column] = &[
    Column::new("PROJECT").flexible(12),
    Column::new("GENERATION").right(),
    Column::new("STATE"),
    Column::new("FINGERPRINT"),
    Column::new("MADE").optional(1),
    Column::new("PATHS").right().optional(3),
    Column::new("SIZE").right().optional(2),
    Column::new("ENVIRONMENT").flexible(30).spare(4),
];

fn table(generations: &[Generation], width: usize) -> String {
    let row = |g: &Generation| -> Vec<Cell> {
        let mark = match (g.current, g.there) {
            (true, true) => "current",
            (true, false) => "current, damaged",
            (false, false) => "damaged",
            (false, true) => "kept",
        };
        vec![
            g.what.project.as_str().into(),
            g.what.generation.to_string().into(),
            mark.into(),
            g.what.fingerprint.as_ref().map(|p| p.short().to_owned()).unwrap_or_default().into(),
            minute(g.made).into(),
            g.paths.map(|n| n.to_string()).unwrap_or_default().into(),
            g.bytes.map(bytes).unwrap_or_default().into(),
            g.what.environment.as_str().into(),
        ]
    };
    render_table(COLUMNS, &generations.iter().map(row).collect::<Vec<_>>(), width)
}

#[cfg(test)]
#[path = "status_tests.rs"]
pub(super) mod tests;
