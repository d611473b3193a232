//! `devbox up`: from a flake to a box with its dev shell.

use std::cell::Cell;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;

use crate::cli::Up;
use crate::commands::Context;
use crate::commands::context::still_there;
use crate::config::Config;
use crate::config::project::Project;
use crate::error::{Error, Kind, Result, ignore};
use crate::events::{Level, Phase};
use crate::failpoint;
use crate::guest::facts::Facts;
use crate::guest::user_data::{self, UserData};
use crate::guest::{activate, bootstrap, facts, seed};
use crate::journal::Entry;
use crate::names::{BoxName, LaunchId, ProjectName};
use crate::nix::environment::{self, realise};
use crate::nix::{self, Environment};
use crate::plan::up::{Source, render_plan};
use crate::plan::{Seen, UpPlan, Wanted, plan_up};
use crate::provider::{LaunchRequest, Provider, Volume};
use crate::ssh::connection::KEY_GRACE;
use crate::ssh::keys::{self, SigningKey};
use crate::ssh::{Guest, include};
use crate::transfer::{Moved, NixCopy, transfer};
use crate::ui::timeline::render_timeline;
use crate::ui::{Answer, render_seconds};

/// All that the story needs to know.
struct Story<'a> {
    cx: &'a Context,
    project: Project,
    project_name: ProjectName,
    config: Config,
    provider: Box<dyn Provider>,
    wanted: Wanted,
    signing: SigningKey,
    /// Whether a billable call is under way whose answer is not on disk yet.
    asking: Cell<bool>,
    /// Whether the environment has been evaluated: before that nothing is paid for.
    evaluated: watch::Sender<bool>,
}

/// A box that is up.
struct Up_ {
    guest: Guest,
    entry: Entry,
    facts: Facts,
}

/// Runs `devbox up`.
///
/// # Errors
/// See the exit codes; a box that runs by then is named, with the command that ends it.
pub async fn run(cx: &Context, args: &Up) -> Result<()> {
    let (project, config) = cx.project()?;
    let provider = cx.provider(&config);
    provider.check().await?;
    nix::version::installed().await?;
    let name: BoxName = match &args.name {
        Some(name) => name.parse()?,
        None => config.box_name()?.clone(),
    };
    let lock = cx.journal.lock(&name, "up", &cx.ui.events).await?;
    let wanted = Wanted {
        name: name.clone(),
        provider: provider.name().to_owned(),
        system: provider.default_system()?,
        volume: config.volume.name.clone(),
    };
    let signing = keys::signing(&cx.paths).await?;
    let project_name = config.project_name()?.clone();
    let story = Story {
        cx,
        project_name,
        project,
        config,
        provider,
        wanted,
        signing,
        asking: Cell::new(false),
        evaluated: watch::Sender::new(false),
    };
    let told = story.tell(args).await;
    drop(lock);
    told.map_err(|e| still_running(cx, &name, e))
}

