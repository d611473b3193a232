//! The key of the account: where it comes from. It is kept as a secret that can't be printed, and sent
//! in one header; it is in no argument, no log, no file of ours, and on no box.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::env;
use crate::error::{Error, Kind, OrFail, Result, tick};
use crate::events::Events;
use crate::process::Cmd;

/// A command that asks for a passphrase waits for a person.
const PATIENCE: Duration = Duration::from_secs(120);
/// When to say that it is waited for.
const SLOW: Duration = Duration::from_secs(5);

/// Where the key may come from, the nearest first: the variable, the file, the command.
#[derive(Clone, Debug, Default)]
pub struct KeySource {
    /// A file that holds it.
    pub file: Option<PathBuf>,
    /// A shell command that prints it.
    pub command: Option<String>,
}

impl KeySource {
    /// Whether anything says where the key is.
    pub fn is_set(&self) -> bool {
        env::get(env::LAMBDA_API_KEY).is_some() || self.file.is_some() || self.command.is_some()
    }

    /// Where the key comes from, for a person.
    pub(super) fn origin(&self) -> String {
        match (env::get(env::LAMBDA_API_KEY), &self.file) {
            (Some(_), _) => "`LAMBDA_API_KEY`".to_owned(),
            (None, Some(file)) => format!("{}, the `lambda.api-key-file`", tick(file)),
            (None, None) => "`lambda.api-key-command`".to_owned(),
        }
    }

    /// Gets the key.
    ///
    /// # Errors
    /// [`Kind::Usage`] when nothing says where it is, or what it says does not hold.
    pub(super) async fn find(&self, events: &Events) -> Result<SecretString> {
        if let Some(text) = env::get(env::LAMBDA_API_KEY) {
            let text = text.into_string().map_err(|_| refused("`LAMBDA_API_KEY`", "is no text"))?;
            return parse_key(&text, "`LAMBDA_API_KEY`");
        }
        if let Some(file) = &self.file {
            return read(file);
        }
        let Some(command) = &self.command else {
            return Err(Error::new(Kind::Usage, "there is no key for Lambda Cloud")
                .hint("make one in Lambda's console, under API keys, and `export LAMBDA_API_KEY=…`")
                .hint("or set `lambda.api-key-file` or `lambda.api-key-command` in `~/.config/devbox/config.toml`"));
        };
        // Its output is the key: never shown, not even when it fails.
        let running = Cmd::new("sh").args(["-c", command]).deadline(PATIENCE);
        let running = running.run();
        tokio::pin!(running);
        let output = match tokio::time::timeout(SLOW, &mut running).await {
            Ok(output) => output?,
            Err(_) => {
                events.info("waiting for `lambda.api-key-command` to print the key");
                running.await?
            }
        };
        if !output.status.success() {
            let what = format!("`lambda.api-key-command` failed ({})", output.status);
            return Err(Error::new(Kind::Usage, what)
                .details(output.last_error_lines(5))
                .hint("run it by hand: it must print the key, and nothing else"));
        }
        parse_key(&output.text(), "what `lambda.api-key-command` prints")
    }
}

fn read(file: &Path) -> Result<SecretString> {
    let text = std::fs::read_to_string(file)
        .or_kind(Kind::Usage, || format!("can't read the key for Lambda Cloud in {}", tick(file)))
        .map_err(|e| e.hint("`lambda.api-key-file` names a file that holds nothing but the key"))?;
    parse_key(&text, &tick(file))
}

/// The key in a text: its only word. Says where it came from, never what it is.
fn parse_key(text: &str, origin: &str) -> Result<SecretString> {
    let text = text.trim();
    let plain = |c: char| c.is_ascii_graphic();
    if text.is_empty() {
        return Err(refused(origin, "is empty"));
    }
    if text.len() > 1000 || !text.chars().all(plain) {
        return Err(refused(origin, "is no key: a key is one word of printable characters"));
    }
    Ok(SecretString::from(text.to_owned()))
}

fn refused(origin: &str, why: &str) -> Error {
    Error::new(Kind::Usage, format!("{origin} {why}"))
        .hint("a key for Lambda Cloud is made in its console, under API keys")
}

/// The value of the one header that carries the key.
pub(super) fn header(key: &SecretString) -> Result<reqwest::header::HeaderValue> {
    let mut value = reqwest::header::HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
        .map_err(|_| refused("the key for Lambda Cloud", "can't be sent in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_word_and_never_printed() {
        let key = parse_key(" secret_abc_123\n", "x").unwrap();
        assert_eq!(key.expose_secret(), "secret_abc_123");
        assert!(!format!("{key:?}").contains("abc"));
        assert!(!format!("{:?}", header(&key).unwrap()).contains("abc"));
        for bad in ["", " \n", "two words", "a\nb", "ü", &"x".repeat(2000)] {
            let error = parse_key(bad, "`file`").unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(bad.trim().is_empty() || !error.to_string().contains(bad.trim()), "{error}");
        }
    }
}
