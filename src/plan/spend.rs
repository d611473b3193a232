//! What boxes have cost: by box, project, month and day, and against a box of one's own. Pure.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::config::duration::Timespan;
use crate::error::{Error, Kind};
use crate::journal::Entry;
use crate::names::shown;
use crate::plan::cost::cents_of;

/// Seconds in an hour.
const HOUR: i64 = 3600;
/// Seconds in a week.
const WEEK: i64 = 7 * 24 * HOUR;
/// Weeks that tell a user's pace.
const WEEKS: i64 = 4;
/// Weeks in a year.
const WEEKS_A_YEAR: f64 = 365.25 / 7.0;

/// A stretch of time in which one instance was billed.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// The name of the box.
    pub name: String,
    /// The project it was launched for.
    pub project: String,
    /// When its billing began.
    pub began: Timestamp,
    /// What is counted of it: from here, never before `began`.
    pub from: Timestamp,
    /// Until here.
    pub to: Timestamp,
    /// What an hour cost at launch, in US cents.
    pub cents_per_hour: Option<u32>,
    /// Whether it may still be billed.
    pub runs: bool,
}

impl Stretch {
    /// What is counted of it between two moments, in seconds and US cents. Whatever way a stretch is cut, the parts add
    /// up to the whole: a minute that was begun counts where it began.
    fn between(&self, from: Timestamp, to: Timestamp) -> (i64, Option<u64>) {
        let (from, to) = (from.max(self.from), to.min(self.to));
        if from >= to {
            return (0, self.cents_per_hour.map(|_| 0));
        }
        let since = |at: Timestamp| at.as_second() - self.began.as_second();
        let cents = self.cents_per_hour.map(|rate| cents_of(since(to), rate) - cents_of(since(from), rate));
        (since(to) - since(from), cents)
    }

    /// All that is counted of it.
    fn whole(&self) -> (i64, Option<u64>) {
        self.between(self.from, self.to)
    }
}

/// What was billed since a moment, of the journal's launches. What was asked for and never came costs nothing, nor does
/// what is free.
pub fn plan_stretches(entries: &[Entry], since: Option<Timestamp>, now: Timestamp) -> Vec<Stretch> {
    let billed =
        entries.iter().filter(|e| e.cents_per_hour != Some(0) && (e.instance.is_some() || e.is_open()));
    let stretches = billed.map(|entry| Stretch {
        name: entry.name.to_string(),
        project: entry.project.to_string(),
        began: entry.asked,
        from: since.map_or(entry.asked, |since| since.max(entry.asked)),
        to: entry.ended.unwrap_or(now),
        cents_per_hour: entry.cents_per_hour,
        runs: entry.is_open(),
    });
    stretches.filter(|stretch| stretch.from < stretch.to).collect()
}

/// From when on something is counted: a day, or so long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The first moment of a day.
    Day(Date),
    /// So many seconds ago.
    Ago(i64),
}

impl Since {
    /// The moment that is meant.
    pub fn at(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        match self {
            Self::Day(day) => start_of(day, zone),
            Self::Ago(seconds) => Timestamp::from_second(now.as_second() - seconds).unwrap_or(Timestamp::MIN),
        }
    }
}

impl FromStr for Since {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let counted = |unit: char, seconds: i64| {
            let number = text.strip_suffix(unit)?;
            let number: i64 = number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse().ok())??;
            number.checked_mul(seconds)
        };
        let ago = counted('w', WEEK).or_else(|| counted('d', 24 * HOUR));
        let span =
            || text.parse::<Timespan>().ok().and_then(|t| i64::try_from(t.as_duration().as_secs()).ok());
        if let Ok(day) = text.parse::<Date>() {
            Ok(Self::Day(day))
        } else if let Some(seconds) = ago.or_else(span).filter(|s| *s < 100 * 366 * 24 * HOUR) {
            Ok(Self::Ago(seconds))
        } else {
            Err(Error::new(
                Kind::Usage,
                format!(
                    "`{}` is neither a day such as `2026-11-01` nor a span such as `30d`, `2w` or `12h`",
                    shown(text)
                ),
            ))
        }
    }
}

/// What rows are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// A row for each box
    #[default]
    Box,
    /// A row for each project
    Project,
    /// A row for each month, as the clock of this machine has it
    Month,
}

/// What belongs together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    /// How many launches that were.
    pub launches: usize,
    /// How long they were billed, in seconds.
    pub seconds: i64,
    /// What that cost, in US cents, as far as the price is known.
    pub cents: u64,
    /// How many of the launches have no price.
    pub unpriced: usize,
    /// How many may still be billed.
    pub running: usize,
    /// The prices of an hour, in US cents: the least and the most.
    pub rates: Option<(u32, u32)>,
}

