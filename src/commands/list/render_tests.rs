//! What people see at 80 and at 120 columns, and that nothing foreign does harm.

use super::*;
use crate::names::InstanceId;
use crate::provider::InstanceStatus;
use console::measure_text_width;
use proptest::prelude::*;

/// As on two terminals, cards and tables.
fn seen(listing: &Listing) -> String {
    format!(
        "{}\n--- 120\n{}\n--- table, 80\n{}\n--- table, 120\n{}",
        listing.cards(80),
        listing.cards(120),
        listing.table(80),
        listing.table(120)
    )
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[test]
fn kinds_of_machine() {
    let east = json!({"name": "us-east-3", "description": "Washington, DC, USA"});
    let kind = |name: &str, what: &str, cents: u32, regions: Value| {
        json!({
            "instance_type": {
                "name": name, "description": what, "gpu_description": "GH200 (96 GB)", "price_cents_per_hour": cents,
                "specs": {"vcpus": 64, "memory_gib": 432, "storage_gib": 4096, "gpus": 1},
            },
            "regions_with_capacity_available": regions,
        })
    };
    let mut odd = kind(
        "gpu_9x_new",
        "9x New\u{1b}[2J",
        1,
        json!([{"name": "moon-1", "description": "Mare Tranquillitatis"}, east]),
    );
    odd["instance_type"]["cooling"] = json!({"kind": "liquid", "secret_token": "x"});
    let mut types: Vec<Availability> = read(json!([
        kind("gpu_8x_h100_sxm5", "8x H100 (80 GB SXM5)", 2392, json!([])),
        kind("gpu_1x_gh200", "1x GH200 (96 GB)", 149, json!([east])),
        {"instance_type": {"name": "gpu_1x_unknown"}},
        odd,
    ]));
    sort_instance_types(&mut types);
    insta::assert_snapshot!(seen(&instance_types(&types)));
}

#[test]
fn system_images() {
    let image = |family: &str, arch: &str, region: &str, updated: &str| {
        json!({
            "id": "43336648-096d-4cba-9aa2-f9bb7727639d", "name": "lambda-stack-24-04-v3", "description": "Lambda Stack 24.04",
            "family": family, "version": "24.04.01", "architecture": arch, "region": {"name": region, "description": ""},
            "created_time": "2026-01-02T03:04:05Z", "updated_time": updated,
        })
    };
    let mut all: Vec<Image> = read(json!([
        image("lambda-stack-24-04", "x86_64", "us-east-1", "2026-02-02T00:00:00Z"),
        image("lambda-stack-24-04", "arm64", "us-east-3", "2026-02-02T00:00:00Z"),
        image("lambda-stack-24-04", "arm64", "us-east-3", "2026-03-02T00:00:00Z"),
        image("lambda-stack-22-04", "riscv64", "us-east-3", "yesterday"),
    ]));
    sort_images(&mut all);
    insta::assert_snapshot!(seen(&images(&all)));
}

#[test]
fn volumes_keys_and_rules() {
    let all: Vec<Filesystem> = read(json!([
        {"id": "398578a2336b49079e74043f0bd2cfe8", "name": "devbox", "mount_point": "/lambda/nfs/devbox", "is_in_use": true,
         "region": {"name": "us-east-3", "description": "Washington, DC, USA"}, "bytes_used": 12_345_678_901_u64,
         "created": "2026-01-02T03:04:05.123Z", "created_by": {"id": "u", "email": "me@example.com", "status": "active"}},
        {"id": "f2", "name": "データ", "mount_point": "/lambda/nfs/x", "region": "us-west-1", "created": ""},
    ]));
    let keys: Vec<SshKey> = read(json!([
        {"id": "ddf9a910ceb744a0bb95242cbba6cb50", "name": "my laptop",
         "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICN+lJwsONkwrdsSnQsu1ydUkIuIg5oOC+Eslvmtt60T me at home"},
        {"id": "k2", "name": "", "public_key": ""},
    ]));
    let rules: Vec<Ruleset> = read(json!([
        {"id": "global", "name": "Global Firewall Rules", "rules": [
            {"protocol": "tcp", "port_range": [22, 22], "source_network": "0.0.0.0/0", "description": "Allow SSH from anywhere"},
            {"protocol": "icmp", "source_network": "0.0.0.0/0", "description": ""},
        ]},
        {"id": "c4d291f47f9d436fa39f58493ce3b50d", "name": "web", "region": {"name": "us-east-3"}, "created": "2026-01-02T03:04:05Z",
         "instance_ids": ["0920582c7ff041399e34823a0be62549"], "rules": [
            {"protocol": "sctp", "port_range": [8000, 8100], "source_network": "10.0.0.0/8",
             "description": "A description that goes on and on, since whoever wrote it wanted everybody to know why this is open"}]},
        {"id": "c5", "name": "closed", "region": {"name": "us-east-3"}, "rules": []},
    ]));
    insta::assert_snapshot!(seen(&filesystems(&all)));
    insta::assert_snapshot!(seen(&ssh_keys(&keys)));
    insta::assert_snapshot!(seen(&rulesets(&rules)));
}

fn instance(name: &str) -> Instance {
    Instance {
        id: InstanceId("0920582c7ff041399e34823a0be62549".into()),
        name: name.into(),
        launch: None,
        status: InstanceStatus::Other("hibernating".into()),
        address: Some([198, 51, 100, 2].into()),
        system: Some(system_of("gpu_1x_gh200")),
        instance_type: Some("gpu_1x_gh200".into()),
        region: Some("us-east-3".into()),
        volumes: vec!["devbox".into()],
        since: Some(Timestamp::UNIX_EPOCH),
        launched_from: Some("laptop".into()),
        cents_per_hour: Some(149),
        extra: serde_json::Map::new(),
    }
}

#[test]
fn what_runs() {
    let ours =
        Instance { launch: Some("00000000000000000000000000000001".parse().unwrap()), ..instance("hello") };
    let all = [ours, instance("somebody else's \u{202e}box")];
    insta::assert_snapshot!(seen(&instances(&all, Timestamp::from_second(7200).unwrap())));
}

#[test]
fn what_up_takes() {
    let all: Vec<Preset> = crate::config::resolve(
        &[],
        &crate::config::Defaults { project_root: None, home: "/h".into(), state: "/s".into() },
    )
    .unwrap()
    .config
    .presets
    .into_values()
    .collect();
    insta::assert_snapshot!(seen(&presets(&all)));
    assert_eq!(preset_document(&all[4])["instance-types"], json!(["gpu_1x_gh200"]));
}

proptest! {
    /// Whatever an account is full of: lines fit, and nothing acts on the terminal.
    #[test]
    fn foreign_text_does_no_harm(text in proptest::collection::vec(any::<char>(), 0..60).prop_map(String::from_iter), width in 20_usize..130) {
        let filesystem = Filesystem { name: text.clone(), mount_point: text.clone(), created: text.clone(), ..Filesystem::default() };
        let key = SshKey { name: text.clone(), public_key: text.clone(), ..SshKey::default() };
        let image = Image { family: text.clone(), version: text.clone(), architecture: text.clone(), ..Image::default() };
        let rules = Ruleset { name: text.clone(), rules: vec![Rule { description: text.clone(), ..Rule::default() }], ..Ruleset::default() };
        let mut kind = Availability::default();
        kind.instance_type.description = text.clone();
        kind.instance_type.extra.insert(text.clone(), text.clone().into());
        for listing in [
            filesystems(&[filesystem]),
            ssh_keys(&[key]),
            images(&[image]),
            rulesets(&[rules]),
            instance_types(&[kind]),
            instances(&[instance(&text)], Timestamp::UNIX_EPOCH),
        ] {
            for line in listing.table(width).lines() {
                prop_assert!(measure_text_width(line) <= width, "{:?}", line);
            }
            prop_assert!(listing.cards(width).chars().all(|c| c == '\n' || !c.is_control()));
        }
    }
}
