//! Reading what the API says. Pure: bytes in, a value or a [`Failure`] out; no bytes make it panic.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Kind};
use crate::names::shown;

/// The code of the one refusal that waiting helps against (OpenAPI document 1.8.3, launch).
pub(super) const NO_CAPACITY: &str = "instance-operations/launch/insufficient-capacity";
/// The code for ids that the API does not know.
pub(super) const NO_SUCH_OBJECT: &str = "global/object-does-not-exist";
/// The code for a key that is none.
pub(super) const INVALID_KEY: &str = "global/invalid-api-key";
/// The code for a name that is taken.
pub(super) const DUPLICATE: &str = "global/duplicate";

/// What to look at where something else than the API may have answered.
const ADDRESS: &str = "is `lambda.address` the API's? Lambda's own ends in `/api/v1`";

/// Why there is no data.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Failure {
    /// It never reached the API, so nothing was done.
    Unsent(Lost),
    /// It may have reached the API, and what came back is no answer: nobody knows whether it was done.
    Unanswered(Lost),
    /// The API answered that it won't.
    Refused(Refusal),
}

/// A request that was lost on the way, or its answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lost {
    /// What happened, in a few words.
    pub(super) words: String,
    /// What it is for us.
    pub(super) how: How,
}

/// How a request was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// The network's doing, or nobody can tell.
    Broken,
    /// There was silence for as long as we wait.
    Silence,
    /// There is no safe connection, and will be none a moment later.
    Unsafe,
    /// There was an answer, and the API has none like it.
    Foreign,
}

impl Lost {
    pub(super) fn new(how: How, words: impl Into<String>) -> Self {
        Self { words: words.into(), how }
    }
}

/// The API's own words.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    /// HTTP status.
    pub(super) status: u16,
    /// The API's code; empty where the answer has none.
    pub(super) code: String,
    /// What it says.
    pub(super) message: String,
    /// What it suggests.
    pub(super) suggestion: Option<String>,
    /// When to come back, where it says so.
    pub(super) retry_after: Option<Duration>,
    /// Where the key came from that was refused.
    pub(super) key_from: Option<String>,
    /// Whether it may well be no answer of the API at all.
    pub(super) foreign: bool,
}

impl Refusal {
    /// Whether the same request may be taken later: too many requests, trouble on their side.
    pub(super) fn is_transient(&self) -> bool {
        self.is_too_many() || self.status >= 500 || self.status == 408 || self.code.starts_with("provider/")
    }

    /// Whether it was refused for coming too early, which means that it was not looked at.
    pub(super) fn is_too_many(&self) -> bool {
        self.status == 429
    }
}

impl Failure {
    /// Whether nothing can have been done.
    pub(super) fn is_harmless(&self) -> bool {
        match self {
            Self::Unsent(_) => true,
            Self::Unanswered(_) => false,
            Self::Refused(refusal) => refusal.is_too_many() || !refusal.is_transient(),
        }
    }

    /// Whether the same request may be taken later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Unsent(lost) | Self::Unanswered(lost) => lost.how != How::Unsafe,
            Self::Refused(refusal) => refusal.is_transient(),
        }
    }

    /// In a few words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Unsent(lost) | Self::Unanswered(lost) => lost.words.clone(),
            Self::Refused(Refusal { status, code, message, .. }) => {
                let code = if code.is_empty() { format!("HTTP status {status}") } else { code.clone() };
                if message.is_empty() { code } else { format!("{} ({code})", message.trim_end_matches('.')) }
            }
        }
    }

    /// As an error for a person. `doing` is what was asked for, as in `can't launch`.
    pub(super) fn into_error(self, doing: &str) -> Error {
        let error = Error::new(Kind::Provider, format!("{doing}: {}", self.words()));
        match self {
            Self::Unsent(Lost { how: How::Unsafe, .. }) => error
                .hint("look at `lambda.address`, at this machine's clock, and for a proxy in between")
                .hint("what runs at Lambda runs on, and is billed"),
            Self::Unsent(_) => error.hint("is there a network? what runs at Lambda runs on, and is billed"),
            Self::Unanswered(Lost { how, .. }) => {
                let address = (how == How::Foreign).then_some(ADDRESS);
                let error = address.into_iter().fold(error, Error::hint);
                error.hint("what runs at Lambda runs on, and is billed; try again")
            }
            Self::Refused(refusal) => {
                let hint = match refusal.code.as_str() {
                    INVALID_KEY => Some(match &refusal.key_from {
                        Some(from) => format!("the key came from {from}"),
                        None => "a key for Lambda Cloud is made in its console, under API keys".to_owned(),
                    }),
                    _ if refusal.is_transient() => Some(match refusal.retry_after {
                        Some(after) => format!("try again in {} s", after.as_secs()),
                        None => "try again later".to_owned(),
                    }),
                    _ if refusal.foreign => Some(ADDRESS.to_owned()),
                    _ => None,
                };
                let error = refusal.suggestion.iter().fold(error, |error, s| error.hint(s.clone()));
                hint.into_iter().fold(error, Error::hint)
            }
        }
    }
}

