//! `devbox down`: bring a box to rest, end it, say what it cost.

mod meant;
mod rest;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::cli::Down;
use crate::commands::Context;
use crate::commands::context::no_such_box;
use crate::commands::whereabouts::{Whereabouts, whereabouts};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::events::Phase;
use crate::failpoint;
use crate::journal::Entry;
use crate::names::{InstanceId, shown};
use crate::plan::cost::{cents_of, render_price};
use crate::plan::up::instance_of;
use crate::provider::{Instance, Provider};
use crate::ssh::host::Files;
use crate::ui::{Answer, render_seconds};

use meant::{Everything, Meant, being_brought_up, everything, meant};
use rest::rest;

/// Runs `devbox down`.
///
/// # Errors
/// [`Kind::Guest`] when a box is busy or can't be brought to rest; it runs on then.
pub async fn run(cx: &Context, args: &Down) -> Result<()> {
    let (config, all_right) = cx.as_far_as_right()?;
    let certain = all_right.and_then(|()| cx.journal_is_whole());
    if args.all {
        return end_everything(cx, &config, args, certain).await;
    }
    let meant = match meant(cx, &config, args).await {
        Ok(meant) => meant,
        // What was not found may be where nobody looked.
        Err(e) => return Err(e.behind(certain)),
    };
    if let Err(e) = certain {
        cx.ui.events.warn(format!("going on without what is wrong: {e}"));
    }
    match meant {
        Meant::Ours(entries) => end_all(cx, &config, &entries, args).await,
        Meant::Stranger(instance, provider) => {
            end_stranger(cx, &instance, provider.as_ref().as_ref(), args).await
        }
    }
}

/// Every box that this machine launched, those that came after they were given up too. What others launched is named.
/// `certain`: whether journal and configuration tell all there may be.
async fn end_everything(cx: &Context, config: &Config, args: &Down, certain: Result<()>) -> Result<()> {
    let Everything { ours: mut entries, strangers, asked } = everything(cx, config).await?;
    let working = cx.journal.working()?;
    // Asked for right now: there is nothing to end yet.
    entries.retain(|e| e.instance.is_some() || working.iter().all(|w| w.name != e.name));
    let at_work = working.iter().find(|w| entries.iter().all(|e| e.name != w.name));
    let all_told = match asked {
        Ok(()) => certain,
        Err(e) => Err(e.hint("what could not be asked may have more that is billed").behind(certain)),
    };
    let all_told = all_told.and(at_work.map_or(Ok(()), |w| Err(being_brought_up(w))));
    if entries.is_empty() {
        name_strangers(cx, &strangers);
        all_told?;
        cx.ui.events.info("this machine has no box up");
        return Ok(());
    }
    let mut names: Vec<_> = entries.iter().map(|e| e.name.to_string()).collect();
    names.dedup();
    let names = names.join(", ");
    match cx.ui.confirm(&format!("End {names}?")).await {
        Answer::Yes => {}
        Answer::No => return Err(Error::new(Kind::Failed, "nothing was ended")),
        Answer::Nobody => {
            return Err(Error::new(Kind::Usage, format!("`--all` would end {names}")).hint(
                "`devbox down --all -y` does it; `--force` says what to do with a busy one, and is no answer",
            ));
        }
    }
    let ended = end_all(cx, config, &entries, args).await;
    name_strangers(cx, &strangers);
    ended.and(all_told)
}

/// Says which boxes with our tag go on, since this machine did not launch them.
fn name_strangers(cx: &Context, strangers: &[Instance]) {
    for instance in strangers {
        let Instance { id, name, status, .. } = instance;
        cx.ui.events.info(format!(
            "`{}` ({id}, {status}) was launched{} and goes on: `devbox down {id} --force` ends it, and what it has not synced is lost",
            shown(name),
            by_whom(cx, instance)
        ));
    }
}

/// ` by another machine (`laptop`)`, as far as that is known.
fn by_whom(cx: &Context, instance: &Instance) -> String {
    let damaged = cx.journal.read_in_part().1;
    if instance.launch.is_some() && damaged.iter().any(|d| d.launch == instance.launch) {
        return " here, its file in the journal is damaged,".to_owned();
    }
    match &instance.launched_from {
        Some(from) => format!(" by another machine (`{}`)", shown(from)),
        None => " by another machine".to_owned(),
    }
}

