//! `devbox run`: one command in the dev shell on a box.

use std::io::IsTerminal;

use crate::cli::Run;
use crate::commands::Context;
use crate::commands::ssh::connect;
use crate::error::Result;
use crate::guest::script;

/// Runs `devbox run`: becomes ssh, so exit code and signals are its own.
///
/// # Errors
/// [`Kind::Guest`](crate::error::Kind::Guest) when the box can't be reached.
pub async fn run(cx: &Context, args: &Run) -> Result<()> {
    let (entry, guest) = connect(cx, args.name.as_deref()).await?;
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    // `--` keeps a command called `-c` from being taken for shell.sh's own word.
    let mut words = vec![script("shell"), entry.project.to_string(), "--".to_owned()];
    words.extend(args.command.iter().cloned());
    Err(guest.talk(terminal, &words))
}
