//! What must hold for every listing, whatever an account is full of.

use console::measure_text_width;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::listing::Listing;
use super::{filesystems, images, instance_types, instances, rulesets, ssh_keys};
use crate::names::InstanceId;
use crate::provider::catalog::{
    Availability, Extra, Filesystem, Image, InstanceType, Region, Rule, Ruleset, SshKey, User,
};
use crate::provider::{Instance, InstanceStatus};

/// Lines fit, and nothing acts on the terminal.
fn is_harmless(listing: &Listing, rows: usize, width: usize) -> Result<(), TestCaseError> {
    let (table, cards) = (listing.table(width), listing.cards(width));
    prop_assert_eq!(table.lines().count(), rows + 1);
    for line in table.lines() {
        prop_assert!(measure_text_width(line) <= width, "{:?}", line);
    }
    for line in cards.lines() {
        prop_assert!(measure_text_width(line) <= width.max(48), "{:?}", line);
    }
    let acts = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    prop_assert!(!table.contains(acts) && !cards.contains(acts));
    Ok(())
}

/// Anything, with more of what does harm than chance would have.
fn foreign() -> impl Strategy<Value = String> {
    let hostile = prop_oneof![
        4 => any::<char>(),
        4 => proptest::char::range(' ', '~'),
        1 => proptest::char::range('\0', '\x1f'),
        1 => proptest::char::range('\x7f', '\u{9f}'),
        1 => proptest::char::range('\u{200b}', '\u{202e}'),
        1 => proptest::char::range('\u{1f300}', '\u{1faff}'),
        1 => proptest::char::range('\u{fe00}', '\u{fe0f}'),
    ];
    proptest::collection::vec(hostile, 0..50).prop_map(String::from_iter)
}

proptest! {
    // Each case is every listing.
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn foreign_text_does_no_harm(
        texts in proptest::collection::vec(foreign(), 12),
        number in any::<u64>(),
        small in any::<Option<u32>>(),
        width in 1_usize..140,
    ) {
        let mut next = texts.iter().cycle().cloned();
        let mut text = || next.next().unwrap_or_default();
        let value = json!([{"a": text(), text(): number}, text()]);
        let extra = Extra::from_iter([(text(), value), (text(), text().into())]);
        let region = Region { name: text(), description: text() };

        let mut types = vec![Availability::default(), Availability {
            instance_type: InstanceType {
                name: text(), description: text(), gpu_description: text(), price_cents_per_hour: small,
                extra: extra.clone(), ..InstanceType::default()
            },
            regions_with_capacity_available: vec![region.clone(); (number % 3) as usize],
            extra: extra.clone(),
        }];
        instance_types::sort(&mut types);
        is_harmless(&instance_types::listing(&types), 2, width)?;

        let image = Image {
            id: text(), name: text(), description: text(), family: text(), version: text(), architecture: text(),
            region: region.clone(), created_time: text(), updated_time: text(), extra: extra.clone(),
        };
        let there = Image { region: Region { name: text(), description: text() }, ..image.clone() };
        let mut all = vec![image, there, Image { name: "other".into(), ..Image::default() }];
        images::sort(&mut all);
        is_harmless(&images::listing(&all), 2, width)?;

        let filesystem = Filesystem {
            id: text(), name: text(), mount_point: text(), region: region.clone(), is_in_use: true,
            bytes_used: Some(number), created: text(),
            created_by: User { id: text(), email: text(), extra: extra.clone() }, extra: extra.clone(),
        };
        is_harmless(&filesystems::listing(&[filesystem, Filesystem::default()]), 2, width)?;

        let kind = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILFoWqXer3dqNw3k1iv5KBYCy7Qnzv03D652llUNTeqK";
        let key = |public_key| SshKey { id: text(), name: text(), public_key, extra: extra.clone() };
        let keys: Vec<_> = [texts[0].clone(), format!("{kind} {}", texts[1])].into_iter().map(key).collect();
        is_harmless(&ssh_keys::listing(&keys), 2, width)?;

        let rule = Rule {
            protocol: text(), port_range: vec![number as u32; (number % 4) as usize], source_network: text(),
            description: text(), extra: extra.clone(),
        };
        let ruleset = Ruleset {
            id: text(), name: text(), region: Some(region), rules: vec![rule; 2], created: text(),
            instance_ids: Some(vec![text(), text()]), extra: extra.clone(),
        };
        is_harmless(&rulesets::listing(&[ruleset, Ruleset::default()]), 2, width)?;

        let instance = Instance {
            id: InstanceId(text()), name: text(), ours: number % 2 == 0, launch: None, status: InstanceStatus::Other(text()),
            address: None, system: None, instance_type: Some(text()), region: Some(text()),
            volumes: vec![text(), text()], since: Some(Timestamp::MAX), launched_from: Some(text()),
            cents_per_hour: small, extra,
        };
        is_harmless(&instances::listing(&[instance], Timestamp::UNIX_EPOCH), 1, width)?;
    }
}
