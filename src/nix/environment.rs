//! Evaluating and realising a dev shell on this machine.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, OrFail, Result, tick};
use crate::events::{Events, Phase, Running, Unit};
use crate::names::System;
use crate::nix::closure::{Closure, Fingerprint, is_store_path, parse_registrations, render_paths};
use crate::nix::command;
use crate::nix::listing::Listing;
use crate::nix::log::{Log, short_name};
use crate::plan::build::Place;
use crate::process::{Cmd, Output};

/// The Nix for boxes whose image has none, where the project names no other: that of nixpkgs' release branch
/// nixos-26.05 at one commit, so that every box gets the same bytes, from Nix's own cache.
pub const GUEST_NIX: &str = "github:NixOS/nixpkgs/34268251cf5547d39063f2c5ea9a196246f7f3a6#nix";

/// Store paths in one command line: well below the 128 KiB and 2 MiB that Linux allows.
const BATCH: usize = 4000;

/// What to realise.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The folder of the flake.
    pub root: PathBuf,
    /// The dev shell, as `nix develop` would take it.
    pub shell: String,
    /// The package that gives the guest its Nix, where the project names one.
    pub guest_nix: Option<String>,
    /// For which system.
    pub system: System,
    /// The folder of the GC roots of this project here.
    pub roots: PathBuf,
    /// The `…-env` path of the lock and the fingerprint that goes with it, where there is a lock.
    pub locked: Option<(String, Fingerprint)>,
}

/// The dev shell of a flake for one system, realised in this machine's store and kept from its
/// garbage collector.
#[derive(Clone, Debug)]
pub struct Environment {
    /// For which system.
    pub system: System,
    /// The dev shell's own derivation.
    pub derivation: String,
    /// Nix's `…-env` path, whose closure is the dev shell's.
    pub output: String,
    /// The script that enters it.
    pub script: Vec<u8>,
    /// The closure of `output`.
    pub closure: Closure,
    /// Its identity.
    pub fingerprint: Fingerprint,
    /// The Nix for the guest, where the project names one.
    pub guest_nix: Option<GuestNix>,
}

/// The Nix that a guest gets.
#[derive(Clone, Debug)]
pub struct GuestNix {
    /// Its store path.
    pub path: String,
    /// Its closure.
    pub closure: Closure,
}

impl Environment {
    /// Every store path that the guest needs: those of the dev shell and those of its Nix.
    pub fn everything(&self) -> Closure {
        let mut all = self.closure.clone();
        if let Some(nix) = &self.guest_nix {
            all.0.extend(nix.closure.0.clone());
        }
        all
    }

    /// The store paths that the dev shell refers to: what the fingerprint is of.
    pub fn listing(&self) -> Listing {
        Listing::of(&self.closure, &self.output)
    }

    /// The store paths whose closures are all of [`everything`](Self::everything).
    pub fn tops(&self) -> Vec<String> {
        std::iter::once(self.output.clone()).chain(self.guest_nix.iter().map(|n| n.path.clone())).collect()
    }
}

/// What is known when a dev shell has been evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluated {
    /// Its own derivation.
    pub derivation: String,
    /// The Nix for the guest, where the project names one.
    pub guest_nix: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Made {
    /// It is in this machine's store, and stays there as long as the roots do.
    Here(Environment),
    /// It is to be built on the guest.
    There(Order),
}

/// A dev shell that is evaluated, and to be built on the guest.
#[derive(Clone, Debug)]
pub struct Order {
    /// For which system.
    pub system: System,
    /// The dev shell's own derivation, in this machine's store with all that it needs.
    pub derivation: String,
    /// The Nix for the guest, where the project names one.
    pub guest_nix: Option<GuestNix>,
}

impl Made {
    /// The Nix for the guest, where the project names one.
    pub fn guest_nix(&self) -> Option<&GuestNix> {
        match self {
            Self::Here(environment) => environment.guest_nix.as_ref(),
            Self::There(order) => order.guest_nix.as_ref(),
        }
    }
}

