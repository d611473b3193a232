//! Our own notes of what the document demands of answers, for where it is not at hand.

use serde_json::Value;

/// What a value has to be.
pub(crate) enum Shape {
    Text,
    /// A time.
    Time,
    Whole,
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// This or null.
    OrNull(&'static Shape),
    List(&'static Shape),
    /// An object with any names.
    Map(&'static Shape),
    /// An object: name, whether it has to be there, what it is.
    Fields(&'static [(&'static str, bool, Shape)]),
    /// As `Fields`, and no other names.
    Only(&'static [(&'static str, bool, Shape)]),
    Ref(&'static Shape),
    /// Two whole numbers from 1 to 65535.
    Ports,
}

use Shape::{Fields, Flag, List, Map, Only, OrNull, Ports, Ref, Text, Time, Whole, Word};

const MUST: bool = true;
const MAY: bool = false;

pub(crate) const ERROR: Shape = Only(&[(
    "error",
    MUST,
    Fields(&[("code", MUST, Text), ("message", MUST, Text), ("suggestion", MAY, Text)]),
)]);

const REGION: Shape = Fields(&[
    (
        "name",
        MUST,
        Word(&[
            "europe-central-1",
            "asia-south-1",
            "australia-east-1",
            "me-west-1",
            "asia-northeast-1",
            "asia-northeast-2",
            "us-east-1",
            "us-east-2",
            "us-east-3",
            "us-west-1",
            "us-west-2",
            "us-west-3",
            "us-south-1",
            "us-south-2",
            "us-south-3",
            "us-midwest-1",
            "us-midwest-2",
        ]),
    ),
    ("description", MUST, Text),
]);

const TYPE: Shape = Fields(&[
    ("name", MUST, Text),
    ("description", MUST, Text),
    ("gpu_description", MUST, Text),
    ("price_cents_per_hour", MUST, Whole),
    (
        "specs",
        MUST,
        Fields(&[
            ("vcpus", MUST, Whole),
            ("memory_gib", MUST, Whole),
            ("storage_gib", MUST, Whole),
            ("gpus", MUST, Whole),
        ]),
    ),
]);

const ACTION: Shape =
    Fields(&[("available", MUST, Flag), ("reason_code", MAY, Text), ("reason_description", MAY, Text)]);

const INSTANCE: Shape = Fields(&[
    ("id", MUST, Text),
    ("name", MAY, Text),
    ("ip", MAY, Text),
    ("private_ip", MAY, Text),
    ("status", MUST, Word(&["booting", "active", "unhealthy", "terminated", "terminating", "preempted"])),
    ("ssh_key_names", MUST, List(&Text)),
    ("file_system_names", MUST, List(&Text)),
    (
        "file_system_mounts",
        MAY,
        List(&Fields(&[("mount_point", MUST, Text), ("file_system_id", MUST, Text)])),
    ),
    ("region", MUST, Ref(&REGION)),
    ("instance_type", MUST, Ref(&TYPE)),
    ("hostname", MAY, Text),
    ("jupyter_token", MAY, Text),
    ("jupyter_url", MAY, Text),
    (
        "actions",
        MUST,
        Fields(&[
            ("migrate", MUST, Ref(&ACTION)),
            ("rebuild", MUST, Ref(&ACTION)),
            ("restart", MUST, Ref(&ACTION)),
            ("cold_reboot", MUST, Ref(&ACTION)),
            ("terminate", MUST, Ref(&ACTION)),
        ]),
    ),
    ("tags", MAY, List(&Fields(&[("key", MUST, Text), ("value", MUST, Text)]))),
    ("firewall_rulesets", MAY, List(&Fields(&[("id", MUST, Text)]))),
]);

const KEY: Shape = Fields(&[
    ("id", MUST, Text),
    ("name", MUST, Text),
    ("public_key", MUST, Text),
    ("private_key", MAY, Text),
]);

