//! What happened, for people and for machines. Work emits events; `ui` draws them.
//!
//! Nothing in here prints. An [`Events`] handle is cheap to clone and goes wherever work is done.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;

/// A stretch of work with a beginning and an end. The order is that of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Evaluating and realising the dev shell here.
    Environment,
    /// Making the local provider's root filesystem (first time only).
    RootFilesystem,
    /// Waiting for the end of an instance that still has the volume.
    LetGo,
    /// Looking for a region where a machine is free, so that the volume can be made there.
    Market,
    /// Asking the provider for an instance.
    Launch,
    /// From the launch until ssh answers with the pinned host key.
    Boot,
    /// The guest's own set-up: volume, store image, home, Nix.
    Bootstrap,
    /// Asking the guest what it is and has.
    Facts,
    /// Giving the guest its Nix out of the environment.
    Seed,
    /// Sending the guest the derivations that it is to build.
    Derivations,
    /// Realising the dev shell on the guest.
    Build,
    /// Moving the closure.
    Transfer,
    /// Making the environment current on the guest.
    Activate,
    /// Bringing back what the guest built.
    Fetch,
    /// Comparing what the guest has with what was realised.
    Verify,
    /// Running the project's checks in the dev shell on the guest.
    Checks,
    /// Throwing away what the store does not need.
    Collect,
    /// Making the store larger.
    Grow,
    /// Looking at the store.
    Check,
    /// Copying the store.
    Snapshot,
    /// Putting a copy in the store's place.
    Restore,
    /// Ending work on the guest, unmounting home and store.
    Quiesce,
    /// Ending the instance.
    Terminate,
}

impl Phase {
    /// What a person reads while it runs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::RootFilesystem => "root filesystem",
            Self::LetGo => "volume",
            Self::Market => "capacity",
            Self::Launch => "launch",
            Self::Boot => "boot",
            Self::Bootstrap => "set up",
            Self::Facts => "ask the box",
            Self::Seed => "nix",
            Self::Derivations => "derivations",
            Self::Build => "build there",
            Self::Transfer => "transfer",
            Self::Activate => "make current",
            Self::Fetch => "fetch",
            Self::Verify => "verify",
            Self::Checks => "checks",
            Self::Collect => "collect garbage",
            Self::Grow => "grow",
            Self::Check => "check",
            Self::Snapshot => "snapshot",
            Self::Restore => "restore",
            Self::Quiesce => "unmount",
            Self::Terminate => "terminate",
        }
    }
}

/// How a phase ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did what it was to do.
    Done,
    /// There was nothing to do.
    Nothing,
    /// It failed.
    Failed,
    /// It was cut off: by a failure elsewhere, or by the user.
    Stopped,
}

/// How loud a line of talk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Shown even with `-q`.
    Warning,
    /// Shown unless `-q`.
    Info,
    /// A way on, printed behind `hint:`.
    Hint,
    /// Shown with `-v`.
    Detail,
    /// Shown with `-vv`: every command that is run.
    Trace,
}

/// What is counted in a progress event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Store paths, derivations or steps.
    Items,
}

/// One thing that happened. Serialized, it is one line of `--json` (with `seconds` since the
/// command began).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Event {
    /// A phase began.
    Started {
        /// Which one.
        phase: Phase,
    },
    /// A phase got further.
    Progress {
        /// Which one.
        phase: Phase,
        /// How much is done, in `unit`.
        done: u64,
        /// How much there is, where that is known; 0 where it is not.
        total: u64,
        /// What is counted.
        unit: Unit,
        /// What is being worked on, one short line.
        detail: String,
    },
    /// A phase ended.
    Finished {
        /// Which one.
        phase: Phase,
        /// How.
        outcome: Outcome,
        /// What came of it, one short line; may be empty.
        summary: String,
        /// How long it took, in seconds.
        took: f64,
    },
    /// Something to say.
    Note {
        /// How loud.
        level: Level,
        /// One line.
        message: String,
    },
    /// There is an instance, and its id is on disk: it is billed from now on.
    Launched {
        /// The box.
        r#box: String,
        /// The provider's id.
        instance: String,
        /// What an hour costs, in US cents, where that is known.
        cents_per_hour: Option<u32>,
    },
    /// A result as data, for `--json`. A person gets the same from the command's own printing.
    Result {
        /// What kind of result: the command's name.
        of: &'static str,
        /// The document.
        data: serde_json::Value,
    },
}

/// Receives every event with the time since the command began.
pub trait Sink {
    /// Takes one event. Never fails: a display that can't draw loses the drawing, not the work.
    fn take(&mut self, at: Duration, event: &Event);
}

/// A finished phase, as the timeline wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Which phase.
    pub phase: Phase,
    /// When it began, since the command began.
    pub from: Duration,
    /// When it ended, since the command began.
    pub to: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

