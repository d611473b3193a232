//! `devbox list instances`: whatever is billed, ours or not.

use jiff::Timestamp;

use crate::commands::list::listing::Listing;
use crate::commands::list::words::{age_cell, minute_of, price_cell};
use crate::error::{Error, Result};
use crate::plan::cost::render_hourly;
use crate::provider::{Instance, Provider};
use crate::ui::card::Card;
use crate::ui::render_seconds;
use crate::ui::table::{Cell, Column};

const COLUMNS: &[Column] = &[
    Column::new("NAME").flexible(12),
    Column::new("STATUS"),
    Column::new("TYPE").optional(1),
    Column::new("REGION").optional(4),
    Column::new("ADDRESS").optional(7),
    Column::new("USD/H").right().optional(6),
    Column::new("AGE").right().optional(3),
    Column::new("OURS").optional(2),
    // Whole or not at all: `devbox down` takes no part of it.
    Column::new("ID").optional(5),
];

/// What of an instance only programs need.
const HIDDEN: [&str; 5] = ["actions", "ssh_key_names", "file_system_mounts", "firewall_rulesets", "tags"];

/// The instances of every provider, and why some could not be asked: one that can't hides nothing of the others.
pub(super) async fn ask(providers: &[Box<dyn Provider>]) -> (Vec<Instance>, Result<()>) {
    let mut answers = Vec::new();
    for provider in providers {
        answers.push((provider.name(), provider.list().await));
    }
    merged(answers)
}

/// All instances, and one error for all that could not be asked.
fn merged(answers: Vec<(&str, Result<Vec<Instance>>)>) -> (Vec<Instance>, Result<()>) {
    let (mut all, mut failed) = (Vec::new(), None::<Error>);
    for (provider, answer) in answers {
        match (answer, failed.take()) {
            (Ok(some), before) => {
                all.extend(some);
                failed = before;
            }
            (Err(e), None) => failed = Some(e),
            (Err(e), Some(before)) => {
                failed = Some(before.detail(format!("nor can `{provider}` be asked: {e}")))
            }
        }
    }
    (all, failed.map_or(Ok(()), Err))
}

