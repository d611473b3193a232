//! `devbox ssh`: the dev shell on a box.

use std::io::IsTerminal;
use std::time::Duration;

use crate::cli::Ssh;
use crate::commands::Context;
use crate::commands::whereabouts::still_there;
use crate::error::Result;
use crate::guest::script;
use crate::journal::Entry;
use crate::ssh::Guest;

/// How long a box that was up may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `devbox ssh`: becomes ssh, so exit code and signals are its own.
///
/// # Errors
/// [`Kind::Guest`](crate::error::Kind::Guest) when the box can't be reached.
pub async fn run(cx: &Context, args: &Ssh) -> Result<()> {
    let (entry, guest) = connect(cx, args.name.as_deref()).await?;
    let text = args.command.join(" ");
    let terminal =
        std::io::stdin().is_terminal() && (args.command.is_empty() || std::io::stdout().is_terminal());
    let shell = script("shell");
    let project = entry.project.as_str();
    Err(match (args.plain, args.command.is_empty()) {
        (true, true) => guest.talk(terminal, &["exec", "bash", "-l"]),
        // As ssh does it: the words joined, for the login shell to read.
        (true, false) => guest.talk(terminal, &["bash", "-c", &text]),
        (false, true) => guest.talk(terminal, &[shell.as_str(), project]),
        (false, false) => guest.talk(terminal, &[shell.as_str(), project, "-c", &text]),
    })
}

/// The box that is meant, with an open connection.
///
/// # Errors
/// [`Kind::Guest`](crate::error::Kind::Guest) when it can't be reached.
pub async fn connect(cx: &Context, name: Option<&str>) -> Result<(Entry, Guest)> {
    let entry = cx.chosen(name)?;
    let config = cx.resolved()?.config;
    let guest = cx.guest(&entry, &config).await?;
    if !guest.answers().await {
        let provider = cx.provider_named(&entry.provider, &config)?;
        let still_there = || still_there(provider.as_ref(), &entry);
        let waited = guest.wait_for_ssh(PATIENCE, Duration::ZERO, provider.pace(), still_there, |_| {}).await;
        waited.map_err(|e| match e.hints() {
            [] => e.hint(format!("`devbox status {}` tells more; `devbox up {0}` tries again", entry.name)),
            _ => e,
        })?;
    }
    Ok((entry, guest))
}
