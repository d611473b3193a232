//! What every command starts from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::cli::Global;
use crate::config::layer::{Assignment, Origin, parse_assignment};
use crate::config::project::Project;
use crate::config::{self, BoxSettings, Config, Lambda, Preset, ProviderName, Resolved};
use crate::error::{Error, Kind, OrFail, Result, tick};
use crate::guest::user_data::USER;
use crate::journal::{Entry, Journal};
use crate::names::BoxName;
use crate::paths::Paths;
use crate::process::shell_quote;
use crate::provider::Provider;
use crate::provider::catalog::Catalog;
use crate::provider::lambda::{KeySource, LambdaConfig, LambdaProvider};
use crate::provider::local::{LocalConfig, LocalProvider};
use crate::ssh::host::Files;
use crate::ssh::{Guest, Host};
use crate::ui::Ui;

/// What every command starts from.
pub struct Context {
    /// Where things are on this machine.
    pub paths: Paths,
    /// Where to talk.
    pub ui: Ui,
    /// The folder to start from.
    pub dir: PathBuf,
    /// The journal.
    pub journal: Journal,
    config_file: Option<PathBuf>,
    settings: Vec<Assignment>,
    /// The options that a command needs to mean the same again, as they were typed, each with a blank before it.
    typed: String,
    /// Those of them that say whom to ask.
    typed_of_provider: String,
}

impl Context {
    /// What the global options say.
    ///
    /// # Errors
    /// [`Kind::Usage`] when there is no such folder, or a `--set` is no `KEY=VALUE`.
    pub fn new(global: &Global, paths: Paths, ui: Ui) -> Result<Self> {
        let here = std::env::current_dir().or_fail(|| "can't tell the current folder".into())?;
        let dir = match &global.dir {
            None => here.clone(),
            Some(dir) => std::fs::canonicalize(here.join(dir))
                .or_kind(Kind::Usage, || format!("can't go to the folder {}", tick(dir)))?,
        };
        let settings = global.set.iter().map(|text| parse_assignment(text)).collect::<Result<_>>()?;
        // Taken from where the user typed it, as `-C` is.
        let config_file = global.config.as_ref().map(|file| here.join(file));
        let (typed, typed_of_provider) = (typed(global, |_| true), typed(global, is_of_provider));
        Ok(Self {
            journal: Journal::new(&paths),
            paths,
            ui,
            dir,
            config_file,
            settings,
            typed,
            typed_of_provider,
        })
    }

    /// This command of devbox again, for a hint, with the options that it was given.
    pub fn again(&self, words: &str) -> String {
        format!("devbox {words}{}", self.typed)
    }

    /// Another command of devbox for a hint, with the options that say whom to ask.
    pub fn command(&self, words: &str) -> String {
        format!("devbox {words}{}", self.typed_of_provider)
    }

    /// The project of the folder, and its configuration.
    ///
    /// # Errors
    /// When there is no flake here or above, or the configuration is wrong.
    pub fn project(&self) -> Result<(Project, Config)> {
        let project = Project::find(&self.dir)?;
        let config = self.load(Some(&project))?.config;
        Ok((project, config))
    }

    /// The same with settings of a command's own flags, and whether anybody says where boxes come from. Says so where
    /// one and the same place names a preset and boxes that need none.
    ///
    /// # Errors
    /// As [`project`](Self::project).
    pub fn project_with(&self, flags: &[Assignment]) -> Result<(Project, Config, bool)> {
        let project = Project::find(&self.dir)?;
        let settings: Vec<_> = self.settings.iter().chain(flags).cloned().collect();
        let resolved =
            config::load(&self.paths, Some(&project.root), self.config_file.as_deref(), &settings)?;
        let says = |s: &config::Setting| {
            ["box.provider", "box.preset"].contains(&s.key.as_str()) && s.origin != Origin::Default
        };
        let chosen = resolved.settings.iter().any(says);
        if let Some(idle) = resolved.idle_preset() {
            self.ui.events.warn(idle);
        }
        Ok((project, resolved.config, chosen))
    }

