//! Whether answers are what the API's document says. Where the document is at hand, by it; where it
//! is not, by our own notes of what it demands. Answers that are odd on purpose are left out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

use super::api::{Route, route};
use super::notes;
use super::transcript::Exchange;

/// Where the document is, beside the repository, if it is there.
pub(crate) fn document() -> Option<Value> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/lambda-openapi.json");
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// What is wrong with the answers, a line for each fault.
pub(crate) fn answers(all: &[Exchange]) -> Vec<String> {
    match document() {
        Some(document) => by_document(all, &document),
        None => by_notes(all),
    }
}

/// By the document.
pub(crate) fn by_document(all: &[Exchange], document: &Value) -> Vec<String> {
    let mut known: BTreeMap<(String, String, u16), Option<Validator>> = BTreeMap::new();
    let mut faults = Vec::new();
    for (exchange, template) in answered(all) {
        let Some(template) = template else {
            faults.extend(envelope(exchange));
            continue;
        };
        let key = (exchange.method.to_lowercase(), template.to_owned(), exchange.status);
        let validator = known.entry(key).or_insert_with_key(|(m, p, s)| validator(document, p, m, *s));
        match validator {
            Some(validator) => {
                let found = validator.iter_errors(&exchange.answer);
                faults.extend(found.map(|e| told(exchange, &format!("{e} at `{}`", e.instance_path()))));
            }
            None if may_be_undeclared(exchange.status) => faults.extend(envelope(exchange)),
            None => faults.push(told(exchange, "the document has no such status here")),
        }
    }
    faults
}

/// By our own notes.
pub(crate) fn by_notes(all: &[Exchange]) -> Vec<String> {
    let mut faults = Vec::new();
    for (exchange, template) in answered(all) {
        match template {
            Some(template) if exchange.status == 200 => {
                let shape = notes::success(&exchange.method, template);
                let found = shape.map_or(vec!["no note of it".to_owned()], |s| s.faults(&exchange.answer));
                faults.extend(found.iter().map(|fault| told(exchange, fault)));
            }
            _ => faults.extend(envelope(exchange)),
        }
        let code = exchange.answer["error"]["code"].as_str();
        if let Some(code) = code.filter(|code| !notes::may_be(code, exchange.status)) {
            faults.push(told(exchange, &format!("`{code}` does not come with this status")));
        }
    }
    faults
}

/// What was answered in earnest, with the document's path.
fn answered(all: &[Exchange]) -> impl Iterator<Item = (&Exchange, Option<&'static str>)> {
    all.iter().filter(|e| !e.dropped && !e.odd).map(|e| {
        let path = e.path.split('?').next().unwrap_or_default();
        match route(&e.method, path) {
            Route::To(_, template, _) => (e, Some(template)),
            Route::NoMethod(_) | Route::NoPath => (e, None),
        }
    })
}

/// Statuses that come although no endpoint declares them: a body that can't be read where the document
/// thinks of none, rates, the server's own trouble.
fn may_be_undeclared(status: u16) -> bool {
    matches!(status, 400 | 429) || status >= 500
}

/// The schema of an answer, with the document's components for what it refers to.
fn validator(document: &Value, path: &str, method: &str, status: u16) -> Option<Validator> {
    let responses = &document["paths"][path][method]["responses"];
    let schema = responses[status.to_string()]["content"]["application/json"]["schema"].as_object()?;
    let mut root = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "components": document["components"],
    });
    root.as_object_mut()?.extend(schema.clone());
    let built =
        jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).build(&root);
    Some(built.expect("the document's schemas are sound"))
}

/// What every error looks like.
fn envelope(exchange: &Exchange) -> Vec<String> {
    notes::ERROR.faults(&exchange.answer).iter().map(|fault| told(exchange, fault)).collect()
}

fn told(exchange: &Exchange, fault: &str) -> String {
    format!("{} {} answered {}: {fault}", exchange.method, exchange.path, exchange.status)
}
