//! Which machine, where, with which volume: what a launch may ask for, in order of preference.

use crate::config::nearest::hint_for_name;
use crate::error::{Error, Kind, Result};
use crate::names::{System, VolumeName, shown};
use crate::plan::cost::{render_hourly, render_price};
use crate::provider::{ImageOffer, Market, Offer, Placement, Volume};

/// What the user would take, in order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Names of instance types; a `*` at the end stands for any rest.
    pub instance_types: Vec<String>,
    /// The cheapest first, instead of the order given.
    pub by_price: bool,
    /// Regions; empty: wherever there is a volume.
    pub regions: Vec<String>,
    /// Volumes; at least one.
    pub volumes: Vec<VolumeName>,
    /// The family of the image, where the provider has several.
    pub image_family: Option<String>,
    /// What the instance types run, where their names tell it wrong.
    pub system: Option<System>,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placements {
    /// In order of preference, all of one system. Empty while nobody can tell where: the volume is to be made where one
    /// is free, and that is nowhere now.
    pub all: Vec<Placement>,
    /// What the environment has to be built for.
    pub system: System,
    /// The volume that has to be made first, and where.
    pub create: Option<(VolumeName, Option<String>)>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// Whether a name is meant by a pattern.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

/// The offers that are meant, in order of preference: that of the patterns, within one the cheapest first.
fn meant<'a>(wish: &Wish, offers: &'a [Offer]) -> Vec<&'a Offer> {
    let mut found: Vec<&Offer> = Vec::new();
    for pattern in &wish.instance_types {
        let mut group: Vec<_> = offers.iter().filter(|o| matches(pattern, &o.instance_type)).collect();
        group.sort_by_key(|o| (o.cents_per_hour, &o.instance_type));
        group.retain(|o| !found.iter().any(|f| f.instance_type == o.instance_type));
        found.extend(group);
    }
    if wish.by_price {
        found.sort_by_key(|o| o.cents_per_hour);
    }
    found
}

/// Where each volume can be used: with one that exists where it lives, with a new one where it would be made; nothing
/// where nobody can tell yet.
fn homes(wish: &Wish, types: &[&Offer], volumes: &[Volume]) -> Result<Vec<(VolumeName, Option<String>)>> {
    if !volumes.is_empty() {
        return Ok(volumes.iter().map(|v| (v.name.clone(), v.region.clone())).collect());
    }
    let Some(name) = wish.volumes.first() else {
        return Err(Error::new(Kind::Usage, "no volume is named").hint("set `volume.name`"));
    };
    let wanted = |region: &&String| wish.regions.is_empty() || wish.regions.contains(region);
    let free = types.iter().flat_map(|o| &o.regions).find(wanted);
    let region = wish.regions.first().filter(|_| free.is_none()).or(free);
    Ok(region.map(|region| (name.clone(), Some(region.clone()))).into_iter().collect())
}

/// What can be asked for. `volumes` are those of the wish that exist and that nobody else uses.
///
/// # Errors
/// [`Kind::Usage`] when no instance type is meant; [`Kind::Volume`] when volume and regions don't go together;
/// [`Kind::Provider`] when there is no such image there.
pub fn plan_placements(wish: &Wish, market: &Market, volumes: &[Volume]) -> Result<Placements> {
    let types = meant(wish, &market.offers);
    if types.is_empty() {
        let names = wish.instance_types.join("`, `");
        let near = wish
            .instance_types
            .iter()
            .find_map(|name| hint_for_name(name, market.offers.iter().map(|o| o.instance_type.as_str())));
        let error = Error::new(Kind::Usage, format!("there is no instance type `{names}`"));
        return Err(near
            .into_iter()
            .fold(error, Error::hint)
            .hint("`devbox list instance-types` shows those there are"));
    }
    let homes = homes(wish, &types, volumes)?;
    if homes.is_empty() {
        let system = wish.system.or(types.first().map(|o| o.system)).unwrap_or(System::X86_64Linux);
        let create = wish.volumes.first().map(|name| (name.clone(), None));
        return Ok(Placements { all: Vec::new(), system, create, notes: Vec::new() });
    }
    let create = if volumes.is_empty() { homes.first().cloned() } else { None };
    let rank = |region: &str| wish.regions.iter().position(|r| r == region);
    let mut reachable: Vec<_> = homes
        .iter()
        .filter(|(_, home)| home.as_deref().is_none_or(|h| wish.regions.is_empty() || rank(h).is_some()))
        .collect();
    if reachable.is_empty() {
        let known = |region: &&String| market.images.iter().any(|i| i.region == **region);
        if let Some(unknown) = wish.regions.iter().find(|r| !market.images.is_empty() && !known(r)) {
            return Err(no_region(unknown, &market.images));
        }
        let lives: Vec<_> = homes
            .iter()
            .map(|(name, home)| format!("`{name}` lives in {}", home.as_deref().unwrap_or("no region")))
            .collect();
        return Err(Error::new(
            Kind::Volume,
            format!("no volume is in the regions wanted ({})", wish.regions.join(", ")),
        )
        .details(lives)
        .hint("a box can use a volume only where it lives: change the preset's `regions`, or name another volume"));
    }
    reachable.sort_by_key(|(_, home)| home.as_deref().and_then(rank));

    let mut all = Vec::new();
    for offer in types {
        for (volume, home) in reachable.iter().map(|(v, h)| (v, h.as_ref())) {
            // A volume that can be attached anywhere takes the regions of the offer.
            let regions = home.map_or_else(|| offer.regions.iter().collect(), |region| vec![region]);
            for region in regions {
                all.push(Placement {
                    instance_type: offer.instance_type.clone(),
                    region: region.clone(),
                    system: wish.system.unwrap_or(offer.system),
                    cents_per_hour: offer.cents_per_hour,
                    image_family: wish.image_family.clone().filter(|_| !market.images.is_empty()),
                    volume: volume.clone(),
                });
            }
        }
    }
    let mut notes = Vec::new();
    keep_those_with_an_image(&mut all, wish, &market.images)?;
    let system = keep_one_system(&mut all, &market.offers, &mut notes)
        .ok_or_else(|| Error::new(Kind::Provider, "there is nowhere to launch"))?;
    Ok(Placements { all, system, create, notes })
}

