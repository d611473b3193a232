//! The firewall's calls.

use serde_json::{Value, json};

use super::api::{Reply, World, time};
use super::body::Body;
use super::errors::{self, Failure, invalid};
use super::state::Ruleset;
use super::wire;

type Answer = Result<Reply, Failure>;

pub(crate) fn set_rules(world: &mut World, body: &Body, field: &str, now: f64) -> Result<(), Failure> {
    if let Some(rules) = body.rules(field)? {
        world.state.rules = rules;
        world.audit("firewall_ruleset", "update", "global", now);
    }
    Ok(())
}

pub(crate) fn list(world: &World) -> Reply {
    let all = world.state.rulesets.iter().map(|r| wire::ruleset(r, &world.state));
    Reply::data(&all.collect::<Value>())
}

fn find<'a>(world: &'a mut World, id: &str) -> Result<&'a mut Ruleset, Failure> {
    world.state.rulesets.iter_mut().find(|r| r.id == id).ok_or_else(errors::no_such_ruleset)
}

pub(crate) fn get(world: &mut World, id: &str) -> Answer {
    let ruleset = find(world, id)?.clone();
    Ok(Reply::data(&wire::ruleset(&ruleset, &world.state)))
}

pub(crate) fn create(world: &mut World, body: &Body, now: f64) -> Answer {
    let name = body.needed("name", body.text_of("name", 0..=64)?)?;
    let region = body.region("region")?;
    let rules = body.needed("rules", body.rules("rules")?)?;
    if world.state.rulesets.len() >= world.scenario.quota.firewall_rulesets {
        return Err(errors::quota());
    }
    let id = world.state.fresh_id();
    let made = Ruleset { id: id.clone(), name, region, rules, created: time(now) };
    world.state.rulesets.push(made);
    world.audit("firewall_ruleset", "create", &id, now);
    get(world, &id)
}

pub(crate) fn update(world: &mut World, id: &str, body: &Body, now: f64) -> Answer {
    find(world, id)?;
    let name = body.text_of("name", 0..=64)?;
    let rules = body.rules("rules")?;
    let ruleset = find(world, id)?;
    if let Some(name) = name {
        ruleset.name = name;
    }
    if let Some(rules) = rules {
        ruleset.rules = rules;
    }
    world.audit("firewall_ruleset", "update", id, now);
    get(world, id)
}

pub(crate) fn delete(world: &mut World, id: &str, now: f64) -> Answer {
    find(world, id)?;
    let uses = |i: &super::state::Instance| i.gone.is_none() && i.rulesets.iter().any(|r| r == id);
    if world.state.instances.iter().any(uses) {
        return Err(errors::ruleset_in_use());
    }
    world.state.rulesets.retain(|r| r.id != id);
    world.audit("firewall_ruleset", "delete", id, now);
    Ok(Reply::data(&json!({})))
}

/// The events of a page.
const PAGE: usize = 50;

/// The audit log, a page at a time.
pub(crate) fn events(world: &World, query: &[(String, String)]) -> Answer {
    let value = |name: &str| query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let at = |name: &str| {
        let read =
            |text: &str| text.parse::<jiff::Timestamp>().map_err(|_| invalid(format!("{name}: no time")));
        value(name).map(read).transpose()
    };
    let (start, end) = (at("start")?, at("end")?);
    let skip = match value("page_token") {
        None => 0,
        Some(token) => {
            let number = token.strip_prefix("page-").and_then(|n| n.parse::<usize>().ok());
            number.ok_or_else(|| invalid("page_token: not one of ours"))?
        }
    };
    let kind = value("resource_type");
    let wanted = |event: &&Value| {
        let time = event["event_time"].as_str().and_then(|t| t.parse::<jiff::Timestamp>().ok());
        let is_kind = |kind: &str| {
            event["resource_name"] == kind
                || kind.strip_prefix("cloud.").is_some_and(|k| event["resource_name"] == k)
        };
        start.is_none_or(|s| time.is_some_and(|t| t >= s))
            && end.is_none_or(|e| time.is_some_and(|t| t <= e))
            && kind.is_none_or(is_kind)
    };
    let all: Vec<&Value> = world.state.events.iter().filter(wanted).collect();
    let page: Vec<&Value> = all.iter().skip(skip).take(PAGE).copied().collect();
    let next = skip.saturating_add(PAGE);
    let token = (next < all.len()).then(|| format!("page-{next}"));
    Ok(Reply::data(&json!({"events": page, "page_token": token})))
}
