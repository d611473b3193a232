//! One pace for all devbox processes of a user: the API takes a request a second, and a launch every
//! twelve (lambda-cloud.md). A small file, held by a lock for microseconds, says when the next may go.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};

use crate::error::{OrFail, Result, tick};
use crate::paths::{cant, make_private};

/// No turn is further away than this: a file that says so is wrong, by a clock that was set.
const FURTHEST: i64 = 15 * 60 * 1000;

/// The paces.
#[derive(Clone, Debug)]
pub(super) struct Limiter {
    file: PathBuf,
    /// Between two requests.
    pub(super) request: Duration,
    launch: Duration,
    /// The turns as this process knows them, for where the file can't be written.
    own: Cell<Turns>,
}

/// When the next request, and the next launch, may go, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Turns {
    request: i64,
    launch: i64,
}

impl Turns {
    /// What is no such file is a fresh start.
    fn parse(text: &str) -> Self {
        let mut numbers = text.split_whitespace().map(|n| n.parse().unwrap_or_default());
        Self { request: numbers.next().unwrap_or_default(), launch: numbers.next().unwrap_or_default() }
    }

    /// Takes the next turn: when it is, and what is left for others. Pure.
    fn take(self, now: i64, launch: bool, every: Duration, launch_every: Duration) -> (i64, Self) {
        let sane = |turn: i64| if turn > now.saturating_add(FURTHEST) { now } else { turn };
        let mut turn = now.max(sane(self.request));
        if launch {
            turn = turn.max(sane(self.launch));
        }
        let after = |pause: Duration| turn.saturating_add(millis(pause));
        let launch_turn = if launch { after(launch_every) } else { self.launch };
        (turn, Self { request: after(every), launch: launch_turn })
    }

    /// Nobody goes before `pause` is over. Pure.
    fn hold(self, now: i64, pause: Duration) -> Self {
        Self { request: self.request.max(now.saturating_add(millis(pause).min(FURTHEST))), ..self }
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl Limiter {
    /// Paces kept in `file`.
    pub(super) fn new(file: PathBuf, request: Duration, launch: Duration) -> Self {
        Self { file, request, launch, own: Cell::default() }
    }

    /// Waits for the turn of a request, or of a launch.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(super) async fn turn(&self, launch: bool) -> Result<()> {
        let now = Timestamp::now().as_millisecond();
        let mut turn = now;
        self.change(|turns| {
            let (mine, rest) = turns.take(now, launch, self.request, self.launch);
            turn = mine;
            rest
        })?;
        let wait = u64::try_from(turn - now).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(wait)).await;
        Ok(())
    }

    /// The API wants to be left alone for a while, by all of us.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(super) fn hold(&self, pause: Duration) -> Result<()> {
        let now = Timestamp::now().as_millisecond();
        self.change(|turns| turns.hold(now, pause))
    }

    fn change(&self, change: impl FnOnce(Turns) -> Turns) -> Result<()> {
        let what = || format!("can't keep the pace of requests in {}", tick(&self.file));
        let mut file = match self.open() {
            Ok(file) => file,
            // Who sees what bills, and ends it, needs no disk: then the pace is that of this process alone.
            Err(e) if e.is_of_an_unwritable_disk() => {
                self.own.set(change(self.own.get()));
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        // Held for as long as it takes to write a line, so waiting for it is no wait.
        flock(&file, FlockOperation::LockExclusive).or_fail(what)?;
        let mut text = String::new();
        // What is no text is a fresh start, like every other nonsense.
        if file.read_to_string(&mut text).is_err() {
            text.clear();
        }
        let Turns { request, launch } = change(Turns::parse(&text));
        self.own.set(Turns { request, launch });
        let written = file.set_len(0).and_then(|()| file.rewind());
        let written = written.and_then(|()| file.write_all(format!("{request} {launch}\n").as_bytes()));
        match written.map_err(|e| cant("write", &self.file, e)) {
            Err(e) if !e.is_of_an_unwritable_disk() => Err(e),
            _ => Ok(()),
        }
    }

    fn open(&self) -> Result<File> {
        let folder = self.file.parent().unwrap_or(&self.file);
        make_private(folder)?;
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&self.file);
        file.map_err(|e| cant("write", &self.file, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TWELVE: Duration = Duration::from_secs(12);

    #[test]
    fn requests_go_one_a_second_and_launches_one_in_twelve() {
        let mut turns = Turns::default();
        let mut went = Vec::new();
        for launch in [false, true, false, true] {
            let (turn, rest) = turns.take(1000, launch, SECOND, TWELVE);
            went.push(turn);
            turns = rest;
        }
        assert_eq!(went, [1000, 2000, 3000, 14_000]);
    }

    #[test]
    fn processes_share_one_pace() {
        let dir = tempfile::tempdir().unwrap();
        let limiter = |_| Limiter::new(dir.path().join("x/pace"), Duration::from_millis(40), TWELVE);
        let began = std::time::Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for n in 0..4 {
                limiter(n).turn(false).await.unwrap();
            }
        });
        assert!(began.elapsed() >= Duration::from_millis(118), "{:?}", began.elapsed());
    }

    #[test]
    fn a_hold_holds_everybody_and_nonsense_holds_nobody() {
        let held = Turns::default().hold(1000, Duration::from_secs(5));
        assert_eq!(held.take(1000, false, SECOND, TWELVE).0, 6000);
        let absurd = Turns { request: i64::MAX, launch: i64::MAX };
        assert_eq!(absurd.take(1000, true, SECOND, TWELVE).0, 1000);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_turn_is_in_the_past(text in ".{0,60}", now in 0_i64..2_000_000_000_000, launch: bool) {
            let (turn, rest) = Turns::parse(&text).take(now, launch, SECOND, TWELVE);
            prop_assert!(turn >= now && turn <= now + FURTHEST);
            prop_assert!(rest.request >= turn + 1000);
        }
    }
}