/// Each of them, whatever becomes of the others. The first failure is the command's.
async fn end_all(cx: &Context, config: &Config, entries: &[Entry], args: &Down) -> Result<()> {
    let mut first = None;
    for entry in entries {
        if let Err(e) = end(cx, config, entry, args).await {
            match first {
                None => first = Some(e),
                Some(_) => cx.ui.error(&e),
            }
        }
    }
    first.map_or(Ok(()), Err)
}

/// Ends one box of the journal. One that the journal has as ended came after it was given up.
async fn end(cx: &Context, config: &Config, wanted: &Entry, args: &Down) -> Result<()> {
    let name = &wanted.name;
    let provider = cx.provider_named(&wanted.provider, config)?;
    let provider = provider.as_ref();
    let lock = cx.journal.lock_or_go_on(name, "down", &cx.ui.events).await?;
    // Another devbox may have ended it while we waited, or learned its id.
    let entry = cx.launches().into_iter().find(|e| e.launch == wanted.launch);
    let entry = match entry {
        Some(entry) if entry.is_open() => entry,
        Some(entry) if !wanted.is_open() => {
            let entry = Entry { ended: None, instance: wanted.instance.clone(), ..entry };
            cx.journal.write(&entry)?;
            entry
        }
        _ => return Err(no_such_box(name.as_str())),
    };
    let files = Files::new(&cx.paths, name, entry.launch);
    if args.forget {
        forget(cx, provider, &entry).await?;
        files.remove()?;
        drop(lock);
        return Ok(());
    }
    let instance = settled(cx, provider, &entry).await?;
    let running = instance.as_ref().filter(|i| !i.status.is_ending());
    let mut rested = false;
    match (running, &instance) {
        (Some(instance), _) if !wanted.is_open() && entry.ready.is_none() => {
            cx.ui
                .events
                .info(format!("{} came after its launch was given up: nobody has worked on it", instance.id));
            terminate(cx, provider, instance).await?;
        }
        (Some(instance), _) => {
            rested = rest(cx, config, &entry, instance, args).await?;
            failpoint::hit("rested");
            terminate(cx, provider, instance).await?;
        }
        (None, Some(instance)) => cx.ui.events.info(format!("`{name}` is {} already", instance.status)),
        (None, None) if entry.instance.is_none() => {
            cx.ui.events.info(format!("no instance came of the launch of `{name}`"));
        }
        (None, None) => cx.ui.events.info(format!("`{name}` was gone already")),
    }
    if let Ok(guest) = cx.guest(&entry, config).await {
        guest.hang_up().await;
    }
    let was_gone = running.is_none();
    // The id is part of what a launch cost, also when only its tag was known.
    let entry = Entry { instance: entry.instance.clone().or(instance.map(|i| i.id)), rested, ..entry };
    failpoint::hit("ended");
    cx.journal.end(&entry).map_err(|e| {
        e.detail(format!("`{name}` has been ended, only the journal does not know it yet"))
            .hint(format!("`devbox down {name}` writes it down as soon as there is room"))
    })?;
    files.remove()?;
    drop(lock);
    report(cx, &entry, was_gone);
    Ok(())
}

/// The instance of a launch. One that was asked for a moment ago and not answered may show yet: it is waited for, or
/// it would bill unseen.
async fn settled(cx: &Context, provider: &dyn Provider, entry: &Entry) -> Result<Option<Instance>> {
    let name = &entry.name;
    let mut said = false;
    loop {
        let instances = provider.list().await.map_err(|e| {
            e.hint(format!(
                "the journal has `{name}` as running: it may still be billed; try `devbox down {name}` again"
            ))
        })?;
        let until = match whereabouts(provider, entry, &instances).await? {
            Whereabouts::There(instance) => return Ok(Some(*instance)),
            Whereabouts::Gone => return Ok(None),
            Whereabouts::Unsettled(until) => until,
        };
        let left = Duration::try_from(Timestamp::now().duration_until(until)).unwrap_or_default();
        if !said {
            said = true;
            cx.ui.events.info(format!(
                "the launch of `{name}` does not show yet: looking for its instance for {} s more",
                left.as_secs() + 1
            ));
        }
        tokio::time::sleep(left.clamp(Duration::from_millis(50), Duration::from_secs(5))).await;
    }
}

async fn terminate(cx: &Context, provider: &dyn Provider, instance: &Instance) -> Result<()> {
    let phase = cx.ui.events.phase(Phase::Terminate);
    provider.terminate(&instance.id, &cx.ui.events).await?;
    phase.done(instance.id.to_string());
    Ok(())
}

