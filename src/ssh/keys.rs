//! Keys: the one to log in with, the host key of each launch, the one that signs store paths.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, OrFail, Result, tick};
use crate::events::Events;
use crate::names::BoxName;
use crate::nix::command::argv_generate_key;
use crate::paths::{Paths, make_private, write_atomic};
use crate::process::Cmd;

/// The most keys of the agent that are looked at: a box would not let us try more.
const MOST_OF_AGENT: usize = 5;

/// A key pair to log in with.
#[derive(Clone, Debug)]
pub struct LoginKey {
    /// The private key's file; that of the public key where the agent alone has the private one.
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
/// [`Kind::Usage`] when there is no such key, or its public half can't be told.
pub async fn login(paths: &Paths, configured: Option<&Path>) -> Result<LoginKey> {
    match configured {
        Some(file) => Ok(find(file).await?.key),
        None => own(paths).await,
    }
}

/// The keys that may log in, the best first: the configured one alone; or those that ssh would use for a host of
/// this name and that can be used without a question, files before what the agent alone has; or, where there is
/// none, one of devbox's own. Never empty. Says which were passed over, and why.
///
/// # Errors
/// [`Kind::Usage`] when the configured key is not there.
pub async fn candidates(
    paths: &Paths,
    configured: Option<&Path>,
    name: &BoxName,
    events: &Events,
) -> Result<Vec<LoginKey>> {
    let in_agent = keys_of_agent().await;
    let has = |key: &LoginKey| in_agent.iter().any(|known| is_same_key(known, &key.public));
    if let Some(file) = configured {
        let found = find(file).await?;
        if found.agent_alone && !has(&found.key) {
            return Err(Error::new(Kind::Usage, not_here(file)).hint("`ssh-add` loads it into the agent"));
        }
        return Ok(vec![found.key]);
    }
    let asked = Cmd::new("ssh").args(["-G", name.as_str()]).check().await?.text();
    let (mut keys, mut passed_over) = (Vec::new(), Vec::new());
    for file in parse_identity_files(&asked, &paths.home) {
        match find(&file).await {
            Ok(found) if has(&found.key) => keys.push(found.key),
            Ok(found) if found.agent_alone => passed_over.push(not_here(&file)),
            Ok(found) => match derive(&file).await {
                Ok(_) => keys.push(found.key),
                Err(e) => passed_over.push(e.to_string()),
            },
            // ssh asks for more than most people have.
            Err(_) if !file.exists() => {}
            Err(e) => passed_over.push(e.to_string()),
        }
    }
    if !is_files_only(&asked) {
        let others = in_agent.iter().filter(|key| !keys.iter().any(|k| is_same_key(key, &k.public)));
        let others =
            others.take(MOST_OF_AGENT).map(|key| of_agent(paths, key)).collect::<Result<Vec<_>>>()?;
        keys.extend(others);
    }
    for why in &passed_over {
        events.detail(format!("an ssh key is passed over: {why}"));
    }
    if keys.is_empty() {
        if !passed_over.is_empty() {
            events.info(
                "none of your ssh keys can be used without a question, so devbox uses one of its own: \
                 `ssh-add` loads yours into the agent",
            );
        }
        keys.push(own(paths).await?);
    }
    Ok(keys)
}

/// A key as it was found.
struct Found {
    key: LoginKey,
    /// Its private half is nowhere but in the agent, if anywhere.
    agent_alone: bool,
}

fn not_here(file: &Path) -> String {
    format!("the private half of {} is neither beside it nor in the agent", tick(file))
}

/// The key that a file stands for, as it does for ssh: a private key, with or without its public half beside it, or
/// a public one, whose private half the agent has.
async fn find(file: &Path) -> Result<Found> {
    let public_file = with_pub(file);
    let pair = |private: &Path, public| LoginKey { private: private.to_owned(), public };
    if !file.is_file() {
        let Some(public) = read_public(&public_file)? else {
            return Err(Error::new(Kind::Usage, format!("there is no ssh key {}", tick(file)))
                .hint("`ssh.key` names a private key, or a public one whose private half the agent has"));
        };
        return Ok(Found { key: pair(&public_file, public), agent_alone: true });
    }
    // What can't be read as text is no public key.
    let itself = std::fs::read_to_string(file).ok().and_then(|text| parse_public(&text));
    if let Some(public) = itself {
        return Ok(Found { key: pair(file, public), agent_alone: true });
    }
    let public = match read_public(&public_file)? {
        Some(public) => public,
        None => derive(file).await?,
    };
    Ok(Found { key: pair(file, public), agent_alone: false })
}

/// Reads a public key; nothing where there is no such file.
fn read_public(file: &Path) -> Result<Option<String>> {
    let told =
        |what: String| Error::new(Kind::Usage, what).hint(format!("`ssh-keygen -y` writes {}", tick(file)));
    match std::fs::read_to_string(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(told(format!("can't read the public key {}", tick(file))).caused_by(e)),
        Ok(text) => {
            parse_public(&text).map(Some).ok_or_else(|| told(format!("{} is no public key", tick(file))))
        }
    }
}

/// The public half of a private key, which must be usable without a question.
async fn derive(private: &Path) -> Result<String> {
    let asked = Cmd::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(private).run().await?;
    if asked.status.success() {
        return parse_public(&asked.text())
            .ok_or_else(|| Error::new(Kind::Usage, format!("{} has no public half", tick(private))));
    }
    let lines = asked.last_error_lines(5);
    if lines.iter().any(|line| line.contains("passphrase")) {
        let what = format!("{} has a passphrase, and is not in the agent", tick(private));
        return Err(Error::new(Kind::Usage, what)
            .hint(format!("`ssh-add {}` loads it into the agent", private.display())));
    }
    Err(Error::new(Kind::Usage, format!("ssh can't use the key {}", tick(private))).details(lines))
}

/// Reads the `identityfile` lines of `ssh -G`: the private keys that ssh would try for a host.
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

/// Whether `ssh -G` says that what else the agent has is not to be tried.
fn is_files_only(text: &str) -> bool {
    text.lines().any(|line| line == "identitiesonly yes")
}

/// The public keys that an agent can use; none where there is no agent.
async fn keys_of_agent() -> Vec<String> {
    match Cmd::new("ssh-add").arg("-L").run().await {
        Ok(output) if output.status.success() => parse_agent(&output.text()),
        _ => Vec::new(),
    }
}

/// Reads what `ssh-add -L` prints. Certificates are no keys, and stand beside theirs.
fn parse_agent(text: &str) -> Vec<String> {
    text.lines().filter_map(parse_public).filter(|key| !key.contains("-cert-v")).collect()
}

/// A key that the agent alone has. ssh takes the file of a public key for it.
fn of_agent(paths: &Paths, public: &str) -> Result<LoginKey> {
    let name = format!("agent-{:08x}.pub", crate::paths::short_hash(Path::new(public)));
    let file = paths.state.join("keys").join(name);
    if !file.exists() {
        if let Some(folder) = file.parent() {
            make_private(folder)?;
        }
        write_atomic(&file, format!("{public}\n").as_bytes(), 0o600)?;
    }
    Ok(LoginKey { private: file, public: public.to_owned() })
}

/// The key that devbox makes for itself, on first use.
async fn own(paths: &Paths) -> Result<LoginKey> {
    let file = paths.state.join("keys/login");
    if !file.exists() {
        make_once(&file, |new| argv_keygen(new, "devbox")).await?;
    }
    let found = find(&file).await;
    found.map(|f| f.key).map_err(|e| e.hint(format!("remove {} to have devbox make a new pair", tick(&file))))
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
    fn what_else_the_agent_has() {
        assert!(is_files_only("host a\nidentitiesonly yes\n") && !is_files_only("identitiesonly no\n"));
        let text = "ssh-ed25519 AAAA me@here\nssh-ed25519-cert-v01@openssh.com BBBB me@here\necdsa-sha2-nistp256 CCCC\n";
        assert_eq!(parse_agent(text), ["ssh-ed25519 AAAA", "ecdsa-sha2-nistp256 CCCC"]);
        assert!(parse_agent("The agent has no identities.\n").is_empty());
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
