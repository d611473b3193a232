//! `devbox list`: what there is to rent, and what the account has.

mod render;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::{List, Listed};
use crate::commands::Context;
use crate::config::Config;
use crate::error::{OrFail, Result};
use crate::provider::Instance;
use crate::provider::catalog::value_without_secrets;

use render::Listing;

/// Runs `devbox list`.
///
/// # Errors
/// [`Kind::Provider`](crate::error::Kind::Provider) when the provider can't be asked.
pub async fn run(cx: &Context, args: &List) -> Result<()> {
    let config = cx.resolved_or_defaults()?;
    match args.what {
        Listed::Instances => {
            let (instances, asked) = instances(cx, &config).await?;
            let listing = render::instances(&instances, Timestamp::now());
            if asked.is_ok() || !instances.is_empty() {
                show(cx, args, "instances", &instances, &listing)?;
            }
            asked
        }
        Listed::InstanceTypes => {
            let mut types = cx.catalog(&config)?.instance_types().await?;
            render::sort_instance_types(&mut types);
            show(cx, args, "instance-types", &types, &render::instance_types(&types))
        }
        Listed::Images => {
            let mut images = cx.catalog(&config)?.images().await?;
            render::sort_images(&mut images);
            show(cx, args, "images", &images, &render::images(&images))
        }
        Listed::Filesystems => {
            let filesystems = cx.catalog(&config)?.filesystems().await?;
            show(cx, args, "filesystems", &filesystems, &render::filesystems(&filesystems))
        }
        Listed::SshKeys => {
            let keys = cx.catalog(&config)?.ssh_keys().await?;
            show(cx, args, "ssh-keys", &keys, &render::ssh_keys(&keys))
        }
        Listed::FirewallRulesets => {
            let rulesets = cx.catalog(&config)?.rulesets().await?;
            show(cx, args, "firewall-rulesets", &rulesets, &render::rulesets(&rulesets))
        }
        Listed::Presets => {
            let presets: Vec<_> = config.presets.values().cloned().collect();
            let documents: Vec<Value> = presets.iter().map(render::preset_document).collect();
            show(cx, args, "presets", &documents, &render::presets(&presets))
        }
    }
}

/// Those of every provider that may have some, and whether all could be asked: one that can't hides nothing of
/// the others.
async fn instances(cx: &Context, config: &Config) -> Result<(Vec<Instance>, Result<()>)> {
    let (mut all, mut asked) = (Vec::new(), Ok(()));
    for provider in cx.providers(config)? {
        match provider.list().await {
            Ok(instances) => all.extend(instances),
            Err(e) => asked = asked.and(Err(e)),
        }
    }
    Ok((all, asked))
}

fn show<T: Serialize>(cx: &Context, args: &List, what: &str, items: &[T], listing: &Listing) -> Result<()> {
    if cx.ui.is_json() {
        let items = serde_json::to_value(items).or_fail(|| format!("can't write the {what} as JSON"))?;
        cx.ui.document(&json!({ what: value_without_secrets(&items) }));
    } else if items.is_empty() {
        cx.ui.events.info(format!("there are no {}", what.replace('-', " ")));
    } else {
        let width = cx.ui.columns();
        cx.ui.data(&if args.table { listing.table(width) } else { listing.cards(width) });
    }
    Ok(())
}
