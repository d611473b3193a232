//! When to ask again. Pure: the caller brings the clock and the dice.

use std::time::Duration;

use super::answer::{Failure, How};

/// The most times one request is made.
pub(super) const TRIES: u32 = 6;
/// The same where there was silence: somebody waits for the answer, and each time has taken long already.
const SILENT_TRIES: u32 = 2;
/// The longest pause of our own choice.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest that the API may ask us to wait.
const PATIENCE: Duration = Duration::from_secs(300);

/// Whether a request may be made twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Safety {
    /// Twice is once: asking, ending, and what refuses duplicates.
    Repeatable,
    /// Twice may be two: only when nothing can have been done.
    Once,
}

/// How long to wait before asking again; nothing when it is over. `tries` have been made, the last one
/// ended in `failure`. The first pause is at most `first`, each is twice as long as the one before. `dice` is
/// between 0 and 1: the whole pause is up to chance, so that many who were refused together do not come back together.
pub(super) fn plan_retry(
    tries: u32,
    failure: &Failure,
    safety: Safety,
    first: Duration,
    dice: f64,
) -> Option<Duration> {
    let again = failure.is_transient() && (safety == Safety::Repeatable || failure.is_harmless());
    let silent =
        matches!(failure, Failure::Unsent(lost) | Failure::Unanswered(lost) if lost.how == How::Silence);
    if !again || tries >= if silent { SILENT_TRIES } else { TRIES } {
        return None;
    }
    let most = first.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1))).min(LONGEST);
    let ours = most.mul_f64(dice.clamp(0.0, 1.0));
    match failure {
        Failure::Refused(refusal) => match refusal.retry_after {
            Some(theirs) if theirs > PATIENCE => None,
            Some(theirs) => Some(theirs + ours.min(first)),
            None => Some(ours),
        },
        Failure::Unsent(_) | Failure::Unanswered(_) => Some(ours),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::lambda::answer::{Lost, Refusal};
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn refused(status: u16, retry_after: Option<Duration>) -> Failure {
        Failure::Refused(Refusal {
            status,
            code: String::new(),
            message: String::new(),
            suggestion: None,
            key_from: None,
            retry_after,
            foreign: false,
        })
    }

    fn lost(how: How) -> Lost {
        Lost::new(how, "")
    }

    #[test]
    fn a_launch_is_repeated_only_when_nothing_can_have_been_launched() {
        let plan = |failure: &Failure| plan_retry(1, failure, Safety::Once, SECOND, 0.5).is_some();
        assert!(plan(&refused(429, None)));
        assert!(plan(&Failure::Unsent(lost(How::Broken))) && plan(&Failure::Unsent(lost(How::Silence))));
        assert!(!plan(&refused(500, None)));
        for how in [How::Broken, How::Silence, How::Unsafe, How::Foreign] {
            assert!(!plan(&Failure::Unanswered(lost(how))), "{how:?}");
        }
        assert!(!plan(&refused(400, None)));
    }

    #[test]
    fn silence_is_borne_twice_and_what_is_not_safe_is_not_tried_again() {
        let tries = |failure: Failure| {
            let plan = |tries: &u32| plan_retry(*tries, &failure, Safety::Repeatable, SECOND, 0.5).is_none();
            (1..).find(plan).unwrap()
        };
        assert_eq!(tries(Failure::Unanswered(lost(How::Silence))), 2);
        assert_eq!(tries(Failure::Unsent(lost(How::Silence))), 2);
        assert_eq!(tries(Failure::Unsent(lost(How::Unsafe))), 1);
        assert_eq!(tries(Failure::Unsent(lost(How::Broken))), TRIES);
    }

    #[test]
    fn the_api_may_say_when_but_not_for_ever() {
        let plan =
            |s| plan_retry(1, &refused(429, Some(Duration::from_secs(s))), Safety::Repeatable, SECOND, 0.0);
        assert_eq!(plan(12), Some(Duration::from_secs(12)));
        assert_eq!(plan(3600), None);
    }

    proptest! {
        #[test]
        fn pauses_are_bounded_and_tries_too(tries in 0_u32..100, status in 400_u16..600, dice in -1.0..2.0_f64) {
            match plan_retry(tries, &refused(status, None), Safety::Repeatable, SECOND, dice) {
                Some(pause) => prop_assert!(tries < TRIES && pause <= LONGEST && (status == 429 || status == 408 || status >= 500)),
                None => prop_assert!(tries >= TRIES || (status < 500 && status != 429 && status != 408)),
            }
        }
    }
}
