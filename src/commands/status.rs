//! `devbox status`: the boxes of this machine, asked live.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Status;
use crate::commands::Context;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::guest::facts::{self, Facts};
use crate::journal::Entry;
use crate::plan::up::instance_of;
use crate::provider::{Instance, InstanceStatus};
use crate::ui::render_seconds;

/// How long one box may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A box as `status` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    name: String,
    /// What the provider says; `gone` when it knows of no such instance, `unknown` when it can't be asked.
    status: String,
    /// `ready`, `setting up`, `unreachable`, or why not.
    state: String,
    ready: bool,
    instance: Option<String>,
    address: Option<String>,
    project: String,
    root: String,
    system: String,
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
struct Document {
    boxes: Vec<Row>,
    /// Instances with our tag that the journal of this machine does not know.
    others: Vec<Instance>,
}

/// Runs `devbox status`.
///
/// # Errors
/// [`Kind::Provider`](crate::error::Kind::Provider) when the provider can't be asked; what the journal
/// knows has been shown by then.
pub async fn run(cx: &Context, args: &Status) -> Result<()> {
    let config = cx.resolved_or_defaults()?;
    let entries = match &args.name {
        Some(name) => vec![cx.chosen(Some(name))?],
        None => cx.journal.open()?,
    };
    let provider = cx.provider(&config);
    let asked = provider.list().await;
    let instances = asked.as_ref().ok();
    let mut boxes = Vec::new();
    for entry in &entries {
        boxes.push(row(cx, &config, entry, instances.map(Vec::as_slice)).await);
    }
    let ours = |i: &Instance| {
        entries.iter().any(|e| i.launch == Some(e.launch) || e.instance.as_ref() == Some(&i.id))
    };
    let others: Vec<Instance> = match (&args.name, instances) {
        (None, Some(instances)) => {
            instances.iter().filter(|i| i.launch.is_some() && !ours(i)).cloned().collect()
        }
        _ => Vec::new(),
    };
    let document = Document { boxes, others };
    if cx.ui.is_json() {
        cx.ui.document(&document);
    } else {
        cx.ui.data(&render(&document));
        if document.boxes.is_empty() && document.others.is_empty() {
            cx.ui.events.info("no box is up; `devbox up` in a project brings one");
        }
    }
    asked.map(|_| ()).map_err(|e: Error| {
        if entries.is_empty() {
            e
        } else {
            e.hint("what the journal knows is shown above: it may still be billed")
        }
    })
}

async fn row(cx: &Context, config: &Config, entry: &Entry, instances: Option<&[Instance]>) -> Row {
    let instance = instances.and_then(|all| instance_of(entry, all));
    let status = match (instances, instance) {
        (None, _) => "unknown".to_owned(),
        (Some(_), None) => "gone".to_owned(),
        (Some(_), Some(instance)) => instance.status.to_string(),
    };
    let alive =
        instance.is_some_and(|i| !matches!(i.status, InstanceStatus::Dead | InstanceStatus::Terminated));
    let facts = if alive || instances.is_none() {
        facts_of(cx, config, entry, instance).await
    } else {
        Err("down".to_owned())
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
            line(
                "instance",
                format!("{id} {}", address.as_deref().unwrap_or_default()).trim_end().to_owned(),
            );
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds since a launch")]
        line("age", render_seconds(row.age_seconds.max(0) as f64));
        line("cost", render_cost(row.cents, row.cents_per_hour));
        line("project", format!("{} ({})", row.project, row.root));
        line("volume", format!("{}, {}", row.volume, row.system));
        if let Some(fingerprint) = &row.fingerprint {
            let generation = row.generation.map(|g| format!(", generation {g}")).unwrap_or_default();
            line("environment", format!("{}{generation}", fingerprint.get(..12).unwrap_or(fingerprint)));
        }
        cards.push(lines.join("\n"));
    }
    for other in &document.others {
        cards.push(format!(
            "{}\n  {:<13}{}, launched by another machine\n  {:<13}{}",
            other.name, "state", other.status, "instance", other.id
        ));
    }
    cards.iter().map(|card| format!("{card}\n")).collect::<Vec<_>>().join("\n")
}

fn render_cost(cents: Option<u64>, per_hour: Option<u32>) -> String {
    match (cents, per_hour) {
        (Some(0), Some(0)) => "free".to_owned(),
        (Some(cents), Some(per_hour)) => {
            format!(
                "{}.{:02} USD, {}.{:02} USD an hour",
                cents / 100,
                cents % 100,
                per_hour / 100,
                per_hour % 100
            )
        }
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            system: "x86_64-linux".into(),
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
        insta::assert_snapshot!(render(&Document { boxes: vec![row], others: vec![] }), @r"
        hello
          state        ready
          instance     local-0123 10.77.0.2
          age          1 h 2 min
          cost         1.54 USD, 1.49 USD an hour
          project      hello (/home/me/hello)
          volume       devbox, x86_64-linux
          environment  0123456789ab, generation 3
        ");
    }
}
