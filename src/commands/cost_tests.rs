use jiff::civil::date;

use super::*;
use crate::names::InstanceId;

/// Three launches of two boxes, one of them runs; computed by hand: 10 h at 1.49, 2.5 h at 2.29, 1 h 0 min 1 s at 1.49.
fn launches() -> (Vec<Entry>, Timestamp) {
    let launch = |name: &str, asked: &str, ended: Option<&str>, rate| Entry {
        name: name.parse().unwrap(),
        asked: asked.parse().unwrap(),
        ended: ended.map(|t| t.parse().unwrap()),
        instance: Some(InstanceId("i".into())),
        cents_per_hour: Some(rate),
        ..crate::journal::tests::entry()
    };
    let entries = vec![
        launch("train", "2026-11-28T20:00:00Z", Some("2026-11-29T06:00:00Z"), 149),
        launch("eval", "2026-11-30T10:00:00Z", Some("2026-11-30T12:30:00Z"), 229),
        launch("train", "2026-12-01T08:00:00Z", None, 149),
    ];
    (entries, "2026-12-01T09:00:01Z".parse().unwrap())
}

fn account(by: By) -> Account {
    let (entries, now) = launches();
    let stretches = plan_stretches(&entries, None, now);
    Account {
        by,
        rows: plan_rows(&stretches, by, &TimeZone::UTC),
        sum: plan_sum(&stretches),
        days: days(&stretches, now, &TimeZone::UTC),
        storage: Some(vec![("devbox".into(), Some(120 << 30)), ("new".into(), None)]),
        versus: Some((399_900, plan_versus(&stretches, 399_900, monthly_cents(120 << 30), now))),
    }
}

#[test]
fn as_a_person_reads_it() {
    insta::assert_snapshot!("cost-80", render(&account(By::Box), 80));
    insta::assert_snapshot!("cost-month-40", render(&account(By::Month), 40));
    let nothing = Account {
        rows: vec![],
        sum: Sum::default(),
        days: vec![],
        storage: None,
        versus: Some((399_900, None)),
        by: By::Box,
    };
    insta::assert_snapshot!("cost-nothing", render(&nothing, 80));
}

#[test]
fn as_a_program_reads_it() {
    let (_, now) = launches();
    insta::assert_snapshot!(
        "cost-json",
        serde_json::to_string_pretty(&document(&account(By::Box), None, now)).unwrap()
    );
}

#[test]
fn the_sums_are_those_computed_by_hand() {
    let account = account(By::Box);
    // 10 h * 149 + 61 begun minutes * 149 / 60, rounded up; 2.5 h * 229, rounded up.
    assert_eq!(
        account.rows.iter().map(|(name, sum)| (name.as_str(), sum.cents)).collect::<Vec<_>>(),
        [("train", 1490 + 152), ("eval", 573)]
    );
    assert_eq!(account.days[0], (date(2026, 11, 28), 4 * 149));
    assert_eq!(account.days.iter().map(|(_, cents)| cents).sum::<u64>(), account.sum.cents);
}

#[test]
fn years_as_people_say_them() {
    assert_eq!(
        [0.01, 0.5, 1.9, 4.06].map(render_years),
        ["less than a month", "6 months", "23 months", "4.1 years"]
    );
}
