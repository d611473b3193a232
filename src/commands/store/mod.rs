//! `devbox store`: the store of a box, looked at and looked after.

mod check;
mod copies;
mod gc;
mod grow;
mod restore;
mod status;
mod unlock;
mod words;

use crate::cli::{Store, StoreWork};
use crate::commands::Context;
use crate::commands::ssh::connect;
use crate::error::{Kind, Result};
use crate::journal::{Entry, Lock};
use crate::ssh::Guest;

/// Runs `devbox store`.
///
/// # Errors
/// [`Kind::Usage`] when no box is up, or for a name or size that can't be; [`Kind::Volume`] when the store is damaged
/// or another box has it; [`Kind::Guest`] when the box can't be reached or is busy.
pub async fn run(cx: &Context, args: &Store) -> Result<()> {
    let name = args.name.as_deref();
    match &args.what {
        StoreWork::Status => status::run(cx, name).await,
        StoreWork::Gc { keep, dry_run } => gc::run(cx, name, *keep, *dry_run).await,
        StoreWork::Grow { size } => grow::run(cx, name, size).await,
        StoreWork::Check { repair } => check::run(cx, name, *repair).await,
        StoreWork::Snapshot { delete: Some(snapshot), .. } => copies::delete(cx, name, snapshot).await,
        StoreWork::Snapshot { snapshot, .. } => copies::take(cx, name, snapshot.as_deref()).await,
        StoreWork::Restore { snapshot, discard_current, .. } => {
            restore::run(cx, name, snapshot, *discard_current).await
        }
        StoreWork::List => copies::list(cx, name).await,
        StoreWork::Unlock { force } => unlock::run(cx, name, *force).await,
    }
}

/// A box to work on, which no other devbox of this machine works on meanwhile.
pub(super) struct AtWork {
    pub(super) entry: Entry,
    pub(super) guest: Guest,
    _lock: Lock,
}

/// The box that is meant, for `verb`.
pub(super) async fn at_work(cx: &Context, name: Option<&str>, verb: &str) -> Result<AtWork> {
    let meant = chosen(cx, name)?;
    let lock = cx.journal.lock(&meant.name, verb, &cx.ui.events).await?;
    let (entry, guest) = connect(cx, Some(meant.name.as_str())).await?;
    Ok(AtWork { entry, guest, _lock: lock })
}

/// The box that is meant, for a look.
async fn at_hand(cx: &Context, name: Option<&str>) -> Result<(Entry, Guest)> {
    let meant = chosen(cx, name)?;
    connect(cx, Some(meant.name.as_str())).await
}

fn chosen(cx: &Context, name: Option<&str>) -> Result<Entry> {
    cx.chosen(name).map_err(|e| {
        if e.kind() == Kind::Usage {
            e.hint("the store is on the volume: it takes a box that is up to look at it")
        } else {
            e
        }
    })
}
