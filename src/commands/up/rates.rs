//! How fast bytes have gone to boxes, so that the next time can be told before it is paid for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::ignore;
use crate::paths::{Paths, write_atomic};
use crate::ui::render_seconds;

/// Less says nothing of the line: it is over before it is at its pace.
const LEAST: u64 = 8 << 20;

/// What is assumed where nothing was measured: lines of 100 and 200 Mbit/s, a disk.
const ASSUMED_UP: f64 = 12.0 * 1024.0 * 1024.0;
const ASSUMED_DOWN: f64 = 24.0 * 1024.0 * 1024.0;
const ASSUMED_LOCAL: f64 = 100.0 * 1024.0 * 1024.0;

/// A rate, and whether it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Rate {
    /// Bytes in a second; positive.
    bytes_per_second: f64,
    /// When it was measured; nothing where it is assumed.
    at: Option<Timestamp>,
}

/// By provider.
type Rates = BTreeMap<String, Rate>;

fn file(paths: &Paths) -> PathBuf {
    paths.state.join("rates.json")
}

fn read(paths: &Paths) -> Rates {
    // What was measured can be measured again.
    std::fs::read(file(paths)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Remembers how fast a copy to a box was, where it was long enough to tell.
pub(super) fn remember(paths: &Paths, provider: &str, bytes: u64, took: Duration) {
    if bytes < LEAST || took.is_zero() {
        return;
    }
    let mut rates = read(paths);
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let bytes_per_second = bytes as f64 / took.as_secs_f64();
    rates.insert(provider.to_owned(), Rate { bytes_per_second, at: Some(Timestamp::now()) });
    // A rate that can't be kept is assumed the next time.
    if let Ok(text) = serde_json::to_vec_pretty(&rates) {
        ignore(write_atomic(&file(paths), &text, 0o644));
    }
}

impl Rate {
    /// How fast bytes go to a provider's boxes.
    pub(super) fn up(paths: &Paths, provider: &str) -> Self {
        let assumed = if provider == "local" { ASSUMED_LOCAL } else { ASSUMED_UP };
        let measured = read(paths).remove(provider).filter(|rate| rate.bytes_per_second >= 1.0);
        measured.unwrap_or(Self { bytes_per_second: assumed, at: None })
    }

    /// How fast bytes come from caches.
    pub(super) const fn down() -> Self {
        Self { bytes_per_second: ASSUMED_DOWN, at: None }
    }

    /// How long so many bytes take, in seconds.
    pub(super) fn seconds(&self, bytes: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let bytes = bytes as f64;
        bytes / self.bytes_per_second
    }

    /// `about 1 min 40 s at 12 MiB/s, assumed`.
    pub(super) fn render(&self, bytes: u64) -> String {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and a rate")]
        let rate = indicatif::BinaryBytes(self.bytes_per_second as u64);
        let from = match self.at {
            Some(at) => format!("measured on {}", at.strftime("%Y-%m-%d")),
            None => "assumed".to_owned(),
        };
        let seconds = self.seconds(bytes);
        let time = if seconds < 1.0 {
            "less than a second".to_owned()
        } else {
            format!("about {}", render_seconds(seconds))
        };
        format!("{time} at {rate}/s, {from}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_taken_and_what_says_nothing_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let paths =
            Paths { home: at("h"), config: at("c"), state: at("s"), cache: at("x"), runtime: at("r") };
        assert_eq!(Rate::up(&paths, "lambda").render(3 << 30), "about 4 min 16 s at 12.00 MiB/s, assumed");
        assert_eq!(Rate::up(&paths, "local").render(5), "less than a second at 100.00 MiB/s, assumed");
        remember(&paths, "lambda", 1 << 20, Duration::from_secs(1));
        assert!(Rate::up(&paths, "lambda").at.is_none());
        remember(&paths, "lambda", 64 << 20, Duration::from_secs(2));
        let words = Rate::up(&paths, "lambda").render(3 << 30);
        assert!(words.starts_with("about 1 min 36 s at 32.00 MiB/s, measured on 20"), "{words}");
        std::fs::write(file(&paths), "{").unwrap();
        assert!(Rate::up(&paths, "lambda").at.is_none());
    }
}
