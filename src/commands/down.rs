//! `devbox down`: bring a box to rest, end it, say what it cost.

use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::cli::Down;
use crate::commands::Context;
use crate::commands::context::no_such_box;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::events::Phase;
use crate::guest::quiesce::quiesce;
use crate::journal::Entry;
use crate::plan::cost::render_price;
use crate::plan::up::{instance_of, is_lost, unsettled_until};
use crate::provider::{Instance, InstanceStatus, Provider};
use crate::ssh::host::Files;
use crate::ui::{Answer, render_seconds};

/// How long a box that is to be ended may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `devbox down`.
///
/// # Errors
/// [`Kind::Guest`] when a box is busy or can't be brought to rest; it runs on then.
pub async fn run(cx: &Context, args: &Down) -> Result<()> {
    let config = cx.resolved_or_defaults()?;
    if !args.all {
        return match meant(cx, &config, args).await? {
            Meant::Journaled(entry) => down(cx, &config, &entry, args).await,
            Meant::Stranger(instance, provider) => {
                end_stranger(cx, &instance, provider.as_ref().as_ref(), args).await
            }
        };
    }
    let open = cx.journal.open()?;
    if open.is_empty() {
        cx.ui.events.info("this machine has no box up");
        return Ok(());
    }
    let names: Vec<_> = open.iter().map(|e| e.name.to_string()).collect();
    let question = format!("End {}?", names.join(", "));
    match cx.ui.confirm(&question).await {
        Answer::Yes => {}
        Answer::No => return Err(Error::new(Kind::Failed, "nothing was ended")),
        Answer::Nobody if args.force => {}
        Answer::Nobody => {
            return Err(Error::new(Kind::Usage, format!("`--all` would end {}", names.join(", ")))
                .hint("`devbox down --all -y` does it"));
        }
    }
    let mut first = None;
    for entry in &open {
        if let Err(e) = down(cx, &config, entry, args).await {
            match first {
                None => first = Some(e),
                Some(_) => cx.ui.error(&e),
            }
        }
    }
    first.map_or(Ok(()), Err)
}

/// Ends one box of the journal.
async fn down(cx: &Context, config: &Config, entry: &Entry, args: &Down) -> Result<()> {
    let name = &entry.name;
    let provider = cx.provider_named(&entry.provider, config)?;
    let provider = provider.as_ref();
    let lock = cx.journal.lock(name, "down", &cx.ui.events).await?;
    // Another devbox may have ended it while we waited, or learned its id.
    let Some(entry) = cx.journal.open()?.into_iter().find(|e| e.launch == entry.launch) else {
        return Err(no_such_box(name.as_str()));
    };
    let entry = &entry;
    let instance = instance_to_end(cx, provider, entry).await.map_err(|e| {
        e.hint(format!(
            "the journal has `{name}` as running: it may still be billed; try `devbox down {name}` again"
        ))
    })?;
    let files = Files::new(&cx.paths, name, entry.launch);
    match &instance {
        None => cx.ui.events.info(format!("`{name}` was gone already")),
        Some(instance) if instance.status.is_ending() => {
            cx.ui.events.info(format!("`{name}` is {} already", instance.status));
        }
        Some(instance) => {
            rest(cx, config, entry, instance, args).await?;
            terminate(cx, provider, instance).await?;
        }
    }
    if let Ok(guest) = cx.guest(entry, config).await {
        guest.hang_up().await;
    }
    // The id is part of what a launch cost, also when only its tag was known.
    let entry = &Entry { instance: entry.instance.clone().or(instance.map(|i| i.id)), ..entry.clone() };
    cx.journal.end(entry)?;
    files.remove()?;
    drop(lock);
    report(cx, entry);
    Ok(())
}

/// The instance of a launch. One whose launch was asked for a moment ago and not answered may show yet: it is
/// waited for, or it would bill unseen.
async fn instance_to_end(cx: &Context, provider: &dyn Provider, entry: &Entry) -> Result<Option<Instance>> {
    let mut said = false;
    loop {
        let instances = provider.list().await?;
        let found = instance_of(entry, &instances).cloned();
        let until = unsettled_until(entry, Timestamp::now(), provider.settle_time());
        let (None, Some(until)) = (&found, until) else { return Ok(found) };
        let left = Duration::try_from(Timestamp::now().duration_until(until)).unwrap_or_default();
        if !said {
            said = true;
            cx.ui.events.info(format!(
                "the launch of `{}` was not answered: looking for its instance for {} s more",
                entry.name,
                left.as_secs() + 1
            ));
        }
        tokio::time::sleep(left.clamp(Duration::from_millis(50), Duration::from_secs(5))).await;
    }
}

