//! What `up` will do, for `--dry-run`: as a person reads it, and as a document. Pure.

use serde_json::{Value, json};

use crate::plan::cost::render_hourly;
use crate::plan::placement::{Placements, free_elsewhere, is_free};
use crate::plan::up::{Source, UpPlan, Wanted};
use crate::provider::Offer;

/// The plan as a person reads it, one line for each step. `placements` are those of a launch.
pub fn render_plan(
    wanted: &Wanted,
    plan: &UpPlan,
    placements: Option<&Placements>,
    offers: &[Offer],
) -> Vec<String> {
    let Wanted { name, provider, .. } = wanted;
    let mut lines = Vec::new();
    for instance in &plan.clear {
        lines.push(format!("clear   the {} instance {}", instance.status, instance.id));
    }
    match &plan.source {
        Source::Running { instance, .. } => {
            let at = instance.address.map(|a| format!(" at {a}")).unwrap_or_default();
            lines.push(format!("use     `{name}`, {}{at} ({})", instance.status, instance.id));
        }
        Source::Unsettled { until } => {
            lines.push(format!("wait    until {until:.0}: a launch was asked for and not answered"));
        }
        Source::Launch => {}
    }
    let Some(placements) = placements else { return lines };
    let several = placements.all.iter().any(|p| placements.all.first().is_some_and(|f| f.volume != p.volume));
    match (&placements.create, placements.all.first()) {
        (Some((volume, region)), _) => {
            let region = region.as_ref().filter(|_| provider != "local");
            let region = region.map(|r| format!(" in {r}")).unwrap_or_default();
            lines.push(format!("create  the volume `{volume}`{region}"));
        }
        (None, Some(first)) if !several => lines.push(format!("use     the volume `{}`", first.volume)),
        (None, _) => {}
    }
    if placements.all.is_empty() {
        lines.push(format!("launch  `{name}` with {provider} where one is free first: nowhere now"));
    }
    for (n, place) in placements.all.iter().enumerate() {
        let what = if n == 0 { format!("launch  `{name}` with {provider}: ") } else { "or      ".to_owned() };
        let price = if place.cents_per_hour > 0 {
            format!(", {}", render_hourly(Some(place.cents_per_hour)))
        } else {
            String::new()
        };
        let free = match is_free(place, offers) {
            _ if place.cents_per_hour == 0 => "",
            true => ", free now",
            false => ", not free now",
        };
        let volume = if several { format!(" with the volume `{}`", place.volume) } else { String::new() };
        lines.push(format!(
            "{what}{} in {}{volume}, {}{price}{free}",
            place.instance_type, place.region, place.system
        ));
    }
    let elsewhere = free_elsewhere(&placements.all, offers);
    lines.extend(elsewhere.iter().map(|line| format!("note    {line}")));
    lines.extend(placements.notes.iter().map(|note| format!("note    {note}")));
    lines
}

/// The plan as one document. `lines` are those for a person.
pub fn plan_document(
    wanted: &Wanted,
    plan: &UpPlan,
    placements: Option<&Placements>,
    offers: &[Offer],
    lines: &[String],
) -> Value {
    let running = match &plan.source {
        Source::Running { instance, .. } => Some(instance),
        Source::Launch | Source::Unsettled { .. } => None,
    };
    let launch = placements.map(|placements| {
        let all = placements.all.iter().map(|place| {
            json!({
                "instance-type": place.instance_type,
                "region": place.region,
                "system": place.system,
                "cents-per-hour": place.cents_per_hour,
                "image-family": place.image_family,
                "volume": place.volume,
                "free": is_free(place, offers),
            })
        });
        all.collect::<Vec<_>>()
    });
    let create = placements.and_then(|p| p.create.as_ref());
    json!({
        "box": wanted.name,
        "provider": wanted.provider,
        "clear": plan.clear.iter().map(|i| &i.id).collect::<Vec<_>>(),
        "use": running.map(|i| &i.id),
        "create-volume": create.map(|(name, region)| json!({"name": name, "region": region})),
        "launch": launch,
        "plan": lines,
    })
}
