//! `devbox status`: the boxes of this machine, asked live.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Status;
use crate::commands::Context;
use crate::commands::whereabouts::{Whereabouts, whereabouts};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::guest::facts::{self, Facts};
use crate::journal::Entry;
use crate::names::shown;
use crate::plan::cost::{cents_of, render_hourly, render_price};
use crate::provider::{Instance, InstanceStatus, Provider};
use crate::ui::render_seconds;

/// How long one box may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A box as `status` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    name: String,
    /// What the provider says; `gone` when it is certain that there is no such instance, `unknown` when nobody can tell.
    status: String,
    /// `ready`, `setting up`, `unreachable`, or why not.
    state: String,
    ready: bool,
    instance: Option<String>,
    address: Option<String>,
    project: String,
    root: String,
    system: String,
    instance_type: Option<String>,
    region: Option<String>,
    volume: String,
    launched: Timestamp,
    age_seconds: i64,
    cents_per_hour: Option<u32>,
    cents: Option<u64>,
    environment: Option<String>,
    generation: Option<u64>,
    fingerprint: Option<String>,
    kernel: Option<String>,
    nix: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    boxes: Vec<Row>,
    /// Instances with our tag that the journal of this machine does not have open.
    others: Vec<Other>,
    /// Instances without our tag: never touched.
    not_ours: Vec<Instance>,
    /// Providers that could not be asked: they may have more.
    not_asked: Vec<&'static str>,
}

/// A box with our tag that the journal of this machine does not have open: it bills all the same.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Other {
    instance: Instance,
    /// This machine launched it, and gave it up before it came, or took it for gone.
    given_up: bool,
    /// It was a box once: there may be work on it.
    was_ready: bool,
    age_seconds: Option<i64>,
    /// At the price of today.
    cents: Option<u64>,
}

impl Other {
    /// `entry` is that of the journal here, where it has one, as ended.
    fn new(instance: &Instance, entry: Option<&Entry>, now: Timestamp) -> Self {
        let age_seconds = instance.since.map(|since| (now.as_second() - since.as_second()).max(0));
        let cents = age_seconds.zip(instance.cents_per_hour).map(|(age, per_hour)| cents_of(age, per_hour));
        let was_ready = entry.is_some_and(|e| e.ready.is_some());
        Self { instance: instance.clone(), given_up: entry.is_some(), was_ready, age_seconds, cents }
    }
}

/// What the providers answered.
struct Asked(Vec<(&'static str, Result<Vec<Instance>>)>);

impl Asked {
    async fn all(providers: &[Box<dyn Provider>]) -> Self {
        let mut answers = Vec::new();
        for provider in providers {
            answers.push((provider.name(), provider.list().await));
        }
        Self(answers)
    }

    /// The instances of one provider; nothing when it could not be asked.
    fn of(&self, provider: &str) -> Option<&[Instance]> {
        let (_, answer) = self.0.iter().find(|(name, _)| *name == provider)?;
        answer.as_deref().ok()
    }

    fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.0.iter().filter_map(|(_, answer)| answer.as_ref().ok()).flatten()
    }

    /// Those that could not be asked.
    fn silent(&self) -> Vec<&'static str> {
        self.0.iter().filter(|(_, answer)| answer.is_err()).map(|(name, _)| *name).collect()
    }

    /// The first that could not be asked, as the command's error.
    fn failure(self) -> Result<()> {
        self.0.into_iter().try_for_each(|(_, answer)| answer.map(drop))
    }
}