/// The error where no image is in a region, and so nothing else.
fn no_region(name: &str, images: &[ImageOffer]) -> Error {
    let mut regions: Vec<_> = images.iter().map(|i| i.region.as_str()).collect();
    regions.sort_unstable();
    regions.dedup();
    let error = Error::new(Kind::Usage, format!("there is no region `{}`", shown(name)))
        .detail(format!("there: {}", regions.join(", ")));
    let near = hint_for_name(name, regions.iter().copied());
    near.into_iter()
        .fold(error, Error::hint)
        .hint("the preset's `regions` names them; `devbox list instance-types` shows what is free where")
}

fn keep_those_with_an_image(all: &mut Vec<Placement>, wish: &Wish, images: &[ImageOffer]) -> Result<()> {
    let Some(family) = wish.image_family.as_ref().filter(|_| !images.is_empty()) else { return Ok(()) };
    let fits = |p: &Placement, i: &ImageOffer| i.region == p.region && i.system == Some(p.system);
    let without = all.first().cloned();
    all.retain(|p| images.iter().any(|i| fits(p, i) && i.family == *family));
    match without {
        Some(place) if all.is_empty() && images.iter().all(|i| i.region != place.region) => {
            Err(no_region(&place.region, images))
        }
        Some(place) if all.is_empty() => {
            let mut there: Vec<_> =
                images.iter().filter(|i| fits(&place, i)).map(|i| i.family.clone()).collect();
            there.sort();
            there.dedup();
            Err(Error::new(
                Kind::Provider,
                format!(
                    "there is no image of the family `{family}` for {} in {}",
                    place.system, place.region
                ),
            )
            .detail(format!("there: {}", if there.is_empty() { "none".to_owned() } else { there.join(", ") }))
            .hint("the preset's `image-family` names another; `devbox list images` shows all"))
        }
        _ => Ok(()),
    }
}

/// One environment is built, so one system is asked for: that of the first choice that is free, or of the first.
fn keep_one_system(all: &mut Vec<Placement>, offers: &[Offer], notes: &mut Vec<String>) -> Option<System> {
    let system = all.iter().find(|p| is_free(p, offers)).or(all.first())?.system;
    let mut left: Vec<_> =
        all.iter().filter(|p| p.system != system).map(|p| p.instance_type.clone()).collect();
    left.dedup();
    if !left.is_empty() {
        notes.push(format!("left out, since the environment is built for {system}: {}", left.join(", ")));
    }
    all.retain(|p| p.system == system);
    Some(system)
}

/// Whether the provider says that it has this one.
pub fn is_free(placement: &Placement, offers: &[Offer]) -> bool {
    offers.iter().any(|o| o.instance_type == placement.instance_type && o.regions.contains(&placement.region))
}

/// Lines that say where else those instance types are free: where no volume of the wish lives. Nothing where one of
/// the placements is free itself.
pub fn free_elsewhere(all: &[Placement], offers: &[Offer]) -> Vec<String> {
    if all.iter().any(|p| is_free(p, offers)) {
        return Vec::new();
    }
    let mut types: Vec<_> = all.iter().map(|p| &p.instance_type).collect();
    types.dedup();
    let lines = types.into_iter().filter_map(|name| {
        let offer = offers.iter().find(|o| o.instance_type == *name && !o.regions.is_empty())?;
        let regions = offer.regions.join(", ");
        Some(format!(
            "{name} is free in {regions}: a volume there, named in the preset's `volumes` too, would get it"
        ))
    });
    lines.collect()
}

/// What an hour costs, of the cheapest to the dearest; nothing where it costs nothing.
pub fn price_range(all: &[Placement]) -> Option<String> {
    let (least, most) =
        (all.iter().map(|p| p.cents_per_hour).min()?, all.iter().map(|p| p.cents_per_hour).max()?);
    match (least, most) {
        (_, 0) => None,
        (least, most) if least == most => Some(render_hourly(Some(most))),
        (least, most) => Some(format!("{} to {}", render_price(u64::from(least)), render_hourly(Some(most)))),
    }
}

/// How many rounds pass between two tries of what is not said to be free: that may lag behind.
const BLIND_EVERY: u32 = 4;

/// What to try in a round, counted from 0: what the provider says it has, in order of preference; where that is
/// nothing, the first choice in the first round and in every fourth.
pub fn plan_round<'a>(all: &'a [Placement], offers: &[Offer], round: u32) -> Vec<&'a Placement> {
    let free: Vec<_> = all.iter().filter(|p| is_free(p, offers)).collect();
    if free.is_empty() && round.is_multiple_of(BLIND_EVERY) { all.iter().take(1).collect() } else { free }
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
