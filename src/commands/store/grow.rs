//! `devbox store grow`: a larger store, while it is in use.

use std::time::Duration;

use serde_json::json;

use super::at_work;
use super::words::bytes;
use crate::commands::Context;
use crate::config::size::Size;
use crate::error::{Error, Kind, Result};
use crate::events::{Level, Phase};
use crate::guest::store::answers::Grown;
use crate::guest::store::{Work, ask};

/// How long the box may take.
const DEADLINE: Duration = Duration::from_secs(1800);
/// ext4 with blocks of 4 KiB and the features that ours has goes further, files on most volumes do not.
const MOST: Size = Size::mib(16 << 20);

/// The size that is wanted, in whole MiB. Pure.
///
/// # Errors
/// [`Kind::Usage`] for what is no size, or too large a one.
fn parse_wanted(text: &str) -> Result<u64> {
    let size: Size = text.parse()?;
    if size > MOST {
        return Err(Error::new(Kind::Usage, format!("a store can't have {size}: {MOST} is the most")));
    }
    Ok(size.as_bytes().next_multiple_of(1 << 20))
}

/// Runs `devbox store grow`.
pub(super) async fn run(cx: &Context, name: Option<&str>, size: &str) -> Result<()> {
    let wanted = parse_wanted(size)?;
    let at = at_work(cx, name, "store grow").await?;
    let phase = cx.ui.events.phase(Phase::Grow);
    phase.doing("growing the filesystem");
    let work = Work::new("store-grow", DEADLINE).arg(wanted.to_string());
    let grown: Grown = ask(&at.guest, &work, Some(&phase)).await?;
    if grown.deferred {
        phase.done(format!("to {}, when it is mounted next", bytes(grown.promised)));
    } else if grown.before == grown.after {
        phase.nothing(format!("it has {} already", bytes(grown.after)));
    } else {
        phase.done(format!("{} before, {} now", bytes(grown.before), bytes(grown.after)));
    }
    if cx.ui.is_json() {
        cx.ui.document(&json!({"box": at.entry.name, "grow": grown}));
    } else {
        let Grown { after, used, free, real, .. } = grown;
        let (after, used, free, real) = (bytes(after), bytes(used), bytes(free), bytes(real));
        cx.ui.data(&format!("{after}, {used} used, {free} free; {real} on the volume\n"));
    }
    if grown.deferred {
        let name = &at.entry.name;
        cx.ui.events.warn(format!(
            "`{name}` may not grow what is mounted (its root lacks CAP_SYS_RESOURCE): the next mount does"
        ));
        cx.ui.events.note(Level::Hint, format!("`devbox down {name}`, then `devbox up {name}`"));
    }
    if let Some(short) = render_short(&grown) {
        cx.ui.events.warn(short);
    }
    Ok(())
}

/// What is to be said where the volume can't keep what the store promises. Pure.
fn render_short(grown: &Grown) -> Option<String> {
    let promised = grown.promised.saturating_sub(grown.real);
    (promised > grown.volume_free).then(|| {
        format!(
            "the store promises {} more than it takes now, and the volume has {} free: it can fill up before the store does",
            bytes(promised),
            bytes(grown.volume_free)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_mebibytes() {
        assert_eq!(parse_wanted("100GiB").unwrap(), 100 << 30);
        assert_eq!(parse_wanted("1B").unwrap(), 1 << 20);
        assert_eq!(parse_wanted("100GB").unwrap() % (1 << 20), 0);
        assert_eq!(parse_wanted("17TiB").unwrap_err().kind(), Kind::Usage);
        assert_eq!(parse_wanted("much").unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn a_promise_that_the_volume_can_not_keep_is_named() {
        let grown = Grown {
            before: 1 << 30,
            after: 8 << 30,
            used: 0,
            free: 0,
            real: 1 << 30,
            volume_free: 7 << 30,
            promised: 8 << 30,
            deferred: false,
        };
        assert_eq!(render_short(&grown), None);
        let short = render_short(&Grown { volume_free: 2 << 30, ..grown }).unwrap();
        assert!(short.contains("7.00 GiB more") && short.contains("2.00 GiB free"), "{short}");
    }
}