    /// The configuration, with the project's where there is one.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub fn resolved(&self) -> Result<Resolved> {
        let project = Project::find(&self.dir).ok();
        self.load(project.as_ref())
    }

    /// What is right of the configuration, and what is wrong: a slip in a file must not keep anybody from seeing and
    /// ending what they pay for. Who shows something says afterwards that it may not be all.
    ///
    /// # Errors
    /// [`Kind::Usage`] where going on would do something else than was typed.
    pub fn as_far_as_right(&self) -> Result<(Config, Result<()>)> {
        match self.resolved() {
            Ok(resolved) => return Ok((resolved.config, Ok(()))),
            Err(e) => self.ui.events.detail(e.to_string()),
        }
        let project = Project::find(&self.dir).ok();
        let root = project.as_ref().map(|p| p.root.as_path());
        let (right, wrong) =
            config::load_what_is_right(&self.paths, root, self.config_file.as_deref(), &self.settings)?;
        let wrong = wrong.map(|e| {
            e.hint("the rest of the configuration was used: what it would say of more is not shown")
        });
        Ok((right.config, wrong.map_or(Ok(()), Err)))
    }

    /// Every preset that is right, and what is wrong in the configuration: a slip hides no other preset.
    pub fn presets(&self) -> (BTreeMap<String, Preset>, Result<()>) {
        let project = Project::find(&self.dir).ok();
        let root = project.as_ref().map(|p| p.root.as_path());
        config::presets_that_are_right(&self.paths, root, self.config_file.as_deref(), &self.settings)
    }

    fn load(&self, project: Option<&Project>) -> Result<Resolved> {
        let root = project.map(|p| p.root.as_path());
        config::load(&self.paths, root, self.config_file.as_deref(), &self.settings)
    }

    /// The provider that the configuration names.
    ///
    /// # Errors
    /// When it can't be set up.
    pub fn provider(&self, config: &Config) -> Result<Box<dyn Provider>> {
        match config.box_.provider {
            ProviderName::Local => Ok(Box::new(self.local(config))),
            ProviderName::Lambda => Ok(Box::new(self.lambda(config)?)),
        }
    }

    /// The provider of that name, as the journal has it.
    ///
    /// # Errors
    /// When there is none, or it can't be set up.
    pub fn provider_named(&self, name: &str, config: &Config) -> Result<Box<dyn Provider>> {
        let name: ProviderName = name.parse().map_err(|e: Error| e.hint("a newer devbox may know it"))?;
        self.provider(&Config {
            box_: BoxSettings { provider: name, ..config.box_.clone() },
            ..config.clone()
        })
    }

    /// Every provider that may have boxes: the configured one, those that the journal knows, and those that there is a
    /// key for.
    ///
    /// # Errors
    /// When the journal can't be read, or one can't be set up.
    pub fn providers(&self, config: &Config) -> Result<Vec<Box<dyn Provider>>> {
        let mut names: BTreeSet<String> = self.launches().into_iter().map(|e| e.provider).collect();
        names.insert(config.box_.provider.to_string());
        if self.lambda_key(config).is_set() {
            names.insert(ProviderName::Lambda.to_string());
        }
        names.iter().map(|name| self.provider_named(name, config)).collect()
    }

    /// Lambda Cloud.
    ///
    /// # Errors
    /// When its client can't be set up.
    pub fn lambda(&self, config: &Config) -> Result<LambdaProvider> {
        let settings = &config.lambda;
        let account = format!("lambda-{:08x}.pace", crate::paths::short_hash(Path::new(&settings.address)));
        let config = LambdaConfig {
            address: settings.address.clone(),
            key: self.lambda_key(config),
            request_interval: settings.request_interval,
            launch_interval: settings.launch_interval,
            settle_time: settings.settle_time,
            pace_file: self.paths.state.join("locks").join(account),
            from: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        };
        LambdaProvider::new(config, self.ui.events.clone())
    }

    /// Where the key for Lambda Cloud comes from, if anything says so.
    pub fn lambda_key(&self, config: &Config) -> KeySource {
        let Lambda { api_key_file, api_key_command, .. } = &config.lambda;
        KeySource { file: api_key_file.clone(), command: api_key_command.clone() }
    }

    /// What can be listed of a cloud.
    ///
    /// # Errors
    /// When it can't be set up.
    pub fn catalog(&self, config: &Config) -> Result<Box<dyn Catalog>> {
        Ok(Box::new(self.lambda(config)?))
    }

    /// The local provider, for `doctor`, which looks closer.
    pub fn local(&self, config: &Config) -> LocalProvider {
        LocalProvider::new(LocalConfig {
            state: self.paths.state.join("local"),
            cache: self.paths.cache.clone(),
            volumes: config.local.volumes.clone(),
            nix: true,
        })
        .with_system(config.local.arch.map(|arch| arch.0))
    }

    /// Every launch of the journal that can be read, oldest first: one that can't hides no other. Who needs all of
    /// them [reads](Journal::read) the journal.
    pub fn launches(&self) -> Vec<Entry> {
        self.journal.read_in_part().0
    }

    /// The error where files of the journal can't be read, for the end of what goes on all the same.
    ///
    /// # Errors
    /// [`Kind::Failed`], naming the first and counting the others.
    pub fn journal_is_whole(&self) -> Result<()> {
        let mut damaged = self.journal.read_in_part().1.into_iter();
        let Some(first) = damaged.next() else { return Ok(()) };
        Err(damaged.fold(first.error, |e, other| e.detail(other.error.to_string())))
    }

    /// The box that is meant: the named one; without a name the one of the project here, or else
    /// the only one there is. Only boxes of the journal.
    ///
    /// # Errors
    /// [`Kind::Usage`] when there is none, or more than one could be meant.
    pub fn chosen(&self, name: Option<&str>) -> Result<Entry> {
        self.find(name)?
    }

    /// The same for those who may find it elsewhere. The inner error says that the journal has none.
    ///
    /// # Errors
    /// [`Kind::Usage`] when more than one could be meant.
    pub fn find(&self, name: Option<&str>) -> Result<Result<Entry>> {
        let all = self.launches();
        let open: Vec<_> = all.iter().filter(|e| e.is_open()).cloned().collect();
        if let Some(name) = name {
            let has_id = |e: &&Entry| e.instance.as_ref().is_some_and(|i| i.0 == name);
            if let Some(Entry { name, ended: Some(ended), .. }) = all.iter().find(has_id) {
                let what = format!(
                    "that was `{name}`, which is down since {}",
                    ended.strftime("%Y-%m-%d %H:%M UTC")
                );
                return Ok(Err(Error::new(Kind::Usage, what).hint("`devbox status` shows what there is")));
            }
            let by_id = open.iter().find(has_id);
            let named = || match name.to_ascii_lowercase().parse::<BoxName>() {
                Ok(name) => open.iter().rfind(|e| e.name == name).ok_or_else(|| no_such_box(name.as_str())),
                Err(e) => Err(e),
            };
            return Ok(by_id.map_or_else(named, Ok).cloned());
        }
        if let Ok(project) = Project::find(&self.dir) {
            let named = |e: Error| e.hint("name the box: that needs nothing of the project");
            let config = self.load(Some(&project)).map_err(named)?.config;
            let name = config.box_name()?;
            if let Some(entry) = open.iter().rfind(|e| e.name == *name) {
                return Ok(Ok(entry.clone()));
            }
            let mut of_project = open.iter().filter(|e| e.root == project.root);
            return match (of_project.next(), of_project.next()) {
                (Some(entry), None) => Ok(Ok(entry.clone())),
                (Some(_), Some(_)) => Err(ambiguous(&open)),
                (None, _) => Ok(Err(no_such_box(name.as_str()))),
            };
        }
        match open.as_slice() {
            [entry] => Ok(Ok(entry.clone())),
            [] => Ok(Err(Error::new(Kind::Usage, "this machine has no box up")
                .hint("`devbox up` in a project brings one"))),
            _ => Err(ambiguous(&open)),
        }
    }

    /// The guest of a launch, when its address is known. Refreshes what ssh reads about it.
    ///
    /// # Errors
    /// [`Kind::Guest`] when the address is not known yet.
    pub async fn guest(&self, entry: &Entry, config: &Config) -> Result<Guest> {
        let Some(address) = entry.address else {
            return Err(Error::new(Kind::Guest, format!("the address of `{}` is not known yet", entry.name))
                .hint(format!("`devbox up {}` continues where it stopped", entry.name)));
        };
        // What the box was launched with, whatever the configuration says now.
        let key = entry.login_key.as_deref().or(config.ssh.key.as_deref());
        let key = crate::ssh::keys::login(&self.paths, key).await?;
        let host = Host {
            name: entry.name.clone(),
            address,
            user: USER.to_owned(),
            key: key.private,
            host_key: entry.host_key.clone(),
            launch: entry.launch,
            forward_agent: config.ssh.forward_agent,
        };
        self.paths.make_runtime()?;
        let files = Files::new(&self.paths, &entry.name, entry.launch);
        files.write_people(&host)?;
        Guest::new(&host, files)
    }

    /// The folder of the GC roots of a project's environment.
    pub fn roots(&self, root: &Path, system: crate::names::System) -> PathBuf {
        let name = format!("{:08x}-{system}", crate::paths::short_hash(root));
        self.paths.state.join("roots").join(name)
    }
}

