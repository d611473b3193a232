//! Spans of time as people write them: `10min`, `1h30min`, `250ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, Kind};
use crate::names::shown;

/// A span of time in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timespan(u64);

impl Timespan {
    /// So many seconds; what does not fit is the longest span there is.
    pub const fn secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// So many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The same in whole milliseconds; what does not fit is the longest span there is.
    pub fn of_duration(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    /// The same as the standard library has it.
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// Milliseconds in a unit.
fn unit(name: &str) -> Option<u64> {
    match name {
        "h" => Some(3_600_000),
        "m" | "min" => Some(60_000),
        "s" => Some(1000),
        "ms" => Some(1),
        _ => None,
    }
}

impl FromStr for Timespan {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse =
            |why: &str| Error::new(Kind::Usage, format!("`{}` is not a duration: {why}", shown(text)));
        let example = "write for example `30s`, `10min` or `1h30min`";
        let mut rest = text.trim();
        let mut total = 0_u64;
        // Units must get smaller: `30min1h` and `1h1h` are slips, not durations.
        let mut smallest = u64::MAX;
        loop {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (digits, tail) = rest.split_at(end);
            if digits.is_empty() {
                return Err(refuse("a number is missing").hint(example));
            }
            let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (name, tail) = tail.split_at(end);
            if name.is_empty() && tail.is_empty() {
                return Err(
                    refuse("it has no unit").hint(format!("write for example `{}s`", shown(text.trim())))
                );
            }
            let Some(unit) = unit(name) else {
                return Err(refuse(&format!("`{}` is no unit of time", shown(name))).hint(example));
            };
            if unit >= smallest {
                return Err(
                    refuse("hours come first, then minutes, then seconds, then milliseconds").hint(example)
                );
            }
            smallest = unit;
            let part = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
            let Some(sum) = part.and_then(|part| total.checked_add(part)) else {
                return Err(refuse("it is too long").hint(example));
            };
            total = sum;
            rest = tail;
            if rest.is_empty() {
                return Ok(Self(total));
            }
        }
    }
}

/// Exact: what is printed parses back to the same span.
impl fmt::Display for Timespan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let parts =
            [(seconds / 3600, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s"), (self.0 % 1000, "ms")];
        let text: String =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
        f.pad(if text.is_empty() { "0s" } else { &text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secs(text: &str) -> u64 {
        text.parse::<Timespan>().unwrap().as_duration().as_secs()
    }

    #[test]
    fn spans_are_read_as_written() {
        assert_eq!(secs("30s"), 30);
        assert_eq!(secs("10min"), 600);
        assert_eq!(secs("10m"), 600);
        assert_eq!(secs("1h30m"), 5400);
        assert_eq!(secs(" 2h1s "), 7201);
        assert_eq!("1s250ms".parse::<Timespan>().unwrap(), Timespan::millis(1250));
    }

    #[test]
    fn what_is_no_span_is_refused_with_a_way_out() {
        for bad in
            ["", "s", "10", "1h30", "30m1h", "1h1h", "-1s", "1.5h", "1 h", "1d", "99999999999999999999h"]
        {
            let error = bad.parse::<Timespan>().unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{bad}");
            assert!(!error.hints().is_empty(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_span_survives_being_printed(n: u64) {
            let span = Timespan::millis(n);
            prop_assert_eq!(span.to_string().parse::<Timespan>().unwrap(), span);
        }

        #[test]
        fn no_text_makes_it_panic(text in "([0-9]{0,21}[hms]{0,2}){0,3}.{0,3}") {
            crate::error::ignore(text.parse::<Timespan>());
        }
    }
}
