//! Between the API's words and ours. Pure.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::guest::user_data::host_name;
use crate::names::{InstanceId, LaunchId, System};
use crate::provider::catalog::{
    Availability, Extra, Filesystem, Image, InstanceType, Region, system_of, without_secrets,
};
use crate::provider::{ImageOffer, Instance, InstanceStatus, LaunchRequest, Offer, Volume};

/// The tag with our launch id. Its keys are `^[a-z][a-z0-9-:]+$` (OpenAPI document 1.8.3).
const TAG_LAUNCH: &str = "devbox:launch";
/// The tag with the time of the launch: the API tells none.
const TAG_ASKED: &str = "devbox:asked";
/// The tag with the name of the machine it was launched from.
const TAG_FROM: &str = "devbox:from";
/// The tag with what it runs: the API tells none.
const TAG_SYSTEM: &str = "devbox:system";
/// The longest value of a tag, in bytes.
const TAG_MOST: usize = 128;

/// An instance as the API has it, as far as we read it. What is `null` is read as if it were not there.
#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    ip: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    file_system_names: Vec<String>,
    #[serde(default)]
    region: Region,
    #[serde(default)]
    instance_type: InstanceType,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(flatten)]
    extra: Extra,
}

#[derive(Deserialize)]
struct Tag {
    key: String,
    value: String,
}

/// The same without what is `null`: the API's way of saying nothing.
pub(super) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let some = fields.iter().filter(|(_, value)| !value.is_null());
            some.map(|(name, value)| (name.clone(), without_nulls(value))).collect()
        }
        Value::Array(items) => items.iter().filter(|i| !i.is_null()).map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// Reads an instance. One that makes no sense hides no other, and is not passed over: it is shown as far as it can be
/// read, with a status that says so. Its id may be empty, and then it can't be asked for or ended.
pub(super) fn parse_instance(value: &Value) -> Instance {
    let value = without_nulls(value);
    let (wire, why) = match Wire::deserialize(&value) {
        Ok(wire) if !wire.id.is_empty() => (wire, None),
        Ok(wire) => (wire, Some("it has no id".to_owned())),
        Err(e) => (readable_part(&value), Some(e.to_string())),
    };
    let tag = |key: &str| wire.tags.iter().find(|t| t.key == key).map(|t| t.value.as_str());
    let system = match tag(TAG_SYSTEM) {
        Some("x86_64-linux") => Some(System::X86_64Linux),
        Some("aarch64-linux") => Some(System::Aarch64Linux),
        _ if wire.instance_type.name.is_empty() => None,
        _ => Some(system_of(&wire.instance_type.name)),
    };
    let mut extra = without_secrets(&wire.extra);
    // Read, and shown as they are all the same: others have tags too.
    if let Some(tags) = value.get("tags") {
        extra.insert("tags".into(), tags.clone());
    }
    if let Some(why) = &why {
        extra.insert("unreadable".into(), why.as_str().into());
    }
    Instance {
        ours: tag(TAG_LAUNCH).is_some(),
        launch: tag(TAG_LAUNCH).and_then(|text| text.parse::<LaunchId>().ok()),
        since: tag(TAG_ASKED).and_then(|text| text.parse().ok()),
        launched_from: tag(TAG_FROM).map(str::to_owned),
        name: wire.name.unwrap_or_default(),
        status: match why {
            Some(_) => InstanceStatus::Unreadable,
            None => parse_status(&wire.status.unwrap_or_default()),
        },
        address: wire.ip.and_then(|ip| ip.parse().ok()),
        system,
        instance_type: Some(wire.instance_type.name).filter(|name| !name.is_empty()),
        region: Some(wire.region.name).filter(|name| !name.is_empty()),
        volumes: wire.file_system_names,
        cents_per_hour: wire.instance_type.price_cents_per_hour,
        id: InstanceId(wire.id),
        extra,
    }
}

