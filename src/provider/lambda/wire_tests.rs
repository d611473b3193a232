//! What the API says, read; what we say, as it wants it.

use super::*;
use crate::provider::Placement;
use crate::ssh::keys::LoginKey;
use proptest::prelude::*;

fn request() -> LaunchRequest {
    LaunchRequest {
        name: "hello".parse().unwrap(),
        launch: "00000000000000000000000000000001".parse().unwrap(),
        asked: "2026-11-25T06:00:00Z".parse().unwrap(),
        placement: Placement {
            instance_type: "gpu_1x_gh200".into(),
            region: "us-east-3".into(),
            system: System::Aarch64Linux,
            cents_per_hour: 149,
            image_family: Some("lambda-stack-24-04".into()),
            volume: "devbox".parse().unwrap(),
        },
        volume: Volume {
            name: "devbox".parse().unwrap(),
            id: "f-1".into(),
            mount_point: "/lambda/nfs/devbox".into(),
            region: Some("us-east-3".into()),
            place: "us-east-3".into(),
        },
        login: LoginKey { private: "/k".into(), public: "ssh-ed25519 AAAA".into() },
        user_data: "#cloud-config\n".into(),
    }
}

#[test]
fn a_launch_as_the_api_wants_it() {
    let body = plan_launch(&request(), "my key", "laptop");
    insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap());
}

#[test]
fn a_mount_point_that_no_launch_may_name_is_left_to_the_api() {
    for path in ["/nix", "/lambda/nfs/my_data", "/home/ubuntu/a b", ""] {
        let mut request = request();
        request.volume.mount_point = path.into();
        assert!(plan_launch(&request, "k", "x").get("file_system_mounts").is_none(), "{path}");
    }
}

#[test]
fn our_tags_come_back() {
    let sent = plan_launch(&request(), "my key", "laptop");
    let instance = parse_instance(&json!({
        "id": "i-1", "name": "hello", "ip": "198.51.100.2", "status": "active",
        "file_system_names": ["devbox"], "tags": sent["tags"],
        "region": {"name": "us-east-3", "description": "Washington"},
        "instance_type": {"name": "gpu_1x_gh200", "price_cents_per_hour": 149},
        "jupyter_token": "secret", "private_ip": "10.0.0.1", "is_reserved": false, "new": {"api_key": 1, "x": 2},
    }));
    assert_eq!(instance.launch, Some(request().launch));
    assert_eq!(instance.since, Some(request().asked));
    assert_eq!(instance.launched_from.as_deref(), Some("laptop"));
    assert_eq!(instance.system, Some(System::Aarch64Linux));
    assert_eq!(instance.cents_per_hour, Some(149));
    let told = serde_json::to_string(&instance).unwrap();
    assert!(!told.contains("secret") && !told.contains("api_key"), "{told}");
    assert!(told.contains("private_ip") && told.contains(r#""new":{"x":2}"#), "{told}");
}

#[test]
fn what_is_new_is_shown_as_it_comes() {
    let instance = parse_instance(
        &json!({"id": "i", "status": "hibernating", "region": "moon-1", "ip": "?", "tags": []}),
    );
    assert_eq!(instance.status.to_string(), "hibernating");
    assert_eq!(instance.region.as_deref(), Some("moon-1"));
    assert_eq!((instance.address, instance.launch), (None, None));
    assert!(instance.status.may_bill());
}

#[test]
fn what_is_null_is_not_there() {
    let instance = parse_instance(&json!({
        "id": "i", "name": null, "tags": null, "region": null, "instance_type": {"name": "gpu_1x_a10", "description": null},
        "file_system_names": [null, "devbox"], "status": "active", "ip": null, "extra": null,
    }));
    assert_eq!((instance.name.as_str(), instance.region, instance.launch), ("", None, None));
    assert_eq!(instance.volumes, ["devbox"]);
    assert_eq!(
        (instance.instance_type.as_deref(), instance.status),
        (Some("gpu_1x_a10"), InstanceStatus::Active)
    );
}

/// A tag of ours stays ours: nobody may take such a box for somebody else's.
#[test]
fn what_makes_no_sense_is_shown_as_far_as_it_can_be_read() {
    let tags = json!([{"key": "devbox:launch", "value": "not-a-launch-id"}, 7]);
    for odd in
        [json!({"id": "i", "tags": tags, "region": 7}), json!({"id": "i", "instance_type": [], "tags": tags})]
    {
        let instance = parse_instance(&odd);
        assert_eq!((instance.id.0.as_str(), instance.ours, instance.launch), ("i", true, None));
        assert!(instance.status == InstanceStatus::Unreadable && instance.status.may_bill(), "{odd}");
        assert!(instance.may_be_anybodys() && instance.extra.contains_key("unreadable"), "{odd}");
    }
    for nameless in [json!({"name": "x", "status": "active"}), json!(1), Value::Null] {
        let instance = parse_instance(&nameless);
        assert_eq!((instance.id.0.as_str(), instance.status), ("", InstanceStatus::Unreadable), "{nameless}");
    }
}

#[test]
fn what_has_no_price_is_not_launched() {
    let listing: Vec<Availability> = serde_json::from_value(json!([
        {"instance_type": {"name": "a", "price_cents_per_hour": 1}, "regions_with_capacity_available": [{"name": "r"}]},
        {"instance_type": {"name": "b"}},
    ]))
    .unwrap();
    let offers = offers(&listing);
    assert_eq!(offers.len(), 1);
    assert_eq!((offers[0].instance_type.as_str(), offers[0].regions[0].as_str()), ("a", "r"));
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop_oneof![
            "[a-z_]{0,8}",
            Just("id".to_owned()),
            Just("tags".to_owned()),
            Just("region".to_owned()),
            Just("instance_type".to_owned())
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_panics(value in json_value()) {
        drop(parse_instance(&value));
    }
}