/// Runs `devbox status`.
///
/// # Errors
/// [`Kind::Provider`](crate::error::Kind::Provider) when a provider can't be asked; what the journal
/// knows has been shown by then.
pub async fn run(cx: &Context, args: &Status) -> Result<()> {
    let config = cx.resolved_or_defaults()?;
    let entries = match &args.name {
        Some(name) => vec![cx.chosen(Some(name))?],
        None => cx.journal.open()?,
    };
    let providers = cx.providers(&config)?;
    let asked = Asked::all(&providers).await;
    let mut boxes = Vec::new();
    let mut untold = Ok(());
    for entry in &entries {
        let provider = providers.iter().find(|p| p.name() == entry.provider);
        let found = match (provider, asked.of(&entry.provider)) {
            (Some(provider), Some(instances)) => Some(whereabouts(provider.as_ref(), entry, instances).await),
            _ => None,
        };
        boxes.push(row(cx, &config, entry, found.as_ref()).await);
        if let Some(Err(e)) = found {
            untold = untold.and(Err(e));
        }
    }
    let known = |i: &Instance| {
        entries.iter().any(|e| i.launch == Some(e.launch) || e.instance.as_ref() == Some(&i.id))
    };
    let (mut others, mut not_ours) = (Vec::new(), Vec::new());
    if args.name.is_none() {
        let ended = cx.journal.read()?;
        for instance in asked.instances().filter(|i| !known(i) && !i.status.is_ending()) {
            let entry = ended.iter().find(|e| instance.launch == Some(e.launch));
            match instance.launch {
                Some(_) => others.push(Other::new(instance, entry, Timestamp::now())),
                None => not_ours.push(instance.clone()),
            }
        }
    }
    let document = Document { boxes, others, not_ours, not_asked: asked.silent() };
    if cx.ui.is_json() {
        cx.ui.document(&document);
    } else {
        cx.ui.data(&render(&document));
        if document.boxes.is_empty() && document.others.is_empty() && document.not_asked.is_empty() {
            cx.ui.events.info("no box is up; `devbox up` in a project brings one");
        }
    }
    asked.failure().and(untold).map_err(|e: Error| {
        if entries.is_empty() {
            e
        } else {
            e.hint("what the journal knows is shown above: it may still be billed")
        }
    })
}

/// One launch of the journal. `found` is nothing where the provider could not be asked.
async fn row(cx: &Context, config: &Config, entry: &Entry, found: Option<&Result<Whereabouts>>) -> Row {
    let name = &entry.name;
    let (status, instance) = match found {
        None | Some(Err(_)) => ("unknown".to_owned(), None),
        Some(Ok(Whereabouts::There(instance))) => (instance.status.to_string(), Some(instance.as_ref())),
        Some(Ok(Whereabouts::Unsettled(_))) => ("asked for, does not show yet".to_owned(), None),
        Some(Ok(Whereabouts::Gone)) => ("gone".to_owned(), None),
    };
    let alive = instance.is_some_and(|i| !i.status.is_ending() && i.status != InstanceStatus::Dead);
    let facts = match found {
        None => facts_of(cx, config, entry, instance).await,
        Some(Ok(Whereabouts::There(_))) if alive => facts_of(cx, config, entry, instance).await,
        Some(Ok(Whereabouts::There(_))) => Err("down".to_owned()),
        Some(Ok(Whereabouts::Unsettled(_))) => {
            Err(format!("`devbox up {name}` continues, `devbox down {name}` ends it"))
        }
        Some(Ok(Whereabouts::Gone)) => Err(format!("`devbox down {name}` takes it off this list")),
        Some(Err(e)) => Err(e.to_string()),
    };
    let (ready, state) = match &facts {
        Ok(facts) if facts.is_set_up() => (true, "ready".to_owned()),
        Ok(facts) => match facts.status.failed() {
            Some(step) => (false, format!("{} failed: {}", step.step, step.detail)),
            None => (false, "setting up".to_owned()),
        },
        Err(why) => (false, why.clone()),
    };
    let now = Timestamp::now();
    let facts = facts.ok();
    let recorded = entry.fingerprint.as_ref().map(|f| f.0.clone());
    Row {
        name: entry.name.to_string(),
        status,
        state,
        ready,
        instance: entry.instance.as_ref().or(instance.map(|i| &i.id)).map(|i| i.0.clone()),
        address: entry.address.or(instance.and_then(|i| i.address)).map(|a| a.to_string()),
        project: entry.project.to_string(),
        root: entry.root.display().to_string(),
        system: entry.system.to_string(),
        instance_type: entry.instance_type.clone().or(instance.and_then(|i| i.instance_type.clone())),
        region: entry.region.clone().or(instance.and_then(|i| i.region.clone())),
        volume: entry.volume.to_string(),
        launched: entry.asked,
        age_seconds: now.as_second() - entry.asked.as_second(),
        cents_per_hour: entry.cents_per_hour,
        cents: entry.cents_until(now),
        environment: facts.as_ref().and_then(|f| f.environment.clone()),
        generation: facts.as_ref().map(|f| f.generation),
        fingerprint: facts.as_ref().map_or(recorded, |f| f.fingerprint.as_ref().map(|f| f.0.clone())),
        kernel: facts.as_ref().map(|f| f.kernel.clone()),
        nix: facts.and_then(|f| f.nix),
    }
}

