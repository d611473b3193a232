//! Moving a closure to a guest. What moves it is behind [`Engine`]; the first one is `nix copy`.

mod nix_copy;

use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::events::{Events, Phase};
use crate::guest::facts;
use crate::names::BoxName;
use crate::nix::Environment;
use crate::nix::closure::render_paths;
use crate::ssh::Guest;
use crate::ssh::keys::SigningKey;

pub use nix_copy::NixCopy;

/// What is to be moved: all the store paths that the guest lacks.
#[derive(Clone, Debug)]
pub struct Cargo<'a> {
    /// The environment they belong to.
    pub environment: &'a Environment,
    /// The store paths that are missing there, sorted.
    pub missing: &'a [String],
    /// What signs them.
    pub key: &'a SigningKey,
}

impl Cargo<'_> {
    /// The bytes of the NARs of what is missing.
    pub fn bytes(&self) -> u64 {
        let all = self.environment.everything();
        self.missing.iter().filter_map(|p| all.0.get(p)).map(|p| p.nar_size).sum()
    }
}

/// Something that moves store paths.
#[async_trait(?Send)]
pub trait Engine {
    /// Moves the cargo. Afterwards all of it is registered on the guest, with the NAR hashes it has
    /// here; after a failure what was registered is whole, and a second try moves the rest.
    ///
    /// # Errors
    /// [`Kind::Guest`](crate::error::Kind::Guest).
    async fn carry(&self, cargo: &Cargo<'_>, guest: &Guest, events: &Events) -> Result<()>;
}

/// What a transfer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Store paths that were missing.
    pub paths: usize,
    /// The bytes of their NARs.
    pub bytes: u64,
}

/// Brings the guest what it lacks of an environment: one question, and nothing more where nothing is missing.
/// `room` is how many bytes fit there.
///
/// # Errors
/// [`Kind::Volume`] when it does not fit, and then nothing was copied; [`Kind::Guest`].
pub async fn transfer(
    engine: &dyn Engine,
    environment: &Environment,
    key: &SigningKey,
    guest: &Guest,
    room: u64,
    events: &Events,
) -> Result<Moved> {
    let phase = events.phase(Phase::Transfer);
    phase.doing("asking what is missing");
    let missing = facts::missing(guest, &environment.everything().paths()).await?;
    if missing.is_empty() {
        phase.nothing("nothing to copy");
        return Ok(Moved { paths: 0, bytes: 0 });
    }
    let cargo = Cargo { environment, missing: &missing, key };
    let moved = Moved { paths: missing.len(), bytes: cargo.bytes() };
    if moved.bytes > room {
        let bytes = indicatif::BinaryBytes;
        return Err(Error::new(
            Kind::Volume,
            format!(
                "{} are to be copied to `{}`, and only {} fit",
                bytes(moved.bytes),
                guest.name,
                bytes(room)
            ),
        )
        .hint(more_room(&guest.name)));
    }
    phase.progress(0, moved.bytes, crate::events::Unit::Bytes, "signing");
    engine.carry(&cargo, guest, events).await?;
    phase.done(format!("{}, {}", render_paths(moved.paths), indicatif::BinaryBytes(moved.bytes)));
    Ok(moved)
}

/// The way out where store or volume are full. Pure.
fn more_room(name: &BoxName) -> String {
    format!(
        "`devbox store gc --box {name}` throws away what nothing needs, `devbox store snapshot --delete NAME` a copy, \
         `devbox store grow SIZE` makes the store larger where the volume has room"
    )
}
