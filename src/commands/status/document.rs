//! What `status` shows: as a document, and as quiet two-column cards. Pure.

use jiff::Timestamp;
use serde::Serialize;

use crate::guest::machine::Machine;
use crate::journal::{Damaged, Entry, Working};
use crate::names::shown;
use crate::plan::cost::{cents_of, render_hourly, render_price};
use crate::provider::Instance;
use crate::ui::card::{Card, render_cards};
use crate::ui::render_seconds;

/// A box as `status` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Row {
    pub(super) name: String,
    /// What the provider says; `gone` when it is certain that there is no such instance, `unknown` when nobody can tell.
    pub(super) status: String,
    /// `ready`, `setting up`, `unreachable`, or why not.
    pub(super) state: String,
    pub(super) ready: bool,
    pub(super) instance: Option<String>,
    pub(super) address: Option<String>,
    pub(super) project: String,
    pub(super) root: String,
    pub(super) system: String,
    pub(super) instance_type: Option<String>,
    pub(super) region: Option<String>,
    pub(super) volume: String,
    pub(super) launched: Timestamp,
    pub(super) age_seconds: i64,
    pub(super) cents_per_hour: Option<u32>,
    pub(super) cents: Option<u64>,
    pub(super) environment: Option<String>,
    pub(super) generation: Option<u64>,
    pub(super) fingerprint: Option<String>,
    pub(super) machine: Option<Machine>,
    pub(super) nix: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Document {
    pub(super) boxes: Vec<Row>,
    /// Instances with our tag that the journal of this machine does not have open.
    pub(super) others: Vec<Other>,
    /// Instances without our tag: never touched.
    pub(super) not_ours: Vec<Brief>,
    /// Which devbox works on which box right now.
    pub(super) working: Vec<Working>,
    /// Providers that could not be asked: they may have more.
    pub(super) not_asked: Vec<&'static str>,
}

/// What the provider says of an instance, in the words of a [`Row`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Brief {
    pub(super) name: String,
    pub(super) status: String,
    pub(super) instance: String,
    pub(super) address: Option<String>,
    pub(super) instance_type: Option<String>,
    pub(super) region: Option<String>,
    pub(super) volumes: Vec<String>,
    pub(super) launched: Option<Timestamp>,
    pub(super) launched_from: Option<String>,
    pub(super) cents_per_hour: Option<u32>,
}

impl From<&Instance> for Brief {
    fn from(i: &Instance) -> Self {
        Self {
            name: i.name.clone(),
            status: i.status.to_string(),
            instance: i.id.0.clone(),
            address: i.address.map(|a| a.to_string()),
            instance_type: i.instance_type.clone(),
            region: i.region.clone(),
            volumes: i.volumes.clone(),
            launched: i.since,
            launched_from: i.launched_from.clone(),
            cents_per_hour: i.cents_per_hour,
        }
    }
}

/// A box with our tag that the journal of this machine does not have open: it bills all the same.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Other {
    #[serde(flatten)]
    pub(super) brief: Brief,
    /// Whose it is.
    pub(super) whose: Whose,
    pub(super) age_seconds: Option<i64>,
    /// At the price of today.
    pub(super) cents: Option<u64>,
}

/// Whose box it is that the journal does not have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Whose {
    /// Another machine launched it.
    Another,
    /// This machine launched it, and gave it up before it came.
    GivenUp,
    /// This machine launched it, it was a box once, and it is off the books: there may be work on it.
    OffTheBooks,
    /// This machine launched it, and can't read what it wrote down of it.
    Damaged,
}

impl Whose {
    /// By what the journal has of it.
    pub(super) fn new(instance: &Instance, journal: &[Entry], damaged: &[Damaged]) -> Self {
        let entry = journal.iter().find(|e| instance.launch == Some(e.launch));
        match entry {
            Some(entry) if entry.ready.is_some() => Self::OffTheBooks,
            Some(_) => Self::GivenUp,
            None if instance.launch.is_some() && damaged.iter().any(|d| d.launch == instance.launch) => {
                Self::Damaged
            }
            None => Self::Another,
        }
    }
}

