//! `devbox completions`: the completion script of a shell.

use clap::CommandFactory;

use crate::cli::{Cli, Completions};
use crate::commands::Context;
use crate::error::Result;

/// Runs `devbox completions`.
///
/// # Errors
/// None today.
pub fn run(cx: &Context, args: &Completions) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "devbox", &mut script);
    cx.ui.data(&String::from_utf8_lossy(&script));
    Ok(())
}