pub(super) fn listing(instances: &[Instance], now: Timestamp) -> Listing {
    let age = |since: Timestamp| (now.as_second() - since.as_second()).max(0);
    let card = |i: &Instance| {
        let mut card = Card::new(&i.name);
        card.line("status", i.status.to_string());
        card.maybe("address", i.address.map(|a| a.to_string()));
        card.maybe("type", i.instance_type.as_ref()).maybe("region", i.region.as_ref());
        card.maybe("system", i.system.map(|s| s.to_string()));
        card.line("volumes", i.volumes.join(", "));
        #[expect(clippy::cast_precision_loss, reason = "seconds since a launch")]
        let ago = |since| render_seconds(age(since) as f64);
        card.maybe("since", i.since.map(|since| format!("{}, {} ago", minute_of(since), ago(since))));
        card.line("price", i.cents_per_hour.map_or_else(|| "unknown".to_owned(), |c| render_hourly(Some(c))));
        card.line(
            "ours",
            match (i.ours, &i.launched_from) {
                (true, Some(from)) => format!("yes, launched from `{from}`"),
                (true, None) => "yes".to_owned(),
                (false, _) => "no, devbox never touches it".to_owned(),
            },
        );
        let mut extra = i.extra.clone();
        extra.retain(|name, _| !HIDDEN.contains(&name.as_str()));
        card.line("id", &i.id.0).extra("", &extra);
        card
    };
    let row = |i: &Instance| -> Vec<Cell> {
        vec![
            i.name.as_str().into(),
            i.status.to_string().into(),
            i.instance_type.as_deref().unwrap_or_default().into(),
            i.region.as_deref().unwrap_or_default().into(),
            i.address.map(|a| a.to_string()).unwrap_or_default().into(),
            price_cell(i.cents_per_hour, 1).into(),
            i.since.map(|since| age_cell(age(since))).unwrap_or_default().into(),
            if i.ours { "yes" } else { "no" }.into(),
            i.id.0.as_str().into(),
        ]
    };
    Listing::of(instances, card, COLUMNS, row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::names::InstanceId;
    use crate::provider::InstanceStatus;
    use crate::provider::catalog::system_of;
    use serde_json::json;

    fn instances() -> Vec<Instance> {
        let extra = json!({"private_ip": "10.0.2.100", "is_reserved": false, "shiny": {"new": ["\u{9b}2J"]}});
        let ours = Instance {
            id: InstanceId("0920582c7ff041399e34823a0be62549".into()),
            name: "hello".into(),
            ours: true,
            launch: Some("00000000000000000000000000000001".parse().unwrap()),
            status: InstanceStatus::Active,
            address: Some([198, 51, 100, 2].into()),
            system: Some(system_of("gpu_1x_gh200")),
            instance_type: Some("gpu_1x_gh200".into()),
            region: Some("us-east-3".into()),
            volumes: vec!["devbox".into(), "data".into()],
            since: Some(Timestamp::UNIX_EPOCH),
            launched_from: Some("laptop".into()),
            cents_per_hour: Some(149),
            extra: serde_json::Map::new(),
        };
        let theirs = Instance {
            id: InstanceId("a098b0c7ff041399e34823a0be625490".into()),
            name: "somebody else's \u{202e}box".into(),
            ours: false,
            launch: None,
            status: InstanceStatus::Other("hibernating".into()),
            address: Some([198, 51, 100, 200].into()),
            instance_type: Some("gpu_8x_h100_sxm5".into()),
            region: Some("us-midwest-1".into()),
            volumes: vec![],
            since: None,
            launched_from: None,
            cents_per_hour: Some(2392),
            extra: extra.as_object().unwrap().clone(),
            ..ours.clone()
        };
        let here = Instance {
            id: InstanceId("local-0123".into()),
            name: String::new(),
            status: InstanceStatus::Booting,
            address: None,
            instance_type: None,
            region: None,
            cents_per_hour: Some(0),
            launched_from: None,
            ..ours.clone()
        };
        vec![ours, theirs, here]
    }

    #[test]
    fn what_runs() {
        let now = Timestamp::from_second(7260).unwrap();
        insta::assert_snapshot!(listing(&instances(), now).seen());
    }

    /// The longest words that the cloud has for all of it at once.
    #[test]
    fn what_people_come_for_stays() {
        let mut ours = instances().remove(0);
        ours.name = "hello-from-me".into();
        ours.status = InstanceStatus::Other("terminating".into());
        ours.instance_type = Some("gpu_8x_a100_80gb_sxm4".into());
        ours.region = Some("us-midwest-1".into());
        let now = Timestamp::from_second(99 * 24 * 3600).unwrap();
        let on_80 = ["hello-from-", "terminating", "gpu_8x_a100_80gb_sxm4", "us-midwest-1", "99 d", "yes"];
        let with_id = [&on_80[..], &[&ours.id.0]].concat();
        for (width, words) in [(80, &on_80[..]), (120, &with_id)] {
            let table = listing(std::slice::from_ref(&ours), now).table(width);
            for word in words {
                assert!(table.contains(word), "{word} on {width}:\n{table}");
            }
        }
    }

    #[test]
    fn who_can_not_be_asked_hides_no_one() {
        let failed = |why: &str| Err(Error::new(Kind::Provider, why));
        let (all, asked) =
            merged(vec![("a", failed("down")), ("b", Ok(instances())), ("c", failed("no key"))]);
        assert_eq!(all.len(), 3);
        let error = asked.unwrap_err();
        assert_eq!(error.message(), "down");
        assert_eq!(error.detail_lines(), ["nor can `c` be asked: no key"]);
        assert!(merged(vec![("b", Ok(vec![]))]).1.is_ok());
    }
}