impl Document {
    /// Whether there is nothing to show, and everybody was asked.
    pub(super) fn is_empty(&self) -> bool {
        let Self { boxes, others, not_ours, working, not_asked } = self;
        let asked_for = boxes.is_empty() && others.is_empty() && working.is_empty();
        asked_for && not_ours.is_empty() && not_asked.is_empty()
    }
}

impl Other {
    pub(super) fn new(instance: &Instance, whose: Whose, now: Timestamp) -> Self {
        let age_seconds = instance.since.map(|since| (now.as_second() - since.as_second()).max(0));
        let cents = age_seconds.zip(instance.cents_per_hour).map(|(age, per_hour)| cents_of(age, per_hour));
        Self { brief: instance.into(), whose, age_seconds, cents }
    }
}

/// Quiet two-column cards, `width` columns wide. Pure.
pub(super) fn render(document: &Document, width: usize) -> String {
    let working = |name: &str| document.working.iter().find(|w| w.is_of(name)).map(|w| &w.who);
    let mut cards: Vec<Card> = document.boxes.iter().map(|row| card_of(row, working(&row.name))).collect();
    for w in document.working.iter().filter(|w| document.boxes.iter().all(|row| !w.is_of(&row.name))) {
        let mut card = Card::new(w.name.as_str());
        card.line("state", "no instance").line("in work", &w.who);
        cards.push(card);
    }
    cards.extend(document.others.iter().map(card_of_other));
    if !document.not_ours.is_empty() {
        let mut card = Card::new("not ours, never touched");
        let name = |i: &Brief| if i.name.is_empty() { "no name".to_owned() } else { shown(&i.name) };
        let instances =
            document.not_ours.iter().map(|i| format!("{} ({}, {})", i.instance, name(i), i.status));
        card.lines(if document.not_ours.len() == 1 { "instance" } else { "instances" }, instances);
        cards.push(card);
    }
    render_cards(&cards, width)
}

fn card_of(row: &Row, working: Option<&String>) -> Card {
    let mut card = Card::new(&row.name);
    card.line("state", if row.ready { row.state.clone() } else { format!("{}, {}", row.status, row.state) });
    if let Some(id) = &row.instance {
        let address = row.address.as_ref().map(|a| format!(" {a}")).unwrap_or_default();
        let place = place_of(row.instance_type.as_deref(), row.region.as_deref());
        card.line("instance", format!("{id}{address}{place}"));
    }
    card.maybe("in work", working).line("age", render_age(row.age_seconds));
    let cost = render_cost(row.cents, row.cents_per_hour);
    // Nobody knows when it went, or whether it came.
    let at_most = row.status == "gone" || row.instance.is_none();
    card.line("cost", if at_most { format!("at most {cost}") } else { cost });
    card.line("project", format!("{} ({})", row.project, row.root));
    card.line("volume", format!("{}, {}", row.volume, row.system));
    if let Some(fingerprint) = &row.fingerprint {
        let generation = row.generation.map(|g| format!(", generation {g}")).unwrap_or_default();
        card.line("environment", format!("{}{generation}", fingerprint.get(..12).unwrap_or(fingerprint)));
    }
    if let Some(machine) = &row.machine {
        card.line("machine", machine.render_system()).maybe("GPU", machine.render_gpu());
    }
    card
}

fn card_of_other(other: &Other) -> Card {
    let Other { brief, whose, age_seconds, cents } = other;
    let mut card = Card::new(&brief.name);
    let words = match (whose, &brief.launched_from) {
        (Whose::OffTheBooks, _) => "off the books here, and not ended".to_owned(),
        (Whose::GivenUp, _) => "came after its launch was given up here".to_owned(),
        (Whose::Damaged, _) => "launched here, its file in the journal is damaged".to_owned(),
        (Whose::Another, Some(from)) => format!("launched by another machine, `{}`", shown(from)),
        (Whose::Another, None) => "launched by another machine".to_owned(),
    };
    card.line("state", format!("{}, {words}", brief.status));
    let place = place_of(brief.instance_type.as_deref(), brief.region.as_deref());
    card.line("instance", format!("{}{place}", brief.instance));
    card.maybe("age", age_seconds.map(render_age));
    card.line("cost", render_cost(*cents, brief.cents_per_hour));
    card.line("volume", brief.volumes.join(", "));
    let on_the_books = matches!(whose, Whose::GivenUp | Whose::OffTheBooks);
    let force = if on_the_books { "" } else { " --force" };
    card.line(
        "end it",
        match brief.instance.as_str() {
            "" => "in the provider's console: it has no id".to_owned(),
            id => format!("devbox down {id}{force}"),
        },
    );
    card
}

