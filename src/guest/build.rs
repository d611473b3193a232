//! Having the box build the dev shell: its derivation travels, the box realises it.

use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::events::{Events, Phase, Running, Unit};
use crate::guest::{facts, script};
use crate::names::ProjectName;
use crate::nix::Environment;
use crate::nix::closure::{Closure, is_store_path, parse_registrations, render_paths};
use crate::nix::command::{argv_copy_derivation, argv_fetch, argv_root};
use crate::nix::environment::{Order, invalid};
use crate::nix::log::{Log, short_name};
use crate::process::{Cmd, Output};
use crate::ssh::Guest;

/// As long as a build may take here.
const BUILD: Duration = Duration::from_secs(24 * 3600);
/// `build.sh`'s exit status when the build was ended before it was over.
const ENDED: i32 = 75;

/// How much of the box a build may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many derivations are built at once.
    pub jobs: u32,
    /// How many cores each of them may use; 0 is all of them.
    pub cores: u32,
}

/// Has the box build it. Afterwards it is in the box's store, with its closure as registered there.
///
/// # Errors
/// [`Kind::Environment`] when the build fails, with the last lines of its log; [`Kind::Guest`].
pub async fn build(
    guest: &Guest,
    project: &ProjectName,
    order: &Order,
    limits: Limits,
    events: &Events,
) -> Result<Environment> {
    send(guest, order, events).await?;
    let phase = events.phase(Phase::Build);
    phase.doing("goes on there, though the connection may not last");
    let (jobs, cores) = (limits.jobs.to_string(), limits.cores.to_string());
    let script = script("build");
    let cmd =
        guest.command(&["sudo", &script, project.as_str(), &order.derivation, &jobs, &cores]).deadline(BUILD);
    let (output, log) = watch(&cmd, &phase, counted).await?;
    if !output.status.success() {
        return Err(explain(guest, &cmd, output, &log));
    }
    let (output, closure, script) = parse_built(&output.stdout)?;
    let fingerprint = closure.fingerprint(&output);
    let built = log.progress().built.0;
    let made = if built > 0 { format!("{built} built, ") } else { String::new() };
    let size = indicatif::BinaryBytes(closure.bytes());
    phase.done(format!("{made}{}, {size}, {}", render_paths(closure.0.len()), fingerprint.short()));
    Ok(Environment {
        system: order.system,
        derivation: order.derivation.clone(),
        output,
        script,
        closure,
        fingerprint,
        guest_nix: order.guest_nix.clone(),
    })
}

/// Sends the derivation and all that it needs, unless the box has it.
async fn send(guest: &Guest, order: &Order, events: &Events) -> Result<()> {
    let phase = events.phase(Phase::Derivations);
    if facts::missing(guest, std::slice::from_ref(&order.derivation)).await?.is_empty() {
        phase.nothing("all there");
        return Ok(());
    }
    let cmd = argv_copy_derivation(guest.name.as_str(), &guest.files.ours, &order.derivation);
    let (output, log) = watch(&cmd, &phase, counted).await?;
    if output.status.success() {
        phase.done(match log.progress().copied.0 {
            // An older Nix does not count them.
            0 => "sent".to_owned(),
            sent => render_paths(usize::try_from(sent).unwrap_or(usize::MAX)),
        });
        return Ok(());
    }
    let last = log.messages();
    Err(Error::new(Kind::Guest, format!("sending `{}` the derivations failed", guest.name))
        .details(last[last.len().saturating_sub(8)..].to_vec())
        .hint("`devbox up` sends the rest; what arrived stays"))
}

/// Brings what the box built into this machine's store; `link` keeps it there.
///
/// # Errors
/// [`Kind::Environment`] when this machine's Nix does not take it.
pub async fn fetch(
    guest: &Guest,
    environment: &Environment,
    link: &std::path::Path,
    events: &Events,
) -> Result<()> {
    let phase = events.phase(Phase::Fetch);
    let lacking = invalid(&environment.closure.paths()).await?;
    let cmd = argv_fetch(guest.name.as_str(), &guest.files.ours, &environment.output);
    let (output, log) = watch(&cmd, &phase, counted).await?;
    if !output.status.success() {
        let last = log.messages();
        let unsigned = last.iter().any(|line| line.contains("signature") || line.contains("not trusted"));
        let error = Error::new(
            Kind::Environment,
            format!("this machine's Nix does not take what `{}` built", guest.name),
        )
        .details(last[last.len().saturating_sub(8)..].to_vec());
        return Err(if unsigned {
            error.hint("nobody signed it: your user must be one of `trusted-users` in nix.conf")
        } else {
            error.hint("`devbox up --fetch` fetches the rest")
        });
    }
    argv_root(&environment.output, link).check().await.map_err(|e| e.with_kind(Kind::Environment))?;
    let here =
        crate::nix::environment::closure_of(&environment.output).await?.fingerprint(&environment.output);
    if here != environment.fingerprint {
        return Err(Error::new(
            Kind::Differs,
            "this machine's store has other bytes under the same store paths",
        )
        .detail(format!("box   {}", environment.fingerprint))
        .detail(format!("here  {here}"))
        .hint("what was here stays as it is: Nix does not replace a store path that it has"));
    }
    let bytes =
        lacking.iter().filter_map(|path| environment.closure.0.get(path)).map(|info| info.nar_size).sum();
    match lacking.len() {
        0 => phase.nothing("all of it is here"),
        many => phase.done(format!("{}, {}", render_paths(many), indicatif::BinaryBytes(bytes))),
    }
    Ok(())
}

