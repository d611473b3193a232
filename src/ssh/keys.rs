//! Keys: the one to log in with, the host key of each launch, the one that signs store paths.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, OrFail, Result, tick};
use crate::nix::command::argv_generate_key;
use crate::paths::{Paths, make_private};
use crate::process::Cmd;

/// A key pair to log in with.
#[derive(Clone, Debug)]
pub struct LoginKey {
    /// The private key's file.
    pub private: PathBuf,
    /// The public key, one line.
    pub public: String,
}

/// A host key of one launch. Its private half exists in memory and in the user data, nowhere else
/// here; so it has no `Debug`.
#[derive(Clone)]
pub struct HostKey {
    /// The private key in OpenSSH's format.
    pub private: String,
    /// The public key without a comment.
    pub public: String,
}

/// A key that signs store paths.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// The secret key's file.
    pub secret: PathBuf,
    /// The public key as nix.conf takes it, `NAME:BASE64`.
    pub public: String,
}

fn argv_keygen(file: &Path, comment: &str) -> Cmd {
    Cmd::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).arg(file)
}

/// Reads a public key: its type and its text, without the comment.
pub fn parse_public(text: &str) -> Option<String> {
    let mut words = text.lines().next()?.split_whitespace();
    let (kind, key) = (words.next()?, words.next()?);
    (kind.starts_with("ssh-") || kind.starts_with("ecdsa-") || kind.starts_with("sk-"))
        .then(|| format!("{kind} {key}"))
}

/// Whether two public keys are the same, whatever their comments say.
pub fn is_same_key(one: &str, other: &str) -> bool {
    parse_public(one).is_some_and(|one| parse_public(other) == Some(one))
}

/// The key to log in with: the configured one, or one of devbox's own, made on first use.
///
/// # Errors
/// [`Kind::Usage`] when the configured key or its public half is not there.
pub async fn login(paths: &Paths, configured: Option<&Path>) -> Result<LoginKey> {
    let private = match configured {
        Some(path) => path.to_owned(),
        None => {
            let file = paths.state.join("keys/login");
            if !file.exists() {
                make_once(&file, |new| argv_keygen(new, "devbox")).await?;
            }
            file
        }
    };
    let public_file = PathBuf::from(format!("{}.pub", private.display()));
    let told = |what: String| {
        let error = Error::new(Kind::Usage, what);
        if configured.is_some() {
            error.hint(
                "`ssh.key` names the private key; its public half stands beside it with `.pub` appended",
            )
        } else {
            error.hint(format!("remove {} to have devbox make a new pair", tick(&private)))
        }
    };
    if !private.is_file() {
        return Err(told(format!("there is no ssh key {}", tick(&private))));
    }
    let text = std::fs::read_to_string(&public_file)
        .map_err(|e| told(format!("can't read the public key {}", tick(&public_file))).caused_by(e))?;
    let public =
        parse_public(&text).ok_or_else(|| told(format!("{} is no public key", tick(&public_file))))?;
    Ok(LoginKey { private, public })
}

/// A fresh host key for one launch.
///
/// # Errors
/// When `ssh-keygen` fails.
pub async fn fresh_host_key() -> Result<HostKey> {
    let dir = tempfile::Builder::new()
        .prefix("devbox-")
        .tempdir()
        .or_fail(|| "can't make a temporary folder".into())?;
    let file = dir.path().join("key");
    argv_keygen(&file, "devbox").check().await?;
    let what = || "can't read the fresh host key".to_owned();
    let private = std::fs::read_to_string(&file).or_fail(what)?;
    let public = std::fs::read_to_string(dir.path().join("key.pub")).or_fail(what)?;
    let public =
        parse_public(&public).ok_or_else(|| Error::new(Kind::Failed, "`ssh-keygen` wrote no public key"))?;
    Ok(HostKey { private, public })
}

/// The key that signs what this machine sends to its boxes, made on first use.
///
/// # Errors
/// When Nix can't make it.
pub async fn signing(paths: &Paths) -> Result<SigningKey> {
    let secret = paths.state.join("keys/store-signing");
    let public_file = paths.state.join("keys/store-signing.pub");
    if !secret.exists() {
        let name = format!("devbox-{}", uuid::Uuid::new_v4().simple());
        make_once(&secret, |new| argv_generate_key(&name, new, &with_pub(new))).await?;
    }
    let text =
        std::fs::read_to_string(&public_file).or_fail(|| format!("can't read {}", tick(&public_file)))?;
    let public = text.trim().to_owned();
    nix_narinfo::TrustedPublicKey::parse(&public)
        .or_fail(|| format!("{} is no signing key", tick(&public_file)))
        .map_err(|e| e.hint(format!("remove {} to have devbox make a new pair", tick(&secret))))?;
    Ok(SigningKey { secret, public })
}

fn with_pub(file: &Path) -> PathBuf {
    PathBuf::from(format!("{}.pub", file.display()))
}

/// Makes a key pair under a temporary name and renames it, the secret half last: a pair is there
/// whole or not at all.
async fn make_once(file: &Path, make: impl FnOnce(&Path) -> Cmd) -> Result<()> {
    let what = || format!("can't make the key {}", tick(file));
    let folder = file.parent().ok_or_else(|| Error::new(Kind::Failed, what()))?;
    make_private(folder)?;
    let dir = tempfile::Builder::new().prefix(".new-").tempdir_in(folder).or_fail(what)?;
    let new = dir.path().join("key");
    make(&new).check().await?;
    std::fs::rename(with_pub(&new), with_pub(file)).or_fail(what)?;
    std::fs::rename(&new, file).or_fail(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_keys_lose_their_comment() {
        assert_eq!(parse_public("ssh-ed25519 AAAA me@here\n").as_deref(), Some("ssh-ed25519 AAAA"));
        assert_eq!(parse_public("-----BEGIN OPENSSH PRIVATE KEY-----\n"), None);
        assert_eq!(parse_public(""), None);
    }
}
