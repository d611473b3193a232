//! `devbox rollback`: an earlier environment becomes current.

use std::time::Duration;

use serde_json::json;

use crate::cli::Rollback;
use crate::commands::Context;
use crate::commands::store::at_work;
use crate::error::Result;
use crate::events::{Level, Phase};
use crate::guest::store::answers::RolledBack;
use crate::guest::store::{Work, ask};
use crate::journal::Entry;

/// How long the box may take.
const DEADLINE: Duration = Duration::from_secs(300);

/// Runs `devbox rollback`.
///
/// # Errors
/// [`Kind::Usage`](crate::error::Kind::Usage) when there is no such generation;
/// [`Kind::Volume`](crate::error::Kind::Volume) when it is not whole any more;
/// [`Kind::Differs`](crate::error::Kind::Differs) when it is not what it was.
pub async fn run(cx: &Context, args: &Rollback) -> Result<()> {
    let at = at_work(cx, args.name.as_deref(), "rollback").await?;
    let Entry { name, project, .. } = &at.entry;
    let phase = cx.ui.events.phase(Phase::Activate);
    phase.doing("comparing it with what it was");
    let wanted = args.generation.map(|n| n.to_string());
    let work = Work::new("rollback", DEADLINE).arg(project.as_str()).maybe(wanted);
    let now: RolledBack = ask(&at.guest, &work, Some(&phase)).await?;
    if now.generation == now.before {
        phase.nothing(format!("generation {} is current already", now.generation));
    } else {
        phase.done(format!("generation {}, {} before", now.generation, now.before));
    }
    let entry = Entry { fingerprint: Some(now.fingerprint.clone()), ..at.entry.clone() };
    if entry != at.entry {
        cx.journal.write(&entry)?;
    }
    if cx.ui.is_json() {
        cx.ui.document(&json!({"box": name, "rollback": now}));
    } else {
        cx.ui.data(&format!("{project} {} ({})\n", now.generation, now.fingerprint));
    }
    cx.ui.events.note(
        Level::Hint,
        "`devbox ssh` enters it; the next `devbox up` makes the environment of the flake current again",
    );
    Ok(())
}
