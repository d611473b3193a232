//! What became of a launch: there, not to be told yet, or gone. What another account may have is not gone.

use std::time::Duration;

use jiff::Timestamp;

use crate::error::{Error, Kind, Result};
use crate::journal::Entry;
use crate::names::{BoxName, shown};
use crate::plan::up::{instance_of, is_lost, unsettled_until};
use crate::provider::{Instance, Provider};

/// What became of a launch.
#[derive(Debug)]
pub enum Whereabouts {
    /// Its instance, which may be ending.
    There(Box<Instance>),
    /// It was asked for so recently that its instance may not show yet; it would from then on.
    Unsettled(Timestamp),
    /// It is certain that nothing of it is billed any more.
    Gone,
}

/// What became of a launch, given all instances of the provider. What is not listed is asked for by its id, and is
/// gone only if this is the account that it was launched in.
///
/// # Errors
/// [`Kind::Provider`] when nobody can tell: the provider can't be asked, or it is another account.
pub async fn whereabouts(
    provider: &dyn Provider,
    entry: &Entry,
    instances: &[Instance],
) -> Result<Whereabouts> {
    if let Some(instance) = instance_of(entry, instances) {
        return Ok(Whereabouts::There(Box::new(instance.clone())));
    }
    if let Some(id) = &entry.instance
        && let Some(instance) = provider.describe(id).await?
    {
        return Ok(Whereabouts::There(Box::new(instance)));
    }
    if let Some(odd) = instances.iter().find(|i| entry.instance.is_none() && i.may_be_anybodys()) {
        let what = format!("`{}` may be an instance that can't be read: `{}`", entry.name, shown(&odd.id.0));
        return Err(Error::new(Kind::Provider, what)
            .hint("a newer devbox may read it; the provider's console shows what it is"));
    }
    if let Some(until) = unsettled_until(entry, Timestamp::now(), provider.settle_time()) {
        return Ok(Whereabouts::Unsettled(until));
    }
    if provider.is_account(entry.account.as_ref()).await? {
        return Ok(Whereabouts::Gone);
    }
    Err(elsewhere(entry))
}

/// The error where the account that is asked is not known to be the one of the launch.
fn elsewhere(entry: &Entry) -> Error {
    let name = &entry.name;
    let what = match &entry.instance {
        Some(id) => format!("neither its instance {id} nor its volume `{}`", entry.volume),
        None => format!("neither an instance of its launch nor its volume `{}`", entry.volume),
    };
    let at = entry.account.as_ref().map(|a| format!(" at {}", a.address)).unwrap_or_default();
    Error::new(Kind::Provider, format!("{}: this one has {what}", in_another(name)))
        .detail(format!(
            "it was launched{at} on {}, and may still be billed",
            entry.asked.strftime("%Y-%m-%d %H:%M UTC")
        ))
        .hint("use the key and the `lambda.address` that it was launched with")
        .hint(format!(
            "`devbox down {name} --forget` takes it off the books, if you are certain that it is gone"
        ))
}

fn in_another(name: &BoxName) -> String {
    format!("`{name}` may be running in another account")
}

/// Whether an error says that the account that is asked is another.
pub fn is_elsewhere(error: &Error, name: &BoxName) -> bool {
    error.message().starts_with(&in_another(name))
}

/// The message of a box that died.
pub fn died(name: &BoxName) -> String {
    format!("`{name}` died")
}

/// The instance of a launch may not have died meanwhile.
///
/// # Errors
/// [`Kind::Guest`] when it has; [`Kind::Provider`] when nobody can tell.
pub async fn still_there(provider: &dyn Provider, entry: &Entry) -> Result<()> {
    let instance = match &entry.instance {
        Some(id) => provider.describe(id).await?,
        None => instance_of(entry, &provider.list().await?).cloned(),
    };
    match instance {
        Some(i) if !is_lost(&i, entry) && !i.status.is_ending() => return Ok(()),
        Some(_) => {}
        None => match whereabouts(provider, entry, &[]).await? {
            Whereabouts::Gone => {}
            Whereabouts::There(_) | Whereabouts::Unsettled(_) => return Ok(()),
        },
    }
    Err(Error::new(Kind::Guest, died(&entry.name))
        .hint("`devbox up` clears it away and launches a new one; what was synced to the volume is there"))
}

/// Whether a launch is so young that its instance may not show everywhere yet.
pub fn unsettled(provider: &dyn Provider, entry: &Entry) -> bool {
    let age = Duration::try_from(entry.asked.duration_until(Timestamp::now())).unwrap_or_default();
    age < provider.settle_time()
}