/// Asks a box, or says in a word why that did not work.
async fn facts_of(
    cx: &Context,
    config: &Config,
    entry: &Entry,
    instance: Option<&Instance>,
) -> Result<Facts, String> {
    let address = entry.address.or(instance.and_then(|i| i.address));
    let entry = Entry { address, ..entry.clone() };
    let asked = async {
        let guest = cx.guest(&entry, config).await?;
        facts::ask(&guest, &entry.project).await
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(facts)) => Ok(facts),
        Ok(Err(e)) if entry.ready.is_none() => Err(format!("setting up ({e})")),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(format!("no answer in {} s", PATIENCE.as_secs())),
    }
}

/// Quiet two-column cards. Pure.
fn render(document: &Document) -> String {
    let mut cards = Vec::new();
    for row in &document.boxes {
        let mut lines = vec![row.name.clone()];
        let mut line = |label: &str, value: String| lines.push(format!("  {label:<13}{value}"));
        let word = if row.ready { row.state.clone() } else { format!("{}, {}", row.status, row.state) };
        line("state", word);
        if let (Some(id), address) = (&row.instance, &row.address) {
            let address = address.as_ref().map(|a| format!(" {a}")).unwrap_or_default();
            line(
                "instance",
                format!("{id}{address}{}", place_of(row.instance_type.as_deref(), row.region.as_deref())),
            );
        }
        line("age", render_age(row.age_seconds));
        let cost = render_cost(row.cents, row.cents_per_hour);
        // Nobody knows when it went.
        line("cost", if row.status == "gone" { format!("at most {cost}") } else { cost });
        line("project", format!("{} ({})", row.project, row.root));
        line("volume", format!("{}, {}", row.volume, row.system));
        if let Some(fingerprint) = &row.fingerprint {
            let generation = row.generation.map(|g| format!(", generation {g}")).unwrap_or_default();
            line("environment", format!("{}{generation}", fingerprint.get(..12).unwrap_or(fingerprint)));
        }
        cards.push(lines.join("\n"));
    }
    cards.extend(document.others.iter().map(render_other));
    if !document.not_ours.is_empty() {
        let ids: Vec<_> = document.not_ours.iter().map(|i| format!("{} ({})", i.id, i.status)).collect();
        cards.push(format!("not ours, never touched\n  {}", ids.join("\n  ")));
    }
    cards.iter().map(|card| format!("{card}\n")).collect::<Vec<_>>().join("\n")
}

fn render_other(other: &Other) -> String {
    let Other { instance, given_up, was_ready, age_seconds, cents } = other;
    let mut lines = vec![shown(&instance.name)];
    let mut line = |label: &str, value: String| lines.push(format!("  {label:<13}{value}"));
    let whose = match &instance.launched_from {
        _ if *was_ready => "off the books here, and not ended".to_owned(),
        _ if *given_up => "came after its launch was given up here".to_owned(),
        Some(from) => format!("launched by another machine, `{}`", shown(from)),
        None => "launched by another machine".to_owned(),
    };
    line("state", format!("{}, {whose}", instance.status));
    line(
        "instance",
        format!("{}{}", instance.id, place_of(instance.instance_type.as_deref(), instance.region.as_deref())),
    );
    if let Some(age) = age_seconds {
        line("age", render_age(*age));
    }
    line("cost", render_cost(*cents, instance.cents_per_hour));
    if !instance.volumes.is_empty() {
        line("volume", instance.volumes.join(", "));
    }
    line("end it", format!("devbox down {}{}", instance.id, if *given_up { "" } else { " --force" }));
    lines.join("\n")
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
            root: "/home/me/hello".into(),
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
            kernel: None,
            nix: None,
        };
        let other = |name: &str, launched_from: Option<&str>| Instance {
            id: InstanceId("0920582c7ff041399e34823a0be62549".into()),
            name: name.into(),
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
        let given_up = crate::journal::tests::entry();
        let was_ready = Entry { ready: Some(now), ..given_up.clone() };
        let others = vec![
            Other::new(&other("train", Some("laptop")), None, now),
            Other::new(&other("late\u{1b}[31m", None), Some(&given_up), now),
            Other::new(&other("forgotten", None), Some(&was_ready), now),
        ];
        let document =
            Document { boxes: vec![row], others, not_ours: vec![other("x", None)], not_asked: vec![] };
        insta::assert_snapshot!(render(&document));
    }
}
