//! `devbox list firewall-rulesets`: who may knock.

use crate::commands::list::listing::Listing;
use crate::commands::list::words::{minute, more, place};
use crate::provider::catalog::{Rule, Ruleset};
use crate::ui::card::Card;
use crate::ui::table::{Cell, Column};

const COLUMNS: &[Column] = &[
    Column::new("NAME").flexible(16),
    Column::new("WHERE"),
    Column::new("LETS IN").flexible(44),
    Column::new("INSTANCES").right().optional(1),
    Column::new("ID").spare(2),
];

/// What a rule lets in: `tcp 22 from 0.0.0.0/0`.
fn what(rule: &Rule) -> String {
    let ports = match rule.port_range.as_slice() {
        [] => String::new(),
        [from, to] if from == to => format!(" {from}"),
        ports => format!(" {}", ports.iter().map(u32::to_string).collect::<Vec<_>>().join(" to ")),
    };
    format!("{}{ports} from {}", rule.protocol, rule.source_network)
}

/// The same, what for, and what is new to us.
fn what_for(rule: &Rule) -> String {
    let description = Some(&rule.description).filter(|d| !d.is_empty());
    let description = description.map(|d| format!(": {d}")).unwrap_or_default();
    format!("{}{description}{}", what(rule), more(&rule.extra))
}

pub(super) fn listing(rulesets: &[Ruleset]) -> Listing {
    // The global one has no region, and none of its own instances.
    let ids = |r: &Ruleset| r.instance_ids.clone().unwrap_or_default();
    let instances = |r: &Ruleset| match r.region {
        None if ids(r).is_empty() => "all".to_owned(),
        _ => ids(r).len().to_string(),
    };
    let card = |r: &Ruleset| {
        let mut card = Card::new(&r.name);
        card.line("where", r.region.as_ref().map_or_else(|| "everywhere".to_owned(), place));
        if r.rules.is_empty() {
            card.line("lets in", "nothing");
        } else {
            card.lines("lets in", r.rules.iter().map(what_for));
        }
        if ids(r).is_empty() {
            card.line("instances", if r.region.is_none() { "all" } else { "none" });
        } else {
            card.lines("instances", ids(r));
        }
        card.line("created", minute(&r.created)).line("id", &r.id).extra("", &r.extra);
        card
    };
    let row = |r: &Ruleset| -> Vec<Cell> {
        let rules: Vec<_> = r.rules.iter().map(what).collect();
        vec![
            r.name.as_str().into(),
            r.region.as_ref().map_or("everywhere", |r| &r.name).into(),
            if rules.is_empty() { "nothing".into() } else { rules.into() },
            instances(r).into(),
            r.id.as_str().into(),
        ]
    };
    Listing::of(rulesets, card, COLUMNS, row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules() {
        let ssh = json!({
            "protocol": "tcp", "port_range": [22, 22], "source_network": "0.0.0.0/0",
            "description": "Allow SSH from anywhere",
        });
        let icmp = json!({"protocol": "icmp", "source_network": "0.0.0.0/0", "description": ""});
        let rulesets = json!([
            {"id": "global", "name": "Global Firewall Rules", "rules": [ssh, icmp]},
            {
                "id": "c4d291f47f9d436fa39f58493ce3b50d", "name": "web", "created": "2026-01-02T03:04:05Z",
                "region": {"name": "us-east-3", "description": "Washington, DC, USA"},
                "instance_ids": ["0920582c7ff041399e34823a0be62549", "a098b0c7ff041399e34823a0be625490"],
                "owner": {"team": 3}, "rules": [ssh, icmp, {
                    "protocol": "sctp", "port_range": [8000, 8100], "source_network": "10.0.0.0/8", "priority": 7,
                    "description": "A description that goes on and on, since whoever wrote it wanted everybody to \
                        know why this is open\u{7}",
                }],
            },
            {"id": "c5", "name": "closed", "region": "us-east-3", "rules": []},
        ]);
        let rulesets: Vec<Ruleset> = serde_json::from_value(rulesets).unwrap();
        insta::assert_snapshot!(listing(&rulesets).seen());
    }
}
