//! `devbox list`: what there is to rent, and what the account has.

mod filesystems;
mod fingerprint;
mod images;
mod instance_types;
mod instances;
mod listing;
mod presets;
mod rulesets;
mod ssh_keys;
#[cfg(test)]
mod tests;
mod words;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::{List, Listed};
use crate::commands::Context;
use crate::config::Config;
use crate::error::{Error, Kind, OrFail, Result};
use crate::events::Level;
use crate::provider::catalog::value_without_secrets;

use listing::Listing;

/// Runs `devbox list`.
///
/// # Errors
/// [`Kind::Provider`] when the provider can't be asked; [`Kind::Usage`] for two forms at once, and when not all
/// presets are right.
pub async fn run(cx: &Context, args: &List) -> Result<()> {
    if args.table && cx.ui.is_json() {
        return Err(Error::new(Kind::Usage, "`--table` and `--json` can't both be had")
            .hint("`--table` is for people, `--json` for programs"));
    }
    let (config, all_right) = cx.as_far_as_right()?;
    let show = Show { cx, table: args.table, certain: all_right.is_ok() };
    match listed(cx, &config, args.what, &show).await {
        Ok(()) => all_right,
        Err(e) => Err(e.behind(all_right)),
    }
}

async fn listed(cx: &Context, config: &Config, what: Listed, show: &Show<'_>) -> Result<()> {
    let catalog = || cx.catalog(config);
    match what {
        Listed::Instances => {
            let providers = cx.providers(config)?;
            let (instances, asked) = instances::ask(&providers).await;
            if asked.is_ok() || !instances.is_empty() {
                // One that was not asked may have some.
                let at: Vec<_> = providers.iter().map(|p| format!("`{}`", p.name())).collect();
                let none = format!("there are no instances at {}", at.join(" and "));
                let next = "`devbox up` in a project brings up a box";
                let listing = instances::listing(&instances, Timestamp::now());
                show.all("instances", &instances, &listing, &none, next)?;
            }
            asked
        }
        Listed::InstanceTypes => {
            let mut types = catalog()?.instance_types().await?;
            instance_types::sort(&mut types);
            show.all(
                "instance-types",
                &types,
                &instance_types::listing(&types),
                "there are no instance types",
                "",
            )
        }
        Listed::Images => {
            let mut images = catalog()?.images().await?;
            images::sort(&mut images);
            show.all("images", &images, &images::listing(&images), "there are no images", "")
        }
        Listed::Filesystems => {
            let (all, none) = (catalog()?.filesystems().await?, "the account has no filesystems");
            let next = "`devbox up` makes the volume of its box";
            show.all("filesystems", &all, &filesystems::listing(&all), none, next)
        }
        Listed::SshKeys => {
            let (all, none) = (catalog()?.ssh_keys().await?, "the account has no ssh keys");
            let next = "`devbox up` gives it the one that it logs in with";
            show.all("ssh-keys", &all, &ssh_keys::listing(&all), none, next)
        }
        Listed::FirewallRulesets => {
            let (all, none) = (catalog()?.rulesets().await?, "the account has no firewall rulesets");
            show.all("firewall-rulesets", &all, &rulesets::listing(&all), none, "")
        }
        Listed::Presets => {
            let (presets, all_right) = cx.presets();
            let presets: Vec<_> = presets.into_values().collect();
            let documents: Vec<Value> = presets.iter().map(presets::document).collect();
            show.all("presets", &documents, &presets::listing(&presets), "there are no presets", "")?;
            all_right
        }
    }
}

/// How things are shown.
struct Show<'a> {
    cx: &'a Context,
    table: bool,
    /// Whether all was asked that the configuration names: else nothing found is not nothing there.
    certain: bool,
}

impl Show<'_> {
    /// Hands out all there are of `what`. Without any, a person is told `none`, and what to do `next`.
    fn all<T: Serialize>(
        &self,
        what: &str,
        items: &[T],
        listing: &Listing,
        none: &str,
        next: &str,
    ) -> Result<()> {
        let ui = &self.cx.ui;
        if ui.is_json() {
            let items = serde_json::to_value(items).or_fail(|| format!("can't write the {what} as JSON"))?;
            ui.document(&json!({ what: value_without_secrets(&items) }));
        } else if !items.is_empty() {
            ui.data(&if self.table { listing.table(ui.columns()) } else { listing.cards(ui.columns()) });
        } else if self.certain {
            ui.events.info(none);
            if !next.is_empty() {
                ui.events.note(Level::Hint, next);
            }
        }
        Ok(())
    }
}