/// What can be read of an instance that is not as documented.
fn readable_part(value: &Value) -> Wire {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let tags = value.get("tags").and_then(Value::as_array).into_iter().flatten();
    Wire {
        id: text("id").unwrap_or_default(),
        name: text("name"),
        ip: text("ip"),
        status: None,
        file_system_names: Vec::new(),
        region: Region::default(),
        instance_type: InstanceType::default(),
        tags: tags.filter_map(|tag| Tag::deserialize(tag).ok()).collect(),
        extra: Extra::new(),
    }
}

fn parse_status(text: &str) -> InstanceStatus {
    match text {
        "booting" => InstanceStatus::Booting,
        "active" => InstanceStatus::Active,
        "unhealthy" => InstanceStatus::Unhealthy,
        "terminating" => InstanceStatus::Terminating,
        "terminated" => InstanceStatus::Terminated,
        "preempted" => InstanceStatus::Preempted,
        "" => InstanceStatus::Other("unknown".into()),
        other => InstanceStatus::Other(other.to_owned()),
    }
}

/// The body of a launch. `key` is the name that the account has for the ssh key, `from` the name of this
/// machine.
pub(super) fn plan_launch(request: &LaunchRequest, key: &str, from: &str) -> Value {
    let LaunchRequest { name, launch, asked, placement, volume, user_data, .. } = request;
    let mut body = json!({
        "region_name": placement.region,
        "instance_type_name": placement.instance_type,
        "ssh_key_names": [key],
        "file_system_names": [volume.name],
        "hostname": host_name(name, *launch),
        "name": name,
        "user_data": user_data,
        "tags": [
            {"key": TAG_LAUNCH, "value": launch.to_string()},
            {"key": TAG_ASKED, "value": asked.to_string()},
            {"key": TAG_SYSTEM, "value": placement.system.as_str()},
            {"key": TAG_FROM, "value": within_tag(from)},
        ],
    });
    if let Some(fields) = body.as_object_mut() {
        add_image(fields, placement.image_family.as_deref());
        // What the user data says is what must be so, whatever the default will be then.
        if may_be_mounted_at(&volume.mount_point) {
            let mount = json!([{"file_system_id": volume.id, "mount_point": volume.mount_point}]);
            fields.insert("file_system_mounts".into(), mount);
        }
    }
    body
}

fn add_image(fields: &mut Map<String, Value>, family: Option<&str>) {
    // By family: ids differ from region to region, and so does the default (lambda-cloud.md).
    if let Some(family) = family {
        fields.insert("image".into(), json!({"family": family}));
    }
}

/// Whether a launch may name this mount point (OpenAPI document 1.8.3, `RequestedFilesystemMountEntry`).
fn may_be_mounted_at(path: &str) -> bool {
    let rest = ["/home", "/lambda/nfs", "/data"].iter().find_map(|start| path.strip_prefix(start));
    path.len() <= 256
        && rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_alphanumeric() || "/-".contains(c)))
}

fn within_tag(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(TAG_MOST).collect()
}

/// What can be launched, from a listing of instance types.
pub(super) fn offers(listing: &[Availability]) -> Vec<Offer> {
    let offer = |a: &Availability| {
        Some(Offer {
            instance_type: a.instance_type.name.clone(),
            system: system_of(&a.instance_type.name),
            // Without a price nothing is launched.
            cents_per_hour: a.instance_type.price_cents_per_hour?,
            regions: a.regions_with_capacity_available.iter().map(|r| r.name.clone()).collect(),
        })
    };
    listing.iter().filter_map(offer).collect()
}

/// What images there are, from their listing.
pub(super) fn images(listing: &[Image]) -> Vec<ImageOffer> {
    let image = |image: &Image| ImageOffer {
        family: image.family.clone(),
        system: System::of_machine(&image.architecture),
        region: image.region.name.clone(),
    };
    listing.iter().map(image).collect()
}

/// A filesystem as a volume; nothing where its name can be none.
pub(super) fn volume(filesystem: &Filesystem) -> Option<Volume> {
    Some(Volume {
        name: filesystem.name.parse().ok()?,
        id: filesystem.id.clone(),
        mount_point: filesystem.mount_point.clone(),
        region: Some(filesystem.region.name.clone()),
        place: filesystem.region.name.clone(),
    })
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
