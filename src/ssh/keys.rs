//! Keys: the one to log in with, the host key of each launch, the one that signs store paths.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, OrFail, Result, tick};
use crate::names::BoxName;
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

/// The key to log in with, as a launch wrote it down; before that, the configured one or one of devbox's own.
///
/// # Errors
/// [`Kind::Usage`] when the key or its public half is not there.
pub async fn login(paths: &Paths, configured: Option<&Path>) -> Result<LoginKey> {
    match configured {
        Some(private) => read_pair(
            private,
            "`ssh.key` names the private key; its public half stands beside it with `.pub` appended",
        ),
        None => own(paths).await,
    }
}

/// The keys that may log in, the best first: the configured one alone; or those that ssh would use for a host of
/// this name and that can be used without a question; or, where there is none, one of devbox's own. Never empty.
///
/// # Errors
/// [`Kind::Usage`] when the configured key is not there.
pub async fn candidates(paths: &Paths, configured: Option<&Path>, name: &BoxName) -> Result<Vec<LoginKey>> {
    if configured.is_some() {
        return Ok(vec![login(paths, configured).await?]);
    }
    let in_agent = keys_of_agent().await;
    let mut found = Vec::new();
    for private in identity_files(paths, name).await? {
        // A file that is not there is no error: ssh asks for more than most people have.
        let Ok(pair) = read_pair(&private, "") else { continue };
        if in_agent.iter().any(|key| is_same_key(key, &pair.public)) || has_no_passphrase(&private).await? {
            found.push(pair);
        }
    }
    if found.is_empty() {
        found.push(own(paths).await?);
    }
    Ok(found)
}

/// The private keys that ssh would try for a host.
async fn identity_files(paths: &Paths, name: &BoxName) -> Result<Vec<PathBuf>> {
    let output = Cmd::new("ssh").args(["-G", name.as_str()]).check().await?;
    Ok(parse_identity_files(&output.text(), &paths.home))
}

/// Reads the `identityfile` lines of `ssh -G`.
fn parse_identity_files(text: &str, home: &Path) -> Vec<PathBuf> {
    let files = text.lines().filter_map(|line| line.strip_prefix("identityfile "));
    files
        .map(|file| match file.strip_prefix("~/") {
            Some(rest) => home.join(rest),
            None => PathBuf::from(file),
        })
        .filter(|file| file.is_absolute())
        .collect()
}

/// The public keys that an agent can use; none where there is no agent.
async fn keys_of_agent() -> Vec<String> {
    match Cmd::new("ssh-add").arg("-L").run().await {
        Ok(output) if output.status.success() => output.text().lines().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Whether a private key can be used without a question.
async fn has_no_passphrase(private: &Path) -> Result<bool> {
    let asked = Cmd::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(private).run().await?;
    Ok(asked.status.success())
}

/// The key that devbox makes for itself, on first use.
async fn own(paths: &Paths) -> Result<LoginKey> {
    let file = paths.state.join("keys/login");
    if !file.exists() {
        make_once(&file, |new| argv_keygen(new, "devbox")).await?;
    }
    read_pair(&file, &format!("remove {} to have devbox make a new pair", tick(&file)))
}

/// Reads a pair whose private half is `private`. `hint` is the way out where that fails.
fn read_pair(private: &Path, hint: &str) -> Result<LoginKey> {
    let public_file = with_pub(private);
    let told = |what: String| Error::new(Kind::Usage, what).hint(hint);
    if !private.is_file() {
        return Err(told(format!("there is no ssh key {}", tick(private))));
    }
    let text = std::fs::read_to_string(&public_file)
        .map_err(|e| told(format!("can't read the public key {}", tick(&public_file))).caused_by(e))?;
    let public =
        parse_public(&text).ok_or_else(|| told(format!("{} is no public key", tick(&public_file))))?;
    Ok(LoginKey { private: private.to_owned(), public })
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
    fn the_keys_that_ssh_would_try() {
        let text = "host hello\nidentityfile ~/.ssh/id_rsa\nidentityfile /k/id ed\nidentityfile none\n";
        let files = parse_identity_files(text, Path::new("/home/me"));
        assert_eq!(files, [Path::new("/home/me/.ssh/id_rsa"), Path::new("/k/id ed")]);
    }

    #[test]
    fn comments_do_not_make_keys_differ() {
        assert!(is_same_key("ssh-ed25519 AAAA me@here", "ssh-ed25519  AAAA"));
        assert!(!is_same_key("ssh-ed25519 AAAA", "ssh-ed25519 BBBB"));
        assert!(!is_same_key("", ""));
    }

    #[test]
    fn public_keys_lose_their_comment() {
        assert_eq!(parse_public("ssh-ed25519 AAAA me@here\n").as_deref(), Some("ssh-ed25519 AAAA"));
        assert_eq!(parse_public("-----BEGIN OPENSSH PRIVATE KEY-----\n"), None);
        assert_eq!(parse_public(""), None);
    }
}
