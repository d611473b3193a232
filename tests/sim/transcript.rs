//! What was asked and answered.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use devbox::error::{OrFail, Result, tick};
use serde::Serialize;
use serde_json::{Value, json};

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Exchange {
    /// Seconds since this simulator started.
    pub(crate) at: f64,
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    /// What was, or would have been, answered.
    pub(crate) status: u16,
    /// The body that came: as JSON, else as text; null when there was none.
    pub(crate) request: Value,
    /// The body of the answer, likewise.
    pub(crate) answer: Value,
    /// The connection was dropped without an answer.
    pub(crate) dropped: bool,
    /// The scenario wants the answer not to be what the document says.
    pub(crate) odd: bool,
}

/// Bytes as JSON, or as the text they are.
pub(crate) fn shown(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
}

/// A file of them, one JSON document a line, without secrets.
pub(crate) struct Record(File);

impl Record {
    /// Goes on with `path`, or begins it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path);
        file.map(Self).or_fail(|| format!("can't write {}", tick(path)))
    }

    /// A record that can't be kept is no reason to fail a call.
    pub(crate) fn add(&mut self, exchange: &Exchange) {
        let mut exchange = exchange.clone();
        redact(&mut exchange.request);
        redact(&mut exchange.answer);
        let line = serde_json::to_string(&exchange).unwrap_or_default();
        if let Err(e) = writeln!(self.0, "{line}") {
            eprintln!("the record can't be written: {e}");
        }
    }
}

/// Leaves the length of what is secret.
fn redact(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(redact),
        Value::Object(all) => {
            for (name, inner) in all {
                match (name.as_str(), &inner) {
                    ("user_data" | "private_key" | "jupyter_token" | "jupyter_url", Value::String(text)) => {
                        *inner = json!(format!("({} bytes)", text.len()));
                    }
                    _ => redact(inner),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_out_of_the_file() {
        let mut value = json!({"data": [{"user_data": "abc", "name": "n", "private_key": "k"}]});
        redact(&mut value);
        assert_eq!(
            value,
            json!({"data": [{"user_data": "(3 bytes)", "name": "n", "private_key": "(1 bytes)"}]})
        );
    }
}