/// Takes a launch off the books without ending anything, because the user is certain that it is gone. What shows as
/// running is not.
async fn forget(cx: &Context, provider: &dyn Provider, entry: &Entry) -> Result<()> {
    let name = &entry.name;
    match provider.list().await {
        Ok(instances) => {
            if let Some(i) = instance_of(entry, &instances).filter(|i| !i.status.is_ending()) {
                return Err(Error::new(
                    Kind::Usage,
                    format!("`{name}` is {} and billed ({}): it was not forgotten", i.status, i.id),
                )
                .hint(format!("`devbox down {name}` ends it")));
            }
        }
        Err(e) => cx.ui.events.warn(format!("nobody could be asked: {e}")),
    }
    cx.journal.end(entry)?;
    let id =
        entry.instance.as_ref().map_or_else(|| "what came of its launch".to_owned(), ToString::to_string);
    cx.ui.events.warn(format!("`{name}` is off the books, and was not ended: if {id} runs, it is billed"));
    Ok(())
}

/// Ends an instance that another machine launched: without its host key it can't be brought to rest from here, so
/// that takes `--force` or a yes.
async fn end_stranger(cx: &Context, instance: &Instance, provider: &dyn Provider, args: &Down) -> Result<()> {
    let id = &instance.id;
    let name = shown(&instance.name);
    if args.forget {
        return Err(Error::new(Kind::Usage, format!("{id} (`{name}`) is not on the books of this machine"))
            .hint(format!("`devbox down {id}` ends it")));
    }
    let risk = format!(
        "{id} (`{name}`) was launched{} and can't be brought to rest from here",
        by_whom(cx, instance)
    );
    if args.force {
        cx.ui.events.warn(format!("{risk}: what it has not synced to its volume is lost"));
    } else if !consents_to_loss(cx, args, &risk).await {
        return Err(Error::new(Kind::Guest, risk).hint(format!(
            "`devbox down {id} --force` ends it all the same: what it has not synced to its volume is lost"
        )));
    }
    terminate(cx, provider, instance).await?;
    let seconds = instance.since.map(seconds_since);
    let cents = seconds.zip(instance.cents_per_hour).map(|(seconds, cents)| cents_of(seconds, cents));
    let lived = seconds.map(|s| format!("; it ran for {}", render_age(s))).unwrap_or_default();
    cx.ui.events.info(format!("{id} (`{name}`) is down{lived}, {}", render_cost(cents)));
    result(cx, &name, Some(id), seconds, cents);
    Ok(())
}

/// `-y` is no consent to a loss: only an answer to this very question is.
async fn consents_to_loss(cx: &Context, args: &Down, risk: &str) -> bool {
    let question = format!("{risk}: what it has not synced to its volume is lost. End it?");
    !args.yes && cx.ui.can_ask() && cx.ui.confirm(&question).await == Answer::Yes
}

fn seconds_since(then: Timestamp) -> i64 {
    (Timestamp::now().as_second() - then.as_second()).max(0)
}

fn render_age(seconds: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "seconds since a launch")]
    render_seconds(seconds as f64)
}

fn render_cost(cents: Option<u64>) -> String {
    match cents {
        Some(0) => "free".to_owned(),
        Some(cents) => render_price(cents),
        None => "cost unknown".to_owned(),
    }
}

/// What a box cost. Nobody knows when one that was gone already went: until now at most.
fn report(cx: &Context, entry: &Entry, was_gone: bool) {
    let seconds = seconds_since(entry.asked);
    let cents = entry.cents_until(Timestamp::now());
    let at_most = if was_gone { "at most " } else { "" };
    let ran = match &entry.instance {
        Some(_) if cents == Some(0) => format!("it ran for {at_most}{}, free", render_age(seconds)),
        Some(_) => format!("it ran for {at_most}{}, {at_most}{}", render_age(seconds), render_cost(cents)),
        None => "nothing was billed".to_owned(),
    };
    cx.ui.events.info(format!("`{}` is down; {ran}; its volume `{}` stays", entry.name, entry.volume));
    result(cx, entry.name.as_str(), entry.instance.as_ref(), Some(seconds), cents);
}

fn result(cx: &Context, name: &str, id: Option<&InstanceId>, seconds: Option<i64>, cents: Option<u64>) {
    cx.ui.result("down", json!({"box": name, "instance": id, "seconds": seconds, "cents": cents}));
}