const FILESYSTEM: Shape = Fields(&[
    ("id", MUST, Text),
    ("name", MUST, Text),
    ("mount_point", MUST, Text),
    ("created", MUST, Time),
    (
        "created_by",
        MUST,
        Fields(&[
            ("id", MUST, Text),
            ("email", MUST, Text),
            ("status", MUST, Word(&["active", "deactivated"])),
        ]),
    ),
    ("is_in_use", MUST, Flag),
    ("region", MUST, Ref(&REGION)),
    ("bytes_used", MAY, Whole),
]);

const IMAGE: Shape = Fields(&[
    ("id", MUST, Text),
    ("created_time", MUST, Time),
    ("updated_time", MUST, Time),
    ("name", MUST, Text),
    ("description", MUST, Text),
    ("family", MUST, Text),
    ("version", MUST, Text),
    ("architecture", MUST, Word(&["x86_64", "arm64"])),
    ("region", MUST, Ref(&REGION)),
]);

const RULES: Shape = List(&Fields(&[
    ("protocol", MUST, Word(&["tcp", "udp", "icmp", "all"])),
    ("port_range", MAY, Ports),
    ("source_network", MUST, Text),
    ("description", MUST, Text),
]));

const RULESET: Shape = Fields(&[
    ("id", MUST, Text),
    ("name", MUST, Text),
    ("region", MUST, Ref(&REGION)),
    ("rules", MUST, Ref(&RULES)),
    ("created", MUST, Time),
    ("instance_ids", MUST, List(&Text)),
]);

const GLOBAL: Shape = Fields(&[
    ("id", MUST, Word(&["global"])),
    ("name", MUST, Word(&["Global Firewall Rules"])),
    ("rules", MUST, Ref(&RULES)),
]);

const EVENTS: Shape = Fields(&[
    (
        "events",
        MUST,
        List(&Fields(&[
            ("service_name", MUST, Text),
            ("resource_name", MUST, Text),
            ("action", MUST, Text),
            ("catalog_version", MUST, Text),
            ("event_id", MUST, Text),
            ("event_time", MUST, Text),
            ("actor_lrn", MUST, OrNull(&Text)),
            ("resource_lrns", MUST, List(&Text)),
            ("resource_owner_lrn", MUST, OrNull(&Text)),
            ("request_api_key_lrn", MUST, OrNull(&Text)),
            ("additional_details", MUST, Fields(&[])),
        ])),
    ),
    ("page_token", MUST, OrNull(&Text)),
]);

/// The body of a success, by method and path of the document.
pub(crate) fn success(method: &str, path: &str) -> Option<Shape> {
    let (_, rest) = path.split_once("/api/v1/")?;
    Some(Only(match (method, rest) {
        ("GET", "instances") => &[("data", MUST, List(&INSTANCE))],
        ("GET" | "POST", "instances/{id}") => &[("data", MUST, INSTANCE)],
        ("GET", "instance-types") => &[(
            "data",
            MUST,
            Map(&Fields(&[
                ("instance_type", MUST, Ref(&TYPE)),
                ("regions_with_capacity_available", MUST, List(&REGION)),
            ])),
        )],
        ("POST", "instance-operations/launch") => {
            &[("data", MUST, Fields(&[("instance_ids", MUST, List(&Text))]))]
        }
        ("POST", "instance-operations/restart") => {
            &[("data", MUST, Fields(&[("restarted_instances", MUST, List(&INSTANCE))]))]
        }
        ("POST", "instance-operations/terminate") => {
            &[("data", MUST, Fields(&[("terminated_instances", MUST, List(&INSTANCE))]))]
        }
        ("GET", "ssh-keys") => &[("data", MUST, List(&KEY))],
        ("POST", "ssh-keys") => &[("data", MUST, KEY)],
        ("GET", "file-systems") => &[("data", MUST, List(&FILESYSTEM))],
        ("POST", "filesystems") => &[("data", MUST, FILESYSTEM)],
        ("DELETE", "filesystems/{id}") => &[("data", MUST, Fields(&[("deleted_ids", MUST, List(&Text))]))],
        ("GET", "images") => &[("data", MUST, List(&IMAGE))],
        ("GET" | "PUT", "firewall-rules") => &[("data", MUST, RULES)],
        ("GET", "firewall-rulesets") => &[("data", MUST, List(&RULESET))],
        ("POST", "firewall-rulesets") | ("GET" | "PATCH", "firewall-rulesets/{id}") => {
            &[("data", MUST, RULESET)]
        }
        ("GET" | "PATCH", "firewall-rulesets/global") => &[("data", MUST, GLOBAL)],
        ("DELETE", "ssh-keys/{id}" | "firewall-rulesets/{id}") => &[("data", MUST, Fields(&[]))],
        ("GET", "audit-events") => &[("data", MUST, EVENTS)],
        _ => return None,
    }))
}

