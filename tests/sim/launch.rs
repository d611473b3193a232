//! Launching: is what is asked for sound, is there one, and what comes of it.

use devbox::names::LaunchId;
use serde_json::{Value, json};

use super::api::{Reply, World};
use super::body::{Body, is_hostname, is_mount_point, is_tag_key};
use super::catalog;
use super::errors::{self, Failure, invalid, launch_lacks};
use super::scenario::{Launch, Outcome, Place, Scenario, TypeSpec};
use super::state::{Fate, Instance, Machine, MachineState, Mount, Shut, State};

/// The longest user data, in bytes: "1MB".
const MAX_USER_DATA: usize = 1_000_000;
/// Our tag of a launch, of which the local provider makes the box's id.
const TAG: &str = "devbox:launch";

/// What is asked for, and sound.
struct Wish {
    instance_type: String,
    region: String,
    ssh_key_names: Vec<String>,
    public_key: String,
    mounts: Vec<Mount>,
    hostname: Option<String>,
    name: Option<String>,
    image: String,
    user_data: String,
    tags: Vec<(String, String)>,
    rulesets: Vec<String>,
}

/// Whether `instance_type` is free in `region`.
fn is_free(state: &State, scenario: &Scenario, spec: &TypeSpec, region: &str, now: f64) -> bool {
    let shut = |s: &Shut| s.instance_type == spec.name && s.region == region && now < s.until;
    if state.shut.iter().any(shut) {
        return false;
    }
    let here = |i: &&Instance| i.gone.is_none() && i.instance_type == spec.name && i.region == region;
    let running = state.instances.iter().filter(here).count();
    let own = scenario.capacity.get(&spec.name).or_else(|| scenario.capacity.get("*"));
    match own {
        Some(places) => {
            let free = |p: &Place| p.region() == region && p.is_free(now - state.born, running);
            places.iter().any(free)
        }
        None => spec.regions.iter().any(|r| r == region),
    }
}

/// Where a type is free.
pub(crate) fn free_regions(
    state: &State,
    scenario: &Scenario,
    spec: &TypeSpec,
    now: f64,
) -> Vec<&'static str> {
    let names = catalog::REGIONS.iter().map(|(name, _)| *name);
    names.filter(|region| is_free(state, scenario, spec, region, now)).collect()
}

/// The call.
pub(crate) fn launch(world: &mut World, body: &Body, now: f64) -> Result<Reply, Failure> {
    let types = catalog::types(&world.scenario);
    let wish = read(body, &world.state, &world.scenario, &types)?;
    if world.state.instances.iter().filter(|i| i.gone.is_none()).count() >= world.scenario.quota.instances {
        return Err(errors::quota());
    }
    let next = world.scenario.launches.iter().position(|l| l.is_for(&wish.instance_type, &wish.region));
    let scripted = next.map(|n| world.scenario.launches.remove(n));
    world.state.script.left.clone_from(&world.scenario.launches);
    let Some(fate) = scripted else {
        let spec = types.iter().find(|t| t.name == wish.instance_type);
        let free = spec.is_some_and(|s| is_free(&world.state, &world.scenario, s, &wish.region, now));
        return if free { Ok(make(world, wish, Fate::Well, now)) } else { Err(errors::no_capacity()) };
    };
    come_to(world, wish, &fate, now)
}

/// What the script has for this launch.
fn come_to(world: &mut World, wish: Wish, script: &Launch, now: f64) -> Result<Reply, Failure> {
    let after = |default: f64| script.after.unwrap_or(default);
    Ok(match script.outcome {
        Outcome::Ok => make(world, wish, Fate::Well, now),
        Outcome::NoCapacity => {
            let until = now + after(10.0);
            world.state.shut.push(Shut { instance_type: wish.instance_type, region: wish.region, until });
            return Err(errors::no_capacity());
        }
        Outcome::ListedButRefused => return Err(errors::no_capacity()),
        Outcome::RateLimited => return Err(errors::too_many_requests()),
        Outcome::Unhealthy => {
            let reply = make(world, wish, Fate::Unhealthy, now);
            if let Some(made) = world.state.instances.last_mut() {
                made.up = now + script.after.unwrap_or(made.up - now);
            }
            reply
        }
        Outcome::Preempted => {
            let reply = make(world, wish, Fate::Preempted, now);
            if let Some(made) = world.state.instances.last_mut() {
                made.preempted = Some(now + script.after.unwrap_or(made.up - now));
            }
            reply
        }
        Outcome::LostAnswer => make(world, wish, Fate::Well, now).dropped(),
        Outcome::NeverArrived => Reply::data(&Value::Null).dropped(),
        Outcome::Late => {
            let reply = make(world, wish, Fate::Well, now);
            if let Some(made) = world.state.instances.last_mut() {
                made.seen = now + after(5.0);
            }
            reply.dropped()
        }
        Outcome::Slow => make(world, wish, Fate::Well, now).slow(after(5.0)),
        Outcome::Garbage => make(world, wish, Fate::Well, now).garbage(200),
        Outcome::GarbageRefused => Reply::data(&Value::Null).garbage(502),
        Outcome::Error => {
            let text = |text: &Option<String>, default: &str| text.clone().unwrap_or(default.to_owned());
            return Err(Failure {
                status: script.status.unwrap_or(500),
                code: text(&script.code, "global/internal-error"),
                message: text(&script.message, "An internal server error occurred."),
                suggestion: script.suggestion.clone(),
            });
        }
    })
}

