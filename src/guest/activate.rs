//! Making an environment current on the box: a generation with a GC root, and the script that enters it.

use serde::Serialize;

use crate::error::{Error, Kind, OrFail, Result};
use crate::events::{Events, Phase};
use crate::guest::{script, store_broke};
use crate::names::ProjectName;
use crate::nix::listing::hex_sha256;
use crate::nix::{Environment, Fingerprint};
use crate::ssh::Guest;

/// `activate.sh`'s exit status when the store's filesystem has met errors.
const UNSAFE: i32 = 74;

/// What the volume remembers of a generation, one line of JSON.
#[derive(Serialize)]
struct Manifest<'a> {
    project: &'a ProjectName,
    environment: &'a str,
    fingerprint: &'a Fingerprint,
    derivation: &'a str,
    /// The SHA-256 of the script that enters it.
    script: String,
    paths: usize,
    bytes: u64,
    made: jiff::Timestamp,
}

/// Makes `environment` current for `project`. Returns the generation.
///
/// # Errors
/// [`Kind::Guest`]; [`Kind::Volume`] when the copied paths are not safely on the volume.
pub async fn make_current(
    guest: &Guest,
    project: &ProjectName,
    environment: &Environment,
    events: &Events,
) -> Result<u64> {
    let phase = events.phase(Phase::Activate);
    let manifest = Manifest {
        project,
        environment: &environment.output,
        fingerprint: &environment.fingerprint,
        derivation: &environment.derivation,
        script: hex_sha256(&environment.script),
        paths: environment.closure.0.len(),
        bytes: environment.closure.bytes(),
        made: jiff::Timestamp::now(),
    };
    let mut input = serde_json::to_vec(&manifest).or_fail(|| "can't write a manifest".into())?;
    input.push(b'\n');
    input.extend_from_slice(&environment.script);
    let words = ["sudo", &script("activate"), project.as_str(), &environment.output];
    let cmd = guest.command(&words).input(input);
    let output = cmd.run().await.map_err(|e| e.with_kind(Kind::Guest))?;
    if output.status.code() == Some(UNSAFE) {
        return Err(store_broke(&guest.name, &output.last_error_lines(1).concat()));
    }
    let answer = guest.judge(&cmd, output)?.text();
    let generation = answer.trim().parse().map_err(|e: std::num::ParseIntError| {
        Error::new(Kind::Guest, format!("`{}` did not say which generation is current", guest.name))
            .detail(answer)
            .caused_by(e)
    })?;
    phase.done(format!("generation {generation}"));
    Ok(generation)
}
