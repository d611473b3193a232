//! `devbox wait`: until a box is ready, or gone.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cli::{Awaited, Wait};
use crate::commands::Context;
use crate::commands::whereabouts::{Whereabouts, whereabouts};
use crate::config::duration::Timespan;
use crate::error::{Error, Kind, Result};
use crate::guest::facts;
use crate::provider::InstanceStatus;

const STEP: Duration = Duration::from_millis(500);

/// Runs `devbox wait`.
///
/// # Errors
/// [`Kind::Guest`] when the time is up, or a box that is to be ready is gone.
pub async fn run(cx: &Context, args: &Wait) -> Result<()> {
    let patience = args.timeout.parse::<Timespan>()?.as_duration();
    let entry = match cx.chosen(args.name.as_deref()) {
        Ok(entry) => entry,
        // What no journal knows and no name is wrong about is gone.
        Err(e) if args.state == Awaited::Gone && e.message().starts_with("no box called") => {
            return done(cx, args.name.as_deref().unwrap_or_default(), args.state);
        }
        Err(e) => return Err(e),
    };
    let config = cx.resolved()?.config;
    let provider = cx.provider_named(&entry.provider, &config)?;
    let name = &entry.name;
    let began = Instant::now();
    let mut last = String::from("it was not asked yet");
    while began.elapsed() < patience {
        let entry = cx.journal.open()?.into_iter().find(|e| e.launch == entry.launch);
        let instances = provider.list().await?;
        let gone = match &entry {
            None => true,
            Some(entry) => match whereabouts(provider.as_ref(), entry, &instances).await? {
                Whereabouts::There(i) => i.status.is_ending() || i.status == InstanceStatus::Dead,
                Whereabouts::Unsettled(_) => false,
                Whereabouts::Gone => true,
            },
        };
        match (args.state, entry, gone) {
            (Awaited::Gone, _, true) => return done(cx, name.as_str(), args.state),
            (Awaited::Gone, ..) => "it still runs".clone_into(&mut last),
            (Awaited::Ready, _, true) | (Awaited::Ready, None, _) => {
                return Err(
                    Error::new(Kind::Guest, format!("`{name}` is gone")).hint(format!("`devbox up {name}`"))
                );
            }
            (Awaited::Ready, Some(entry), false) => {
                let asked = async { facts::ask(&cx.guest(&entry, &config).await?, &entry.project).await };
                match tokio::time::timeout(patience.saturating_sub(began.elapsed()), asked).await {
                    Ok(Ok(facts)) if facts.is_set_up() => return done(cx, name.as_str(), args.state),
                    Ok(Ok(facts)) => match facts.status.failed() {
                        Some(step) => return Err(crate::guest::bootstrap::failed_step(name.as_str(), step)),
                        None => "it is setting up".clone_into(&mut last),
                    },
                    Ok(Err(e)) => last = e.to_string(),
                    Err(_) => "it did not answer".clone_into(&mut last),
                }
            }
        }
        tokio::time::sleep(STEP.max(provider.pace() / 2)).await;
    }
    let state = if args.state == Awaited::Gone { "gone" } else { "ready" };
    Err(Error::new(Kind::Guest, format!("`{name}` was not {state} within {}", args.timeout))
        .detail(last)
        .hint("`devbox status` tells more"))
}

fn done(cx: &Context, name: &str, state: Awaited) -> Result<()> {
    if cx.ui.is_json() {
        let state = if state == Awaited::Gone { "gone" } else { "ready" };
        cx.ui.document(&json!({"box": name, "state": state}));
    }
    Ok(())
}
