//! The part of `up --dry-run` about the environment: what would be built, fetched and copied, how long that takes, and
//! what is different from the lock. Evaluates, and asks; builds and fetches nothing.

use serde_json::{Value, json};

use super::Story;
use super::rates::Rate;
use crate::commands::lock::{files, now, render_difference};
use crate::error::Result;
use crate::events::Phase;
use crate::guest::facts;
use crate::lock::compare::system_option;
use crate::lock::{Deviation, FILE};
use crate::names::System;
use crate::nix::Listing;
use crate::nix::closure::render_paths;
use crate::nix::environment::{self, Evaluated};
use crate::nix::graph::{Outlook, outlook};
use crate::nix::missing::{Missing, missing};
use crate::plan::UpPlan;
use crate::plan::build::{Place, render_derivations};
use crate::plan::up::Source;

/// What a box lacks of an environment.
#[derive(Clone, Debug, PartialEq)]
enum Copy {
    /// So many store paths, of so many in all, and their bytes.
    Exactly { paths: usize, of: usize, bytes: u64 },
    /// So much at most: what the volume has is not known.
    AtMost { paths: usize, bytes: u64 },
    /// The volume had all of it, the day that a box was last up with it.
    Nothing { since: String },
    /// That shows when it is built.
    Unknown,
}

/// How it stands with the lock.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    /// There is none for this system: it would be written.
    Written,
    /// It is this environment.
    Same(String),
    /// It is this environment, come by in another way.
    SameButFor(Vec<String>),
    /// It is another: `up` refuses. In what it differs, and the command that accepts it.
    Refused(Vec<String>, String),
    /// The store paths are the same, the bytes here are others.
    OtherBytes,
}

/// All that can be told of the environment before anything is done.
pub(super) struct Ahead {
    place: Place,
    derivation: String,
    missing: Missing,
    copy: Copy,
    verdict: Verdict,
    up: Rate,
}

impl Story<'_> {
    /// Looks ahead.
    pub(super) async fn foresee(&self, system: System, plan: &UpPlan, creates: bool) -> Result<Ahead> {
        let phase = self.cx.ui.events.phase(Phase::Environment);
        phase.doing("evaluating");
        let wanted = environment::Wanted {
            root: self.project.root.clone(),
            shell: self.config.environment.shell.clone(),
            guest_nix: None,
            system,
            roots: self.cx.roots(&self.project.root, system),
            locked: None,
        };
        let derivation = environment::evaluate(&wanted, &phase).await?;
        // The box's Nix is not built for a look, and taken for the one that the lock has.
        let guest_nix = self.locked.section(system).and_then(|section| section.nix.clone());
        let evaluated = Evaluated { derivation: derivation.clone(), guest_nix };
        if self.locked.strict {
            self.hold_against_lock(system, &evaluated).await?;
        }
        let place = self.place(system).await?;
        let outlook = outlook(&derivation).await?;
        let missing = match &outlook {
            Outlook::Here(_) => Missing::default(),
            Outlook::ToCome(_) => {
                phase.doing("asking what is missing");
                let mut missing = missing(std::slice::from_ref(&derivation)).await?;
                // The dev shell itself is never built.
                missing.build.retain(|drv| *drv != derivation);
                missing
            }
        };
        let copy = match &outlook {
            Outlook::Here(listing) => self.what_to_copy(listing, plan, creates).await,
            Outlook::ToCome(_) => Copy::Unknown,
        };
        let verdict = self.verdict(system, &evaluated, &outlook)?;
        phase.done("");
        let up = Rate::up(&self.cx.paths, self.provider.name());
        Ok(Ahead { place, derivation, missing, copy, verdict, up })
    }

    /// Asks the box that runs; of a volume without a box, what the journal remembers.
    async fn what_to_copy(&self, listing: &Listing, plan: &UpPlan, creates: bool) -> Copy {
        let (of, bytes) = (listing.0.len(), listing.bytes());
        if creates {
            return Copy::Exactly { paths: of, of, bytes };
        }
        let at_most = Copy::AtMost { paths: of, bytes };
        if let Source::Running { entry, .. } = &plan.source {
            let asked = async {
                let guest = self.cx.guest(entry, &self.config).await?;
                facts::missing(&guest, &listing.0.keys().cloned().collect::<Vec<_>>()).await
            };
            // A box that does not answer is no reason to say nothing.
            return asked.await.map_or(at_most, |lacks| {
                let bytes = lacks.iter().filter_map(|path| listing.0.get(path)).map(|nar| nar.size).sum();
                Copy::Exactly { paths: lacks.len(), of, bytes }
            });
        }
        let print = listing.fingerprint();
        let had_it = self.cx.launches().into_iter().rev().find(|entry| {
            entry.provider == self.provider.name()
                && plan.volumes.first().is_some_and(|volume| volume.is(entry.volume.as_str()))
                && entry.fingerprint.as_ref() == Some(&print)
        });
        had_it
            .and_then(|entry| entry.ready)
            .map_or(at_most, |ready| Copy::Nothing { since: ready.strftime("%Y-%m-%d").to_string() })
    }

    fn verdict(&self, system: System, evaluated: &Evaluated, outlook: &Outlook) -> Result<Verdict> {
        let Some(section) = self.locked.section(system) else { return Ok(Verdict::Written) };
        let flake_lock = files::flake_lock(&self.project.root)?;
        let deviations = section.deviations(&now(&self.config, flake_lock.as_deref(), evaluated));
        if deviations.iter().any(Deviation::is_of_the_environment) {
            let option = system_option(self.locked.lock.as_ref(), system);
            let update = self.cx.again(&format!("lock --update{option}"));
            return Ok(Verdict::Refused(render_difference(&self.edited(), section, outlook), update));
        }
        Ok(match outlook {
            Outlook::Here(listing) if listing.fingerprint() != section.fingerprint => Verdict::OtherBytes,
            _ if deviations.is_empty() => Verdict::Same(section.fingerprint.short().to_owned()),
            _ => Verdict::SameButFor(deviations.iter().flat_map(Deviation::render).collect()),
        })
    }
}