/// Brings a box to rest, or says what is at risk and asks.
async fn rest(cx: &Context, config: &Config, entry: &Entry, instance: &Instance, args: &Down) -> Result<()> {
    let name = &entry.name;
    if instance.status == InstanceStatus::Dead {
        cx.ui.events.warn(format!("`{name}` had died: what was not synced to its volume is lost"));
        return Ok(());
    }
    // What never was a box has nothing to lose.
    if entry.ready.is_none() && (is_lost(instance, entry) || instance.status == InstanceStatus::Booting) {
        cx.ui.events.info(format!("`{name}` is {}, nobody has worked on it yet", instance.status));
        return Ok(());
    }
    let reached = async {
        let entry = Entry { address: entry.address.or(instance.address), ..entry.clone() };
        let guest = cx.guest(&entry, config).await?;
        if !guest.is_connected().await {
            guest.wait_for_ssh(PATIENCE, Duration::ZERO, PATIENCE, async || Ok(()), |_| {}).await?;
        }
        Ok::<_, Error>(guest)
    };
    let (answers, failure) = match reached.await {
        Ok(guest) => (true, quiesce(&guest, args.force, &cx.ui.events).await.err()),
        Err(e) => (false, Some(e)),
    };
    let Some(e) = failure else { return Ok(()) };
    let risk =
        format!("`{name}` can't be brought to rest; what it has not synced to the volume would be lost");
    if args.force {
        cx.ui.events.warn(format!("{risk}; ending it all the same: {e}"));
        return Ok(());
    }
    // A box that answers has said what is in the way, and what to do about it.
    if answers {
        return Err(e);
    }
    // `-y` is no consent to a loss: only an answer to this very question is, or `--force`.
    if !args.yes && cx.ui.can_ask() {
        cx.ui.error(&e);
        if cx.ui.confirm(&format!("{risk}. End it all the same?")).await == Answer::Yes {
            return Ok(());
        }
    }
    Err(Error::new(Kind::Guest, format!("`{name}` was not ended: it could not be brought to rest"))
        .caused_by(e)
        .hint(format!("`devbox down {name} --force` ends it all the same: what is not synced is lost")))
}

async fn terminate(cx: &Context, provider: &dyn Provider, instance: &Instance) -> Result<()> {
    let phase = cx.ui.events.phase(Phase::Terminate);
    provider.terminate(&instance.id, &cx.ui.events).await?;
    phase.done(instance.id.to_string());
    Ok(())
}

/// What is to be ended.
enum Meant {
    /// A box that the journal of this machine has open.
    Journaled(Box<Entry>),
    /// An instance with our tag that it has not: another machine's, or one that came after it was given up.
    Stranger(Box<Instance>, Rc<Box<dyn Provider>>),
}

/// What is meant: a box of the journal; else an instance by its exact id; else one by its name, whatever its case.
///
/// # Errors
/// [`Kind::Usage`] when there is none, it is not ours, or several could be meant.
async fn meant(cx: &Context, config: &Config, args: &Down) -> Result<Meant> {
    let of_journal = cx.chosen(args.name.as_deref());
    let (Some(name), Err(unknown)) = (&args.name, &of_journal) else {
        return of_journal.map(|entry| Meant::Journaled(Box::new(entry)));
    };
    let mut instances = Vec::new();
    for provider in cx.providers(config)? {
        let provider = Rc::new(provider);
        let all = provider.list().await.map_err(|e| e.detail(unknown.to_string()))?;
        instances.extend(all.into_iter().map(|instance| (instance, Rc::clone(&provider))));
    }
    instances.retain(|(i, _)| !i.status.is_ending());
    if instances.iter().any(|(i, _)| i.id.0 == *name) {
        instances.retain(|(i, _)| i.id.0 == *name);
    } else {
        instances.retain(|(i, _)| i.launch.is_some() && i.name.eq_ignore_ascii_case(name));
    }
    if instances.len() > 1 {
        return Err(Error::new(Kind::Usage, format!("{} instances are called `{name}`", instances.len()))
            .details(instances.iter().map(|(i, _)| format!("{}  ({}, {})", i.id, i.name, i.status)))
            .hint("name one of them by its id"));
    }
    let Some((instance, provider)) = instances.pop() else {
        return of_journal.map(|entry| Meant::Journaled(Box::new(entry)));
    };
    if instance.launch.is_none() {
        return Err(Error::new(
            Kind::Usage,
            format!("{} is not ours: it carries no tag of devbox", instance.id),
        )
        .hint("devbox never touches it; end it where it was launched"));
    }
    // After a lost answer the journal has it without its id.
    match cx.journal.open()?.into_iter().find(|e| instance.launch == Some(e.launch)) {
        Some(entry) => Ok(Meant::Journaled(Box::new(entry))),
        None => Ok(Meant::Stranger(Box::new(instance), provider)),
    }
}

/// Ends an instance that the journal here does not have open: without its host key it can't be brought to rest
/// from here, so that takes `--force` or a yes.
async fn end_stranger(cx: &Context, instance: &Instance, provider: &dyn Provider, args: &Down) -> Result<()> {
    let id = &instance.id;
    let ours = cx.journal.read()?.iter().any(|e| instance.launch == Some(e.launch));
    let whose = match &instance.launched_from {
        _ if ours => "came after it was given up here".to_owned(),
        Some(from) => format!("was launched by another machine (`{from}`)"),
        None => "was launched by another machine".to_owned(),
    };
    let risk = format!("{id} (`{}`) {whose} and can't be brought to rest from here", instance.name);
    let agreed = args.force
        || cx.ui.confirm(&format!("{risk}: what it has not synced is lost. End it?")).await == Answer::Yes;
    if !agreed {
        return Err(
            Error::new(Kind::Guest, risk).hint(format!("`devbox down {id} --force` ends it all the same"))
        );
    }
    terminate(cx, provider, instance).await
}

fn report(cx: &Context, entry: &Entry) {
    let now = Timestamp::now();
    let seconds = (now.as_second() - entry.asked.as_second()).max(0);
    let cents = entry.cents_until(now);
    let cost = match cents {
        Some(0) => "free".to_owned(),
        Some(cents) => render_price(cents),
        None => "cost unknown".to_owned(),
    };
    #[expect(clippy::cast_precision_loss, reason = "seconds since a launch")]
    let lived = render_seconds(seconds as f64);
    cx.ui.events.info(format!(
        "`{}` is down; it ran for {lived}, {cost}; its volume `{}` stays",
        entry.name, entry.volume
    ));
    cx.ui.result(
        "down",
        json!({"box": entry.name, "instance": entry.instance, "seconds": seconds, "cents": cents}),
    );
}
