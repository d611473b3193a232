use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::names::InstanceId;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn launch(name: &str, began: i64, to: Option<i64>, rate: Option<u32>) -> Entry {
    Entry {
        name: name.parse().unwrap(),
        asked: at(began),
        instance: Some(InstanceId("i".into())),
        cents_per_hour: rate,
        ended: to.map(at),
        ..crate::journal::tests::entry()
    }
}

#[test]
fn what_never_came_and_what_is_free_costs_nothing() {
    let never = Entry { instance: None, ..launch("never", 0, Some(9000), Some(149)) };
    let asked = Entry { instance: None, ..launch("asked", 0, None, Some(149)) };
    let free = launch("free", 0, Some(9000), Some(0));
    let stretches = plan_stretches(&[never, asked, free], None, at(60));
    assert_eq!(stretches.len(), 1);
    assert_eq!((stretches[0].name.as_str(), stretches[0].whole()), ("asked", (60, Some(3))));
}

#[test]
fn boxes_and_projects_are_summed() {
    let other = Entry { project: "other".parse().unwrap(), ..launch("b", 0, Some(7200), Some(300)) };
    let entries = [
        launch("a", 0, Some(3600), Some(149)),
        launch("a", 10_000, None, Some(229)),
        other,
        launch("c", 0, Some(60), None),
    ];
    let stretches = plan_stretches(&entries, None, at(10_000 + 1800));
    let rows = plan_rows(&stretches, By::Box, &TimeZone::UTC);
    assert_eq!(rows.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["b", "a", "c"]);
    let a = &rows[1].1;
    assert_eq!(
        (a.launches, a.seconds, a.cents, a.running, a.rates),
        (2, 5400, 149 + 115, 1, Some((149, 229)))
    );
    assert_eq!((rows[2].1.unpriced, rows[2].1.cents), (1, 0));
    let projects = plan_rows(&stretches, By::Project, &TimeZone::UTC);
    assert_eq!(
        projects.iter().map(|(name, sum)| (name.as_str(), sum.launches)).collect::<Vec<_>>(),
        [("other", 1), (entries[0].project.as_str(), 3)]
    );
    assert_eq!(plan_sum(&stretches).cents, 149 + 115 + 600);
}

#[test]
fn what_is_billed_since_then_alone_is_counted() {
    let entries = [launch("a", 0, Some(7200), Some(120)), launch("b", 0, Some(3600), Some(120))];
    let stretches = plan_stretches(&entries, Some(at(3600)), at(100_000));
    assert_eq!(stretches.len(), 1);
    assert_eq!(stretches[0].whole(), (3600, Some(120)));
}

#[test]
fn since_when() {
    let now = at(1_000_000);
    let read = |text: &str| text.parse::<Since>().ok().map(|s| s.at(now, &TimeZone::UTC).as_second());
    assert_eq!(
        ["1970-01-02", "2d", "1w", "12h", "90min"].map(read),
        [
            Some(86_400),
            Some(1_000_000 - 172_800),
            Some(1_000_000 - WEEK),
            Some(1_000_000 - 12 * HOUR),
            Some(1_000_000 - 5400)
        ]
    );
    assert_eq!(
        ["", "d", "-1d", "yesterday", "2026-13-01", "99999999999999999d", "1d2h"].map(read),
        [None; 7]
    );
}

#[test]
fn months_and_days_are_those_of_the_clock_on_the_wall() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    // Two hours, one on each side of midnight there.
    let midnight = start_of(date(2026, 11, 1), &zone).as_second();
    let stretches =
        plan_stretches(&[launch("a", midnight - 3600, Some(midnight + 3600), Some(149))], None, at(0));
    let rows = plan_rows(&stretches, By::Month, &zone);
    assert_eq!(
        rows.iter().map(|(month, sum)| (month.as_str(), sum.cents)).collect::<Vec<_>>(),
        [("2026-10", 149), ("2026-11", 149)]
    );
    let days = plan_days(&stretches, (date(2026, 10, 30), date(2026, 11, 1)), &zone);
    assert_eq!(days, [(date(2026, 10, 30), 0), (date(2026, 10, 31), 149), (date(2026, 11, 1), 149)]);
}

#[test]
fn a_box_of_ones_own() {
    let now = at(100 * WEEK);
    let hours = |weeks_ago: i64, hours: i64| {
        let began = now.as_second() - weeks_ago * WEEK;
        launch("a", began, Some(began + hours * HOUR), Some(150))
    };
    // Ten hours a week; what is older than four weeks is another pace.
    let entries = [hours(1, 20), hours(3, 20), hours(50, 160)];
    let stretches = plan_stretches(&entries, None, now);
    let versus = plan_versus(&stretches, 300_000, 0, now).unwrap();
    assert_eq!((versus.hours, versus.hours_a_week, versus.weeks), (2000.0, 10.0, 4.0));
    assert!((versus.years - 200.0 / WEEKS_A_YEAR).abs() < 1e-9, "{versus:?}");
    // Storage of 20 USD a month is paid while nothing runs.
    let stored = plan_versus(&stretches, 300_000, 2000, now).unwrap();
    assert!(stored.years < versus.years && stored.hours == versus.hours, "{stored:?}");
    // A first launch of this week tells of a week.
    let young = plan_stretches(&[launch("a", now.as_second() - 7200, None, Some(150))], None, now);
    assert_eq!(plan_versus(&young, 300_000, 0, now).unwrap().hours_a_week, 2.0);
    assert_eq!(plan_versus(&stretches[2..], 300_000, 0, now), None);
    assert_eq!(plan_versus(&[], 300_000, 0, now), None);
}

proptest! {
    #[test]
    fn however_it_is_cut_the_sum_is_the_same(
        launches in proptest::collection::vec((0i64..9_000_000, 1i64..3_000_000, 1u32..5000), 0..6),
        since in proptest::option::of(0i64..9_000_000),
    ) {
        let entries: Vec<Entry> = launches
            .iter()
            .map(|(began, long, rate)| launch("a", *began, Some(began + long), Some(*rate)))
            .collect();
        let stretches = plan_stretches(&entries, since.map(at), at(0));
        let whole = plan_sum(&stretches).cents;
        for by in [By::Box, By::Project, By::Month] {
            let rows = plan_rows(&stretches, by, &TimeZone::UTC);
            prop_assert_eq!(rows.iter().map(|(_, sum)| sum.cents).sum::<u64>(), whole);
        }
        let range = (date(1970, 1, 1), date(1970, 6, 1));
        prop_assert_eq!(plan_days(&stretches, range, &TimeZone::UTC).iter().map(|(_, c)| c).sum::<u64>(), whole);
    }
}
