//! Lambda Cloud. What it says of itself is in its OpenAPI document, version 1.8.3; what it does
//! besides is told where it matters.

mod answer;
mod client;
mod key;
mod launch;
mod limiter;
mod retry;
mod wire;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::{Error, Kind, Result};
use crate::events::Events;
use crate::names::{InstanceId, VolumeName, shown};
use crate::provider::catalog::{Availability, Catalog, Filesystem, Image, Ruleset, SshKey};
use crate::provider::{Account, Attempt, Instance, LaunchRequest, Market, Offer, Provider, Volume};
use crate::ssh::keys::{LoginKey, is_same_key};

use answer::{DUPLICATE, Failure, NO_SUCH_OBJECT, Refusal};
use client::{Ask, Client, Trouble};
pub use key::KeySource;
use limiter::Limiter;
use retry::Safety;

/// How long an end that was asked for may take to show.
const END_PATIENCE: Duration = Duration::from_secs(60);
/// The filesystem of a GH200 may be mounted a minute after ssh answers (lambda-cloud.md); more is left.
const VOLUME_WAIT: Duration = Duration::from_secs(300);
/// How often to ask for an instance that is waited for: its start takes minutes.
const PACE: Duration = Duration::from_secs(5);

/// What the provider needs to know.
#[derive(Clone, Debug)]
pub struct LambdaConfig {
    /// The API's base address, without a slash at its end.
    pub address: String,
    /// Where the key comes from.
    pub key: KeySource,
    /// Between two requests.
    pub request_interval: Duration,
    /// Between two launches.
    pub launch_interval: Duration,
    /// How long to look for an instance whose launch was not answered.
    pub settle_time: Duration,
    /// The file that all devbox processes of a user keep their pace by. Absolute.
    pub pace_file: PathBuf,
    /// The name of this machine, for the tags of what it launches.
    pub from: String,
}

/// An account at Lambda Cloud.
pub struct LambdaProvider {
    client: Client,
    config: LambdaConfig,
    /// What the account calls the ssh keys that were looked up.
    key_names: RefCell<BTreeMap<String, String>>,
}

impl LambdaProvider {
    /// The account that the key is for. Nothing is asked yet.
    ///
    /// # Errors
    /// When TLS can't be set up.
    pub fn new(config: LambdaConfig, events: Events) -> Result<Self> {
        let limiter = Limiter::new(config.pace_file.clone(), config.request_interval, config.launch_interval);
        let client = Client::new(&config.address, config.key.clone(), limiter, events)?;
        Ok(Self { client, config, key_names: RefCell::default() })
    }

    /// A listing, each item read. One that can't be read is an error that says which. `what` is one of them.
    async fn listing<T: DeserializeOwned>(&self, path: &str, what: &str) -> Result<Vec<T>> {
        let doing = format!("can't list {what}s");
        let items = self.client.list(path).await.map_err(|t| t.into_error(&doing))?;
        items.iter().map(|item| read(item, what)).collect()
    }

    /// What the account calls a public key, where it has it.
    async fn name_of_key(&self, public: &str) -> Result<Option<String>> {
        if let Some(name) = self.key_names.borrow().get(public) {
            return Ok(Some(name.clone()));
        }
        let found = self.ssh_keys().await?.into_iter().find(|k| is_same_key(&k.public_key, public));
        Ok(found.map(|found| self.remember_key(public, found.name)))
    }

    fn remember_key(&self, public: &str, name: String) -> String {
        self.key_names.borrow_mut().insert(public.to_owned(), name.clone());
        name
    }

    /// Gives the account a public key, under a name that says whose it is.
    async fn upload_key(&self, public: &str) -> Result<String> {
        let name = plan_key_name(&self.config.from, public);
        let body = json!({"name": name, "public_key": public});
        // Not repeated when its answer is lost: the account takes one name twice.
        let asked = self.client.ask(&Ask::post("ssh-keys", &body, Safety::Once)).await;
        match asked {
            Ok(_) => Ok(self.remember_key(public, name)),
            Err(trouble) => match self.name_of_key(public).await? {
                Some(name) => Ok(name),
                None => Err(trouble.into_error("can't give the account your ssh key")),
            },
        }
    }
}

/// A name for a key of ours: whence, and which. At most 64 characters.
fn plan_key_name(from: &str, public: &str) -> String {
    let from: String =
        from.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    format!("devbox-{from}-{:08x}", crate::paths::short_hash(std::path::Path::new(public)))
}

fn read<T: DeserializeOwned>(item: &Value, what: &str) -> Result<T> {
    T::deserialize(wire::without_nulls(item)).map_err(|e| unreadable(item, what, &e))
}