struct Shared {
    began: Instant,
    sink: RefCell<Box<dyn Sink>>,
    spans: RefCell<Vec<Span>>,
    /// Whether what is under way is being cut off.
    stopping: Cell<bool>,
}

/// Where work says what it does.
#[derive(Clone)]
pub struct Events(Rc<Shared>);

impl Events {
    /// Events that go to `sink`; the clock starts now.
    pub fn new(sink: Box<dyn Sink>) -> Self {
        Self(Rc::new(Shared {
            began: Instant::now(),
            sink: RefCell::new(sink),
            spans: RefCell::default(),
            stopping: Cell::default(),
        }))
    }

    /// Events that nobody reads, for tests and for work done on the side.
    pub fn silent() -> Self {
        struct Silence;
        impl Sink for Silence {
            fn take(&mut self, _: Duration, _: &Event) {}
        }
        Self::new(Box::new(Silence))
    }

    /// Passes one event on.
    pub fn emit(&self, event: &Event) {
        self.0.sink.borrow_mut().take(self.0.began.elapsed(), event);
    }

    /// Says a line.
    pub fn note(&self, level: Level, message: impl Into<String>) {
        self.emit(&Event::Note { level, message: message.into() });
    }

    /// Says a line that `-q` does not hide.
    pub fn warn(&self, message: impl Into<String>) {
        self.note(Level::Warning, message);
    }

    /// Says a line.
    pub fn info(&self, message: impl Into<String>) {
        self.note(Level::Info, message);
    }

    /// Says a line that only `-v` shows.
    pub fn detail(&self, message: impl Into<String>) {
        self.note(Level::Detail, message);
    }

    /// Begins a phase. It ends when the returned guard is told so, or failed when it is dropped.
    pub fn phase(&self, phase: Phase) -> Running {
        self.emit(&Event::Started { phase });
        Running { events: self.clone(), phase, from: self.0.began.elapsed(), open: true }
    }

    /// What is under way from now on ends because it is cut off, not because it failed.
    pub fn stop(&self) {
        self.0.stopping.set(true);
    }

    /// The phases that have ended, in the order of their beginnings.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans = self.0.spans.borrow().clone();
        spans.sort_by_key(|s| (s.from, s.phase));
        spans
    }

    /// Time since the command began.
    pub fn elapsed(&self) -> Duration {
        self.0.began.elapsed()
    }
}

/// A phase under way.
#[must_use = "a phase that is dropped counts as failed"]
pub struct Running {
    events: Events,
    phase: Phase,
    from: Duration,
    open: bool,
}

impl Running {
    /// Says how far the phase is, and on what.
    pub fn progress(&self, done: u64, total: u64, unit: Unit, detail: impl Into<String>) {
        self.events.emit(&Event::Progress { phase: self.phase, done, total, unit, detail: detail.into() });
    }

    /// Says what is being worked on, where nothing can be counted.
    pub fn doing(&self, detail: impl Into<String>) {
        self.progress(0, 0, Unit::Items, detail);
    }

    /// Ends the phase: it did its work.
    pub fn done(mut self, summary: impl Into<String>) {
        self.end(Outcome::Done, summary.into());
    }

    /// Ends the phase: there was nothing to do.
    pub fn nothing(mut self, summary: impl Into<String>) {
        self.end(Outcome::Nothing, summary.into());
    }

    fn end(&mut self, outcome: Outcome, summary: String) {
        self.open = false;
        let to = self.events.elapsed();
        self.events.0.spans.borrow_mut().push(Span { phase: self.phase, from: self.from, to, outcome });
        let took = (to - self.from).as_secs_f64();
        self.events.emit(&Event::Finished { phase: self.phase, outcome, summary, took });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.open {
            let outcome = if self.events.0.stopping.get() { Outcome::Stopped } else { Outcome::Failed };
            self.end(outcome, String::new());
        }
    }
}

/// Keeps every event; tests read them.
#[derive(Clone, Default)]
pub struct Recorded(Rc<RefCell<Vec<Event>>>);

impl Recorded {
    /// What came so far.
    pub fn events(&self) -> Vec<Event> {
        self.0.borrow().clone()
    }
}

impl Sink for Recorded {
    fn take(&mut self, _: Duration, event: &Event) {
        self.0.borrow_mut().push(event.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_phase_counts_as_failed() {
        let recorded = Recorded::default();
        let events = Events::new(Box::new(recorded.clone()));
        drop(events.phase(Phase::Boot));
        events.phase(Phase::Facts).done("ok");
        assert_eq!(
            events.spans().iter().map(|s| s.outcome).collect::<Vec<_>>(),
            [Outcome::Failed, Outcome::Done]
        );
        assert_eq!(recorded.events().len(), 4);
    }

    #[test]
    fn an_event_is_one_line_of_json() {
        let event = Event::Note { level: Level::Info, message: "two\nlines".into() };
        let line = serde_json::to_string(&event).unwrap();
        assert_eq!(line, r#"{"event":"note","level":"info","message":"two\nlines"}"#);
    }
}
