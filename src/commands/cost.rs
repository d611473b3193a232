//! `devbox cost`: what boxes have cost, from this machine's journal.

use std::collections::BTreeSet;
use std::time::Duration;

use indicatif::BinaryBytes;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::cli::Cost;
use crate::commands::Context;
use crate::error::{Error, Kind, Result};
use crate::journal::Entry;
use crate::plan::cost::render_price;
use crate::plan::spend::{By, Stretch, Sum, Versus};
use crate::plan::spend::{day_of, plan_days, plan_rows, plan_stretches, plan_sum, plan_versus};
use crate::provider::catalog::{Catalog, Filesystem};
use crate::ui::table::{Cell, Column, render_table};
use crate::ui::text::wrap;

/// What Lambda takes for a GiB and month, in US cents (about; lambda-cloud.md). Its API does not say.
const CENTS_PER_GIB: u64 = 20;
/// How long the sizes of the volumes may take to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// As many days are charted, the last ones.
const DAYS: i32 = 31;
/// How wide the longest bar is, at most.
const BAR: usize = 50;

/// What is shown.
struct Account {
    by: By,
    rows: Vec<(String, Sum)>,
    sum: Sum,
    days: Vec<(Date, u64)>,
    /// The volumes that boxes used: name and bytes; nothing where that is not known.
    storage: Option<Vec<(String, Option<u64>)>>,
    versus: Option<(u64, Option<Versus>)>,
}

/// Runs `devbox cost`.
///
/// # Errors
/// When a file of the journal can't be read: after what the others say was shown.
pub async fn run(cx: &Context, args: &Cost) -> Result<()> {
    let (now, zone) = (Timestamp::now(), TimeZone::system());
    let entries = cx.launches();
    let since = args.since.map(|since| since.at(now, &zone));
    if since.is_some_and(|since| since > now) {
        return Err(Error::new(Kind::Usage, "`--since` is in the future"));
    }
    let stretches = plan_stretches(&entries, since, now);
    let storage = storage(cx, &entries).await;
    let monthly = storage.iter().flatten().filter_map(|(_, bytes)| *bytes).map(monthly_cents).sum();
    let every = plan_stretches(&entries, None, now);
    let account = Account {
        by: args.by,
        rows: plan_rows(&stretches, args.by, &zone),
        sum: plan_sum(&stretches),
        days: days(&stretches, now, &zone),
        storage,
        versus: args.versus.map(|price| (price.0, plan_versus(&every, price.0, monthly, now))),
    };
    if cx.ui.is_json() {
        cx.ui.document(&document(&account, since, now));
    } else {
        cx.ui.data(&render(&account, cx.ui.columns()));
    }
    cx.journal_is_whole()
}

/// The days worth a chart.
fn days(stretches: &[Stretch], now: Timestamp, zone: &TimeZone) -> Vec<(Date, u64)> {
    let Some(first) = stretches.iter().map(|stretch| stretch.from).min() else { return Vec::new() };
    let last = day_of(now, zone);
    let first = day_of(first, zone).max(last.saturating_sub((DAYS - 1).days()));
    plan_days(stretches, (first, last), zone)
}

/// The volumes that boxes of the cloud used, as the account has them. What can't be asked is told, and not counted.
async fn storage(cx: &Context, entries: &[Entry]) -> Option<Vec<(String, Option<u64>)>> {
    let used: BTreeSet<&str> =
        entries.iter().filter(|e| e.provider == "lambda").map(|e| e.volume.as_str()).collect();
    if used.is_empty() {
        return None;
    }
    let asked = async {
        let (config, _) = cx.as_far_as_right()?;
        let asked = tokio::time::timeout(PATIENCE, cx.lambda(&config)?.filesystems()).await;
        asked.map_err(|_| Error::new(Kind::Provider, "Lambda does not answer"))?
    };
    match asked.await {
        Ok(all) => {
            let ours = all.into_iter().filter(|f| used.contains(f.name.as_str()));
            Some(ours.map(|Filesystem { name, bytes_used, .. }| (name, bytes_used)).collect())
        }
        Err(e) => {
            cx.ui.events.warn(format!("what the volumes cost is not known: {}", e.message()));
            None
        }
    }
}

/// What so many bytes cost a month.
fn monthly_cents(bytes: u64) -> u64 {
    bytes.saturating_mul(CENTS_PER_GIB).div_ceil(1 << 30)
}

#[expect(clippy::cast_precision_loss, reason = "hours of people are few")]
fn hours(seconds: i64) -> f64 {
    seconds as f64 / 3600.0
}

fn render(account: &Account, width: usize) -> String {
    if account.sum.launches == 0 {
        return "nothing was billed\n".to_owned() + &render_rest(account, width);
    }
    let heading = match account.by {
        By::Box => "BOX",
        By::Project => "PROJECT",
        By::Month => "MONTH",
    };
    let columns = [
        Column::new(heading).flexible(12),
        Column::new("LAUNCHES").right().optional(1),
        Column::new("HOURS").right(),
        Column::new("USD AN HOUR").right().optional(2),
        Column::new("COST").right(),
        Column::new("RUNNING").right().optional(3),
    ];
    let plain = |cents: u32| render_price(u64::from(cents)).replace(" USD", "");
    let row = |name: &str, sum: &Sum| -> Vec<Cell> {
        let rates = sum.rates.map(|(least, most)| match least == most {
            true => plain(least),
            false => format!("{} to {}", plain(least), plain(most)),
        });
        let cost = match (sum.unpriced, sum.cents) {
            (0, cents) => render_price(cents),
            (_, 0) => "price unknown".to_owned(),
            (_, cents) => format!("over {}", render_price(cents)),
        };
        let running = if sum.running > 0 { sum.running.to_string() } else { String::new() };
        vec![
            name.into(),
            sum.launches.to_string().into(),
            format!("{:.2}", hours(sum.seconds)).into(),
            rates.unwrap_or_default().into(),
            cost.into(),
            running.into(),
        ]
    };
    let mut rows: Vec<_> = account.rows.iter().map(|(name, sum)| row(name, sum)).collect();
    if rows.len() > 1 {
        rows.push(row("all", &account.sum));
    }
    render_table(&columns, &rows, width) + &render_rest(account, width)
}

