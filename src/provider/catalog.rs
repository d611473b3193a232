//! What a cloud lists, as it lists it: typed as far as devbox reads it, and nothing lost that it
//! does not know. Unknown fields are kept in `extra`, unknown words as they came, and what is
//! missing is empty, and stays out of our JSON: a listing never breaks because the API has grown, and says nothing that
//! the API did not.

use async_trait::async_trait;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::error::Result;
use crate::names::System;

/// Who can list what there is to rent, and what the account has. Every listing is whole: an answer that
/// could not be had is an error, never an empty list.
#[async_trait(?Send)]
pub trait Catalog {
    /// Every kind of machine, free somewhere or not.
    ///
    /// # Errors
    /// [`Kind::Provider`](crate::error::Kind::Provider), as all of these.
    async fn instance_types(&self) -> Result<Vec<Availability>>;
    /// Every image in every region.
    ///
    /// # Errors
    /// See above.
    async fn images(&self) -> Result<Vec<Image>>;
    /// Every filesystem of the account.
    ///
    /// # Errors
    /// See above.
    async fn filesystems(&self) -> Result<Vec<Filesystem>>;
    /// Every ssh key of the account.
    ///
    /// # Errors
    /// See above.
    async fn ssh_keys(&self) -> Result<Vec<SshKey>>;
    /// Every firewall ruleset of the account, the global one first.
    ///
    /// # Errors
    /// See above.
    async fn rulesets(&self) -> Result<Vec<Ruleset>>;
}

/// What else came, by its names there. Never a secret: see [`without_secrets`].
pub type Extra = Map<String, Value>;

/// A region: its code, and where that is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Region {
    /// The code: `us-east-3`.
    pub name: String,
    /// Where that is: `Washington, DC, USA`. May be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// As an object, as documented, or as the bare code.
impl<'de> Deserialize<'de> for Region {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Object {
                name: String,
                #[serde(default)]
                description: Option<String>,
            },
            Code(String),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Object { name, description } => {
                Self { name, description: description.unwrap_or_default() }
            }
            Either::Code(name) => Self { name, description: String::new() },
        })
    }
}

