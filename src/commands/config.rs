//! `devbox config`: each setting and where it comes from.

use serde_json::json;

use crate::cli::Config;
use crate::commands::Context;
use crate::config::Setting;
use crate::error::Result;

/// Runs `devbox config`.
///
/// # Errors
/// [`Kind::Usage`](crate::error::Kind::Usage) when the configuration is wrong.
pub fn run(cx: &Context, _: &Config) -> Result<()> {
    let resolved = cx.resolved()?;
    if cx.ui.is_json() {
        cx.ui.document(&json!({"settings": resolved.settings}));
    } else {
        cx.ui.data(&render(&resolved.settings));
    }
    Ok(())
}

/// One line for each key: its value and who set it. Pure.
fn render(settings: &[Setting]) -> String {
    const WIDEST: usize = 40;
    let shown = |s: &Setting| s.value.as_ref().map_or("-".to_owned(), |value| value.replace('\n', "; "));
    let keys = settings.iter().map(|s| s.key.len()).max().unwrap_or_default();
    let values = settings.iter().map(|s| shown(s).chars().count().min(WIDEST)).max().unwrap_or_default();
    settings.iter().map(|s| format!("{:<keys$}  {:<values$}  {}\n", s.key, shown(s), s.origin)).collect()
}
