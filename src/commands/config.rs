//! `devbox config`: each setting and where it comes from.

use std::collections::BTreeMap;

use serde_json::json;

use crate::cli::Config;
use crate::commands::Context;
use crate::error::Result;

/// Runs `devbox config`.
///
/// # Errors
/// [`Kind::Usage`](crate::error::Kind::Usage) when the configuration is wrong.
pub fn run(cx: &Context, _: &Config) -> Result<()> {
    let resolved = cx.resolved()?;
    if cx.ui.is_json() {
        let all: BTreeMap<_, _> = resolved
            .values
            .iter()
            .map(|(key, value, origin)| {
                (key.to_string(), json!({"value": value, "origin": origin.to_string()}))
            })
            .collect();
        cx.ui.document(&all);
        return Ok(());
    }
    let keys = resolved.values.iter().map(|(key, ..)| key.len()).max().unwrap_or_default();
    let values = resolved.values.iter().map(|(_, value, _)| value.len().min(40)).max().unwrap_or_default();
    let lines: String = resolved
        .values
        .iter()
        .map(|(key, value, origin)| format!("{key:<keys$}  {value:<values$}  {origin}\n"))
        .collect();
    cx.ui.data(&lines);
    Ok(())
}