/// A kind of machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceType {
    /// The name that launches it: `gpu_1x_gh200`.
    pub name: String,
    /// What it is: `1x GH200 (96 GB)`.
    pub description: String,
    /// Its GPU.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gpu_description: String,
    /// What an hour costs, in US cents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_cents_per_hour: Option<u32>,
    /// What it has.
    pub specs: Specs,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a kind of machine has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Specs {
    /// Virtual processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u64>,
    /// Memory in GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_gib: Option<u64>,
    /// Its own disk in GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_gib: Option<u64>,
    /// GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u64>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A kind of machine and where it is free.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Availability {
    /// The kind.
    pub instance_type: InstanceType,
    /// Where it is free now; may be nowhere.
    pub regions_with_capacity_available: Vec<Region>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// An operating system image in one region.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// Its id, which is that of one region.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// What its versions have in common.
    pub family: String,
    /// Its version.
    pub version: String,
    /// `x86_64`, `arm64`, or a word that is new to us.
    pub architecture: String,
    /// Where it can be launched.
    pub region: Region,
    /// When it was made, as the API writes it (ISO 8601).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_time: String,
    /// When it was last changed, as the API writes it (ISO 8601).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub updated_time: String,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A persistent filesystem.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filesystem {
    /// Its id.
    pub id: String,
    /// Its name. Not validated.
    pub name: String,
    /// Where instances find it, unless a launch says otherwise.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mount_point: String,
    /// Where it lives.
    pub region: Region,
    /// Whether an instance has it.
    pub is_in_use: bool,
    /// About how many bytes it holds, hours old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_used: Option<u64>,
    /// When it was made, as the API writes it (ISO 8601).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created: String,
    /// Who made it.
    pub created_by: User,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Somebody of the account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// The id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A public key that the account has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SshKey {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The key, one line of OpenSSH's format.
    pub public_key: String,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A set of firewall rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ruleset {
    /// Its id; `global` for the one that holds everywhere.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it holds; nothing for the global one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// What it lets in.
    pub rules: Vec<Rule>,
    /// When it was made, as the API writes it (ISO 8601); empty for the global one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created: String,
    /// The instances it is for; nothing for the global one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_ids: Option<Vec<String>>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a firewall lets in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// `tcp`, `udp`, `icmp`, `all`, or a word that is new to us.
    pub protocol: String,
    /// From and to, both included; nothing for `icmp`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub port_range: Vec<u32>,
    /// Whence, in CIDR notation.
    pub source_network: String,
    /// What for.
    pub description: String,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a kind of machine runs. The API does not tell; the ones with a Grace processor are arm64
/// (lambda-cloud.md).
pub fn system_of(instance_type: &str) -> System {
    let name = instance_type.to_ascii_lowercase();
    if ["gh200", "gb200", "gb300"].iter().any(|grace| name.contains(grace)) {
        System::Aarch64Linux
    } else {
        System::X86_64Linux
    }
}

/// What came beside the known fields, less whatever may be a secret: notebooks have tokens, and
/// addresses that hold them.
pub fn without_secrets(extra: &Extra) -> Extra {
    let secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["token", "secret", "password", "credential", "private_key", "api_key", "jupyter"]
            .iter()
            .any(|word| name.contains(word))
    };
    let known = extra.iter().filter(|(name, _)| !secret(name));
    known.map(|(name, value)| (name.clone(), value_without_secrets(value))).collect()
}

/// The same for a whole document.
pub fn value_without_secrets(value: &Value) -> Value {
    match value {
        Value::Object(inner) => Value::Object(without_secrets(inner)),
        Value::Array(items) => items.iter().map(value_without_secrets).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_new_is_kept_and_what_is_missing_is_empty() {
        let image: Image = serde_json::from_value(
            json!({"id": "i", "architecture": "riscv64", "region": "mars-1", "new": [1]}),
        )
        .unwrap();
        assert_eq!(image.architecture, "riscv64");
        assert_eq!(image.region.name, "mars-1");
        assert_eq!(image.extra["new"], json!([1]));
        assert_eq!(serde_json::to_value(&image).unwrap()["new"], json!([1]));
    }

    #[test]
    fn what_did_not_come_is_not_made_up() {
        let rule = json!({"protocol": "icmp", "source_network": "0.0.0.0/0", "description": ""});
        let global = json!({"id": "global", "name": "Global Firewall Rules", "rules": [rule]});
        let read: Ruleset = serde_json::from_value(global.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), global);
        let empty = json!({"id": "c", "name": "n", "rules": [], "instance_ids": [], "created": "t",
            "region": {"name": "us-east-3"}});
        let read: Ruleset = serde_json::from_value(empty.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), empty);
        let filesystem = json!({"id": "f", "name": "n", "mount_point": "/m", "is_in_use": false, "created": "t",
            "region": {"name": "us-east-3", "description": "d"}, "created_by": {"id": "u", "email": "e"}});
        let read: Filesystem = serde_json::from_value(filesystem.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), filesystem);
    }

    #[test]
    fn secrets_are_left_out_wherever_they_stand() {
        let extra = json!({"jupyter_token": "t", "deep": {"Api_Key": 1, "ok": 2}, "ok": 3, "list": [{"password": 1}, 4]});
        let clean = without_secrets(extra.as_object().unwrap());
        assert_eq!(Value::Object(clean), json!({"deep": {"ok": 2}, "ok": 3, "list": [{}, 4]}));
    }

    #[test]
    fn grace_is_an_arm() {
        for name in ["gpu_1x_gh200", "gpu_4x_gb200", "gpu_72x_GB300"] {
            assert_eq!(system_of(name), System::Aarch64Linux, "{name}");
        }
        for name in ["gpu_1x_a10", "gpu_8x_h100_sxm5gdr", "gpu_8x_b200_sxm6", "cpu_4x_general", ""] {
            assert_eq!(system_of(name), System::X86_64Linux, "{name}");
        }
    }
}
