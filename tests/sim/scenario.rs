//! What the simulated cloud is like today: TOML, everything optional. `README.md` beside this file
//! explains each key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use super::reading::{load, parse};

/// The whole of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) rates: Rates,
    pub(crate) boot: Boot,
    pub(crate) terminate: Terminate,
    pub(crate) account: Account,
    pub(crate) quota: Quota,
    /// 400 or 404: the document has both for what a launch names and is not there.
    pub(crate) launch_not_found: NotFound,
    /// Public keys that the account has from the start, by name.
    pub(crate) ssh_keys: BTreeMap<String, String>,
    /// Filesystems that the account has from the start.
    pub(crate) filesystems: Vec<SeedFilesystem>,
    /// Replace those of the same name in the catalogue, or are added to it.
    pub(crate) instance_types: Vec<TypeSpec>,
    /// Where each type is free; `*` is every type not named. Without an entry: the catalogue's places.
    pub(crate) capacity: BTreeMap<String, Vec<Place>>,
    /// What the next launches that pass validation come to, in this order.
    pub(crate) launches: Vec<Launch>,
    /// What goes wrong elsewhere.
    pub(crate) faults: Vec<Fault>,
    /// Answers have words and fields that the document does not know.
    pub(crate) odd: bool,
}

/// How often one may ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Rates {
    /// Times the documented rates; 0 is without limit.
    pub(crate) scale: f64,
    /// Seconds by which a request may come early: jitter on the way.
    pub(crate) tolerance: f64,
    /// Seconds that the header of a 429 asks for. Without it there is no such header, as seen at Lambda.
    pub(crate) retry_after: Option<u64>,
}

impl Default for Rates {
    fn default() -> Self {
        Self { scale: 1.0, tolerance: 0.1, retry_after: None }
    }
}

/// From launch to `active`. Seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Boot {
    /// Until `active`; a box has to run as well.
    pub(crate) seconds: f64,
    /// Until the address is shown.
    pub(crate) ip_after: f64,
    /// From `active` until the filesystem is mounted. With 0 it is there before the box boots.
    pub(crate) mount_delay: f64,
}

impl Default for Boot {
    fn default() -> Self {
        Self { seconds: 180.0, ip_after: 60.0, mount_delay: 0.0 }
    }
}

/// From the call to the end. Seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Terminate {
    /// Until the plug is pulled; `terminating` until then.
    pub(crate) seconds: f64,
    /// How long `terminated` is listed after that.
    pub(crate) listed: f64,
}

impl Default for Terminate {
    fn default() -> Self {
        Self { seconds: 20.0, listed: 60.0 }
    }
}

/// What the account may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Account {
    #[default]
    Active,
    /// Every call is 403 `global/account-inactive`.
    Inactive,
    /// What costs money is 403 `global/invalid-address`.
    InvalidAddress,
}

/// How many of each there may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Quota {
    pub(crate) filesystems: usize,
    pub(crate) instances: usize,
    pub(crate) firewall_rulesets: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Self { filesystems: 24, instances: 100, firewall_rulesets: 100 }
    }
}

/// A status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotFound(pub(crate) u16);

impl Default for NotFound {
    fn default() -> Self {
        Self(404)
    }
}

/// A filesystem from the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct SeedFilesystem {
    pub(crate) name: String,
    pub(crate) region: String,
}

/// A kind of machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct TypeSpec {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) gpu: String,
    /// Cents an hour.
    pub(crate) price: u32,
    #[serde(default = "some")]
    pub(crate) vcpus: u32,
    #[serde(default = "some")]
    pub(crate) memory_gib: u32,
    #[serde(default = "some")]
    pub(crate) storage_gib: u32,
    #[serde(default = "one")]
    pub(crate) gpus: u32,
    /// Whether it takes images for arm64.
    #[serde(default)]
    pub(crate) arm64: bool,
    /// Where it is free unless `capacity` says otherwise.
    #[serde(default)]
    pub(crate) regions: Vec<String>,
}

fn some() -> u32 {
    64
}

fn one() -> u32 {
    1
}

/// Somewhere a type is free.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a place is a region, or `{ region = …, from = …, to = …, count = … }`")]
pub(crate) enum Place {
    /// Always, without end.
    Always(String),
    /// Within limits.
    Limited(Limited),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Limited {
    pub(crate) region: String,
    /// Seconds after the simulator's first start.
    #[serde(default)]
    pub(crate) from: f64,
    pub(crate) to: Option<f64>,
    /// How many there are: free while fewer than these run.
    pub(crate) count: Option<usize>,
}

impl Place {
    pub(crate) fn region(&self) -> &str {
        match self {
            Self::Always(region) => region,
            Self::Limited(limited) => &limited.region,
        }
    }

    /// Whether one is free `age` seconds after the start while `running` run there.
    pub(crate) fn is_free(&self, age: f64, running: usize) -> bool {
        match self {
            Self::Always(_) => true,
            Self::Limited(l) => {
                age >= l.from && l.to.is_none_or(|to| age < to) && l.count.is_none_or(|count| running < count)
            }
        }
    }
}

/// What one launch comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Launch {
    pub(crate) outcome: Outcome,
    /// Seconds; what for depends on the outcome.
    pub(crate) after: Option<f64>,
    /// For launches of this type alone.
    pub(crate) instance_type: Option<String>,
    /// For launches in this region alone.
    pub(crate) region: Option<String>,
    /// Of an `error`.
    pub(crate) status: Option<u16>,
    pub(crate) code: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) suggestion: Option<String>,
}