fn unreadable(item: &Value, what: &str, e: &serde_json::Error) -> Error {
    let which = item.get("id").or(item.get("name")).and_then(Value::as_str).unwrap_or("one without an id");
    Error::new(Kind::Provider, format!("can't read what Lambda says of {what} `{}`: {e}", shown(which)))
        .hint("the API may have changed: a newer devbox may know it")
}

/// An error where the API knows no such object.
fn is_no_such_object(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Api(Failure::Refused(Refusal { status, code, foreign, .. })) if (*status == 404 && !foreign) || code == NO_SUCH_OBJECT)
}

#[async_trait(?Send)]
impl Catalog for LambdaProvider {
    async fn instance_types(&self) -> Result<Vec<Availability>> {
        let ask = Ask::get("instance-types");
        let envelope =
            self.client.ask(&ask).await.map_err(|t| t.into_error("can't list the instance types"))?;
        // By name in an object, as documented, or as a list.
        let items: Vec<&Value> = match envelope.get("data") {
            Some(Value::Object(by_name)) => by_name.values().collect(),
            Some(Value::Array(items)) => items.iter().collect(),
            _ => return Err(Error::new(Kind::Provider, "can't read Lambda's list of instance types")),
        };
        items.into_iter().map(|item| read(item, "the instance type")).collect()
    }

    async fn images(&self) -> Result<Vec<Image>> {
        self.listing("images", "the image").await
    }

    async fn filesystems(&self) -> Result<Vec<Filesystem>> {
        // Listed at `file-systems`, made at `filesystems` (OpenAPI document 1.8.3).
        self.listing("file-systems", "the filesystem").await
    }

    async fn ssh_keys(&self) -> Result<Vec<SshKey>> {
        self.listing("ssh-keys", "the ssh key").await
    }

    async fn rulesets(&self) -> Result<Vec<Ruleset>> {
        let ask = Ask::get("firewall-rulesets/global");
        let doing = "can't list the firewall rulesets";
        let envelope = self.client.ask(&ask).await.map_err(|t| t.into_error(doing))?;
        let mut all = vec![read(envelope.get("data").unwrap_or(&Value::Null), "the firewall ruleset")?];
        all.extend(self.listing("firewall-rulesets", "the firewall ruleset").await?);
        Ok(all)
    }
}