/// `, gpu_1x_gh200 in us-east-3`, as far as it is known.
fn place_of(kind: Option<&str>, region: Option<&str>) -> String {
    match (kind, region) {
        (Some(kind), Some(region)) => format!(", {} in {}", shown(kind), shown(region)),
        (Some(one), None) | (None, Some(one)) => format!(", {}", shown(one)),
        (None, None) => String::new(),
    }
}

fn render_age(seconds: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "seconds since a launch")]
    let seconds = seconds.max(0) as f64;
    render_seconds(seconds)
}

fn render_cost(cents: Option<u64>, per_hour: Option<u32>) -> String {
    match (cents, per_hour) {
        (Some(0), Some(0)) => "free".to_owned(),
        (Some(cents), per_hour) => format!("{}, {}", render_price(cents), render_hourly(per_hour)),
        (None, Some(_)) => format!("unknown, {}", render_hourly(per_hour)),
        (None, None) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::InstanceId;
    use crate::provider::InstanceStatus;

    #[test]
    fn a_card() {
        let row = Row {
            name: "hello".into(),
            status: "active".into(),
            state: "ready".into(),
            ready: true,
            instance: Some("local-0123".into()),
            address: Some("10.77.0.2".into()),
            project: "hello".into(),
            root: "/home/me/work/with long/paths/and still/longer paths/that nobody can see the end of/hello"
                .into(),
            system: "aarch64-linux".into(),
            instance_type: Some("gpu_1x_gh200".into()),
            region: Some("us-east-3".into()),
            volume: "devbox".into(),
            launched: Timestamp::UNIX_EPOCH,
            age_seconds: 3723,
            cents_per_hour: Some(149),
            cents: Some(154),
            environment: None,
            generation: Some(3),
            fingerprint: Some("0123456789abcdef".into()),
            machine: Some(Machine {
                processor: "aarch64".into(),
                kernel: "6.8.0-1013-nvidia-64k".into(),
                page_size: Some(65536),
                driver: Some("570.86.15".into()),
                gpus: vec!["NVIDIA GH200 480GB".into()],
            }),
            nix: None,
        };
        let other = |name: &str, launched_from: Option<&str>| Instance {
            id: InstanceId("0920582c7ff041399e34823a0be62549".into()),
            name: name.into(),
            ours: true,
            launch: Some(crate::names::LaunchId::random()),
            status: InstanceStatus::Active,
            address: None,
            system: None,
            instance_type: Some("gpu_1x_a10".into()),
            region: None,
            volumes: vec!["data".into()],
            since: Some(Timestamp::UNIX_EPOCH),
            launched_from: launched_from.map(str::to_owned),
            cents_per_hour: Some(75),
            extra: serde_json::Map::new(),
        };
        let now = Timestamp::from_second(7200).unwrap();
        let others = vec![
            Other::new(&other("train", Some("laptop")), Whose::Another, now),
            Other::new(&other("late\u{1b}[31m", None), Whose::GivenUp, now),
            Other::new(&other("", None), Whose::OffTheBooks, now),
            Other::new(&other("scrambled", None), Whose::Damaged, now),
        ];
        let who = |name: &str| Working {
            name: name.parse().unwrap(),
            who: "`devbox up` (process 7): waiting for capacity since 09:15".into(),
        };
        let working = vec![who("hello"), who("next")];
        let document = Document {
            boxes: vec![row],
            others,
            not_ours: vec![(&other("x", None)).into(), (&other("", None)).into()],
            working,
            not_asked: vec![],
        };
        insta::assert_snapshot!(render(&document, 80));
    }
}