/// Whether an assignment says whom to ask, and with which key.
fn is_of_provider(assignment: &str) -> bool {
    ["lambda.", "local.", "box.provider", "ssh."]
        .iter()
        .any(|start| assignment.trim_start().starts_with(start))
}

/// The global options that a command needs to mean the same again, of assignments those that `matter`.
fn typed(global: &Global, matter: impl Fn(&str) -> bool) -> String {
    let path = |path: &Path| shell_quote(&path.display().to_string());
    let dir = global.dir.iter().map(|dir| format!(" -C {}", path(dir)));
    let config = global.config.iter().map(|file| format!(" --config {}", path(file)));
    let set = global.set.iter().filter(|set| matter(set)).map(|set| format!(" --set {}", shell_quote(set)));
    dir.chain(config).chain(set).collect()
}

/// The error when nothing of that name is open in the journal.
pub fn no_such_box(name: &str) -> Error {
    Error::new(Kind::Usage, format!("no box called `{name}` is up"))
        .hint(format!("`devbox up {name}` brings it up; `devbox status` shows what there is"))
}

fn ambiguous(open: &[Entry]) -> Error {
    Error::new(Kind::Usage, format!("{} boxes could be meant", open.len()))
        .details(open.iter().map(|e| format!("{}  ({})", e.name, e.root.display())))
        .hint("name one of them")
}