/// What stands below the table.
fn render_rest(account: &Account, width: usize) -> String {
    let mut text = String::new();
    if account.storage.as_ref().is_some_and(|volumes| !volumes.is_empty()) {
        text.push('\n');
    }
    for (name, bytes) in account.storage.iter().flatten() {
        let cost = match bytes {
            Some(bytes) => {
                let cost = render_price(monthly_cents(*bytes));
                format!("{}, about {cost} a month, box or no box", BinaryBytes(*bytes))
            }
            None => "its size is not known".to_owned(),
        };
        text.push_str(&format!("volume `{name}`: {cost}\n"));
    }
    if account.days.iter().any(|(_, cents)| *cents > 0) {
        text.push_str(&format!("\nspend per day, USD\n{}", chart(&account.days, width)));
    }
    if let Some((price, versus)) = &account.versus {
        text.push('\n');
        wrap(&say_versus(*price, versus.as_ref(), account), width).iter().for_each(|line| {
            text.push_str(line);
            text.push('\n');
        });
    }
    text
}

/// A bar for each day.
fn chart(days: &[(Date, u64)], width: usize) -> String {
    let most = days.iter().map(|(_, cents)| *cents).max().unwrap_or(0).max(1);
    let price = |cents: u64| render_price(cents).replace(" USD", "");
    let digits = price(most).len();
    let room = width.saturating_sub(10 + 2 + digits + 2).clamp(8, BAR);
    let line = |(day, cents): &(Date, u64)| {
        let amount = if *cents == 0 { "-".to_owned() } else { price(*cents) };
        let long = (u128::from(*cents) * room as u128).div_ceil(u128::from(most));
        let bar = "━".repeat(usize::try_from(long).unwrap_or(room));
        format!("{day}  {amount:>digits$}  {bar}").trim_end().to_owned() + "\n"
    };
    days.iter().map(line).collect()
}

fn say_versus(price: u64, versus: Option<&Versus>, account: &Account) -> String {
    let price = render_price(price);
    let Some(Versus { cents_per_hour, hours, hours_a_week, weeks, years }) = versus else {
        return format!(
            "A box for {price}: nothing with a known price ran in the last four weeks, so there is no pace to tell by."
        );
    };
    let stored = match &account.storage {
        Some(volumes) if volumes.iter().any(|(_, bytes)| bytes.is_some()) => ", volumes paid",
        _ => "",
    };
    let past = if *weeks >= 4.0 {
        "of the last four weeks".to_owned()
    } else {
        "since your first launch".to_owned()
    };
    format!(
        "A box for {price} is {hours:.0} hours of rent at {:.2} USD an hour. At your pace {past}, {hours_a_week:.1} hours a \
         week{stored}, it would have been cheaper after {}, power and repairs aside.",
        cents_per_hour / 100.0,
        render_years(*years),
    )
}

fn render_years(years: f64) -> String {
    match years * 12.0 {
        months if months < 1.0 => "less than a month".to_owned(),
        months if months < 24.0 => format!("{months:.0} months"),
        _ => format!("{years:.1} years"),
    }
}

fn document(account: &Account, since: Option<Timestamp>, now: Timestamp) -> Value {
    let sum = |sum: &Sum| {
        json!({
            "launches": sum.launches, "seconds": sum.seconds, "cents": sum.cents, "unpriced": sum.unpriced,
            "running": sum.running, "least-cents-per-hour": sum.rates.map(|r| r.0),
            "most-cents-per-hour": sum.rates.map(|r| r.1),
        })
    };
    let rows = account.rows.iter().map(|(name, of)| {
        let mut row = sum(of);
        row["of"] = name.as_str().into();
        row
    });
    let volumes = account.storage.as_ref().map(|volumes| {
        let volume = |(name, bytes): &(String, Option<u64>)| json!({"name": name, "bytes": bytes, "cents-a-month": bytes.map(monthly_cents)});
        volumes.iter().map(volume).collect::<Vec<_>>()
    });
    let versus = account.versus.as_ref().map(|(price, versus)| {
        json!({
            "price-cents": price,
            "cents-per-hour": versus.as_ref().map(|v| v.cents_per_hour),
            "hours": versus.as_ref().map(|v| v.hours),
            "hours-a-week": versus.as_ref().map(|v| v.hours_a_week),
            "weeks": versus.as_ref().map(|v| v.weeks),
            "years": versus.as_ref().map(|v| v.years),
        })
    });
    let by = match account.by {
        By::Box => "box",
        By::Project => "project",
        By::Month => "month",
    };
    json!({
        "since": since, "until": now, "by": by, "rows": rows.collect::<Vec<_>>(), "sum": sum(&account.sum),
        "days": account.days.iter().map(|(day, cents)| json!({"day": day.to_string(), "cents": cents})).collect::<Vec<_>>(),
        "volumes": volumes, "versus": versus,
    })
}

#[cfg(test)]
#[path = "cost_tests.rs"]
mod tests;
