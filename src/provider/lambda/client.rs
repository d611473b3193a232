//! The one place that talks HTTP: paced, bounded in time and size, repeated where that is safe.

use std::time::Duration;

use reqwest::Method;
use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::answer::{Failure, parse_answer, parse_page};
use super::key::{self, KeySource};
use super::limiter::Limiter;
use super::retry::{Safety, plan_retry};
use crate::error::{Error, Kind, OrFail, Result};
use crate::events::Events;

/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(10);
/// Between two pieces of an answer.
const READ: Duration = Duration::from_secs(30);
/// For one request as a whole.
const TOTAL: Duration = Duration::from_secs(60);
/// The largest answer: far more than an account's listings have.
const MOST: usize = 32 << 20;
/// The first pause before asking again, however close requests may follow each other.
const SHORTEST: Duration = Duration::from_millis(100);
/// The most pages of one listing.
const PAGES: usize = 1000;

/// Asks the API.
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    source: KeySource,
    key: OnceCell<SecretString>,
    limiter: Limiter,
    events: Events,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Ask<'a> {
    /// GET or POST.
    pub(super) method: Method,
    /// Below the base address, as `instances`.
    pub(super) path: &'a str,
    /// The JSON body, already as text.
    pub(super) body: Option<String>,
    /// Whether it may be asked twice.
    pub(super) safety: Safety,
    /// Whether it is a launch, which has a slower pace.
    pub(super) launch: bool,
}

impl<'a> Ask<'a> {
    /// A question that changes nothing.
    pub(super) fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, body: None, safety: Safety::Repeatable, launch: false }
    }

    /// A request that changes something.
    pub(super) fn post(path: &'a str, body: &Value, safety: Safety) -> Self {
        Self { method: Method::POST, path, body: Some(body.to_string()), safety, launch: false }
    }
}

/// What went wrong: with the request, or before it could be made.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The API's doing, or the network's.
    Api(Failure),
    /// Ours: there is no key, the disk refuses.
    Ours(Error),
}

impl Trouble {
    /// As an error for a person. `doing` is what was asked for, as in `can't launch`.
    pub(super) fn into_error(self, doing: &str) -> Error {
        match self {
            Self::Api(failure) => failure.into_error(doing),
            Self::Ours(e) => e,
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Api(failure)
    }
}

impl Client {
    /// A client of the API at `base`. Nothing is asked yet, not even for the key.
    ///
    /// # Errors
    /// When TLS can't be set up.
    pub(super) fn new(base: &str, source: KeySource, limiter: Limiter, events: Events) -> Result<Self> {
        // Someone else's provider, set before ours, would do as well.
        crate::error::ignore(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .user_agent(concat!("devbox/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .read_timeout(READ)
            .timeout(TOTAL)
            // The key goes where the configuration says, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .or_kind(Kind::Provider, || "can't set up a client for Lambda Cloud".into())?;
        Ok(Self { http, base: base.to_owned(), source, key: OnceCell::new(), limiter, events })
    }

    /// Asks, again where that is safe and may help. Returns the envelope with its `data`.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Value, Trouble> {
        let mut tries = 0;
        loop {
            self.limiter.turn(ask.launch).await.map_err(Trouble::Ours)?;
            let failure = match self.ask_once(ask).await {
                Ok(envelope) => return Ok(envelope),
                Err(Trouble::Api(failure)) => failure,
                Err(ours) => return Err(ours),
            };
            tries += 1;
            let Some(pause) =
                plan_retry(tries, &failure, ask.safety, self.limiter.request.max(SHORTEST), fastrand::f64())
            else {
                return Err(failure.into());
            };
            self.events.detail(format!(
                "Lambda: {} {}: {}; again in {:.1} s",
                ask.method,
                ask.path,
                failure.words(),
                pause.as_secs_f64()
            ));
            if matches!(&failure, Failure::Refused(refusal) if refusal.is_too_many()) {
                self.limiter.hold(pause).map_err(Trouble::Ours)?;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Every item of a listing, over all its pages.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<Value>, Trouble> {
        let mut all = Vec::new();
        let mut query = String::new();
        for _ in 0..PAGES {
            let envelope = self.ask(&Ask::get(&format!("{path}{query}"))).await?;
            let (items, next) = parse_page(&envelope)?;
            all.extend(items);
            let Some(token) = next else { return Ok(all) };
            let next = format!("?page_token={}", in_query(&token));
            if next == query {
                break;
            }
            query = next;
        }
        // Half a listing could hide what bills.
        Err(Failure::Unanswered(format!("the pages of `{path}` have no end")).into())
    }

    async fn ask_once(&self, ask: &Ask<'_>) -> Result<Value, Trouble> {
        let key = self.key.get_or_try_init(|| self.source.find()).await.map_err(Trouble::Ours)?;
        let mut request = self
            .http
            .request(ask.method.clone(), format!("{}/{}", self.base, ask.path))
            .header(reqwest::header::AUTHORIZATION, key::header(key).map_err(Trouble::Ours)?)
            .header(reqwest::header::ACCEPT, "application/json");
        if let Some(body) = &ask.body {
            request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body.clone());
        }
        self.events.note(crate::events::Level::Trace, format!("{} {}/{}", ask.method, self.base, ask.path));
        let mut response = request.send().await.map_err(|e| failure_of(&e))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(reqwest::header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|e| failure_of(&e))? {
            body.extend_from_slice(&piece);
            if body.len() > MOST {
                return Err(
                    Failure::Unanswered(format!("the answer has more than {} MiB", MOST >> 20)).into()
                );
            }
        }
        Ok(parse_answer(status, retry_after.as_deref(), &body)?)
    }
}

/// What a failure of the HTTP client means. Its words never hold the key, which is in a header.
fn failure_of(e: &reqwest::Error) -> Failure {
    let mut words = if e.is_timeout() { "no answer in time".to_owned() } else { String::new() };
    let mut next = std::error::Error::source(e);
    while let Some(cause) = next {
        next = cause.source();
        // The innermost one says what happened.
        if next.is_none() && words.is_empty() {
            words = cause.to_string();
        }
    }
    if words.is_empty() {
        words = "the connection failed".to_owned();
    }
    if e.is_connect() || e.is_builder() {
        Failure::Unsent(format!("Lambda Cloud can't be reached: {words}"))
    } else {
        Failure::Unanswered(format!("the answer was lost: {words}"))
    }
}

/// A text as a value in a query.
fn in_query(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_quoted() {
        assert_eq!(in_query("aZ0-._~"), "aZ0-._~");
        assert_eq!(in_query("a=b&c d/é"), "a%3Db%26c%20d%2F%C3%A9");
    }
}