/// Evaluates, and realises here or leaves that to the guest; `evaluated` is asked where, as soon as evaluation has
/// succeeded, which is when it is worth paying for something; its error ends it there.
///
/// # Errors
/// [`Kind::Environment`]: no such dev shell, an error of evaluation, a
/// build that failed (with the last lines of its log).
pub async fn realise(
    wanted: &Wanted,
    events: &Events,
    evaluated: impl AsyncFn(&Evaluated) -> Result<Place>,
) -> Result<Made> {
    let phase = events.phase(Phase::Environment);
    phase.doing("evaluating");
    std::fs::create_dir_all(&wanted.roots).or_fail(|| format!("can't make {}", tick(&wanted.roots)))?;

    // First, so that nothing is paid for when it is not to be had.
    let guest_nix = guest_nix(wanted, &phase).await?;
    let installable = command::installable(&wanted.shell, "devShells", wanted.system);
    let profile = wanted.roots.join("env");
    // By itself: what Nix says while it realises looks the same as when it fetches what it evaluates.
    let derivation = evaluate(wanted, &phase).await?;
    let path = guest_nix.as_ref().map(|nix| nix.path.clone());
    if let Place::There(_) = evaluated(&Evaluated { derivation: derivation.clone(), guest_nix: path }).await?
    {
        if let Some(environment) = kept(wanted, &derivation, guest_nix.as_ref()).await? {
            phase.done(format!(
                "{}, here already, {}",
                render_paths(environment.closure.0.len()),
                environment.fingerprint.short()
            ));
            return Ok(Made::Here(environment));
        }
        phase.done("evaluated; the box builds it");
        return Ok(Made::There(Order { system: wanted.system, derivation, guest_nix }));
    }
    let cmd = command::argv_print_dev_env(&wanted.root, &installable, &profile);
    let (script, built) = run_logged(&cmd, &phase, wanted, &installable).await?;
    let output = store_path_of(&profile)?;
    forget_older_generations(&profile)?;

    let closure = closure_of(&output).await?;
    let fingerprint = closure.fingerprint(&output);
    let made = if built > 0 { format!("{built} built, ") } else { String::new() };
    let size = indicatif::BinaryBytes(closure.bytes());
    phase.done(format!("{made}{}, {size}, {}", render_paths(closure.0.len()), fingerprint.short()));
    Ok(Made::Here(Environment {
        system: wanted.system,
        derivation,
        output,
        script,
        closure,
        fingerprint,
        guest_nix,
    }))
}

/// What the lock names, where this machine's store has it with just these bytes, as after `up --fetch`.
async fn kept(
    wanted: &Wanted,
    derivation: &str,
    guest_nix: Option<&GuestNix>,
) -> Result<Option<Environment>> {
    let Some((output, fingerprint)) = &wanted.locked else { return Ok(None) };
    if !is_store_path(output) || !invalid(std::slice::from_ref(output)).await?.is_empty() {
        return Ok(None);
    }
    let closure = closure_of(output).await?;
    if closure.fingerprint(output) != *fingerprint {
        return Ok(None);
    }
    // Of an environment that is made already Nix builds nothing.
    let script =
        command::argv_print_made_env(output).check().await.map_err(|e| e.with_kind(Kind::Environment))?;
    Ok(Some(Environment {
        system: wanted.system,
        derivation: derivation.to_owned(),
        output: output.clone(),
        script: script.stdout,
        closure,
        fingerprint: fingerprint.clone(),
        guest_nix: guest_nix.cloned(),
    }))
}

/// The same, always here.
///
/// # Errors
/// As [`realise`].
pub async fn realise_here(
    wanted: &Wanted,
    events: &Events,
    evaluated: impl AsyncFn(&Evaluated) -> Result<()>,
) -> Result<Environment> {
    match realise(wanted, events, async |found: &Evaluated| evaluated(found).await.map(|()| Place::Here))
        .await?
    {
        Made::Here(environment) => Ok(environment),
        Made::There(order) => {
            Err(Error::new(Kind::Environment, format!("`{}` was not built", order.derivation)))
        }
    }
}

/// Builds the Nix that the guest gets, where the project names one.
///
/// # Errors
/// [`Kind::Environment`] when it is not to be had.
pub async fn guest_nix(wanted: &Wanted, phase: &Running) -> Result<Option<GuestNix>> {
    let Some(package) = &wanted.guest_nix else { return Ok(None) };
    std::fs::create_dir_all(&wanted.roots).or_fail(|| format!("can't make {}", tick(&wanted.roots)))?;
    let link = wanted.roots.join("nix");
    build(package, &link, phase, wanted).await?;
    let path = store_path_of(&link)?;
    Ok(Some(GuestNix { closure: closure_of(&path).await?, path }))
}

/// Evaluates the dev shell and realises nothing. Returns its derivation.
///
/// # Errors
/// [`Kind::Environment`]: no such dev shell, or an error of evaluation.
pub async fn evaluate(wanted: &Wanted, phase: &Running) -> Result<String> {
    let installable = command::installable(&wanted.shell, "devShells", wanted.system);
    let cmd = command::argv_evaluate(&wanted.root, &installable);
    let (printed, _) = run_logged(&cmd, phase, wanted, &installable).await?;
    let derivation = String::from_utf8_lossy(&printed).trim().to_owned();
    if is_store_path(&derivation) && derivation.ends_with(".drv") {
        Ok(derivation)
    } else {
        Err(Error::new(Kind::Environment, format!("`{installable}` has no derivation"))
            .detail(derivation)
            .hint("`environment.shell` names the dev shell"))
    }
}