impl Story<'_> {
    async fn tell(&self, args: &Up) -> Result<()> {
        let seen = self.look().await?;
        let plan = plan_up(&self.wanted, &seen)?;
        if args.dry_run {
            return self.show(&plan, &seen);
        }
        let volume = self.volume(&plan, &seen).await?;
        self.tidy(&plan).await?;

        let (environment, up) = self.side_by_side(&plan, &volume).await?;
        self.seed(&environment, &up).await?;
        let (moved, generation) = self.bring(&environment, &up).await?;
        let entry = Entry {
            ready: up.entry.ready.or_else(|| Some(Timestamp::now())),
            fingerprint: Some(environment.fingerprint.clone()),
            ..up.entry.clone()
        };
        if entry != up.entry {
            self.cx.journal.write(&entry)?;
        }
        self.offer_include()?;
        self.report(&environment, &entry, moved, generation);
        Ok(())
    }

    /// What there is: the journal, the provider's instances, the volume.
    async fn look(&self) -> Result<Seen> {
        Ok(Seen {
            journal: self.cx.journal.open()?,
            instances: self.provider.list().await?,
            volume: self.provider.volume(&self.wanted.volume).await?,
        })
    }

    /// `--dry-run`: the plan, and nothing done.
    fn show(&self, plan: &UpPlan, seen: &Seen) -> Result<()> {
        let mut lines =
            vec![format!("build   `{}` of {}", self.config.environment.shell, self.project.root.display())];
        lines.extend(render_plan(&self.wanted, plan, seen));
        lines.push("copy    what the box lacks of the environment, and make it current".into());
        if self.cx.ui.is_json() {
            self.cx.ui.document(&json!({"box": self.wanted.name, "plan": lines}));
        } else {
            self.cx.ui.data(&format!("{}\n", lines.join("\n")));
        }
        Ok(())
    }

    /// The volume, made first where it has to be and the user agrees.
    async fn volume(&self, plan: &UpPlan, seen: &Seen) -> Result<Volume> {
        let name = &self.wanted.volume;
        match (&seen.volume, &plan.source) {
            (Some(volume), _) => Ok(volume.clone()),
            (None, Source::Running { entry, .. }) => Err(Error::new(
                Kind::Volume,
                format!("the volume `{name}` is gone, and the box `{}` still uses it", entry.name),
            )
            .hint("bring the folder back before you end the box: what is on it is not lost yet")),
            (None, Source::Launch) => {
                let question = format!("There is no volume `{name}` yet. Make it?");
                match self.cx.ui.confirm(&question) {
                    Answer::Yes => self.provider.create_volume(name).await,
                    Answer::No | Answer::Nobody => {
                        Err(Error::new(Kind::Volume, format!("there is no volume `{name}`"))
                            .hint("`devbox up -y` makes it; `volume.name` names another one"))
                    }
                }
            }
        }
    }

    /// Ends what is dead of this box, and closes what the journal still has open of it.
    async fn tidy(&self, plan: &UpPlan) -> Result<()> {
        for instance in &plan.clear {
            self.cx.ui.events.warn(format!(
                "`{}` died ({}, {}): what was not synced is lost; ending it",
                instance.name, instance.id, instance.status
            ));
            self.provider.terminate(&instance.id, &self.cx.ui.events).await?;
        }
        for entry in &plan.close {
            self.cx.journal.end(entry)?;
        }
        Ok(())
    }

    /// The environment here and the box there, at the same time. When the environment fails while
    /// the provider is being asked, the answer is waited for: an instance nobody has written down is
    /// the one thing that must not be.
    async fn side_by_side(&self, plan: &UpPlan, volume: &Volume) -> Result<(Environment, Up_)> {
        let realise_wanted = environment::Wanted {
            root: self.project.root.clone(),
            shell: self.config.environment.shell.clone(),
            guest_nix: self.config.environment.nix.clone(),
            system: self.wanted.system,
            roots: self.cx.roots(&self.project.root, self.wanted.system),
        };
        let environment = realise(&realise_wanted, &self.cx.ui.events, || {
            self.evaluated.send_replace(true);
        });
        let up = self.box_up(plan, volume);
        tokio::pin!(environment, up);
        tokio::select! {
            realised = &mut environment => match realised {
                Ok(environment) => Ok((environment, up.await?)),
                Err(e) => {
                    while self.asking.get() {
                        tokio::select! {
                            // Its own failure is the lesser news; the journal has what it left.
                            _ = &mut up => break,
                            () = tokio::time::sleep(Duration::from_millis(50)) => {}
                        }
                    }
                    Err(e)
                }
            },
            up = &mut up => {
                let up = up?;
                Ok((environment.await?, up))
            }
        }
    }

    /// A box that is reachable and set up: the one that runs, or a new one.
    async fn box_up(&self, plan: &UpPlan, volume: &Volume) -> Result<Up_> {
        let entry = match &plan.source {
            Source::Running { instance, entry } => {
                let mut entry = Entry::clone(entry);
                if entry.instance.as_ref() != Some(&instance.id) || entry.address != instance.address {
                    entry.instance = Some(instance.id.clone());
                    entry.address = instance.address;
                    self.cx.journal.write(&entry)?;
                }
                entry
            }
            Source::Launch => {
                // The sender lives as long as this story, so the wait ends with the evaluation.
                ignore(self.evaluated.subscribe().wait_for(|evaluated| *evaluated).await);
                self.launch(volume).await?
            }
        };
        let guest = self.cx.guest(&entry, &self.config).await?;
        let fresh = self.reach(&guest, &entry).await?;
        let mut set_up = self.set_up(&guest, &entry).await;
        if !fresh && set_up.as_ref().is_err_and(|e| e.kind() == Kind::Guest) {
            // The open connection was to a box that has lost its power since.
            guest.hang_up().await;
            self.reach(&guest, &entry).await?;
            set_up = self.set_up(&guest, &entry).await;
        }
        match set_up {
            Ok(facts) => Ok(Up_ { guest, entry, facts }),
            Err(e) => Err(self.unless_dead(&entry, e).await),
        }
    }

    /// Launches: intent on disk, then the billable call, then its id on disk.
    async fn launch(&self, volume: &Volume) -> Result<Entry> {
        let Wanted { name, system, .. } = &self.wanted;
        let host_key = keys::fresh_host_key().await?;
        let login = keys::login(&self.cx.paths, self.config.ssh.key.as_deref()).await?;
        let launch = LaunchId::random();
        let mut trusted = self.config.caches.trusted_public_keys.clone();
        trusted.push(self.signing.public.clone());
        let user_data = user_data::render(&UserData {
            name,
            launch,
            system: *system,
            host_key: &host_key,
            authorized_keys: std::slice::from_ref(&login.public),
            mount_point: &volume.mount_point,
            volume_wait: self.provider.volume_wait(),
            store_size: self.config.volume.store_size.as_bytes(),
            substituters: &self.config.caches.substituters,
            trusted_public_keys: &trusted,
        })?;
        let intent = Entry {
            launch,
            name: name.clone(),
            project: self.project_name.clone(),
            root: self.project.root.clone(),
            provider: self.wanted.provider.clone(),
            system: *system,
            volume: volume.name.clone(),
            host_key: host_key.public.clone(),
            asked: Timestamp::now(),
            instance: None,
            address: None,
            cents_per_hour: None,
            ready: None,
            fingerprint: None,
            ended: None,
        };
        self.cx.journal.write(&intent)?;
        failpoint::hit("intent");

        let request =
            LaunchRequest { name: name.clone(), launch, system: *system, volume: volume.clone(), user_data };
        self.asking.set(true);
        let phase = self.cx.ui.events.phase(Phase::Launch);
        let launched = self.provider.launch(&request, &self.cx.ui.events).await;
        failpoint::hit("launched");
        let written = match launched {
            Ok(launched) => {
                phase.done(launched.id().to_string());
                let mut entry = Entry { instance: Some(launched.id().clone()), ..intent };
                match self.cx.journal.write(&entry) {
                    Ok(()) => {
                        let instance = launched.keep();
                        entry.address = instance.address;
                        entry.cents_per_hour = instance.cents_per_hour;
                        self.cx.journal.write(&entry).map(|()| entry)
                    }
                    Err(e) => {
                        self.cx.ui.events.warn("the journal can't be written: ending the instance again");
                        launched.terminate(self.provider.as_ref(), &self.cx.ui.events).await?;
                        Err(e)
                    }
                }
            }
            Err(e) => Err(e),
        };
        self.asking.set(false);
        failpoint::hit("id");
        written
    }

    /// Until ssh answers with the pinned host key; then true. An open connection is nearly as good: false.
    async fn reach(&self, guest: &Guest, entry: &Entry) -> Result<bool> {
        if guest.is_connected().await {
            return Ok(false);
        }
        let phase = self.cx.ui.events.phase(Phase::Boot);
        phase.doing(format!(
            "waiting for ssh at {}",
            entry.address.map(|a| a.to_string()).unwrap_or_default()
        ));
        let key_grace = if entry.ready.is_some() { Duration::ZERO } else { KEY_GRACE };
        guest
            .wait_for_ssh(self.config.box_.boot_timeout, key_grace, || {
                still_there(self.provider.as_ref(), entry)
            })
            .await?;
        phase.done(entry.address.map(|a| a.to_string()).unwrap_or_default());
        Ok(true)
    }

    /// Until the box has volume, store, home and Nix. A box that has been ready before is asked
    /// first: one round trip.
    async fn set_up(&self, guest: &Guest, entry: &Entry) -> Result<Facts> {
        let ask = async || {
            let phase = self.cx.ui.events.phase(Phase::Facts);
            let facts = facts::ask(guest, &self.project_name).await?;
            phase.done(format!("Linux {}, Nix {}", facts.kernel, facts.nix.as_deref().unwrap_or("none")));
            Ok::<_, Error>(facts)
        };
        if entry.ready.is_some() {
            let facts = ask().await?;
            if facts.is_set_up() {
                return Ok(facts);
            }
        }
        bootstrap::wait_until_set_up(guest, self.config.box_.boot_timeout, &self.cx.ui.events).await?;
        ask().await
    }

    /// The better error: that the box died, where that is why.
    async fn unless_dead(&self, entry: &Entry, e: Error) -> Error {
        if e.kind() != Kind::Guest {
            return e;
        }
        // The connection may notice before the provider does.
        for pause in [Duration::ZERO, Duration::from_secs(1)] {
            tokio::time::sleep(pause).await;
            match still_there(self.provider.as_ref(), entry).await {
                Err(dead) if dead.kind() == Kind::Guest => return dead.caused_by(e),
                _ => {}
            }
        }
        e
    }

    /// The box's Nix, where the project names one and the box has another.
    async fn seed(&self, environment: &Environment, up: &Up_) -> Result<()> {
        let Some(nix) = &environment.guest_nix else {
            if up.facts.nix.is_none() {
                return Err(Error::new(Kind::Guest, format!("`{}` has no Nix", up.entry.name)).hint(
                    "name a package that gives it one: `environment.nix = \"nixpkgs#nix\"` in `devbox.toml`",
                ));
            }
            return Ok(());
        };
        let has =
            up.guest.command(&["readlink", "-e", "/nix/var/nix/profiles/devbox-nix"]).run().await?.text();
        if has.trim() == nix.path {
            return Ok(());
        }
        match seed::seed(&up.guest, nix, &self.cx.ui.events).await {
            Ok(()) => Ok(()),
            Err(e) => Err(self.unless_dead(&up.entry, e).await),
        }
    }

    /// The environment on the box: moved, made current, compared. Nothing where it is there.
    async fn bring(&self, environment: &Environment, up: &Up_) -> Result<(Moved, u64)> {
        let there = &up.facts;
        if there.environment.as_ref() == Some(&environment.output)
            && there.fingerprint.as_ref() == Some(&environment.fingerprint)
        {
            return Ok((Moved { paths: 0, bytes: 0 }, there.generation));
        }
        match self.carry(environment, &up.guest).await {
            Ok(brought) => Ok(brought),
            Err(e) => Err(self.unless_dead(&up.entry, e).await),
        }
    }

    async fn carry(&self, environment: &Environment, guest: &Guest) -> Result<(Moved, u64)> {
        let events = &self.cx.ui.events;
        let moved = transfer(&NixCopy, environment, &self.signing, guest, events).await?;
        failpoint::hit("transferred");
        let generation = activate::make_current(guest, &self.project_name, environment, events).await?;
        let phase = events.phase(Phase::Verify);
        let there = facts::ask(guest, &self.project_name).await?.fingerprint;
        if there.as_ref() != Some(&environment.fingerprint) {
            return Err(Error::new(Kind::Differs, format!("the environment on `{}` is not the one built here", guest.name))
                .detail(format!("here   {}", environment.fingerprint))
                .detail(format!("there  {}", there.map_or("none".into(), |f| f.to_string())))
                .hint("the box or its store image is damaged: `nix-store --verify --check-contents` on it tells more"));
        }
        phase.done(environment.fingerprint.short());
        Ok((moved, generation))
    }

    /// Once in a user's life: whether plain `ssh NAME` may find the boxes too.
    fn offer_include(&self) -> Result<()> {
        let Self { cx, .. } = self;
        if include::present(&cx.paths)? {
            return Ok(());
        }
        let name = &self.wanted.name;
        let hint = format!("for plain `ssh {name}`, put `{}` on top of ~/.ssh/config", include::LINE);
        if include::asked_before(&cx.paths)? {
            cx.ui.events.detail(hint);
            return Ok(());
        }
        let question = format!("Add `{}` to ~/.ssh/config, so that `ssh {name}` works?", include::LINE);
        match cx.ui.confirm(&question) {
            Answer::Yes => include::add(&cx.paths),
            Answer::No | Answer::Nobody => {
                cx.ui.events.note(Level::Hint, hint);
                Ok(())
            }
        }
    }

    fn report(&self, environment: &Environment, entry: &Entry, moved: Moved, generation: u64) {
        let Self { cx, .. } = self;
        let ui = &cx.ui;
        let took = ui.events.elapsed();
        let spans = ui.events.spans();
        if spans.len() > 2 {
            let width =
                console::Term::stderr().size_checked().map_or(80, |(_, columns)| usize::from(columns));
            ui.events.info("");
            ui.block(render_timeline(&spans, took, width.saturating_sub(2)));
            ui.events.info("");
        }
        let name = &entry.name;
        ui.events.info(format!(
            "`{name}` is ready after {}: `devbox ssh` opens the dev shell, `devbox down` ends it",
            render_seconds(took.as_secs_f64())
        ));
        ui.result(
            "up",
            json!({
                "box": name,
                "instance": entry.instance,
                "address": entry.address,
                "fingerprint": environment.fingerprint,
                "environment": environment.output,
                "generation": generation,
                "paths": environment.closure.0.len(),
                "bytes": environment.closure.bytes(),
                "copied-paths": moved.paths,
                "copied-bytes": moved.bytes,
                "seconds": took.as_secs_f64(),
            }),
        );
    }
}

/// After a failure: what still runs, what it costs, and the command that ends it.
pub fn still_running(cx: &Context, name: &BoxName, error: Error) -> Error {
    match cx.journal.of_box(name) {
        Ok(Some(entry)) => {
            let cost = match entry.cents_per_hour {
                Some(0) => "free".to_owned(),
                Some(cents) => format!("{:.2} USD an hour", f64::from(cents) / 100.0),
                None => "price unknown".to_owned(),
            };
            let what = match &entry.instance {
                Some(id) => format!("`{name}` is still running ({id}, {cost})"),
                None => {
                    format!("`{name}` may be running ({cost}): its launch was asked for and not answered")
                }
            };
            error.hint(format!("{what}: `devbox up {name}` continues, `devbox down {name}` ends it"))
        }
        Ok(None) => error,
        Err(unreadable) => error.hint(format!("{unreadable}: `devbox list instances` shows what runs")),
    }
}
