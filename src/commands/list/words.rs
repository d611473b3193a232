//! The words that several listings share. Pure.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::provider::catalog::{Extra, Region, without_secrets};
use crate::ui::card::compact;

/// Hours in a month, as clouds count them.
pub(super) const MONTH: u64 = 730;

/// Cents as dollars: `1087.70`.
pub(super) fn dollars(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// What so many hours cost, as the cell of a table.
pub(super) fn price_cell(cents_per_hour: Option<u32>, hours: u64) -> String {
    cents_per_hour.map_or_else(|| "?".to_owned(), |cents| dollars(u64::from(cents) * hours))
}

/// A region's code, and where that is.
pub(super) fn place(region: &Region) -> String {
    match (region.name.as_str(), region.description.as_str()) {
        (name, "") => name.to_owned(),
        ("", description) => description.to_owned(),
        (name, description) => format!("{name} ({description})"),
    }
}

/// What is new to us of something that has one line: `, priority: 7`.
pub(super) fn more(extra: &Extra) -> String {
    without_secrets(extra).iter().map(|(name, value)| format!(", {name}: {}", compact(value))).collect()
}

/// A number, where there is one.
pub(super) fn number(n: Option<u64>) -> String {
    n.map_or_else(|| "?".to_owned(), |n| n.to_string())
}

/// A moment that the API wrote, where it can be read; without a zone it is taken for UTC.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let utc = |t: DateTime| t.to_zoned(TimeZone::UTC).ok().map(|t| t.timestamp());
    text.parse().ok().or_else(|| text.parse().ok().and_then(utc))
}

/// Its day; as it came where it can't be read.
pub(super) fn day(text: &str) -> String {
    moment(text).map_or_else(|| text.to_owned(), |t| t.strftime("%Y-%m-%d").to_string())
}

/// Its minute; as it came where it can't be read.
pub(super) fn minute(text: &str) -> String {
    moment(text).map_or_else(|| text.to_owned(), minute_of)
}

/// A moment as people read it.
pub(super) fn minute_of(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// So many seconds as the cell of a table: `45 s`, `12 min`, `30 h`, `12 d`.
pub(super) fn age_cell(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min", s / 60),
        s @ 3600..172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact() {
        assert_eq!(
            [1, 24, MONTH].map(|hours| price_cell(Some(3592), hours)),
            ["35.92", "862.08", "26221.60"]
        );
        assert_eq!(price_cell(Some(u32::MAX), MONTH), "31353261253.50");
        assert_eq!(price_cell(None, 1), "?");
    }

    #[test]
    fn moments_are_read_or_else_shown() {
        let cases = [
            ("2023-02-24T20:48:56+00:00", "2023-02-24 20:48 UTC", "2023-02-24"),
            ("2023-02-24T23:48:56.123-04:00", "2023-02-25 03:48 UTC", "2023-02-25"),
            ("2023-02-24T20:48:56", "2023-02-24 20:48 UTC", "2023-02-24"),
            ("yesterday", "yesterday", "yesterday"),
        ];
        for (text, at, on) in cases {
            assert_eq!((minute(text).as_str(), day(text).as_str()), (at, on));
        }
    }

    #[test]
    fn ages_are_short() {
        let ages = [-1, 59, 3599, 3600, 172_799, 172_800].map(age_cell);
        assert_eq!(ages, ["0 s", "59 s", "59 min", "1 h", "47 h", "2 d"]);
    }
}
