//! `devbox doctor`: what devbox needs on this machine, with the fix for each.

use serde::Serialize;
use serde_json::json;

use crate::cli::Doctor;
use crate::commands::Context;
use crate::config::project::Project;
use crate::config::{Config, ProviderName};
use crate::error::{Error, Kind, Result};
use crate::nix::version;
use crate::provider::catalog::Catalog;
use crate::ssh::{include, keys};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Ok,
    /// Works, but not as well as it could.
    Note,
    /// `up` would fail.
    Missing,
}

#[derive(Debug, Serialize)]
struct Check {
    what: String,
    state: State,
    found: String,
    fix: Option<String>,
}

impl Check {
    fn ok(what: &str, found: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Ok, found: found.into(), fix: None }
    }

    fn of_error(what: &str, e: &Error) -> Self {
        let fix = e.hints().first().cloned();
        Self { what: what.into(), state: State::Missing, found: e.to_string(), fix }
    }
}

/// Runs `devbox doctor`.
///
/// # Errors
/// [`Kind::Failed`] when something needed is missing; everything has been shown by then.
pub async fn run(cx: &Context, _: &Doctor) -> Result<()> {
    let mut checks = Vec::new();
    let config = match cx.resolved() {
        Ok(resolved) => {
            checks.push(Check::ok("configuration", "valid"));
            Some(resolved.config)
        }
        Err(e) => {
            checks.push(Check::of_error("configuration", &e));
            None
        }
    };
    checks.push(match Project::find(&cx.dir) {
        Ok(project) => Check::ok("project", project.root.display().to_string()),
        Err(e) => Check { state: State::Note, ..Check::of_error("project", &e) },
    });
    checks.push(match version::installed().await {
        Ok(version) => Check::ok("nix", version.to_string()),
        Err(e) => Check::of_error("nix", &e),
    });
    for (program, package) in [("ssh", "openssh-client"), ("ssh-keygen", "openssh-client"), ("tar", "tar")] {
        checks.push(match which::which(program) {
            Ok(path) => Check::ok(program, path.display().to_string()),
            Err(_) => Check {
                what: program.into(),
                state: State::Missing,
                found: "not on PATH".into(),
                fix: Some(format!("apt-get install {package}")),
            },
        });
    }
    if let Some(config) = &config {
        checks.extend(of_config(cx, config).await);
    }
    checks.push(match include::present(&cx.paths) {
        Ok(true) => Check::ok("plain ssh", "finds the boxes by name"),
        Ok(false) => Check {
            what: "plain ssh".into(),
            state: State::Note,
            found: "does not find the boxes by name".into(),
            fix: Some(format!("put `{}` on top of ~/.ssh/config", include::LINE)),
        },
        Err(e) => Check { state: State::Note, ..Check::of_error("plain ssh", &e) },
    });
    checks.push(match cx.journal.open() {
        Ok(open) => Check::ok("journal", format!("{} open", open.len())),
        Err(e) => Check::of_error("journal", &e),
    });

    let missing = checks.iter().filter(|c| c.state == State::Missing).count();
    if cx.ui.is_json() {
        cx.ui.document(&json!({"checks": checks, "missing": missing}));
    } else {
        cx.ui.data(&render(&checks));
    }
    match missing {
        0 => Ok(()),
        1 => Err(Error::new(Kind::Failed, "one thing that devbox needs is missing")),
        n => Err(Error::new(Kind::Failed, format!("{n} things that devbox needs are missing"))),
    }
}

/// What depends on the configuration: the key, the provider.
async fn of_config(cx: &Context, config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(key) = &config.ssh.key {
        checks.push(match keys::login(&cx.paths, Some(key)).await {
            Ok(key) => Check::ok("ssh key", key.private.display().to_string()),
            Err(e) => Check::of_error("ssh key", &e),
        });
    }
    if config.box_.provider == ProviderName::Lambda {
        checks.push(lambda(cx, config).await);
        return checks;
    }
    let local = cx.local(config);
    let missing = local.missing();
    if missing.is_empty() {
        checks.push(Check::ok("local provider", "can make boxes on this machine"));
    }
    checks.extend(missing.into_iter().map(|lack| Check {
        what: format!("local: {}", lack.what),
        state: State::Missing,
        found: lack.why.to_owned(),
        fix: Some(lack.fix),
    }));
    checks
}

/// Whether Lambda takes the key.
async fn lambda(cx: &Context, config: &Config) -> Check {
    let asked = async { cx.lambda(config)?.ssh_keys().await };
    match asked.await {
        Ok(keys) => Check::ok("lambda", format!("takes the key; the account has {} ssh keys", keys.len())),
        Err(e) => Check::of_error("lambda", &e),
    }
}

/// One line for each check, the fix below it. Pure.
fn render(checks: &[Check]) -> String {
    let width = checks.iter().map(|c| c.what.len()).max().unwrap_or_default();
    let mut text = String::new();
    for check in checks {
        let mark = match check.state {
            State::Ok => "ok     ",
            State::Note => "note   ",
            State::Missing => "missing",
        };
        text.push_str(&format!("{mark}  {:<width$}  {}\n", check.what, check.found));
        if let Some(fix) = &check.fix {
            text.push_str(&format!("{:9}{:<width$}  fix: {fix}\n", "", ""));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_has_its_fix_below() {
        let checks = [
            Check::ok("nix", "2.8"),
            Check {
                what: "ssh".into(),
                state: State::Missing,
                found: "not on PATH".into(),
                fix: Some("apt-get install openssh-client".into()),
            },
        ];
        insta::assert_snapshot!(render(&checks), @r"
        ok       nix  2.8
        missing  ssh  not on PATH
                      fix: apt-get install openssh-client
        ");
    }
}