#[async_trait(?Send)]
impl Provider for LambdaProvider {
    fn name(&self) -> &'static str {
        "lambda"
    }

    async fn check(&self) -> Result<()> {
        if self.config.key.is_set() {
            Ok(())
        } else {
            self.config.key.find(&Events::silent()).await.map(drop)
        }
    }

    async fn list(&self) -> Result<Vec<Instance>> {
        let doing = "can't tell which instances there are";
        let items = self.client.list("instances").await.map_err(|t| t.into_error(doing))?;
        Ok(items.iter().map(wire::parse_instance).collect())
    }

    async fn describe(&self, id: &InstanceId) -> Result<Option<Instance>> {
        if !is_plain(&id.0) {
            return Ok(None);
        }
        match self.client.ask(&Ask::get(&format!("instances/{id}"))).await {
            Ok(envelope) => {
                let instance = wire::parse_instance(envelope.get("data").unwrap_or(&Value::Null));
                if instance.id != *id {
                    let what = format!("Lambda was asked for the instance {id}, and tells of another");
                    return Err(
                        Error::new(Kind::Provider, what).detail(format!("of `{}`", shown(&instance.id.0)))
                    );
                }
                Ok(Some(instance))
            }
            Err(trouble) if is_no_such_object(&trouble) => Ok(None),
            Err(trouble) => Err(trouble.into_error(&format!("can't ask for the instance {id}"))),
        }
    }

    fn account(&self, volume: &Volume) -> Option<Account> {
        Some(Account { address: self.config.address.clone(), volume: volume.id.clone() })
    }

    async fn is_account(&self, account: Option<&Account>) -> Result<bool> {
        let Some(account) = account else { return Ok(false) };
        Ok(self.filesystems().await?.iter().any(|f| f.id == account.volume))
    }

    async fn market(&self) -> Result<Market> {
        let offers = self.offers().await?;
        Ok(Market { offers, images: wire::images(&self.images().await?) })
    }

    async fn offers(&self) -> Result<Vec<Offer>> {
        Ok(wire::offers(&self.instance_types().await?))
    }

    fn images_have_nix(&self) -> bool {
        false
    }

    fn settle_time(&self) -> Duration {
        self.config.settle_time
    }

    fn volume_wait(&self) -> Duration {
        VOLUME_WAIT
    }

    fn pace(&self) -> Duration {
        PACE.min(self.config.request_interval * 5).max(Duration::from_millis(100))
    }

    async fn volumes(&self, names: &[VolumeName]) -> Result<Vec<Volume>> {
        let all: Vec<Volume> = self.filesystems().await?.iter().filter_map(wire::volume).collect();
        // In any case where none is spelled so.
        let of = |name: &VolumeName| -> Vec<Volume> {
            let exact: Vec<_> = all.iter().filter(|v| v.name == *name).cloned().collect();
            let any_case = || all.iter().filter(|v| name.is(v.name.as_str())).cloned().collect();
            if exact.is_empty() { any_case() } else { exact }
        };
        Ok(names.iter().flat_map(of).collect())
    }

    fn may_create(&self, name: &VolumeName) -> Result<()> {
        if name.as_str().starts_with(|c: char| c.is_ascii_alphabetic()) && name.as_str().len() <= 60 {
            return Ok(());
        }
        Err(Error::new(Kind::Usage, format!("can't make the filesystem `{name}`"))
            .detail("at Lambda its name begins with a letter and has at most 60 characters")
            .hint("choose another `volume.name`"))
    }

    async fn create_volume(&self, name: &VolumeName, region: Option<&str>) -> Result<Volume> {
        let doing = format!("can't make the filesystem `{name}`");
        let body = json!({"name": name, "region": region});
        // Twice is once: the second time the name is taken.
        let refused = match self.client.ask(&Ask::post("filesystems", &body, Safety::Repeatable)).await {
            Ok(_) => None,
            Err(Trouble::Api(Failure::Refused(refusal))) if refusal.code == DUPLICATE => {
                Some(Failure::Refused(refusal))
            }
            Err(trouble) => return Err(trouble.into_error(&doing)),
        };
        let made = self.volumes(std::slice::from_ref(name)).await?;
        let there = made.into_iter().find(|v| region.is_none() || v.region.as_deref() == region);
        there.ok_or_else(|| match refused {
            Some(failure) => failure.into_error(&doing).with_kind(Kind::Volume),
            None => Error::new(Kind::Volume, doing).detail("Lambda said that it did, and does not list it"),
        })
    }

    async fn login_key(&self, keys: &[LoginKey]) -> Result<LoginKey> {
        for key in keys {
            if self.name_of_key(&key.public).await?.is_some() {
                return Ok(key.clone());
            }
        }
        let first =
            keys.first().ok_or_else(|| Error::new(Kind::Failed, "there is no ssh key to log in with"))?;
        self.upload_key(&first.public).await?;
        Ok(first.clone())
    }

    async fn launch(&self, request: &LaunchRequest, events: &Events) -> Result<Attempt> {
        launch::launch(self, request, events).await
    }

    async fn terminate(&self, id: &InstanceId, events: &Events) -> Result<()> {
        let doing = format!("can't end the instance {id}");
        let body = json!({"instance_ids": [id]});
        let ask = Ask::post("instance-operations/terminate", &body, Safety::Repeatable);
        match self.client.ask(&ask).await {
            Ok(_) => {}
            Err(trouble) if is_no_such_object(&trouble) => return Ok(()),
            Err(trouble) => {
                return Err(trouble.into_error(&doing).hint(format!(
                    "it may still be billed: `devbox down {id} --force` tries again, Lambda's console does it too"
                )));
            }
        }
        // Its word is not enough: what still shows as running still bills.
        let until = Instant::now() + END_PATIENCE;
        while Instant::now() < until {
            match self.describe(id).await? {
                None => return Ok(()),
                Some(instance) if instance.status.is_ending() => return Ok(()),
                Some(instance) => {
                    events.detail(format!("{id} is still {}", instance.status));
                    tokio::time::sleep(self.pace()).await;
                }
            }
        }
        Err(Error::new(Kind::Provider, doing)
            .detail(format!(
                "Lambda took the order, and shows it as running {} s later",
                END_PATIENCE.as_secs()
            ))
            .hint("it may still be billed: look at it in Lambda's console"))
    }
}

/// Whether an id can stand in an address as it is.
fn is_plain(id: &str) -> bool {
    !id.is_empty()
        && id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && !id.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_key_of_ours_fits() {
        let name = plan_key_name("Ann's Laptop.local", "ssh-ed25519 AAAA");
        assert_eq!(name, "devbox-Ann-s-Laptop-local-9de8a231");
        assert!(plan_key_name(&"x".repeat(300), "k").len() <= 64);
    }

    #[test]
    fn an_id_from_the_command_line_is_no_path() {
        assert!(is_plain("0920582c7ff041399e34823a0be62549"));
        for bad in ["", "..", "a/b", "a?b", "a b", "é"] {
            assert!(!is_plain(bad), "{bad}");
        }
    }
}
