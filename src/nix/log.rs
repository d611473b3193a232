//! Nix's internal-json log, read into: what is built, what is fetched, how much is left.
//!
//! The numbers of activities and results are those of `ActivityType` and `ResultType` in Nix's
//! `logging.hh`, the same from 2.8 to 2.34. What we don't know we pass over.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;
use serde_json::Value;

const COPY_PATH: u64 = 100;
const COPY_PATHS: u64 = 103;
const BUILDS: u64 = 104;
const BUILD: u64 = 105;
const SUBSTITUTE: u64 = 108;

const BUILD_LOG_LINE: u64 = 101;
const PROGRESS: u64 = 105;
const SET_EXPECTED: u64 = 106;
const POST_BUILD_LOG_LINE: u64 = 107;

/// Log lines kept for each build, to be shown when it fails.
const KEEP: usize = 20;
/// Messages kept of Nix itself.
const KEEP_MESSAGES: usize = 50;

#[derive(Deserialize)]
struct Line {
    action: String,
    #[serde(default)]
    id: u64,
    #[serde(default, rename = "type")]
    kind: u64,
    #[serde(default)]
    fields: Vec<Value>,
    #[serde(default)]
    text: String,
    #[serde(default)]
    level: u64,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    raw_msg: String,
}

#[derive(Debug)]
struct Activity {
    kind: u64,
    what: String,
    done: u64,
    expected: u64,
}

/// How far Nix is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Derivations built, and to be built in all.
    pub built: (u64, u64),
    /// Store paths copied or substituted, and to be in all.
    pub copied: (u64, u64),
    /// Bytes moved, and to be moved in all, as far as Nix knows.
    pub bytes: (u64, u64),
    /// What is being worked on.
    pub detail: String,
}

/// Reads the log line by line. Never panics, whatever the text.
#[derive(Debug, Default)]
pub struct Log {
    activities: BTreeMap<u64, Activity>,
    builds: BTreeMap<String, VecDeque<String>>,
    messages: VecDeque<String>,
    errors: Vec<String>,
    progress: Progress,
    bytes_finished: u64,
}

impl Log {
    /// Takes one line of standard error. Returns the progress where it changed.
    pub fn line(&mut self, line: &str) -> Option<&Progress> {
        let Some(json) = line.strip_prefix("@nix ") else {
            self.say(line);
            return None;
        };
        let Ok(line) = serde_json::from_str::<Line>(json) else { return None };
        let before = self.progress.clone();
        match line.action.as_str() {
            "start" => self.start(&line),
            "stop" => self.stop(line.id),
            "result" => self.result(&line),
            "msg" => self.message(&line),
            _ => {}
        }
        self.count();
        (self.progress != before).then_some(&self.progress)
    }

    fn say(&mut self, text: &str) {
        let text = console::strip_ansi_codes(text).trim_end().to_owned();
        if text.is_empty() {
            return;
        }
        if self.messages.len() == KEEP_MESSAGES {
            self.messages.pop_front();
        }
        self.messages.push_back(text);
    }

    fn start(&mut self, line: &Line) {
        let first = line.fields.first().and_then(Value::as_str).unwrap_or_default();
        let what = match line.kind {
            BUILD => first.to_owned(),
            COPY_PATH | SUBSTITUTE => short_name(first).to_owned(),
            _ => line.text.clone(),
        };
        let verb = match line.kind {
            BUILD => Some("building"),
            SUBSTITUTE => Some("fetching"),
            COPY_PATH => Some("copying"),
            _ => None,
        };
        if let Some(verb) = verb {
            self.progress.detail = format!("{verb} {}", short_name(&what).trim_end_matches(".drv"));
        } else if line.level <= 4 && !line.text.is_empty() {
            self.progress.detail = console::strip_ansi_codes(&line.text).into_owned();
        }
        self.activities.insert(line.id, Activity { kind: line.kind, what, done: 0, expected: 0 });
    }

    fn stop(&mut self, id: u64) {
        if let Some(activity) = self.activities.remove(&id)
            && activity.kind == COPY_PATH
        {
            self.bytes_finished = self.bytes_finished.saturating_add(activity.done.max(activity.expected));
        }
    }

    fn result(&mut self, line: &Line) {
        let number = |i: usize| line.fields.get(i).and_then(Value::as_u64);
        let Some(activity) = self.activities.get_mut(&line.id) else { return };
        match line.kind {
            PROGRESS => {
                let (Some(done), Some(expected)) = (number(0), number(1)) else { return };
                (activity.done, activity.expected) = (done, expected);
                match activity.kind {
                    BUILDS => self.progress.built = (done, expected),
                    COPY_PATHS => self.progress.copied = (done, expected),
                    _ => {}
                }
            }
            SET_EXPECTED if number(0) == Some(COPY_PATH) => {
                if let Some(expected) = number(1) {
                    self.progress.bytes.1 = self.progress.bytes.1.max(expected);
                }
            }
            BUILD_LOG_LINE | POST_BUILD_LOG_LINE => {
                if let Some(text) = line.fields.first().and_then(Value::as_str) {
                    let kept = self.builds.entry(activity.what.clone()).or_default();
                    if kept.len() == KEEP {
                        kept.pop_front();
                    }
                    kept.push_back(console::strip_ansi_codes(text).trim_end().to_owned());
                }
            }
            _ => {}
        }
    }

    fn message(&mut self, line: &Line) {
        // `msg` has the places in the source files, newer versions leave it out of `raw_msg`.
        let text = if line.msg.is_empty() { &line.raw_msg } else { &line.msg };
        let text = console::strip_ansi_codes(text).into_owned();
        if line.level == 0 && !text.starts_with("warning:") {
            self.errors.push(text.clone());
        }
        self.say(&text);
    }

