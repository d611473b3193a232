//! `devbox up`: from a flake to a box with its dev shell.

mod build;
mod bytes;
mod checks;
mod choose;
mod foresee;
mod launch;
mod locked;
mod machine;
mod rates;
mod reach;
mod report;
mod settle;

pub use report::still_running;

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::cli::Up;
use crate::commands::Context;
use crate::config::Config;
use crate::config::project::Project;
use crate::error::{Error, Kind, Result};
use crate::events::Phase;
use crate::failpoint;
use crate::guest::facts::Facts;
use crate::guest::{activate, facts};
use crate::journal::{Entry, Lock};
use crate::names::{BoxName, LaunchId, ProjectName, System};
use crate::nix::environment::{self, Evaluated, GUEST_NIX, Made, realise};
use crate::nix::listing::hex_sha256;
use crate::nix::{self, Environment};
use crate::plan::build::Place;
use crate::plan::show::{plan_document, render_plan};
use crate::plan::up::Source;
use crate::plan::{UpPlan, Wanted, plan_up};
use crate::process::shell_quote;
use crate::provider::Provider;
use crate::ssh::Guest;
use crate::ssh::keys::{self, SigningKey};
use crate::transfer::{Moved, NixCopy, transfer};

use choose::Sites;
use locked::Locked;

/// All that the story needs to know.
struct Story<'a> {
    cx: &'a Context,
    project: Project,
    project_name: ProjectName,
    config: Config,
    provider: Box<dyn Provider>,
    wanted: Wanted,
    locked: Locked,
    /// The right to change the box; who only looks needs none.
    lock: Option<Lock>,
    /// The command as it was typed, in short, for hints.
    typed: String,
    signing: SigningKey,
    /// Whether a billable call is under way whose answer is not on disk yet.
    asking: Cell<bool>,
    /// Launches of this story that were given up unanswered: their instances may come yet.
    given_up: RefCell<Vec<LaunchId>>,
    /// Whether the environment has been evaluated: before that nothing is paid for.
    evaluated: watch::Sender<bool>,
}

/// A box that is up.
struct BoxUp {
    guest: Guest,
    entry: Entry,
    facts: Facts,
}

/// Runs `devbox up`.
///
/// # Errors
/// See the exit codes; a box that runs by then is named, with the command that ends it.
pub async fn run(cx: &Context, args: &Up) -> Result<()> {
    let (project, mut config, chosen) = cx.project_with(&args.assignments())?;
    let name: BoxName = match &args.name {
        Some(name) => name.to_ascii_lowercase().parse()?,
        None => config.box_name()?.clone(),
    };
    nix::version::installed().await?;
    let lock = match args.dry_run {
        true => None,
        false => {
            let lock = cx.journal.lock(&name, "up", &cx.ui.events).await;
            Some(lock.map_err(|e| still_running(cx, &name, e))?)
        }
    };
    let runs = cx.journal.of_box(&name)?;
    if let Some(entry) = runs.as_ref().filter(|e| config.name.as_ref() != Some(&e.project)) {
        return Err(refuse_another_project(entry));
    }
    let (provider, wanted) = match &runs {
        // A box that runs is where it is, unless somebody says where it should be.
        Some(entry) if !chosen => {
            config.box_.preset.clone_from(&entry.preset);
            let volumes =
                if entry.provider == "local" { config.volume.name.clone() } else { entry.volume.clone() };
            (cx.provider_named(&entry.provider, &config)?, (Vec::new(), vec![volumes]))
        }
        _ => {
            let provider = cx.provider(&config)?;
            if let (Some(preset), "local") = (&args.preset, provider.name()) {
                return Err(Error::new(
                    Kind::Usage,
                    format!("`--preset {preset}` needs a cloud, and `box.provider` is `local`"),
                )
                .hint("take `provider` out of the configuration, or add `--set box.provider=lambda`"));
            }
            let wish = choose::wish(&config, provider.name())?;
            (provider, (wish.instance_types, wish.volumes))
        }
    };
    provider.check().await?;
    let story = Story {
        cx,
        project_name: config.project_name()?.clone(),
        wanted: Wanted {
            name: name.clone(),
            provider: provider.name().to_owned(),
            instance_types: wanted.0,
            volumes: wanted.1,
        },
        locked: Locked::read(&project, args.locked)?,
        lock,
        typed: typed(cx, args),
        signing: keys::signing(&cx.paths).await?,
        project,
        config,
        provider,
        asking: Cell::new(false),
        given_up: RefCell::default(),
        evaluated: watch::Sender::new(false),
    };
    let told = story.tell(args).await;
    drop(story);
    if args.dry_run {
        return told;
    }
    told.map_err(|e| still_running(cx, &name, e))
}