impl Sum {
    fn add(&mut self, stretch: &Stretch, (seconds, cents): (i64, Option<u64>)) {
        self.launches += 1;
        self.seconds += seconds;
        self.running += usize::from(stretch.runs);
        match cents {
            Some(cents) => self.cents += cents,
            None => self.unpriced += 1,
        }
        if let Some(rate) = stretch.cents_per_hour {
            let (least, most) = self.rates.unwrap_or((rate, rate));
            self.rates = Some((least.min(rate), most.max(rate)));
        }
    }
}

/// The sum of all.
pub fn plan_sum(stretches: &[Stretch]) -> Sum {
    let mut sum = Sum::default();
    stretches.iter().for_each(|stretch| sum.add(stretch, stretch.whole()));
    sum
}

/// The sums of what belongs together: the dearest first, months in their order.
pub fn plan_rows(stretches: &[Stretch], by: By, zone: &TimeZone) -> Vec<(String, Sum)> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for stretch in stretches {
        match by {
            By::Box => sums.entry(stretch.name.clone()).or_default().add(stretch, stretch.whole()),
            By::Project => sums.entry(stretch.project.clone()).or_default().add(stretch, stretch.whole()),
            By::Month => {
                let mut month = day_of(stretch.from, zone).first_of_month();
                while start_of(month, zone) < stretch.to {
                    let next = month.saturating_add(1.month());
                    let part = stretch.between(start_of(month, zone), start_of(next, zone));
                    sums.entry(month.strftime("%Y-%m").to_string()).or_default().add(stretch, part);
                    month = next;
                }
            }
        }
    }
    let mut rows: Vec<_> = sums.into_iter().collect();
    if by != By::Month {
        rows.sort_by(|(a, x), (b, y)| (y.cents, y.seconds, a).cmp(&(x.cents, x.seconds, b)));
    }
    rows
}

/// What each day cost from one to another, both counted, in US cents. Days are those of `zone`.
pub fn plan_days(stretches: &[Stretch], (first, last): (Date, Date), zone: &TimeZone) -> Vec<(Date, u64)> {
    let days = first.series(1.day()).take_while(|day| *day <= last);
    let cents = |day: Date| {
        let (from, to) = (start_of(day, zone), start_of(day.saturating_add(1.day()), zone));
        stretches.iter().filter_map(|stretch| stretch.between(from, to).1).sum()
    };
    days.map(|day| (day, cents(day))).collect()
}

/// The day of a moment.
pub fn day_of(at: Timestamp, zone: &TimeZone) -> Date {
    at.to_zoned(zone.clone()).date()
}

/// The first moment of a day; what no calendar has is the last moment there is.
pub fn start_of(day: Date, zone: &TimeZone) -> Timestamp {
    day.to_zoned(zone.clone()).map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}

/// Renting, against a box that is bought.
#[derive(Clone, Debug, PartialEq)]
pub struct Versus {
    /// What an hour of rent costs, in US cents: the average of the last weeks.
    pub cents_per_hour: f64,
    /// How many hours of rent the price of the box buys.
    pub hours: f64,
    /// How many hours a week were rented in the last weeks.
    pub hours_a_week: f64,
    /// How many weeks those are: four, or fewer where the first launch is younger.
    pub weeks: f64,
    /// How many years go by at that pace, storage paid, until the box of that price would have been cheaper.
    pub years: f64,
}

/// Holds renting against a box of `price` US cents. `None` when nothing with a known price ran in the last four weeks.
/// `storage` is what the volumes cost a month, in US cents.
#[expect(clippy::cast_precision_loss, reason = "money and hours of people are small")]
pub fn plan_versus(stretches: &[Stretch], price: u64, storage: u64, now: Timestamp) -> Option<Versus> {
    let first = stretches.iter().map(|stretch| stretch.began).min()?;
    let since = |seconds: i64| Timestamp::from_second(now.as_second() - seconds).unwrap_or(Timestamp::MIN);
    // A day's use is no pace of a week.
    let span = (now.as_second() - first.as_second()).clamp(WEEK, WEEKS * WEEK);
    let (mut seconds, mut cents) = (0, 0);
    for (part, cost) in stretches.iter().map(|stretch| stretch.between(since(span), now)) {
        if let Some(cost) = cost {
            (seconds, cents) = (seconds + part, cents + cost);
        }
    }
    if seconds == 0 || cents == 0 {
        return None;
    }
    let (weeks, hours) = (span as f64 / WEEK as f64, seconds as f64 / HOUR as f64);
    let cents_per_hour = cents as f64 / hours;
    let a_week = cents as f64 / weeks + storage as f64 * 12.0 / WEEKS_A_YEAR;
    Some(Versus {
        cents_per_hour,
        hours: price as f64 / cents_per_hour,
        hours_a_week: hours / weeks,
        weeks,
        years: price as f64 / a_week / WEEKS_A_YEAR,
    })
}

#[cfg(test)]
#[path = "spend_tests.rs"]
mod tests;
