//! `devbox down`: bring a box to rest, end it, say what it cost.

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
use crate::names::{BoxName, InstanceId};
use crate::plan::up::instance_of;
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
    let provider = cx.provider(&config);
    if !args.all {
        if let Some(id) = stranger(cx, provider.as_ref(), args).await? {
            return end_stranger(cx, provider.as_ref(), &id, args).await;
        }
        let entry = cx.chosen(args.name.as_deref())?;
        return down(cx, &config, provider.as_ref(), &entry, args).await;
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
        if let Err(e) = down(cx, &config, provider.as_ref(), entry, args).await {
            match first {
                None => first = Some(e),
                Some(_) => cx.ui.error(&e),
            }
        }
    }
    first.map_or(Ok(()), Err)
}

/// Ends one box of the journal.
async fn down(
    cx: &Context,
    config: &Config,
    provider: &dyn Provider,
    entry: &Entry,
    args: &Down,
) -> Result<()> {
    let name = &entry.name;
    let lock = cx.journal.lock(name, "down", &cx.ui.events).await?;
    // Another devbox may have ended it while we waited.
    if cx.journal.open()?.iter().all(|e| e.launch != entry.launch) {
        return Err(no_such_box(name.as_str()));
    }
    let instances = provider.list().await.map_err(|e| {
        e.hint(format!(
            "the journal has `{name}` as running: it may still be billed; try `devbox down {name}` again"
        ))
    })?;
    let files = Files::new(&cx.paths, name, entry.launch);
    match instance_of(entry, &instances) {
        None => cx.ui.events.info(format!("`{name}` was gone already")),
        Some(instance) => {
            rest(cx, config, entry, instance, args).await?;
            terminate(cx, provider, instance).await?;
        }
    }
    if let Ok(guest) = cx.guest(entry, config).await {
        guest.hang_up().await;
    }
    cx.journal.end(entry)?;
    files.remove()?;
    drop(lock);
    report(cx, entry);
    Ok(())
}

/// Brings a box to rest, or says what is at risk and asks.
async fn rest(cx: &Context, config: &Config, entry: &Entry, instance: &Instance, args: &Down) -> Result<()> {
    let name = &entry.name;
    if instance.status == InstanceStatus::Dead {
        cx.ui.events.warn(format!("`{name}` had died: what was not synced to its volume is lost"));
        return Ok(());
    }
    let reached = async {
        let entry = Entry { address: entry.address.or(instance.address), ..entry.clone() };
        let guest = cx.guest(&entry, config).await?;
        if !guest.is_connected().await {
            guest.wait_for_ssh(PATIENCE, Duration::ZERO, async || Ok(()), |_| {}).await?;
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

/// The id of an instance that carries our tag and is named by its id, and that the journal of this
/// machine does not know.
async fn stranger(cx: &Context, provider: &dyn Provider, args: &Down) -> Result<Option<InstanceId>> {
    let Some(name) = &args.name else { return Ok(None) };
    let open = cx.journal.open()?;
    let known =
        |i: &Instance| open.iter().any(|e| e.instance.as_ref() == Some(&i.id) || i.launch == Some(e.launch));
    if name.parse::<BoxName>().is_ok_and(|name| open.iter().any(|e| e.name == name)) {
        return Ok(None);
    }
    Ok(provider
        .list()
        .await?
        .into_iter()
        .find(|i| i.id.0 == *name && i.launch.is_some() && !known(i))
        .map(|i| i.id))
}

/// Ends an instance that another machine launched: without its host key it can't be brought to rest
/// from here, so that takes `--force` or a yes.
async fn end_stranger(cx: &Context, provider: &dyn Provider, id: &InstanceId, args: &Down) -> Result<()> {
    let risk = format!("{id} was launched by another machine and can't be brought to rest from here");
    let agreed = args.force
        || cx.ui.confirm(&format!("{risk}: what it has not synced is lost. End it?")).await == Answer::Yes;
    if !agreed {
        return Err(
            Error::new(Kind::Guest, risk).hint(format!("`devbox down {id} --force` ends it all the same"))
        );
    }
    let phase = cx.ui.events.phase(Phase::Terminate);
    provider.terminate(id, &cx.ui.events).await?;
    phase.done(id.to_string());
    Ok(())
}

fn report(cx: &Context, entry: &Entry) {
    let now = Timestamp::now();
    let seconds = (now.as_second() - entry.asked.as_second()).max(0);
    let cents = entry.cents_until(now);
    let cost = match cents {
        Some(0) => "free".to_owned(),
        Some(cents) => format!("{}.{:02} USD", cents / 100, cents % 100),
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