/// Whether a code comes with a status. What the document has no code for may come with any.
pub(crate) fn may_be(code: &str, status: u16) -> bool {
    match code {
        "global/invalid-api-key" => status == 401,
        "global/account-inactive" | "global/invalid-address" => status == 403,
        "global/object-does-not-exist" => matches!(status, 400 | 404),
        "global/invalid-parameters"
        | "global/quota-exceeded"
        | "global/duplicate"
        | "instance-operations/launch/insufficient-capacity"
        | "instance-operations/launch/file-system-in-wrong-region"
        | "filesystems/filesystem-in-use"
        | "firewall-rulesets/firewall-ruleset-in-use" => status == 400,
        "global/internal-error" => status == 409 || status >= 500,
        _ => true,
    }
}

impl Shape {
    /// What is wrong with `value`.
    pub(crate) fn faults(&self, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.look(value, "", &mut faults);
        faults
    }

    fn look(&self, value: &Value, at: &str, faults: &mut Vec<String>) {
        let sound = match self {
            Text => value.is_string(),
            Time => value.as_str().is_some_and(|t| t.parse::<jiff::Timestamp>().is_ok()),
            Whole => value.is_i64() || value.is_u64(),
            Flag => value.is_boolean(),
            Word(words) => value.as_str().is_some_and(|text| words.contains(&text)),
            OrNull(shape) => {
                if !value.is_null() {
                    shape.look(value, at, faults);
                }
                true
            }
            Ref(shape) => {
                shape.look(value, at, faults);
                true
            }
            Ports => value.as_array().is_some_and(|all| {
                all.len() == 2 && all.iter().all(|p| p.as_u64().is_some_and(|p| (1..=65535).contains(&p)))
            }),
            List(shape) => value.as_array().is_some_and(|all| {
                all.iter().enumerate().for_each(|(n, v)| shape.look(v, &format!("{at}/{n}"), faults));
                true
            }),
            Map(shape) => value.as_object().is_some_and(|all| {
                all.iter().for_each(|(name, v)| shape.look(v, &format!("{at}/{name}"), faults));
                true
            }),
            Fields(fields) => value.is_object() && fields_of(fields, value, at, faults),
            Only(fields) => {
                let known = |name: &String| fields.iter().any(|(n, _, _)| n == name);
                value.as_object().is_some_and(|all| all.keys().all(known))
                    && fields_of(fields, value, at, faults)
            }
        };
        if !sound {
            faults.push(format!("not what it is to be at `{at}`: {value}"));
        }
    }
}

fn fields_of(
    fields: &[(&'static str, bool, Shape)],
    value: &Value,
    at: &str,
    faults: &mut Vec<String>,
) -> bool {
    for (name, must, shape) in fields {
        match value.get(name) {
            Some(inner) => shape.look(inner, &format!("{at}/{name}"), faults),
            None if *must => faults.push(format!("`{name}` is missing at `{at}`")),
            None => {}
        }
    }
    true
}