/// Builds a package, found as `nix build` finds it: nixpkgs has its own among `legacyPackages`.
async fn build(package: &str, link: &Path, phase: &Running, wanted: &Wanted) -> Result<()> {
    let mut first = None;
    for outputs in ["packages", "legacyPackages"] {
        let installable = command::installable(package, outputs, wanted.system);
        let cmd = command::argv_build(&wanted.root, &installable, link);
        match run_logged(&cmd, phase, wanted, &installable).await {
            Ok(_) => return Ok(()),
            Err(e) if e.message() == no_attribute(&wanted.root, &installable) => {
                first.get_or_insert(e);
            }
            Err(e) => return Err(e.hint("`environment.nix` names another Nix for the box")),
        }
    }
    first.map_or(Ok(()), Err)
}

/// The message when a flake has no such output.
fn no_attribute(root: &Path, installable: &str) -> String {
    format!("the flake in {} has no `{installable}`", tick(root))
}

/// Runs a command of Nix, its log becoming progress. Returns its output and how many derivations it built.
async fn run_logged(
    cmd: &Cmd,
    phase: &Running,
    wanted: &Wanted,
    installable: &str,
) -> Result<(Vec<u8>, u64)> {
    let first = run_once(cmd, phase).await?;
    let (output, log) = if !first.0.status.success() && lost_its_cache(&first.1) {
        run_once(&command::without_eval_cache(cmd.clone()), phase).await?
    } else {
        first
    };
    if output.status.success() {
        return Ok((output.stdout, log.progress().built.0));
    }
    Err(explain(&log, installable, wanted))
}

/// Whether Nix failed because another Nix had its evaluation cache: some versions then take what they could not look
/// up for missing. Pure.
fn lost_its_cache(log: &Log) -> bool {
    log.errors()
        .iter()
        .chain(&log.messages())
        .any(|line| line.contains("eval-cache") && line.contains("is busy"))
}

/// Runs a command of Nix once, its log becoming progress.
async fn run_once(cmd: &Cmd, phase: &Running) -> Result<(Output, Log)> {
    let mut log = Log::default();
    let output = cmd
        .run_lines(
            |_| {},
            |line| {
                if let Some(now) = log.line(line) {
                    let (done, total) =
                        (now.built.0.saturating_add(now.copied.0), now.built.1.saturating_add(now.copied.1));
                    phase.progress(done, total, Unit::Items, now.detail.clone());
                }
            },
        )
        .await
        .map_err(|e| e.with_kind(Kind::Environment))?;
    Ok((output, log))
}

/// The error of a run of Nix that failed. Pure.
fn explain(log: &Log, installable: &str, wanted: &Wanted) -> Error {
    let said = |words: &str| log.errors().iter().chain(&log.messages()).any(|line| line.contains(words));
    let where_ = tick(&wanted.root);
    if let Some((drv, lines)) = log.failed_build() {
        return Error::new(
            Kind::Environment,
            format!("building `{}` failed", short_name(drv).trim_end_matches(".drv")),
        )
        .details(lines)
        .hint(format!("the whole log: `nix log {drv}`"));
    }
    let last: Vec<String> = log.errors().iter().flat_map(|e| e.lines().map(str::to_owned)).collect();
    let last = if last.is_empty() { log.messages() } else { last };
    let skip = last.len().saturating_sub(20);
    let last = last.into_iter().skip(skip);
    if said("is not tracked by Git") || (said("-source/") && said("flake.nix': No such file")) {
        return Error::new(
            Kind::Environment,
            format!("git does not know the flake in {where_}, so Nix does not see it"),
        )
        .details(last)
        .hint("`git add flake.nix`, and whatever it reads");
    }
    if said("does not provide attribute") {
        return Error::new(Kind::Environment, no_attribute(&wanted.root, installable))
            .hint("`nix flake show` lists what it has")
            .hint(
                "`environment.shell` in `devbox.toml` names the dev shell, `environment.nix` the box's Nix",
            );
    }
    if said("is required to build") || said("required to build '") {
        return Error::new(Kind::Environment, format!("this machine can't build for {}", wanted.system))
            .details(last)
            .hint("`devbox up` has the box build it, unless `environment.build` is `local`, and writes the lock")
            .hint("or set up a remote builder in nix.conf");
    }
    let verb = if installable.contains("ackages.") { "build" } else { "print-dev-env" };
    Error::new(Kind::Environment, format!("`{installable}` of {where_} could not be realised"))
        .details(last)
        .hint(format!("the same by hand: `nix {verb} {installable}`"))
}