/// A box has the environment of the project that it was launched for.
fn refuse_another_project(entry: &Entry) -> Error {
    let Entry { name, project, root, .. } = entry;
    let root = shell_quote(&root.display().to_string());
    Error::new(Kind::Usage, format!("`{name}` is up, and is the box of the project `{project}`")).hint(
        format!("`devbox -C {root} up {name}` continues it; `devbox up OTHER-NAME` brings up another box"),
    )
}

/// The command again, without the options that say neither which box nor whom to ask.
fn typed(cx: &Context, args: &Up) -> String {
    let preset = args.preset.as_ref().map(|preset| format!("--preset {preset}"));
    let words: Vec<_> = ["up".to_owned()].into_iter().chain(args.name.clone()).chain(preset).collect();
    cx.again(&words.join(" "))
}

impl Story<'_> {
    /// Tells whoever looks what is being done.
    fn say(&self, doing: &str) {
        if let Some(lock) = &self.lock {
            lock.say(doing);
        }
    }

    async fn tell(&self, args: &Up) -> Result<()> {
        if args.dry_run {
            return self.show().await;
        }
        let plan = self.decide().await?;
        self.tidy(&plan).await?;
        let sites = match plan.source {
            Source::Running { .. } => None,
            _ => Some(self.sites(&plan).await?),
        };
        let system = self.system(&plan, sites.as_ref())?;
        self.demand_lock(system)?;
        let sites = match sites {
            Some(sites) => Some(self.agreed(sites).await?),
            None => None,
        };

        let place = self.place(system).await?;
        let (made, up) = self.side_by_side(&plan, sites.as_ref(), system, &place).await?;
        self.seed(made.guest_nix(), &up).await?;
        let environment = self.realised(made, &up).await?;
        let environment = self.with_locked_bytes(environment, &up).await?;
        let (moved, facts) = self.bring(&environment, &up).await?;
        let machine = self.note_machine(&up.guest, &up.entry, &facts, &environment.fingerprint).await;
        let entry = Entry {
            machine: Some(machine),
            ready: up.entry.ready.or_else(|| Some(Timestamp::now())),
            fingerprint: Some(environment.fingerprint.clone()),
            ..up.entry.clone()
        };
        if entry != up.entry {
            failpoint::hit("ready");
            self.cx.journal.write(&entry)?;
        }
        self.write_lock(&environment).await?;
        if args.fetch {
            self.fetch(&environment, &up).await?;
        }
        self.check(&up, &facts, &environment.fingerprint, args.check).await?;
        self.report(&entry);
        self.offer_include().await?;
        self.result(&environment, &entry, moved, facts.generation);
        Ok(())
    }

    /// `--dry-run`: the plan, and nothing done.
    async fn show(&self) -> Result<()> {
        let plan = plan_up(&self.wanted, &self.look().await?)?;
        let sites = match plan.source {
            Source::Running { .. } => None,
            _ => Some(self.sites(&plan).await?),
        };
        let system = self.system(&plan, sites.as_ref())?;
        self.demand_lock(system)?;
        let creates = sites.as_ref().is_some_and(|s| s.placements.create.is_some());
        let ahead = self.foresee(system, &plan, creates).await?;
        let placements = sites.as_ref().map(|s| &s.placements);
        let offers = sites.as_ref().map_or(&[][..], |s| &s.market.offers);
        let root = self.project.root.display().to_string();
        let mut lines = ahead.before(&self.config.environment.shell, &root);
        lines.extend(render_plan(&self.wanted, &plan, placements, offers));
        lines.extend(ahead.after());
        let checks = &self.config.environment.checks;
        lines.extend(checks.iter().map(|check| format!("check   `{check}`, in the dev shell there")));
        if self.cx.ui.is_json() {
            let mut document = plan_document(&self.wanted, &plan, placements, offers, &lines);
            document["environment"] = ahead.document();
            self.cx.ui.document(&document);
        } else {
            self.cx.ui.data(&format!("{}\n", lines.join("\n")));
        }
        Ok(())
    }

    /// Ends what is dead of this box, or came too late for it, and closes what the journal still has open of it.
    async fn tidy(&self, plan: &UpPlan) -> Result<()> {
        for instance in &plan.clear {
            let (name, id, status) = (&instance.name, &instance.id, &instance.status);
            self.cx.ui.events.warn(match status {
                crate::provider::InstanceStatus::Dead => {
                    format!("`{name}` died ({id}, {status}): what was not synced is lost; ending it")
                }
                _ => format!("{id} ({status}) was launched for `{name}` and is of no use to it: ending it"),
            });
            self.provider.terminate(id, &self.cx.ui.events).await?;
        }
        for entry in &plan.close {
            self.cx.journal.end(entry)?;
        }
        Ok(())
    }

    /// What the environment is built for: what the box runs, or will run.
    fn system(&self, plan: &UpPlan, sites: Option<&Sites>) -> Result<System> {
        match (&plan.source, sites.map(|s| s.placements.system)) {
            (Source::Running { entry, .. }, _) => Ok(entry.system),
            (_, Some(system)) => Ok(system),
            (_, None) => Err(Error::new(Kind::Failed, "there is nowhere to launch")),
        }
    }

    /// The environment here and the box there, at the same time. When the environment fails while
    /// the provider is being asked, the answer is waited for: an instance nobody has written down is
    /// the one thing that must not be.
    async fn side_by_side(
        &self,
        plan: &UpPlan,
        sites: Option<&Sites>,
        system: System,
        place: &Place,
    ) -> Result<(Made, BoxUp)> {
        let default_nix = (!self.provider.images_have_nix()).then(|| GUEST_NIX.to_owned());
        let realise_wanted = environment::Wanted {
            root: self.project.root.clone(),
            shell: self.config.environment.shell.clone(),
            guest_nix: self.config.environment.nix.clone().or(default_nix),
            system,
            roots: self.cx.roots(&self.project.root, system),
            locked: self.locked.section(system).map(|s| (s.output.clone(), s.fingerprint.clone())),
        };
        let made = realise(&realise_wanted, &self.cx.ui.events, async |evaluated: &Evaluated| {
            self.hold_against_lock(system, evaluated).await?;
            if sites.is_some() {
                self.say_place(place, evaluated).await?;
            }
            self.evaluated.send_replace(true);
            Ok(place.clone())
        });
        let up = self.box_up(plan, sites);
        tokio::pin!(made, up);
        tokio::select! {
            realised = &mut made => match realised {
                Ok(made) => Ok((made, up.await?)),
                Err(e) => {
                    while self.asking.get() {
                        tokio::select! {
                            // Its own failure is the lesser news; the journal has what it left.
                            _ = &mut up => break,
                            () = tokio::time::sleep(Duration::from_millis(50)) => {}
                        }
                    }
                    self.cx.ui.events.stop();
                    Err(e)
                }
            },
            up = &mut up => match up {
                Ok(up) => Ok((made.await?, up)),
                Err(e) => {
                    self.cx.ui.events.stop();
                    Err(e)
                }
            },
        }
    }

    /// The environment on the box: moved, made current, compared. Nothing where it is there.
    async fn bring(&self, environment: &Environment, up: &BoxUp) -> Result<(Moved, Facts)> {
        let there = &up.facts;
        if there.environment.as_ref() == Some(&environment.output)
            && there.fingerprint.as_ref() == Some(&environment.fingerprint)
            && there.script.as_ref().is_none_or(|script| *script == hex_sha256(&environment.script))
        {
            return Ok((Moved { paths: 0, bytes: 0 }, there.clone()));
        }
        match self.carry(environment, &up.guest, there.room).await {
            Ok(brought) => Ok(brought),
            Err(e) => {
                let e = self.unless_broken(&up.guest, e).await;
                Err(self.unless_dead(&up.entry, e).await)
            }
        }
    }

    async fn carry(&self, environment: &Environment, guest: &Guest, room: u64) -> Result<(Moved, Facts)> {
        let events = &self.cx.ui.events;
        let began = Instant::now();
        let moved = transfer(&NixCopy, environment, &self.signing, guest, room, events).await?;
        rates::remember(&self.cx.paths, self.provider.name(), moved.bytes, began.elapsed());
        failpoint::hit("transferred");
        activate::make_current(guest, &self.project_name, environment, events).await?;
        let phase = events.phase(Phase::Verify);
        let facts = facts::ask(guest, &self.project_name).await?;
        let there = &facts.fingerprint;
        if there.as_ref() != Some(&environment.fingerprint) {
            return Err(Error::new(Kind::Differs, format!("the environment on `{}` is not the one built here", guest.name))
                .detail(format!("here   {}", environment.fingerprint))
                .detail(format!("there  {}", there.as_ref().map_or("none".into(), ToString::to_string)))
                .hint("the box or its store image is damaged: `nix-store --verify --check-contents` on it tells more"));
        }
        phase.done(environment.fingerprint.short());
        Ok((moved, facts))
    }
}