/// Makes the instance. The same names and tags twice make two.
fn make(world: &mut World, wish: Wish, fate: Fate, now: f64) -> Reply {
    let state = &mut world.state;
    let boot = &world.scenario.boot;
    let id = state.fresh_id();
    let launch = state.instances.len() as u64 + 1;
    let (high, low) = ((launch / 250) % 250, launch % 250 + 1);
    let private_ip = format!("10.19.{high}.{low}");
    let up = now + boot.seconds;
    let no_mount = wish.mounts.is_empty();
    // What is taken away or never well needs a box only if it is ever up.
    let machine = (world.boxes && fate != Fate::Unhealthy).then(|| Machine {
        launch: launch_id(&wish.tags, state),
        late: no_mount || boot.mount_delay > 0.0,
        restart: false,
        state: MachineState::Wanted,
    });
    state.instances.push(Instance {
        launch,
        name: wish.name,
        hostname: wish.hostname.unwrap_or_else(|| format!("ip-{}", private_ip.replace('.', "-"))),
        region: wish.region,
        instance_type: wish.instance_type,
        ssh_key_names: wish.ssh_key_names,
        public_key: wish.public_key,
        mounts: wish.mounts,
        image: wish.image,
        tags: wish.tags,
        rulesets: wish.rulesets,
        user_data: wish.user_data,
        // Documentation addresses (RFC 5737), until a box has one.
        // This machine, where nobody listens: what is told to connect there asks nobody else.
        ip: format!("127.51.100.{low}"),
        private_ip,
        token: LaunchId::random().to_string(),
        fate,
        since: now,
        seen: now,
        addressed: now + boot.ip_after,
        up,
        mounted: (!no_mount && boot.mount_delay > 0.0).then_some(up + boot.mount_delay),
        preempted: None,
        ending: None,
        gone: None,
        machine,
        id: id.clone(),
    });
    world.audit("instance", "launch", &id, now);
    Reply::data(&json!({"instance_ids": [id]}))
}

/// That of our tag, so that a box can be told by it; a fresh one for others, and for a launch that came twice.
fn launch_id(tags: &[(String, String)], state: &State) -> LaunchId {
    let ours = tags.iter().find(|(key, _)| key == TAG).and_then(|(_, value)| value.parse().ok());
    let taken = |id: &LaunchId| state.instances.iter().flat_map(|i| &i.machine).any(|m| m.launch == *id);
    ours.filter(|id| !taken(id)).unwrap_or_else(LaunchId::random)
}