impl Ahead {
    /// What comes before the box, a line each.
    pub(super) fn before(&self, shell: &str, root: &str) -> Vec<String> {
        let Missing { build, fetch, unknown, download, .. } = &self.missing;
        let mut lines = vec![format!("build   `{shell}` of {root}")];
        if let Place::There(why) = &self.place {
            lines.push(format!("        on the box: {why}"));
        }
        if self.missing.is_nothing() && self.place == Place::Here {
            let what = if self.copy == Copy::Unknown {
                "not all of it is here"
            } else {
                "nothing to do: all of it is here"
            };
            lines.push(format!("        {what}"));
        }
        if !build.is_empty() {
            let unless = match self.place {
                Place::Here => "",
                Place::There(_) => ", unless its volume has them",
            };
            lines.push(format!(
                "        {}{unless}; how long is not known",
                render_derivations(&self.missing)
            ));
        }
        if !fetch.is_empty() {
            let size = indicatif::BinaryBytes(*download);
            let time = Rate::down().render(*download);
            let by = if self.place == Place::Here { "" } else { ", by the box" };
            lines.push(format!("fetch   {}, {size}{by}: {time}", render_paths(fetch.len())));
        }
        if !unknown.is_empty() {
            lines
                .push(format!("        {} that nothing makes and no cache has", render_paths(unknown.len())));
        }
        lines
    }

    /// What comes once there is a box, and how it stands with the lock.
    pub(super) fn after(&self) -> Vec<String> {
        let size = |bytes: u64| indicatif::BinaryBytes(bytes);
        let mut lines = vec![match &self.copy {
            Copy::Exactly { paths: 0, .. } => "copy    nothing: the box has all of it".to_owned(),
            Copy::Exactly { paths, of, bytes } => {
                let all =
                    if paths == of { render_paths(*of) } else { format!("{paths} of {}", render_paths(*of)) };
                format!("copy    {all}, {}: {}", size(*bytes), self.up.render(*bytes))
            }
            Copy::AtMost { paths, bytes } => format!(
                "copy    what the volume lacks of {}, {}: at most {}",
                render_paths(*paths),
                size(*bytes),
                self.up.render(*bytes).trim_start_matches("about ")
            ),
            Copy::Nothing { since } => format!("copy    nothing: the volume had all of it on {since}"),
            Copy::Unknown if self.place != Place::Here => {
                "copy    the derivations, to be built there".to_owned()
            }
            Copy::Unknown => "copy    what the box lacks: how much that is shows when it is built".to_owned(),
        }];
        lines.extend(match &self.verdict {
            Verdict::Written => vec![format!("lock    written: there is no `{FILE}` for it yet")],
            Verdict::Same(print) => vec![format!("lock    `{FILE}` has this environment, {print}")],
            Verdict::SameButFor(why) => {
                let first = format!("lock    `{FILE}` has this environment, but for:");
                std::iter::once(first).chain(why.iter().map(|line| format!("        {line}"))).collect()
            }
            Verdict::Refused(diff, update) => {
                let first = format!("lock    `{FILE}` has another environment: `up` refuses, until you run");
                let diff = diff.iter().map(|line| format!("        {line}"));
                [first, format!("        `{update}`")].into_iter().chain(diff).collect()
            }
            Verdict::OtherBytes => vec![format!(
                "lock    `{FILE}` has the same store paths, and other bytes: looked for on the volume and in caches"
            )],
        });
        lines
    }

