//! The one place that talks HTTP: paced, bounded in time and size, repeated where that is safe.

use std::cell::Cell;
use std::error::Error as StdError;
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::HeaderValue;
use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::answer::{Failure, How, INVALID_KEY, Lost, NO_SUCH_OBJECT, Refusal, parse_answer, parse_page};
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
/// Whoever waits longer for an answer is told what for.
const SLOW: Duration = Duration::from_secs(5);
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
    /// Whether somebody was told that answers take long. Once is enough.
    told: Cell<bool>,
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
        Ok(Self {
            http,
            base: base.to_owned(),
            source,
            key: OnceCell::new(),
            limiter,
            events,
            told: Cell::default(),
        })
    }

    /// Asks, again where that is safe and may help. Returns the envelope with its `data`.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Value, Trouble> {
        // First, since a command that gets it may wait for a person.
        let key = self.key.get_or_try_init(|| self.source.find(&self.events)).await.map_err(Trouble::Ours)?;
        let key = key::header(key).map_err(Trouble::Ours)?;
        let (mut tries, mut waited) = (0, Duration::ZERO);
        loop {
            self.limiter.turn(ask.launch).await.map_err(Trouble::Ours)?;
            let began = Instant::now();
            let asked = self.ask_once(ask, &key);
            tokio::pin!(asked);
            let answer = match tokio::time::timeout(SLOW.saturating_sub(waited), &mut asked).await {
                Ok(answer) => answer,
                Err(_) => {
                    self.tell(ask, "");
                    asked.await
                }
            };
            let failure = match answer {
                Ok(envelope) => return Ok(envelope),
                Err(failure) => failure,
            };
            tries += 1;
            let Some(pause) =
                plan_retry(tries, &failure, ask.safety, self.limiter.request.max(SHORTEST), fastrand::f64())
            else {
                return Err(match failure {
                    Failure::Refused(refusal) if refusal.code == INVALID_KEY => {
                        Failure::Refused(Refusal { key_from: Some(self.source.origin()), ..refusal })
                    }
                    other => other,
                }
                .into());
            };
            self.events.detail(format!(
                "Lambda: {} {}: {}; again in {:.1} s",
                ask.method,
                ask.path,
                failure.words(),
                pause.as_secs_f64()
            ));
            waited += began.elapsed() + pause;
            if waited >= SLOW {
                self.tell(ask, &format!(": {}", failure.words()));
            }
            if matches!(&failure, Failure::Refused(refusal) if refusal.is_too_many()) {
                self.limiter.hold(pause).map_err(Trouble::Ours)?;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Says that it takes long, once. `why` is empty where there is silence.
    fn tell(&self, ask: &Ask<'_>, why: &str) {
        if !self.told.replace(true) {
            self.events.info(format!("waiting for an answer of Lambda (`{}`){why}", ask.path));
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
        let words = format!("the pages of `{path}` have no end");
        Err(Failure::Unanswered(Lost::new(How::Foreign, words)).into())
    }

    async fn ask_once(&self, ask: &Ask<'_>, key: &HeaderValue) -> Result<Value, Failure> {
        let mut request = self
            .http
            .request(ask.method.clone(), format!("{}/{}", self.base, ask.path))
            .header(reqwest::header::AUTHORIZATION, key.clone())
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
                let words = format!("the answer has more than {} MiB", MOST >> 20);
                return Err(Failure::Unanswered(Lost::new(How::Foreign, words)));
            }
        }
        let answer = parse_answer(status, retry_after.as_deref(), &body);
        answer.map_err(|failure| match failure {
            // A path that the API does not know, in whatever words: what it knows is below its own address.
            Failure::Refused(refusal)
                if refusal.status == 404
                    && refusal.code != NO_SUCH_OBJECT
                    && !self.base.ends_with("/api/v1") =>
            {
                Failure::Refused(Refusal { foreign: true, ..refusal })
            }
            other => other,
        })
    }
}

/// What a failure of the HTTP client means. Its words never hold the key, which is in a header.
fn failure_of(e: &reqwest::Error) -> Failure {
    let (how, words) = match tls_trouble(e) {
        Some(words) if e.is_connect() => (How::Unsafe, words),
        _ if e.is_timeout() => (How::Silence, "no answer in time".to_owned()),
        // The innermost one says what happened.
        _ => (
            How::Broken,
            causes(e).last().map_or_else(|| "the connection failed".into(), ToString::to_string),
        ),
    };
    if e.is_connect() || e.is_builder() {
        Failure::Unsent(Lost::new(how, format!("Lambda Cloud can't be reached: {words}")))
    } else {
        Failure::Unanswered(Lost::new(how, format!("the answer was lost: {words}")))
    }
}

/// The errors behind an error, outermost first.
fn causes<'a>(e: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    // One of a stream does not count the error that it was made of among its sources.
    let within = |e: &'a (dyn StdError + 'static)| -> Option<&'a (dyn StdError + 'static)> {
        let made_of = e.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        made_of.map(|inner| inner as _).or_else(|| e.source())
    };
    std::iter::successors(within(e), move |cause| within(*cause))
}

/// What is wrong with TLS, where that is what is wrong.
fn tls_trouble(e: &(dyn StdError + 'static)) -> Option<String> {
    Some(match causes(e).find_map(|cause| cause.downcast_ref::<rustls::Error>())? {
        rustls::Error::InvalidCertificate(why) => format!("its certificate is not to be trusted ({why})"),
        other => format!("what answers there does not speak TLS as we do ({other})"),
    })
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