/// Runs a command that logs as Nix does for programs, its log becoming progress.
async fn watch(
    cmd: &Cmd,
    phase: &Running,
    count: impl Fn(&crate::nix::log::Progress) -> (u64, u64),
) -> Result<(Output, Log)> {
    let mut log = Log::default();
    let output = cmd
        .run_lines(
            |_| {},
            |line| {
                if let Some(now) = log.line(line) {
                    let (done, total) = count(now);
                    phase.progress(done, total, Unit::Items, now.detail.clone());
                }
            },
        )
        .await
        .map_err(|e| e.with_kind(Kind::Guest))?;
    Ok((output, log))
}

fn counted(now: &crate::nix::log::Progress) -> (u64, u64) {
    (now.built.0.saturating_add(now.copied.0), now.built.1.saturating_add(now.copied.1))
}

/// What `build.sh` printed: the environment's store path, its closure, and the script that enters it. Pure.
///
/// # Errors
/// [`Kind::Guest`] where it is something else.
pub fn parse_built(bytes: &[u8]) -> Result<(String, Closure, Vec<u8>)> {
    let odd = || {
        Error::new(Kind::Guest, "the box did not say what it built")
            .hint("it may have been set up by another version of devbox: `devbox down`, then `devbox up`")
    };
    let line_end = |from: usize| bytes.get(from..)?.iter().position(|b| *b == b'\n').map(|n| from + n + 1);
    let first = line_end(0).ok_or_else(odd)?;
    let head = std::str::from_utf8(&bytes[..first]).map_err(|_| odd())?;
    let (output, count) = head.trim_end().split_once(' ').ok_or_else(odd)?;
    let count: usize = count.parse().map_err(|_| odd())?;
    let mut end = first;
    for _ in 0..count {
        end = line_end(end).ok_or_else(odd)?;
    }
    let registrations = std::str::from_utf8(&bytes[first..end]).map_err(|_| odd())?;
    let closure = parse_registrations(registrations).map_err(|e| odd().caused_by(e))?;
    if !is_store_path(output) || !closure.0.contains_key(output) {
        return Err(odd());
    }
    Ok((output.to_owned(), closure, bytes[end..].to_vec()))
}

/// The error of a build that failed on the box.
fn explain(guest: &Guest, cmd: &Cmd, output: Output, log: &Log) -> Error {
    let name = &guest.name;
    let code = output.status.code();
    if let Some((drv, lines)) = log.failed_build() {
        return Error::new(
            Kind::Environment,
            format!("building `{}` failed on `{name}`", short_name(drv).trim_end_matches(".drv")),
        )
        .details(lines)
        .hint(format!("the whole log: `devbox ssh {name} --plain -- nix-store --read-log {drv}`"));
    }
    let said = log.errors();
    let full = said.iter().any(|line| line.contains("No space left on device"));
    match code {
        Some(ENDED) => Error::new(Kind::Guest, format!("the build on `{name}` was ended before it was over"))
            .hint("`devbox up` begins it again; what was built by then stays"),
        Some(255) | None => match guest.judge(cmd, output) {
            Err(e) => e.hint("the build goes on there: `devbox up` takes it up again"),
            Ok(_) => Error::new(Kind::Guest, format!("the build on `{name}` did not end well")),
        },
        _ if full => Error::new(Kind::Volume, format!("the store of `{name}` is full")).hint(
            "`devbox store gc` throws away what nothing needs, `devbox store grow SIZE` makes it larger",
        ),
        _ => {
            let last = if said.is_empty() { log.messages() } else { said.to_vec() };
            let last: Vec<String> = last.iter().flat_map(|text| text.lines().map(str::to_owned)).collect();
            Error::new(Kind::Environment, format!("`{name}` could not realise the dev shell"))
                .details(last[last.len().saturating_sub(20)..].to_vec())
                .hint("`caches.substituters` says where the box may fetch from")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENV: &str = "/nix/store/4x1kkg1q61mvzx0z5hv15px24pv0axln-hello-env";

    fn printed(script: &[u8]) -> Vec<u8> {
        let registration = format!("{ENV}\n{}\n120\n\n0\n", "1".repeat(64));
        [format!("{ENV} {}\n{registration}", registration.lines().count()).as_bytes(), script].concat()
    }

    #[test]
    fn what_the_box_built() {
        let (output, closure, script) = parse_built(&printed(b"export A=1\n\xff no text\n")).unwrap();
        assert_eq!((output.as_str(), closure.0[ENV].nar_size), (ENV, 120));
        assert_eq!(script, b"export A=1\n\xff no text\n");
        assert!(parse_built(&printed(b"")).unwrap().2.is_empty());
    }

    #[test]
    fn what_is_no_answer() {
        for text in ["", "\n", "x", "/nix/store/x 5\n", &format!("{ENV} 99\n"), &format!("{ENV} 0\nscript")] {
            assert!(parse_built(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn cut_short_it_is_no_answer(at in 0usize..200) {
            let whole = printed(b"script\n");
            let at = at.min(whole.len());
            prop_assert_eq!(parse_built(&whole[..at]).is_ok(), at >= whole.len() - "script\n".len());
        }
    }
}
