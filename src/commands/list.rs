//! `devbox list`: what the provider has.

use serde_json::json;

use crate::cli::{List, Listed};
use crate::commands::Context;
use crate::error::Result;
use crate::provider::Instance;

/// Runs `devbox list`.
///
/// # Errors
/// [`Kind::Provider`](crate::error::Kind::Provider) when the provider can't be asked.
pub async fn run(cx: &Context, args: &List) -> Result<()> {
    let config = cx.resolved_or_defaults()?;
    match args.what {
        Listed::Instances => {
            let mut instances = Vec::new();
            for provider in cx.providers(&config)? {
                instances.extend(provider.list().await?);
            }
            if cx.ui.is_json() {
                cx.ui.document(&json!({"instances": instances}));
            } else if instances.is_empty() {
                cx.ui.events.info("the provider has no instances");
            } else {
                cx.ui.data(&render_instances(&instances));
            }
        }
    }
    Ok(())
}

/// Quiet two-column cards. Pure.
fn render_instances(instances: &[Instance]) -> String {
    let cards: Vec<String> = instances
        .iter()
        .map(|i| {
            let mut lines = vec![i.id.to_string()];
            let mut line = |label: &str, value: String| lines.push(format!("  {label:<9}{value}"));
            line("name", i.name.clone());
            line("status", i.status.to_string());
            if let Some(address) = i.address {
                line("address", address.to_string());
            }
            if let Some(system) = i.system {
                line("system", system.to_string());
            }
            if !i.volumes.is_empty() {
                line("volume", i.volumes.join(", "));
            }
            if let Some(since) = i.since {
                line("since", since.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
            }
            line("ours", if i.launch.is_some() { "yes".into() } else { "no".into() });
            format!("{}\n", lines.join("\n"))
        })
        .collect();
    cards.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{InstanceId, LaunchId, System};
    use crate::provider::InstanceStatus;

    #[test]
    fn a_card() {
        let instance = Instance {
            id: InstanceId("local-0123".into()),
            name: "hello".into(),
            launch: Some(LaunchId::random()),
            status: InstanceStatus::Other("preempted".into()),
            address: Some([10, 77, 0, 2].into()),
            system: Some(System::X86_64Linux),
            instance_type: None,
            region: None,
            volumes: vec!["devbox".into()],
            launched_from: None,
            extra: serde_json::Map::new(),
            since: Some(jiff::Timestamp::UNIX_EPOCH),
            cents_per_hour: Some(0),
        };
        insta::assert_snapshot!(render_instances(&[instance]), @r"
        local-0123
          name     hello
          status   preempted
          address  10.77.0.2
          system   x86_64-linux
          volume   devbox
          since    1970-01-01 00:00:00 UTC
          ours     yes
        ");
    }
}
