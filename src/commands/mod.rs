//! One file for each verb. Each resolves what it is asked for, checks, acts, reports.

pub mod completions;
pub mod config;
pub mod context;
pub mod diff;
pub mod doctor;
pub mod down;
pub mod init;
pub mod list;
pub mod lock;
pub mod rollback;
pub mod run;
pub mod ssh;
pub mod status;
pub mod store;
pub mod up;
pub mod verify;
pub mod wait;
pub mod whereabouts;

pub use context::Context;

use crate::cli::Command;
use crate::error::Result;
use crate::guest::store::GOES_ON;

/// Runs a command.
///
/// # Errors
/// As the command's own documentation says; the kind is the exit code.
pub async fn run(cx: &Context, command: &Command) -> Result<()> {
    match command {
        Command::Init(args) => init::run(cx, args),
        Command::Up(args) => up::run(cx, args).await,
        Command::Down(args) => down::run(cx, args).await,
        Command::Ssh(args) => ssh::run(cx, args).await,
        Command::Run(args) => run::run(cx, args).await,
        Command::Status(args) => status::run(cx, args).await,
        Command::List(args) => list::run(cx, args).await,
        Command::Wait(args) => wait::run(cx, args).await,
        Command::Lock(args) => lock::run(cx, args).await,
        Command::Diff(args) => diff::run(cx, args).await,
        Command::Verify(args) => verify::run(cx, args).await,
        Command::Rollback(args) => rollback::run(cx, args).await,
        Command::Store(args) => store::run(cx, args).await,
        Command::Config(args) => config::run(cx, args),
        Command::Doctor(args) => doctor::run(cx, args).await,
        Command::Completions(args) => completions::run(cx, args),
    }
}

/// The error of a command that was interrupted: what runs, and how to go on or end it.
pub fn interrupted(cx: &Context, command: &Command) -> crate::error::Error {
    use crate::error::{Error, Kind};
    let error = Error::new(Kind::Interrupted, "interrupted");
    let error = match command {
        Command::Store(_) | Command::Rollback(_) => error.hint(GOES_ON),
        _ => error,
    };
    match cx.journal.open() {
        Ok(open) if open.is_empty() => {
            error.hint("nothing that is known runs, `devbox status` makes sure; the same command starts over")
        }
        Ok(open) => open.iter().fold(error, |error, entry| up::still_running(cx, &entry.name, error)),
        Err(unreadable) => error.hint(format!("{unreadable}: `devbox status` shows what runs")),
    }
}
