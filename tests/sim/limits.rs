//! The documented rates: one request a second, one launch in twelve.

use super::scenario::Rates;

/// Seconds between two requests.
const GENERAL: f64 = 1.0;
/// Seconds between two launches. A launch counts as a request as well.
const LAUNCH: f64 = 12.0;

/// When the next one is due, for each of the two (the generic cell rate algorithm): a client that
/// keeps the pace is never refused for the jitter of its clock, and one that does not, always.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    general: f64,
    launch: f64,
}

impl Limits {
    /// Whether a request at `now` is within the rates. One that is refused does not count.
    pub(crate) fn admit(&mut self, now: f64, is_launch: bool, rates: &Rates) -> bool {
        if rates.scale <= 0.0 {
            return true;
        }
        let due = |at: f64| now >= at - rates.tolerance;
        if !due(self.general) || (is_launch && !due(self.launch)) {
            return false;
        }
        self.general = self.general.max(now) + GENERAL / rates.scale;
        if is_launch {
            self.launch = self.launch.max(now) + LAUNCH / rates.scale;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_client_passes_and_a_quick_one_does_not() {
        let rates = Rates { scale: 1.0, tolerance: 0.1, ..Rates::default() };
        let mut limits = Limits::default();
        let steady: Vec<bool> = [0.05, 1.0, 2.03, 3.0].map(|at| limits.admit(at, false, &rates)).into();
        assert_eq!(steady, [true; 4]);
        assert!(!limits.admit(3.5, false, &rates));
        assert!(limits.admit(4.0, true, &rates), "what was refused did not count");
        assert!(!limits.admit(6.0, true, &rates));
        assert!(limits.admit(6.0, false, &rates));
        assert!(limits.admit(16.0, true, &rates));
        let unlimited = Rates { scale: 0.0, ..Rates::default() };
        assert!((0..100).all(|_| limits.admit(16.0, true, &unlimited)));
    }
}