#[derive(Deserialize)]
struct Envelope {
    error: Wire,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    suggestion: Option<String>,
}

/// Text of the API as we show it: one line, no control characters, not endless.
fn tame(text: &str) -> String {
    let one_line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect();
    one_line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn foreign(words: impl Into<String>) -> Failure {
    Failure::Unanswered(Lost::new(How::Foreign, words))
}

/// Reads an answer: the envelope with its `data`.
///
/// # Errors
/// [`Failure::Refused`] when it is a refusal, [`Failure::Unanswered`] when it is nothing that the API says.
pub(super) fn parse_answer(status: u16, retry_after: Option<&str>, body: &[u8]) -> Result<Value, Failure> {
    if (200..300).contains(&status) {
        return match serde_json::from_slice::<Value>(body) {
            Ok(envelope) if envelope.get("data").is_some() => Ok(envelope),
            Ok(_) => Err(foreign("the answer has no `data`")),
            Err(e) => Err(foreign(format!("the answer is no JSON ({e})"))),
        };
    }
    let retry_after = retry_after.and_then(parse_retry_after);
    Err(Failure::Refused(match serde_json::from_slice::<Envelope>(body) {
        Ok(Envelope { error }) => Refusal {
            status,
            code: tame(&error.code),
            message: tame(&error.message),
            key_from: None,
            suggestion: error.suggestion.map(|s| tame(&s)).filter(|s| !s.is_empty()),
            retry_after,
            foreign: false,
        },
        Err(_) => {
            let text = shown(&tame(&String::from_utf8_lossy(body)));
            let foreign = true;
            Refusal {
                status,
                code: String::new(),
                message: text,
                suggestion: None,
                retry_after,
                key_from: None,
                foreign,
            }
        }
    }))
}

/// The seconds of a `Retry-After`; the form with a date is not understood, and a day is the most.
fn parse_retry_after(text: &str) -> Option<Duration> {
    const MOST: f64 = 86_400.0;
    let seconds: f64 = text.trim().parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(MOST)))
}

