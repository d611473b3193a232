//! `devbox doctor`: what devbox needs on this machine, with the fix for each.

use serde::Serialize;
use serde_json::json;

use crate::cli::Doctor;
use crate::commands::Context;
use crate::config::layer::Origin;
use crate::config::project::Project;
use crate::config::{Config, ProviderName, Resolved, Setting};
use crate::error::{Error, Kind, Result};
use crate::journal::Entry;
use crate::nix::version;
use crate::provider::catalog::Catalog;
use crate::provider::local::Missing;
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
            Some(resolved)
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
    if let Some(resolved) = &config {
        checks.extend(of_config(cx, resolved).await);
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

/// What depends on the configuration: the key, the providers.
async fn of_config(cx: &Context, resolved: &Resolved) -> Vec<Check> {
    let config = &resolved.config;
    let mut checks = Vec::new();
    if let Some(key) = &config.ssh.key {
        checks.push(match keys::login(&cx.paths, Some(key)).await {
            Ok(key) => Check::ok("ssh key", key.private.display().to_string()),
            Err(e) => Check::of_error("ssh key", &e),
        });
    }
    // Where there is a key, `status` and `down` ask too; what the journal has open can't be ended without one. A
    // journal that can't be read has a check of its own.
    let of_lambda = |entry: &Entry| entry.provider == ProviderName::Lambda.to_string();
    let has_key = cx.lambda_key(config).is_set();
    let is_open = cx.journal.open().is_ok_and(|open| open.iter().any(of_lambda));
    let wants_lambda = config.box_.provider == ProviderName::Lambda || has_key || is_open;
    if wants_lambda {
        checks.push(lambda(cx, config).await);
    } else {
        checks.push(Check {
            what: "lambda".into(),
            state: State::Note,
            found: "no key: boxes at Lambda Cloud need one".into(),
            fix: Some(
                "`export LAMBDA_API_KEY=…`, or set `lambda.api-key-file` or `lambda.api-key-command`".into(),
            ),
        });
    }
    checks.extend(local(&cx.local(config).missing(), wants_lambda && !says_local(resolved)));
    checks
}

/// Whether somebody asked for local boxes, which are the default too.
fn says_local(resolved: &Resolved) -> bool {
    let said = |s: &Setting| s.key == "box.provider" && s.origin != Origin::Default;
    resolved.config.box_.provider == ProviderName::Local && resolved.settings.iter().any(said)
}

/// What this machine lacks for local boxes. Who rents boxes does without them: one line that is no failure. Pure.
fn local(missing: &[Missing], optional: bool) -> Vec<Check> {
    const WHAT: &str = "local provider";
    if missing.is_empty() {
        return vec![Check::ok(WHAT, "can make boxes on this machine")];
    }
    if optional {
        let lacks: Vec<_> = missing.iter().map(|lack| lack.what.as_str()).collect();
        return vec![Check {
            what: WHAT.into(),
            state: State::Note,
            found: format!("can't make boxes on this machine, which lacks {}", lacks.join(", ")),
            fix: Some("none is needed for Lambda; `devbox doctor --set box.provider=local` has them".into()),
        }];
    }
    let check = |lack: &Missing| Check {
        what: format!("local: {}", lack.what),
        state: State::Missing,
        found: lack.why.to_owned(),
        fix: Some(lack.fix.clone()),
    };
    missing.iter().map(check).collect()
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

    #[test]
    fn who_rents_boxes_needs_none_of_this_machine() {
        let lack =
            |what: &str| Missing { what: what.into(), why: "makes it", fix: format!("install {what}") };
        let missing = [lack("root"), lack("`mmdebstrap`")];
        insta::assert_snapshot!(render(&local(&missing, true)), @r"
        note     local provider  can't make boxes on this machine, which lacks root, `mmdebstrap`
                                 fix: none is needed for Lambda; `devbox doctor --set box.provider=local` has them
        ");
        insta::assert_snapshot!(render(&local(&missing, false)), @r"
        missing  local: root          makes it
                                      fix: install root
        missing  local: `mmdebstrap`  makes it
                                      fix: install `mmdebstrap`
        ");
        assert_eq!(local(&[], true)[0].state, State::Ok);
    }
}
