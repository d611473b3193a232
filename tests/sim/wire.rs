//! What is said: the API's objects, as the document has them.

use serde_json::{Value, json};

use super::catalog::{self, Image};
use super::scenario::TypeSpec;
use super::state::{Filesystem, Instance, Ruleset, SshKey, State};

pub(crate) fn region(name: &str) -> Value {
    json!({"name": name, "description": catalog::region(name).unwrap_or("Somewhere")})
}

pub(crate) fn instance_type(spec: &TypeSpec) -> Value {
    json!({
        "name": spec.name,
        "description": spec.description,
        "gpu_description": spec.gpu,
        "price_cents_per_hour": spec.price,
        "specs": {
            "vcpus": spec.vcpus,
            "memory_gib": spec.memory_gib,
            "storage_gib": spec.storage_gib,
            "gpus": spec.gpus,
        },
    })
}

/// What can be done with an instance now, and why not.
fn actions(status: &str) -> Value {
    let no =
        |code: &str, why: &str| json!({"available": false, "reason_code": code, "reason_description": why});
    let yes = json!({"available": true});
    let never = no("vm-is-too-old", "The simulator does not do this.");
    let rest = match status {
        "booting" => no("vm-has-not-launched", "The instance has not launched yet."),
        "terminating" | "terminated" | "preempted" => {
            no("vm-is-terminating", "The instance is being terminated.")
        }
        _ => yes.clone(),
    };
    let terminate = match status {
        "terminating" | "terminated" => no("vm-is-terminating", "The instance is being terminated."),
        _ => yes,
    };
    json!({"migrate": never, "rebuild": never, "restart": rest, "cold_reboot": rest, "terminate": terminate})
}

pub(crate) fn instance(instance: &Instance, types: &[TypeSpec], now: f64) -> Value {
    let status = instance.status(now);
    let kind = types.iter().find(|t| t.name == instance.instance_type);
    let mut said = json!({
        "id": instance.id,
        "status": status,
        "ssh_key_names": instance.ssh_key_names,
        "file_system_names": instance.mounts.iter().map(|m| &m.name).collect::<Vec<_>>(),
        "region": region(&instance.region),
        // Nothing of a type that a new scenario has no more.
        "instance_type": kind.map_or_else(|| gone_type(&instance.instance_type), instance_type),
        "hostname": instance.hostname,
        "actions": actions(status),
        "private_ip": instance.private_ip,
    });
    if let Some(name) = &instance.name {
        said["name"] = json!(name);
    }
    if let Some(ip) = instance.address(now) {
        said["ip"] = json!(ip);
    }
    if !instance.mounts.is_empty() {
        let mount =
            |m: &super::state::Mount| json!({"mount_point": m.mount_point, "file_system_id": m.filesystem});
        said["file_system_mounts"] = instance.mounts.iter().map(mount).collect();
    }
    if status == "active" {
        said["jupyter_token"] = json!(instance.token);
        said["jupyter_url"] =
            json!(format!("https://{}.example/?token={}", instance.hostname, instance.token));
    }
    if !instance.tags.is_empty() {
        let tags = instance.tags.iter().map(|(key, value)| json!({"key": key, "value": value}));
        said["tags"] = tags.collect();
    }
    if !instance.rulesets.is_empty() {
        said["firewall_rulesets"] = instance.rulesets.iter().map(|id| json!({"id": id})).collect();
    }
    said
}

fn gone_type(name: &str) -> Value {
    json!({
        "name": name,
        "description": "",
        "gpu_description": "",
        "price_cents_per_hour": 0,
        "specs": {"vcpus": 0, "memory_gib": 0, "storage_gib": 0, "gpus": 0},
    })
}

pub(crate) fn image(image: &Image) -> Value {
    json!({
        "id": image.id,
        "created_time": "2025-02-19T18:09:56+00:00",
        "updated_time": "2025-06-02T21:14:03+00:00",
        "name": image.name,
        "description": format!("{} for {}", image.name, image.architecture),
        "family": image.family,
        "version": image.version,
        "architecture": image.architecture,
        "region": region(image.region),
    })
}

pub(crate) fn filesystem(filesystem: &Filesystem, state: &State) -> Value {
    json!({
        "id": filesystem.id,
        "name": filesystem.name,
        "mount_point": format!("/lambda/nfs/{}", filesystem.name),
        "created": filesystem.created,
        "created_by": {"id": USER, "email": "someone@example.com", "status": "active"},
        "is_in_use": state.in_use(&filesystem.id),
        "region": region(&filesystem.region),
        // An estimate that is hours old, and there were no hours.
        "bytes_used": 0,
    })
}

/// The account's one user.
pub(crate) const USER: &str = "d51ae2c2c2de4a1f8ab5fd2bfb9d4f0b";

pub(crate) fn ssh_key(key: &SshKey) -> Value {
    json!({"id": key.id, "name": key.name, "public_key": key.public_key})
}

pub(crate) fn ruleset(ruleset: &Ruleset, state: &State) -> Value {
    let has = |i: &&Instance| i.gone.is_none() && i.rulesets.contains(&ruleset.id);
    let ids: Vec<_> = state.instances.iter().filter(has).map(|i| &i.id).collect();
    json!({
        "id": ruleset.id,
        "name": ruleset.name,
        "region": region(&ruleset.region),
        "rules": ruleset.rules,
        "created": ruleset.created,
        "instance_ids": ids,
    })
}

pub(crate) fn global_ruleset(state: &State) -> Value {
    json!({"id": "global", "name": "Global Firewall Rules", "rules": state.rules})
}

/// Makes an answer one of a later version of the API: fields that the document does not have
/// everywhere, and one more of everything listed, with words that it does not have.
pub(crate) fn make_odd(answer: &mut Value) {
    if let Some(data) = answer.get_mut("data") {
        match data {
            Value::Array(all) => {
                let odd = all.first().cloned().map(estrange);
                all.extend(odd);
            }
            Value::Object(all) if all.values().all(|v| v.get("instance_type").is_some()) => {
                if let Some(odd) = all.values().next().cloned().map(estrange) {
                    all.insert("gpu_1x_unobtainium".to_owned(), odd);
                }
            }
            _ => {}
        }
    }
    add_fields(answer);
}

fn add_fields(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(add_fields),
        Value::Object(all) => {
            all.values_mut().for_each(add_fields);
            // A map of instance types takes no field that is no instance type.
            if !all.values().any(|v| v.get("regions_with_capacity_available").is_some()) {
                all.insert("added_later".to_owned(), json!({"by": ["a", "newer", "version"]}));
            }
        }
        _ => {}
    }
}

/// The same in words that are new. Its id too, so that nobody takes it for the first.
fn estrange(mut value: Value) -> Value {
    let new = |field: &str| match field {
        "status" => Some(json!("hibernating")),
        "architecture" => Some(json!("riscv64")),
        "protocol" => Some(json!("sctp")),
        "region" => Some(json!({"name": "mars-north-1", "description": "Tharsis, Mars"})),
        "id" => Some(json!("0dd0dd0dd0dd0dd0dd0dd0dd0dd0dd0d")),
        "name" => Some(json!("gpu_1x_unobtainium")),
        "tags" => Some(json!([])),
        "regions_with_capacity_available" => {
            Some(json!([{"name": "mars-north-1", "description": "Tharsis, Mars"}]))
        }
        _ => None,
    };
    if let Value::Object(all) = &mut value {
        for (field, inner) in all.iter_mut() {
            match new(field) {
                Some(other) => *inner = other,
                None if field == "instance_type" => *inner = estrange(inner.take()),
                None => {}
            }
        }
    }
    value
}