impl Launch {
    pub(crate) fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            after: None,
            instance_type: None,
            region: None,
            status: None,
            code: None,
            message: None,
            suggestion: None,
        }
    }

    pub(crate) fn after(mut self, seconds: f64) -> Self {
        self.after = Some(seconds);
        self
    }

    pub(crate) fn is_for(&self, instance_type: &str, region: &str) -> bool {
        self.instance_type.as_deref().is_none_or(|t| t == instance_type)
            && self.region.as_deref().is_none_or(|r| r == region)
    }
}

/// How a launch comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// An instance, whatever the capacity.
    Ok,
    /// Refused, and the place is not listed for `after` seconds (10).
    NoCapacity,
    /// Refused though the place is listed, before and after.
    ListedButRefused,
    /// 429; nothing made.
    RateLimited,
    /// An instance that is `unhealthy` instead of `active`.
    Unhealthy,
    /// An instance that is taken away `after` seconds from the launch (its boot time).
    Preempted,
    /// An instance, and the connection is dropped without an answer.
    LostAnswer,
    /// The connection is dropped, nothing made.
    NeverArrived,
    /// Dropped; the instance is seen only `after` seconds later (5).
    Late,
    /// An instance, and the answer takes `after` seconds (5).
    Slow,
    /// An instance, and nonsense for an answer.
    Garbage,
    /// Nothing made, and nonsense with status 502 for an answer.
    GarbageRefused,
    /// Nothing made: the error given by `status`, `code`, `message`, `suggestion`.
    Error,
}

/// Something that goes wrong with any call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Fault {
    /// `*` is any.
    #[serde(default = "any")]
    pub(crate) method: String,
    /// With `*` for any text: `/api/v1/instances*`.
    #[serde(default = "any")]
    pub(crate) path: String,
    /// How many calls it hits.
    #[serde(default = "one_call")]
    pub(crate) times: u64,
    /// How many calls it lets pass first.
    #[serde(default)]
    pub(crate) skip: u64,
    pub(crate) kind: FaultKind,
    /// Seconds, of `slow` (5).
    pub(crate) after: Option<f64>,
}

impl Fault {
    pub(crate) fn new(method: &str, path: &str, kind: FaultKind) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), times: 1, skip: 0, kind, after: None }
    }
}

fn any() -> String {
    "*".to_owned()
}

fn one_call() -> u64 {
    1
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FaultKind {
    /// 500 `global/internal-error`; nothing done.
    #[serde(rename = "500")]
    Internal,
    /// 429; nothing done.
    #[serde(rename = "429")]
    RateLimited,
    /// 409 `global/internal-error`, which the document has for writes to rulesets; nothing done.
    #[serde(rename = "409")]
    Conflict,
    /// The connection is dropped; nothing done.
    Drop,
    /// Done, and the connection dropped without an answer.
    Lost,
    /// Done, and nonsense with status 200 for an answer.
    Garbage,
    /// Done, and the answer takes its time.
    Slow,
    /// 503 `provider/internal-unavailable`; nothing done.
    ProviderError,
    /// Done, and the answer has words and fields that the document does not know.
    UnknownEnums,
}

/// Whether `text` matches `pattern`, in which `*` is any text.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    loop {
        if matches(rest, text) {
            return true;
        }
        let mut chars = text.chars();
        if chars.next().is_none() {
            return false;
        }
        text = chars.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text() {
        assert!(matches("*", "/api"));
        assert!(matches("/api/*/x", "/api/1/2/x"));
        assert!(!matches("/api/*/x", "/api/1/2/y"));
        assert!(matches("/api", "/api") && !matches("/api", "/api/"));
    }

    #[test]
    fn capacity_comes_and_goes() {
        let scenario = parse(
            r#"[capacity]
            gpu_1x_gh200 = ["us-east-3", { region = "us-west-1", from = 5, to = 60, count = 1 }]"#,
        )
        .unwrap();
        let places = &scenario.capacity["gpu_1x_gh200"];
        assert!(places[0].is_free(0.0, 99));
        let free = |age, running| places[1].is_free(age, running);
        assert_eq!([free(4.0, 0), free(5.0, 0), free(5.0, 1), free(60.0, 0)], [false, true, false, false]);
    }

    #[test]
    fn the_examples_are_scenarios() {
        let manual = include_str!("README.md");
        let example = manual.split("```toml").nth(1).unwrap().split("```").next().unwrap();
        let scenario = parse(example).unwrap();
        assert_eq!((scenario.launches.len(), scenario.faults.len(), scenario.capacity.len()), (2, 1, 3));
        parse(include_str!("quick.toml")).unwrap();
        // What the manual calls the default is.
        let Scenario { boot, terminate, quota, .. } = scenario;
        assert_eq!((boot, terminate, quota), (Boot::default(), Terminate::default(), Quota::default()));
    }
}