/// One page of a listing, and the token of the next one. The documented API does not page, newer ones may:
/// beside `data`, or in it beside the one list.
///
/// # Errors
/// [`Failure::Unanswered`] when there is no list.
pub(super) fn parse_page(envelope: &Value) -> Result<(Vec<Value>, Option<String>), Failure> {
    let no_list = || foreign("the answer has no list in its `data`");
    let data = envelope.get("data").ok_or_else(no_list)?;
    let token = |at: &Value| {
        ["page_token", "next_page_token"]
            .iter()
            .find_map(|name| at.get(name)?.as_str())
            .filter(|token| !token.is_empty())
            .map(str::to_owned)
    };
    match data {
        Value::Array(items) => Ok((items.clone(), token(envelope))),
        Value::Object(inner) => {
            let mut lists = inner.values().filter_map(Value::as_array);
            match (lists.next(), lists.next()) {
                (Some(items), None) => Ok((items.clone(), token(data).or_else(|| token(envelope)))),
                _ => Err(no_list()),
            }
        }
        _ => Err(no_list()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn refused(status: u16, code: &str) -> Failure {
        let body = json!({"error": {"code": code, "message": "No.", "suggestion": "Do."}}).to_string();
        parse_answer(status, None, body.as_bytes()).unwrap_err()
    }

    #[test]
    fn the_kinds_of_failure() {
        // status, code, transient, harmless
        let cases = [
            (400, NO_CAPACITY, false, true),
            (401, "global/invalid-api-key", false, true),
            (429, "global/too-many-requests", true, true),
            (500, "global/internal-error", true, false),
            (503, "", true, false),
            (400, "provider/internal-unavailable", true, false),
            (408, "", true, false),
        ];
        for (status, code, transient, harmless) in cases {
            let failure = refused(status, code);
            assert_eq!(
                (failure.is_transient(), failure.is_harmless()),
                (transient, harmless),
                "{status} {code}"
            );
        }
        for (how, transient) in
            [(How::Broken, true), (How::Silence, true), (How::Unsafe, false), (How::Foreign, true)]
        {
            let (unsent, unanswered) =
                (Failure::Unsent(Lost::new(how, "")), Failure::Unanswered(Lost::new(how, "")));
            assert!(unsent.is_harmless() && !unanswered.is_harmless());
            assert_eq!((unsent.is_transient(), unanswered.is_transient()), (transient, transient), "{how:?}");
        }
    }

    #[test]
    fn what_may_not_be_the_api_is_asked_about_its_address() {
        let hints = |failure: Failure| failure.into_error("can't ask").hints().join("\n");
        let other = |status, body: &[u8]| hints(parse_answer(status, None, body).unwrap_err());
        for hints in [other(404, b"<html>"), other(302, b""), other(200, b"<html>"), other(200, b"{}")] {
            assert!(hints.contains("`/api/v1`"), "{hints}");
        }
        for hints in [
            other(502, b"<html>"),
            other(429, b""),
            hints(refused(404, NO_SUCH_OBJECT)),
            hints(Failure::Unsent(Lost::new(How::Broken, "x"))),
        ] {
            assert!(!hints.contains("`/api/v1`"), "{hints}");
        }
        let hints = hints(Failure::Unsent(Lost::new(How::Unsafe, "x")));
        assert!(hints.contains("`lambda.address`") && !hints.contains("network"), "{hints}");
    }

    #[test]
    fn a_refusal_is_shown_with_the_apis_suggestion() {
        let error = refused(400, "global/quota-exceeded").into_error("can't launch");
        assert_eq!(error.to_string(), "can't launch: No (global/quota-exceeded)");
        assert_eq!(error.hints(), ["Do."]);
    }

    #[test]
    fn what_is_no_answer_of_the_api_is_told_apart() {
        for body in [&b"<html>"[..], b"{}", b"[]", b"\xff", b""] {
            assert!(matches!(parse_answer(200, None, body), Err(Failure::Unanswered(_))), "{body:?}");
        }
        let Err(Failure::Refused(refusal)) = parse_answer(502, Some("7"), b"Bad\x1b[31m Gateway\n") else {
            panic!()
        };
        assert_eq!(refusal.message, "Bad [31m Gateway");
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(parse_retry_after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(parse_retry_after("1e300"), Some(Duration::from_secs(86_400)));
    }

    #[test]
    fn pages_are_found_in_either_place() {
        let page = |value: Value| parse_page(&value).unwrap();
        assert_eq!(page(json!({"data": [1]})), (vec![json!(1)], None));
        assert_eq!(page(json!({"data": [1], "page_token": "t"})).1.as_deref(), Some("t"));
        assert_eq!(page(json!({"data": {"instances": [1], "page_token": "t"}})).1.as_deref(), Some("t"));
        assert_eq!(page(json!({"data": {"instances": [], "page_token": null}})), (vec![], None));
        assert!(parse_page(&json!({"data": 1})).is_err());
        assert!(parse_page(&json!({"data": {"a": [], "b": []}})).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(status in 0_u16..1000, body in proptest::collection::vec(any::<u8>(), 0..200), after in ".{0,20}") {
            match parse_answer(status, Some(&after), &body) {
                Ok(envelope) => drop(parse_page(&envelope)),
                Err(failure) => {
                    let error = failure.into_error("can't ask");
                    prop_assert!(error.to_string().chars().all(|c| !c.is_control()));
                }
            }
        }
    }
}
