//! `devbox wait`: until a box is ready, or gone.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cli::{Awaited, Wait};
use crate::commands::Context;
use crate::commands::whereabouts::{Whereabouts, whereabouts};
use crate::config::Config;
use crate::config::duration::Timespan;
use crate::error::{Error, Kind, Result};
use crate::guest::bootstrap::failed_step;
use crate::guest::facts;
use crate::journal::Entry;
use crate::names::{LaunchId, shown};
use crate::provider::{InstanceStatus, Provider};

const STEP: Duration = Duration::from_millis(500);

/// Runs `devbox wait`.
///
/// # Errors
/// [`Kind::Guest`] when the time is up, or a box that is to be ready is gone.
pub async fn run(cx: &Context, args: &Wait) -> Result<()> {
    let patience = args.timeout.parse::<Timespan>()?.as_duration();
    let config = cx.resolved()?.config;
    let mut waiting = Waiting { cx, providers: cx.providers(&config)?, config, args, launch: None };
    let name = waiting.name();
    let began = Instant::now();
    let mut last = String::from("it was not asked yet");
    while began.elapsed() < patience {
        match waiting.look(patience.saturating_sub(began.elapsed())).await? {
            Seen::Done => match waiting.at_work_still(name.as_deref())? {
                None => return done(cx, name.as_deref().unwrap_or_default(), args.state),
                Some(who) => last = who,
            },
            Seen::NotYet(why) => last = why,
        }
        tokio::time::sleep(STEP.max(waiting.pace() / 2)).await;
    }
    let (name, state) = (shown(&name.unwrap_or_default()), word(args.state));
    Err(Error::new(Kind::Guest, format!("`{name}` was not {state} within {}", args.timeout))
        .detail(last)
        .hint("`devbox status` tells more"))
}

/// What is waited for, and who is asked.
struct Waiting<'a> {
    cx: &'a Context,
    config: Config,
    providers: Vec<Box<dyn Provider>>,
    args: &'a Wait,
    /// The launch that is to be gone: one that comes after it is another.
    launch: Option<LaunchId>,
}

/// How it looks now.
enum Seen {
    Done,
    NotYet(String),
}

impl Waiting<'_> {
    /// The box that is meant: the named one, or that of the project here.
    fn name(&self) -> Option<String> {
        let of_the_project = || self.config.box_name().ok().map(ToString::to_string);
        self.args.name.clone().or_else(of_the_project)
    }

    fn pace(&self) -> Duration {
        self.providers.iter().map(|p| p.pace()).max().unwrap_or_default()
    }

    async fn look(&mut self, left: Duration) -> Result<Seen> {
        let chosen = match self.launch {
            None => self.cx.find(self.args.name.as_deref())?,
            Some(launch) => {
                match self.cx.launches().into_iter().find(|e| e.is_open() && e.launch == launch) {
                    Some(entry) => Ok(entry),
                    None => return Ok(Seen::Done),
                }
            }
        };
        let entry = match chosen {
            Ok(entry) => entry,
            Err(unknown) => return self.look_without_a_launch(unknown).await,
        };
        if self.args.state == Awaited::Gone {
            self.launch = Some(entry.launch);
        }
        if !self.providers.iter().any(|p| p.name() == entry.provider) {
            self.providers.push(self.cx.provider_named(&entry.provider, &self.config)?);
        }
        let provider = self.providers.iter().find(|p| p.name() == entry.provider);
        let provider = provider.ok_or_else(|| Error::new(Kind::Failed, "there is nobody to ask"))?;
        let instances = provider.list().await?;
        let gone = match whereabouts(provider.as_ref(), &entry, &instances).await? {
            Whereabouts::There(i) => i.status.is_ending() || i.status == InstanceStatus::Dead,
            Whereabouts::Unsettled(_) => false,
            Whereabouts::Gone => true,
        };
        match (self.args.state, gone) {
            (Awaited::Gone, true) => Ok(Seen::Done),
            (Awaited::Gone, false) => Ok(Seen::NotYet("it still runs".to_owned())),
            (Awaited::Ready, true) => match self.at_work(entry.name.as_str())? {
                // It is being replaced.
                Some(who) => Ok(Seen::NotYet(who)),
                None => Err(Error::new(Kind::Guest, format!("`{}` is gone", entry.name))
                    .hint(format!("`devbox up {}`", entry.name))),
            },
            (Awaited::Ready, false) => self.is_ready(&entry, left).await,
        }
    }

    async fn is_ready(&self, entry: &Entry, left: Duration) -> Result<Seen> {
        let asked = async { facts::ask(&self.cx.guest(entry, &self.config).await?, &entry.project).await };
        Ok(match tokio::time::timeout(left, asked).await {
            Ok(Ok(facts)) if facts.is_set_up() => {
                match facts.checks.and_then(|checks| checks.hindrance(&entry.name)) {
                    None => Seen::Done,
                    Some(why) => Seen::NotYet(why),
                }
            }
            Ok(Ok(facts)) => match facts.status.failed() {
                Some(step) => return Err(failed_step(entry.name.as_str(), step)),
                None => Seen::NotYet("it is setting up".to_owned()),
            },
            Ok(Err(e)) => Seen::NotYet(e.to_string()),
            Err(_) => Seen::NotYet("it did not answer".to_owned()),
        })
    }

    /// Which devbox works on the box of this name, and at what.
    fn at_work(&self, name: &str) -> Result<Option<String>> {
        Ok(self.cx.journal.working()?.into_iter().find(|w| w.is_of(name)).map(|w| w.who))
    }

    /// Who may still bring up what is to be gone.
    fn at_work_still(&self, name: Option<&str>) -> Result<Option<String>> {
        match (self.args.state, name) {
            (Awaited::Gone, Some(name)) => self.at_work(name),
            _ => Ok(None),
        }
    }

    /// For a box that the journal does not have open: another devbox may be waiting for capacity, or another machine
    /// have launched it.
    async fn look_without_a_launch(&self, unknown: Error) -> Result<Seen> {
        let Some(name) = self.name() else { return Err(unknown) };
        if let Some(who) = self.at_work(&name)? {
            return Ok(Seen::NotYet(who));
        }
        for provider in &self.providers {
            let there = provider.list().await?.into_iter().find(|i| {
                (i.id.0 == name || i.ours && i.name.eq_ignore_ascii_case(&name)) && !i.status.is_ending()
            });
            match (there, self.args.state) {
                (Some(i), Awaited::Gone) => return Ok(Seen::NotYet(format!("{} is {}", i.id, i.status))),
                (Some(i), Awaited::Ready) => {
                    let what = format!("{} is {}, and was not launched by this machine", i.id, i.status);
                    return Err(Error::new(Kind::Usage, what)
                        .hint("only the machine that launched it can tell whether it is ready"));
                }
                (None, _) => {}
            }
        }
        if self.args.state == Awaited::Gone { Ok(Seen::Done) } else { Err(unknown) }
    }
}

fn word(state: Awaited) -> &'static str {
    match state {
        Awaited::Gone => "gone",
        Awaited::Ready => "ready",
    }
}

fn done(cx: &Context, name: &str, state: Awaited) -> Result<()> {
    if cx.ui.is_json() {
        cx.ui.document(&json!({"box": name, "state": word(state)}));
    }
    Ok(())
}
