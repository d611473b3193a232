//! `devbox list instance-types`: the kinds of machine, free or not.

use crate::commands::list::listing::Listing;
use crate::commands::list::words::{MONTH, dollars, number, place, price_cell};
use crate::plan::cost::render_price;
use crate::provider::catalog::{Availability, system_of};
use crate::ui::card::Card;
use crate::ui::table::{Cell, Column};

const COLUMNS: &[Column] = &[
    Column::new("NAME"),
    Column::new("USD/H").right(),
    Column::new("USD/DAY").right().optional(1),
    Column::new("USD/MONTH").right().optional(3),
    Column::new("GPUS").right().optional(2),
    Column::new("VCPUS").right().optional(4),
    Column::new("RAM GIB").right().optional(5),
    Column::new("SYSTEM").spare(6),
    Column::new("FREE IN").flexible(20),
    Column::new("WHAT").flexible(12).spare(7),
];

/// Available first, then by price, then by name.
pub(super) fn sort(types: &mut [Availability]) {
    types.sort_by_key(|a| {
        let price = a.instance_type.price_cents_per_hour.unwrap_or(u32::MAX);
        (a.regions_with_capacity_available.is_empty(), price, a.instance_type.name.clone())
    });
}

/// `1.49 USD an hour, 35.76 a day, 1087.70 a month`.
fn prices(cents: Option<u32>) -> String {
    let Some(cents) = cents.map(u64::from) else { return "unknown".to_owned() };
    format!(
        "{} an hour, {} a day, {} a month",
        render_price(cents),
        dollars(cents * 24),
        dollars(cents * MONTH)
    )
}

pub(super) fn listing(types: &[Availability]) -> Listing {
    let card = |a: &Availability| {
        let (t, s) = (&a.instance_type, &a.instance_type.specs);
        let mut card = Card::new(&t.name);
        card.line("what", &t.description);
        let gpu = if t.gpu_description.is_empty() { "GPU" } else { &t.gpu_description };
        card.maybe("gpus", s.gpus.map(|n| if n == 0 { "none".to_owned() } else { format!("{n} × {gpu}") }));
        let (memory, disk) = (number(s.memory_gib), number(s.storage_gib));
        card.line("has", format!("{} vCPUs, {memory} GiB memory, {disk} GiB disk", number(s.vcpus)));
        card.line("system", system_of(&t.name).as_str());
        card.line("price", prices(t.price_cents_per_hour));
        if a.regions_with_capacity_available.is_empty() {
            card.line("free in", "nowhere now");
        } else {
            card.lines("free in", a.regions_with_capacity_available.iter().map(place));
        }
        card.extra("", &t.extra).extra("specs.", &s.extra).extra("", &a.extra);
        card
    };
    let row = |a: &Availability| -> Vec<Cell> {
        let (t, s) = (&a.instance_type, &a.instance_type.specs);
        let price = |hours| price_cell(t.price_cents_per_hour, hours).into();
        let free: Vec<_> = a.regions_with_capacity_available.iter().map(|r| r.name.clone()).collect();
        vec![
            t.name.as_str().into(),
            price(1),
            price(24),
            price(MONTH),
            number(s.gpus).into(),
            number(s.vcpus).into(),
            number(s.memory_gib).into(),
            system_of(&t.name).as_str().into(),
            if free.is_empty() { "nowhere now".into() } else { free.into() },
            t.description.as_str().into(),
        ]
    };
    Listing::of(types, card, COLUMNS, row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_can_be_rented() {
        let east = json!({"name": "us-east-3", "description": "Washington, DC, USA"});
        let kind = |name: &str, gpus: u32, gpu: &str, cents: u32, regions: Value| {
            json!({
                "instance_type": {
                    "name": name, "description": format!("{gpus}x {gpu}"), "gpu_description": gpu,
                    "price_cents_per_hour": cents,
                    "specs": {"vcpus": 64, "memory_gib": 432, "storage_gib": 4096, "gpus": gpus},
                },
                "regions_with_capacity_available": regions,
            })
        };
        let mut odd = kind(
            "gpu_9x_new",
            9,
            "New\u{1b}[2J",
            1,
            json!([{"name": "moon-1", "description": "Mare Tranquillitatis"}, east, "us-west-1", "us-west-2"]),
        );
        odd["instance_type"]["cooling"] = json!({"kind": "liquid", "secret_token": "x"});
        let types = json!([
            kind("gpu_8x_a100_80gb_sxm4", 8, "A100 (80 GB SXM4)", 1432, json!([])),
            kind("gpu_8x_b200_sxm6", 8, "B200 (180 GB SXM6)", 3992, json!(["us-south-2"])),
            kind("gpu_1x_gh200", 1, "GH200 (96 GB)", 149, json!([east])),
            {"instance_type": {"name": "cpu_4x_general", "specs": {"gpus": 0, "vcpus": 4}}},
            odd,
        ]);
        let mut types: Vec<Availability> = serde_json::from_value(types).unwrap();
        sort(&mut types);
        insta::assert_snapshot!(listing(&types).seen());
    }
}