    /// The same for programs.
    pub(super) fn document(&self) -> Value {
        let Missing { build, fetch, unknown, download, unpacked } = &self.missing;
        let (paths, bytes, exact) = match &self.copy {
            Copy::Exactly { paths, bytes, .. } => (Some(*paths), Some(*bytes), true),
            Copy::AtMost { paths, bytes } => (Some(*paths), Some(*bytes), false),
            Copy::Nothing { .. } => (Some(0), Some(0), false),
            Copy::Unknown => (None, None, false),
        };
        let lock = match &self.verdict {
            Verdict::Written => "absent",
            Verdict::Same(_) | Verdict::SameButFor(_) => "same",
            Verdict::Refused(..) => "differs",
            Verdict::OtherBytes => "other-bytes",
        };
        json!({
            "derivation": self.derivation,
            "built-on": if self.place == Place::Here { "this-machine" } else { "box" },
            "build": build,
            "fetch": {"paths": fetch, "download": download, "unpacked": unpacked, "seconds": Rate::down().seconds(*download)},
            "unknown": unknown,
            "copy": {"paths": paths, "bytes": bytes, "exact": exact, "seconds": bytes.map(|bytes| self.up.seconds(bytes))},
            "lock": lock,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ahead(missing: Missing, copy: Copy, verdict: Verdict) -> String {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let paths = crate::paths::Paths {
            home: at("h"),
            config: at("c"),
            state: at("s"),
            cache: at("x"),
            runtime: at("r"),
        };
        let up = Rate::up(&paths, "lambda");
        let ahead =
            Ahead { place: Place::Here, derivation: "/nix/store/x.drv".into(), missing, copy, verdict, up };
        let lines = [ahead.before(".#default", "/home/me/train"), ahead.after()].concat();
        lines.join("\n")
    }

    #[test]
    fn everything_that_can_be_told() {
        let drv = |name: &str| format!("/nix/store/v7xa9h0xla15ciz778yn8rhiq4562fpz-{name}.drv");
        let names = ["flash-attn-2.8.3", "torch-2.8.0", "a-1", "b-2", "c-3", "d-4"];
        let much = Missing {
            build: names.map(drv).to_vec(),
            fetch: vec![drv("x"), drv("y")],
            unknown: vec![drv("z")],
            download: 3 << 30,
            unpacked: 9 << 30,
        };
        let diff = vec!["PACKAGE  FROM   TO".to_owned(), "torch    2.7.1  2.8.0".to_owned()];
        let all = [
            ahead(much, Copy::Unknown, Verdict::Refused(diff, "devbox lock --update".into())),
            ahead(
                Missing { build: vec![drv("torch-2.8.0")], ..Missing::default() },
                Copy::Unknown,
                Verdict::Written,
            ),
            ahead(
                Missing::default(),
                Copy::Exactly { paths: 4, of: 812, bytes: 64 << 20 },
                Verdict::Same("2be80df48331".into()),
            ),
            ahead(
                Missing::default(),
                Copy::AtMost { paths: 812, bytes: 9 << 30 },
                Verdict::SameButFor(vec!["`flake.lock` has changed".into()]),
            ),
            ahead(Missing::default(), Copy::Nothing { since: "2026-01-02".into() }, Verdict::OtherBytes),
            ahead(Missing::default(), Copy::Exactly { paths: 0, of: 812, bytes: 0 }, Verdict::Written),
        ];
        insta::assert_snapshot!(all.join("\n---\n"));
    }
}
