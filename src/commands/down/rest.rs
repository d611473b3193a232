//! The part of `down` that keeps what was worked: a box comes to rest before its plug is pulled.

use std::time::Duration;

use crate::cli::Down;
use crate::commands::Context;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::guest::quiesce::{Quiesced, judge, quiesce, render_holders};
use crate::journal::Entry;
use crate::plan::up::is_lost;
use crate::provider::{Instance, InstanceStatus};
use crate::ssh::Guest;
use crate::ui::{Answer, render_seconds};

/// How long a box that is to be ended may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Brings a box to rest, or says what is at risk and asks. Whether it is at rest.
pub(super) async fn rest(
    cx: &Context,
    config: &Config,
    entry: &Entry,
    instance: &Instance,
    args: &Down,
) -> Result<bool> {
    let name = &entry.name;
    if instance.status == InstanceStatus::Dead {
        cx.ui.events.warn(format!(
            "`{name}` runs no more; unless it was shut down in good order, what was not synced to its volume is lost"
        ));
        return Ok(false);
    }
    // What never was a box has nothing to lose.
    if entry.ready.is_none() && (is_lost(instance, entry) || instance.status == InstanceStatus::Booting) {
        cx.ui.events.info(format!("`{name}` is {}, nobody has worked on it yet", instance.status));
        return Ok(false);
    }
    let reached = async {
        let entry = Entry { address: entry.address.or(instance.address), ..entry.clone() };
        let guest = cx.guest(&entry, config).await?;
        if !guest.answers().await {
            guest.wait_for_ssh(PATIENCE, Duration::ZERO, PATIENCE, async || Ok(()), |_| {}).await?;
        }
        Ok::<_, Error>(guest)
    };
    let (answers, failure) = match reached.await {
        Ok(guest) => (true, calm(cx, &guest, args).await.err()),
        Err(e) => (false, Some(e)),
    };
    let Some(e) = failure else { return Ok(true) };
    let risk =
        format!("`{name}` can't be brought to rest; what it has not synced to the volume would be lost");
    if args.force {
        cx.ui.events.warn(format!("{risk}; ending it all the same: {e}"));
        return Ok(false);
    }
    // A box that answers has said what is in the way, and what to do about it; so has this machine.
    if answers || e.kind() != Kind::Guest {
        return Err(e.detail(format!("`{name}` was not ended: nothing was tried")));
    }
    if !answers && !entry.reached && entry.ready.is_none() {
        cx.ui.events.info(format!("`{name}` never took ssh: nobody has worked on it"));
        return Ok(false);
    }
    // `-y` is no consent to a loss: only an answer to this very question is, or `--force`.
    if !args.yes && cx.ui.can_ask() {
        cx.ui.error(&e);
        if cx.ui.confirm(&format!("{risk}. End it all the same?")).await == Answer::Yes {
            return Ok(false);
        }
    }
    Err(Error::new(Kind::Guest, format!("`{name}` was not ended: it could not be brought to rest"))
        .caused_by(e)
        .hint(format!("`devbox down {name} --force` ends it all the same: what is not synced is lost")))
}

/// Brings a box that answers to rest. What is busy is left alone, unless the user says otherwise: then it is named,
/// told, and given some time.
async fn calm(cx: &Context, guest: &Guest, args: &Down) -> Result<()> {
    let events = &cx.ui.events;
    let name = &guest.name;
    let first = quiesce(guest, None, events).await?;
    let in_the_way = match &first {
        Quiesced::Ended { .. } => return Ok(()),
        Quiesced::Busy { by } => render_holders(by).join(", "),
        Quiesced::Damaged { why } | Quiesced::Failed { why, .. } => why.clone(),
    };
    let busy = matches!(first, Quiesced::Busy { .. });
    let damaged = matches!(first, Quiesced::Damaged { .. });
    let agreed = args.force || {
        // `-y` is no consent to a loss.
        let ask = busy && !args.yes && cx.ui.can_ask();
        let question = format!("`{name}` is busy: {in_the_way}. End it? What was not saved is lost.");
        ask && cx.ui.confirm(&question).await == Answer::Yes
    };
    if !agreed {
        return judge(name, first);
    }
    if busy {
        let grace = render_seconds(args.grace.as_duration().as_secs_f64());
        events.warn(format!(
            "ending what is busy, in {grace} at most: {in_the_way}; what was not saved is lost"
        ));
    }
    if damaged {
        events.warn(format!(
            "{in_the_way}: what was written last is not all on the volume, and is lost with this mount of the store"
        ));
    }
    judge(name, quiesce(guest, Some(args.grace.as_duration()), events).await?)
}