fn read(body: &Body, state: &State, scenario: &Scenario, types: &[TypeSpec]) -> Result<Wish, Failure> {
    let lacks = |what: &str| launch_lacks(scenario.launch_not_found.0, format!("There is no such {what}."));
    let region = body.region("region_name")?;
    let instance_type = body.needed("instance_type_name", body.text("instance_type_name")?)?;
    let ssh_key_names = body.needed("ssh_key_names", body.texts("ssh_key_names")?)?;
    // Not in the document; the live API takes no other number.
    if body.get("quantity").is_some_and(|q| q.is_number() && q.as_f64() != Some(1.0)) {
        return Err(invalid("quantity: only 1"));
    }
    let [key_name] = ssh_key_names.as_slice() else {
        return Err(invalid("ssh_key_names: exactly one SSH key must be specified"));
    };
    let names = body.texts("file_system_names")?.unwrap_or_default();
    let asked = read_mounts(body)?;
    let hostname = body.text("hostname")?;
    if hostname.as_ref().is_some_and(|h| !is_hostname(h)) {
        return Err(invalid("hostname: no host name"));
    }
    let name = body.text_of("name", 0..=64)?;
    let tags = read_tags(body)?;
    let image = read_image(body)?;
    let user_data = body.text("user_data")?.unwrap_or_default();
    if user_data.len() > MAX_USER_DATA {
        return Err(invalid("user_data: more than 1 MB"));
    }
    let mut rulesets = Vec::new();
    for entry in body.objects("firewall_rulesets")? {
        rulesets.push(entry.needed("id", entry.text("id")?)?);
    }

    // All is well formed. Is what it names there?
    let spec = types.iter().find(|t| t.name == instance_type).ok_or_else(|| lacks("instance type"))?;
    let key = state.ssh_keys.iter().find(|k| k.name == *key_name).ok_or_else(|| lacks("SSH key"))?;
    let public_key = key.public_key.clone();
    let mounts = find_mounts(&names, &asked, state, &region, &lacks)?;
    let architecture = if spec.arm64 { "arm64" } else { "x86_64" };
    let fits = |i: &catalog::Image| match &image {
        Ask::Id(id) => i.id == *id,
        Ask::Family(family) => i.family == family,
    };
    let image = catalog::images()
        .into_iter()
        .find(|i| i.region == region && i.architecture == architecture && fits(i))
        .ok_or_else(|| lacks("image"))?
        .id;
    for id in &rulesets {
        match state.rulesets.iter().find(|r| r.id == *id) {
            None => return Err(lacks("firewall ruleset")),
            Some(r) if r.region != region => return Err(invalid("firewall_rulesets: in another region")),
            Some(_) => {}
        }
    }
    Ok(Wish {
        instance_type,
        region,
        ssh_key_names,
        public_key,
        mounts,
        hostname,
        name,
        image,
        user_data,
        tags,
        rulesets,
    })
}

/// Mount point by the filesystem's id.
fn read_mounts(body: &Body) -> Result<Vec<(String, String)>, Failure> {
    let mut all: Vec<(String, String)> = Vec::new();
    for entry in body.objects("file_system_mounts")? {
        let point = entry.needed("mount_point", entry.text("mount_point")?)?;
        let id = entry.needed("file_system_id", entry.text("file_system_id")?)?;
        if !is_mount_point(&point) {
            return Err(invalid("mount_point: not below /home, /lambda/nfs or /data"));
        }
        if all.iter().any(|(i, p)| *i == id || *p == point) {
            return Err(invalid("file_system_mounts: one filesystem or mount point twice"));
        }
        all.push((id, point));
    }
    Ok(all)
}

/// The filesystems of both lists; one in both is mounted where the second says.
fn find_mounts(
    names: &[String],
    asked: &[(String, String)],
    state: &State,
    region: &str,
    lacks: &dyn Fn(&str) -> Failure,
) -> Result<Vec<Mount>, Failure> {
    let mut mounts: Vec<Mount> = Vec::new();
    let mut add = |filesystem: Option<&super::state::Filesystem>, point: Option<&str>| {
        let filesystem = filesystem.ok_or_else(|| lacks("filesystem"))?;
        if filesystem.region != region {
            return Err(errors::wrong_region(&filesystem.name));
        }
        if mounts.iter().all(|m| m.filesystem != filesystem.id) {
            let own = format!("/lambda/nfs/{}", filesystem.name);
            mounts.push(Mount {
                filesystem: filesystem.id.clone(),
                name: filesystem.name.clone(),
                mount_point: point.map_or(own, str::to_owned),
            });
        }
        Ok(())
    };
    for (id, point) in asked {
        add(state.filesystems.iter().find(|f| f.id == *id), Some(point))?;
    }
    for name in names {
        add(state.filesystems.iter().find(|f| f.name == *name), None)?;
    }
    Ok(mounts)
}

fn read_tags(body: &Body) -> Result<Vec<(String, String)>, Failure> {
    let mut tags = Vec::new();
    for entry in body.objects("tags")? {
        let key = entry.needed("key", entry.text("key")?)?;
        let value = entry.needed("value", entry.text_of("value", 0..=128)?)?;
        if !is_tag_key(&key) {
            return Err(invalid("tags: a key starts with a letter, then small letters, digits, - and :"));
        }
        tags.push((key, value));
    }
    Ok(tags)
}

enum Ask {
    Id(String),
    Family(String),
}

fn read_image(body: &Body) -> Result<Ask, Failure> {
    let Some(image) = body.object("image")? else {
        return Ok(Ask::Family(catalog::DEFAULT_FAMILY.to_owned()));
    };
    // Either will do; one of the wrong kind does not spoil the other.
    match (image.text("id"), image.text("family")) {
        (Ok(Some(id)), _) => Ok(Ask::Id(id)),
        (_, Ok(Some(family))) => Ok(Ask::Family(family)),
        _ => Err(invalid("image: neither id nor family")),
    }
}