    fn count(&mut self) {
        let running: u64 = self.activities.values().filter(|a| a.kind == COPY_PATH).map(|a| a.done).sum();
        self.progress.bytes.0 = self.bytes_finished.saturating_add(running);
        self.progress.bytes.1 = self.progress.bytes.1.max(self.progress.bytes.0);
    }

    /// How far Nix is.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What Nix said when it gave up: its own error, without the lines that only say where in which
    /// file evaluation was.
    pub fn errors(&self) -> &[String] {
        &self.errors
    }

    /// The last things Nix said.
    pub fn messages(&self) -> Vec<String> {
        self.messages.iter().cloned().collect()
    }

    /// The derivation whose build failed, and the last lines of its log.
    pub fn failed_build(&self) -> Option<(&str, Vec<String>)> {
        // The one that Nix's errors name; the innermost error comes first.
        let (drv, lines) = self
            .errors
            .iter()
            .chain(self.messages.iter())
            .find_map(|e| self.builds.iter().find(|(drv, _)| e.contains(drv.as_str())))?;
        Some((drv, lines.iter().cloned().collect()))
    }
}

/// The name of a store path without folder and hash.
pub fn short_name(path: &str) -> &str {
    let base = path.rsplit('/').next().unwrap_or(path);
    base.split_once('-').filter(|(hash, _)| hash.len() == 32).map_or(base, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DRV: &str = "/nix/store/dmm750ipz8dgwc7s7lqqp9gm10f4pp3p-hello.drv";

    fn feed(lines: &[String]) -> Log {
        let mut log = Log::default();
        for line in lines {
            log.line(line);
        }
        log
    }

    #[test]
    fn a_build_is_counted_and_named() {
        let log = feed(&[
            r#"@nix {"action":"start","id":1,"level":0,"text":"","type":104}"#.into(),
            r#"@nix {"action":"result","fields":[0,3,0,0],"id":1,"type":105}"#.into(),
            format!(
                r#"@nix {{"action":"start","fields":["{DRV}","",1,1],"id":2,"level":3,"text":"building","type":105}}"#
            ),
            r#"@nix {"action":"result","fields":["compiling"],"id":2,"type":101}"#.into(),
        ]);
        assert_eq!(log.progress().built, (0, 3));
        assert_eq!(log.progress().detail, "building hello");
    }

    #[test]
    fn the_last_twenty_lines_of_the_build_that_failed_are_kept() {
        let mut lines = vec![format!(
            r#"@nix {{"action":"start","fields":["{DRV}","",1,1],"id":2,"level":3,"text":"b","type":105}}"#
        )];
        lines.extend(
            (0..30).map(|n| format!(r#"@nix {{"action":"result","fields":["line {n}"],"id":2,"type":101}}"#)),
        );
        lines.push(r#"@nix {"action":"stop","id":2}"#.into());
        lines.push(format!(r#"@nix {{"action":"msg","level":0,"msg":"\u001b[31;1merror:\u001b[0m builder for '{DRV}' failed"}}"#));
        let log = feed(&lines);
        let (drv, last) = log.failed_build().unwrap();
        assert_eq!(drv, DRV);
        assert_eq!((last.len(), last[0].as_str(), last[19].as_str()), (20, "line 10", "line 29"));
        assert_eq!(log.errors(), [format!("error: builder for '{DRV}' failed")]);
    }

    #[test]
    fn bytes_of_a_copy_add_up() {
        let log = feed(&[
            r#"@nix {"action":"start","id":1,"level":0,"text":"","type":103}"#.into(),
            r#"@nix {"action":"result","fields":[100,1000],"id":1,"type":106}"#.into(),
            r#"@nix {"action":"start","fields":["/nix/store/v7xa9h0xla15ciz778yn8rhiq4562fpz-a","","ssh-ng://x"],"id":2,"level":3,"text":"","type":100}"#.into(),
            r#"@nix {"action":"result","fields":[400,600,0,0],"id":2,"type":105}"#.into(),
            r#"@nix {"action":"stop","id":2}"#.into(),
            r#"@nix {"action":"start","fields":["/nix/store/v7xa9h0xla15ciz778yn8rhiq4562fpz-b","","ssh-ng://x"],"id":3,"level":3,"text":"","type":100}"#.into(),
            r#"@nix {"action":"result","fields":[100,400,0,0],"id":3,"type":105}"#.into(),
        ]);
        assert_eq!(log.progress().bytes, (700, 1000));
        assert_eq!(log.progress().detail, "copying b");
    }

    #[test]
    fn what_is_no_json_is_kept_as_a_message() {
        assert_eq!(feed(&["plain words".into()]).messages(), ["plain words"]);
    }

    proptest! {
        #[test]
        fn no_line_panics(lines in proptest::collection::vec(".{0,80}", 0..8)) {
            let mut log = Log::default();
            for line in &lines {
                log.line(line);
                log.line(&format!("@nix {line}"));
            }
        }

        #[test]
        fn no_event_panics(id in 0u64..4, kind in 99u64..110, a in any::<u64>(), b in any::<u64>(), action in "start|stop|result|msg|odd") {
            let mut log = Log::default();
            for _ in 0..3 {
                log.line(&format!(r#"@nix {{"action":"{action}","id":{id},"type":{kind},"fields":[{a},{b}]}}"#));
                log.line(&format!(r#"@nix {{"action":"start","id":{id},"type":{kind},"fields":["{a}"]}}"#));
            }
            prop_assert!(log.progress().bytes.0 <= log.progress().bytes.1);
        }
    }
}
