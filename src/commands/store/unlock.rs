//! `devbox store unlock`: who has the store that a box waits for, and the right to take it.

use std::time::Duration;

use serde_json::json;

use super::at_hand;
use super::status::{Document, HeldBy, look, render_holder};
use crate::commands::Context;
use crate::error::{Error, Kind, Result};
use crate::events::Level;
use crate::guest::bootstrap::wait_until_set_up;
use crate::guest::script;
use crate::ui::card::{Card, render_cards};

/// How long the box may take to set itself up once it has the lease.
const PATIENCE: Duration = Duration::from_secs(600);

/// How a lease is granted that does not say who holds it.
const NAMELESS: &str = "nameless";

/// What is to be done. Pure.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nobody else has it.
    Nothing(&'static str),
    /// It may not be taken.
    Refuse,
    /// It may be taken, and was not asked for.
    Explain,
    /// The lease of this launch is to be granted.
    Grant(String),
}

fn decide(document: &Document, force: bool) -> Verdict {
    let Some(held) = &document.holder else { return Verdict::Nothing("nobody has it") };
    match held.fate {
        "this" => Verdict::Nothing("this box has it"),
        "lives" | "is ending" => Verdict::Refuse,
        _ if !force => Verdict::Explain,
        _ if held.holder.launch().is_none() => Verdict::Grant(NAMELESS.to_owned()),
        _ => Verdict::Grant(held.holder.launch.clone()),
    }
}

/// Runs `devbox store unlock`. It takes no lock: `up` holds that while it waits for the very lease.
pub(super) async fn run(cx: &Context, name: Option<&str>, force: bool) -> Result<()> {
    let (entry, guest) = at_hand(cx, name).await?;
    let document = look(cx, &entry, &guest).await?;
    let name = entry.name.as_str();
    let verdict = decide(&document, force);
    let granted = matches!(verdict, Verdict::Grant(_));
    if cx.ui.is_json() {
        cx.ui.document(
            &json!({"box": name, "holder": document.holder, "lease": document.lease, "granted": granted}),
        );
    } else {
        cx.ui.data(&render_cards(&[card(&document)], cx.ui.columns()));
    }
    let Some(held) = &document.holder else {
        cx.ui.events.info("nobody has the store image: there is nothing to unlock");
        return Ok(());
    };
    match verdict {
        Verdict::Nothing(why) => {
            cx.ui.events.info(format!("{why}: there is nothing to unlock"));
            Ok(())
        }
        Verdict::Refuse => Err(lives(name, held)),
        Verdict::Explain => Err(explained(name, held)),
        Verdict::Grant(launch) => {
            cx.ui.events.warn(format!("{}: should it write once more, the store is destroyed", risk(held)));
            guest.check(&["sudo", &script("grant"), &launch]).await?;
            if document.lease == "flock" {
                cx.ui.events.note(
                    Level::Hint,
                    "the volume's file server gives the lock of a dead box free by itself, which may take it minutes",
                );
            }
            wait_until_set_up(&guest, true, PATIENCE, &cx.ui.events, |_| {}).await?;
            cx.ui.events.info(format!("`{name}` has the store; `devbox up {name}` continues"));
            Ok(())
        }
    }
}

fn risk(held: &HeldBy) -> String {
    match held.fate {
        "is gone" => format!("the provider says that `{}` is gone", held.holder.box_),
        _ if held.holder.launch().is_none() => {
            "nobody but you says that no other box has the store".to_owned()
        }
        _ => format!("nobody but you says that `{}` is gone", held.holder.box_),
    }
}

/// The error where the holder may still write. Pure.
fn lives(name: &str, held: &HeldBy) -> Error {
    let holder = &held.holder.box_;
    let error = Error::new(
        Kind::Volume,
        format!("`{name}` waits for `{holder}`, which {}: two writers would destroy the store", held.fate),
    );
    if held.fate == "lives" {
        error.hint(format!("`devbox down {holder}` brings it to rest and ends it"))
    } else {
        error.hint(format!("once it is gone, `devbox up {name}` takes the lease"))
    }
}

/// The error where nothing was done, for nobody has said to. Pure.
fn explained(name: &str, held: &HeldBy) -> Error {
    let error = Error::new(
        Kind::Volume,
        format!("nothing was unlocked: the store image is held by {}", render_holder(held)),
    );
    let error =
        if held.fate == "is gone" { error.hint(format!("`devbox up {name}` takes it")) } else { error };
    error.hint("`devbox store unlock --force` takes it now: only if you are certain that it is gone")
}

fn card(document: &Document) -> Card {
    let mut card = Card::new(&format!("store of {} ({})", document.box_, document.system));
    card.line("holder", document.holder.as_ref().map_or_else(|| "nobody".to_owned(), render_holder));
    card.line("lease", if document.lease == "flock" { "kept by flock" } else { "kept by its file" });
    card.maybe("state", document.why_not.as_ref());
    card
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::raw;
    use super::super::status::{document, held_by};
    use super::*;
    use crate::journal::tests::entry;
    use crate::names::LaunchId;

    const HOLDER: &str = r#"{"box":"other","launch":"00000000000000000000000000000002","instance":"i-2","host":"h","boot":"b","since":"2026-01-02T03:04:05Z","lease":"text"}"#;

    fn with(fate: &'static str) -> Document {
        let mut document = document(&entry(), raw(), None);
        document.holder = Some(HeldBy { fate, ..held_by(HOLDER, LaunchId::random(), None) });
        document
    }

    #[test]
    fn a_living_holder_keeps_it_whatever_one_says() {
        for fate in ["lives", "is ending"] {
            assert_eq!(decide(&with(fate), true), Verdict::Refuse);
            assert_eq!(decide(&with(fate), false), Verdict::Refuse);
        }
        assert_eq!(decide(&with("is gone"), false), Verdict::Explain);
        assert_eq!(decide(&with("unknown"), false), Verdict::Explain);
        for fate in ["is gone", "unknown"] {
            assert_eq!(decide(&with(fate), true), Verdict::Grant("00000000000000000000000000000002".into()));
        }
        assert_eq!(decide(&with("this"), true), Verdict::Nothing("this box has it"));
        let nameless = Document { holder: Some(held_by("{", LaunchId::random(), None)), ..with("unknown") };
        assert_eq!(decide(&nameless, false), Verdict::Explain);
        assert_eq!(decide(&nameless, true), Verdict::Grant(NAMELESS.into()));
    }

    #[test]
    fn what_is_said() {
        let said = |e: &Error| crate::ui::render_error(e, false);
        let held = |document: &Document| said(&explained("hello", document.holder.as_ref().unwrap()));
        let nameless = Document { holder: Some(held_by("{", LaunchId::random(), None)), ..with("unknown") };
        insta::assert_snapshot!(
            [
                said(&lives("hello", with("lives").holder.as_ref().unwrap())),
                said(&lives("hello", with("is ending").holder.as_ref().unwrap())),
                held(&with("is gone")),
                held(&with("unknown")),
                held(&nameless),
                render_cards(&[card(&with("is gone"))], 80),
            ]
            .join("---\n")
        );
    }
}