/// The store path that a link of ours leads to.
fn store_path_of(link: &Path) -> Result<String> {
    let path =
        std::fs::canonicalize(link).or_kind(Kind::Environment, || format!("can't follow {}", tick(link)))?;
    let text = path.to_string_lossy().into_owned();
    if is_store_path(&text) {
        Ok(text)
    } else {
        Err(Error::new(Kind::Environment, format!("{} is no store path", tick(&path)))
            .hint("devbox needs the store at /nix/store"))
    }
}

/// The closure of a store path, with what Nix's database knows of each of its paths.
///
/// # Errors
/// [`Kind::Environment`] when the path is not in the store, or Nix does not answer.
pub async fn closure_of(path: &str) -> Result<Closure> {
    closure_of_all(&[path.to_owned()]).await
}

/// The same of several store paths together.
///
/// # Errors
/// As [`closure_of`].
pub async fn closure_of_all(tops: &[String]) -> Result<Closure> {
    let environment = |e: Error| e.with_kind(Kind::Environment);
    let mut paths: Vec<String> = Vec::new();
    for batch in tops.chunks(BATCH) {
        let found = command::argv_requisites(batch).check().await.map_err(environment)?.text();
        paths.extend(found.lines().map(str::to_owned));
    }
    paths.sort();
    paths.dedup();
    let mut all = Closure::default();
    for batch in paths.chunks(BATCH) {
        let text = command::argv_dump_db(batch).check().await.map_err(environment)?.text();
        all.0.extend(parse_registrations(&text)?.0);
    }
    if all.0.len() == paths.len() {
        Ok(all)
    } else {
        let what =
            format!("Nix registered {} of {} paths of `{}`", all.0.len(), paths.len(), tops.join("`, `"));
        Err(Error::new(Kind::Environment, what))
    }
}

/// Those of some store paths that are not in this machine's store.
///
/// # Errors
/// [`Kind::Environment`] when Nix does not answer.
pub async fn invalid(paths: &[String]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for batch in paths.chunks(BATCH) {
        let told =
            command::argv_invalid(batch).check().await.map_err(|e| e.with_kind(Kind::Environment))?.text();
        found.extend(told.lines().map(str::to_owned));
    }
    Ok(found)
}

/// Each evaluation that differs leaves a link `env-N-link`, a GC root of its own. What is current is
/// kept, the rest is let go.
fn forget_older_generations(profile: &Path) -> Result<()> {
    let what = || format!("can't tidy {}", tick(profile));
    let (Some(folder), Some(name)) = (profile.parent(), profile.file_name().and_then(|n| n.to_str())) else {
        return Ok(());
    };
    let current = std::fs::read_link(profile).or_fail(what)?;
    for entry in std::fs::read_dir(folder).or_fail(what)? {
        let file = entry.or_fail(what)?.file_name();
        let Some(text) = file.to_str() else { continue };
        let is_generation = text.starts_with(&format!("{name}-")) && text.ends_with("-link");
        if is_generation && current.file_name() != Some(file.as_os_str()) {
            std::fs::remove_file(folder.join(&file)).or_fail(what)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            root: "/p".into(),
            shell: ".#default".into(),
            guest_nix: None,
            system: System::X86_64Linux,
            roots: "/r".into(),
            locked: None,
        }
    }

    #[test]
    fn a_missing_dev_shell_is_named() {
        let mut log = Log::default();
        log.line(r#"@nix {"action":"msg","level":0,"msg":"error: flake 'path:/p' does not provide attribute 'x'"}"#);
        let error = explain(&log, ".#devShells.x86_64-linux.default", &wanted());
        assert_eq!(error.to_string(), "the flake in `/p` has no `.#devShells.x86_64-linux.default`");
        assert!(error.hints()[0].contains("nix flake show"));
    }

    #[test]
    fn a_busy_evaluation_cache_is_told_from_a_missing_attribute() {
        let mut log = Log::default();
        log.line(r#"@nix {"action":"msg","level":0,"msg":"error: attribute 'packages.x86_64-linux.devShells' is unexpectedly missing"}"#);
        assert!(!lost_its_cache(&log));
        log.line(r#"@nix {"action":"msg","level":0,"msg":"error (ignored): error: SQLite database '/h/.cache/nix/eval-cache-v2/5f.sqlite' is busy"}"#);
        assert!(lost_its_cache(&log));
    }

    #[test]
    fn old_generations_go_and_the_current_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for n in ["env-1-link", "env-2-link", "env-3-link", "env-old", "nix"] {
            std::os::unix::fs::symlink("/nix/store/x", at(n)).unwrap();
        }
        std::os::unix::fs::symlink("env-3-link", at("env")).unwrap();
        forget_older_generations(&at("env")).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["env", "env-3-link", "env-old", "nix"]);
    }
}
