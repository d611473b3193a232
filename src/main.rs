//! Parse, context, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use devbox::cli::{Cli, Command, Store, StoreWork};
use devbox::commands::{self, Context};
use devbox::error::{Error, Kind, Result};
use devbox::paths::Paths;
use devbox::ui::{Options, Ui};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = || Ui::new(options(&cli));
    let cx = match Paths::from_env().and_then(|paths| Context::new(&cli.global, paths, ui())) {
        Ok(cx) => cx,
        Err(e) => return failed(&ui(), &e),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return failed(&cx.ui, &Error::new(Kind::Failed, "can't start").caused_by(e)),
    };
    let done = runtime.block_on(until_interrupted(&cx, &cli.command));
    // Not waited for: a thread may be reading an answer that will not come.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => failed(&cx.ui, &e),
    }
}

fn options(cli: &Cli) -> Options {
    let Cli { global, command } = cli;
    let yes = match command {
        Command::Up(args) => args.yes,
        Command::Down(args) => args.yes,
        Command::Store(Store { what: StoreWork::Restore { yes, .. }, .. }) => *yes,
        _ => false,
    };
    // A document must stay one: what is said beside it goes to stderr.
    let stream = match command {
        Command::Up(args) => !args.dry_run,
        Command::Down(_) => true,
        _ => false,
    };
    Options {
        json: global.json,
        stream,
        quiet: global.quiet,
        verbose: global.verbose,
        no_progress: global.no_progress,
        color: global.color,
        yes,
    }
}

fn failed(ui: &Ui, error: &Error) -> ExitCode {
    ui.error(error);
    ExitCode::from(error.kind().exit_code())
}

/// Runs the command until it is done, or until Ctrl-C or SIGTERM. What is dropped then ends its
/// children; what is on disk lets the next command continue.
async fn until_interrupted(cx: &Context, command: &Command) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let unheard = |e: std::io::Error| Error::new(Kind::Failed, "can't listen for signals").caused_by(e);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unheard)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(unheard)?;
    let work = commands::run(cx, command);
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        _ = interrupt.recv() => cx.ui.events.stop(),
        _ = terminate.recv() => cx.ui.events.stop(),
    }
    Err(commands::interrupted(cx, command))
}
