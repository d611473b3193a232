//! The wire: axum, and what a pure answer can't do: wait, drop a connection, make a key.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Request, Response, header};
use devbox::error::{OrFail, Result};
use devbox::process::Cmd;

use super::Shared;
use super::api;

/// More than any request needs: 1 MB of user data, each byte of it escaped.
const LONGEST: usize = 8 << 20;

/// Everything goes through one function, so that nothing is answered that is not in the transcript.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(handle).with_state(shared)
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let mut request = api::Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: query(parts.uri.query().unwrap_or_default()),
        authorization: authorization.map(str::to_owned),
        // Cut off, it is no JSON, and refused as such.
        body: to_bytes(body, LONGEST).await.map(|bytes| bytes.to_vec()).unwrap_or_else(|_| b"{".to_vec()),
        fresh: None,
    };
    if request.method == "POST" && request.path.ends_with("/ssh-keys") {
        request.fresh = fresh_key().await.map_err(|e| eprintln!("no key could be made: {e}")).ok();
    }
    let target = parts.uri.path_and_query().map_or_else(|| request.path.clone(), ToString::to_string);
    let reply = shared.exchange(&request, target);
    if reply.delay > 0.0 {
        tokio::time::sleep(Duration::try_from_secs_f64(reply.delay).unwrap_or_default()).await;
    }
    if reply.drop {
        // Unwinds the connection's own task, which closes it without a word. The runtime expects that,
        // and nothing is printed.
        std::panic::resume_unwind(Box::new("a connection dropped on purpose"));
    }
    respond(reply)
}

fn respond(reply: api::Reply) -> Response<Body> {
    let kind = if reply.json { "application/json" } else { "text/html" };
    let mut response = Response::builder().status(reply.status).header(header::CONTENT_TYPE, kind);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).unwrap_or_default()
}

/// The parameters of a query.
fn query(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(k, v)| (decode(k), decode(v)))
        .collect()
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let code = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (byte, code.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(code)) => {
                out.push(code);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A key pair: public, private.
async fn fresh_key() -> Result<(String, String)> {
    let dir = tempfile::tempdir().or_fail(|| "can't make a folder".to_owned())?;
    let file = dir.path().join("key");
    Cmd::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&file).check().await?;
    let read =
        |name: &str| std::fs::read_to_string(dir.path().join(name)).or_fail(|| "can't read a key".to_owned());
    Ok((read("key.pub")?.trim().to_owned(), read("key")?))
}

#[cfg(test)]
mod tests {
    use super::query;

    #[test]
    fn queries_are_decoded() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(query("a=1%3A2+3&b&c=%zz"), [pair("a", "1:2 3"), pair("b", ""), pair("c", "%zz")]);
        assert!(query("").is_empty());
    }
}
