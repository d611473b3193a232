//! What boxes have cost, from a journal whose sums are computed by hand.

use serde_json::{Value, json};

use crate::lambda_stage::Cloud;
use crate::support::TestEnv;

/// Writes an ended launch into the journal.
fn launched(env: &TestEnv, number: u8, name: &str, (asked, ended): (&str, &str), rate: u32) {
    let folder = env.path("home/.local/state/devbox/journal");
    std::fs::create_dir_all(&folder).unwrap();
    let launch = format!("{number:032x}");
    let entry = json!({
        "launch": launch, "name": name, "project": "hello", "root": "/src/hello", "provider": "lambda",
        "system": "x86_64-linux", "volume": "devbox", "host_key": "ssh-ed25519 AAAA", "asked": asked,
        "instance": format!("i-{number}"), "address": null, "cents_per_hour": rate, "ready": null,
        "fingerprint": null, "ended": ended,
    });
    std::fs::write(folder.join(format!("{launch}.json")), entry.to_string()).unwrap();
}

fn rows(document: &Value) -> Vec<(&str, u64, u64)> {
    let rows = document["rows"].as_array().unwrap().iter();
    rows.map(|row| {
        let number = |key: &str| row[key].as_u64().unwrap();
        (row["of"].as_str().unwrap(), number("seconds"), number("cents"))
    })
    .collect()
}

#[test]
fn the_books_add_up() {
    let mut env = TestEnv::empty();
    env.set("TZ", "UTC");
    assert_eq!(env.devbox(["cost"]).ok().stdout, "nothing was billed\n");
    // 10 h at 1.49; 2.5 h at 2.29, rounded up; an hour and a second at 1.49: 61 minutes are billed; what is free.
    launched(&env, 1, "train", ("2026-10-31T20:00:00Z", "2026-11-01T06:00:00Z"), 149);
    launched(&env, 2, "eval", ("2026-11-10T10:00:00Z", "2026-11-10T12:30:00Z"), 229);
    launched(&env, 3, "train", ("2026-11-11T08:00:00Z", "2026-11-11T09:00:01Z"), 149);
    launched(&env, 4, "toy", ("2026-11-11T08:00:00Z", "2026-11-11T09:00:01Z"), 0);

    let all = env.devbox(["cost", "--json"]).ok().says(&["what the volumes cost is not known"]).json();
    assert_eq!(rows(&all), [("train", 39_601, 1490 + 152), ("eval", 9000, 573)]);
    assert_eq!((&all["sum"]["cents"], &all["sum"]["launches"]), (&json!(2215), &json!(3)));
    let months = env.devbox(["cost", "--by", "month", "--json"]).ok().json();
    assert_eq!(rows(&months), [("2026-10", 4 * 3600, 4 * 149), ("2026-11", 34_201, 6 * 149 + 573 + 152)]);
    let since = env.devbox(["cost", "--since", "2026-11-11", "--by", "project", "--json"]).ok().json();
    assert_eq!(rows(&since), [("hello", 3601, 152)]);
    let text = env.devbox(["cost"]).ok().stdout;
    assert!(text.contains("all           3  13.50  1.49 to 2.29  22.15 USD"), "{text}");

    env.devbox(["cost", "--since", "yesterday"]).code(2).says(&["`yesterday`", "2026-11-01"]);
    env.devbox(["cost", "--since", "2999-01-01"]).code(2).says(&["in the future"]);
    env.devbox(["cost", "--versus", "much"]).code(2).says(&["`much` is not an amount"]);
    env.devbox(["cost", "--versus", "0"]).code(2);

    // A line that can't be read hides no other, and is told.
    std::fs::write(env.path("home/.local/state/devbox/journal").join(format!("{:032x}.json", 3)), "{")
        .unwrap();
    let part = env.devbox(["cost"]).code(1);
    assert!(part.stdout.contains("20.63 USD"), "{}", part.stdout);
}

/// The volume of a real account, as the simulator has it.
#[test]
fn volumes_cost_too() {
    let cloud = Cloud::without_boxes();
    cloud.launch_elsewhere("other", "devbox", &json!([]));
    launched(&cloud.env, 1, "train", ("2026-11-10T10:00:00Z", "2026-11-10T11:00:00Z"), 149);
    let cost = cloud.env.devbox(["cost", "--json"]).ok().json();
    assert_eq!(cost["volumes"][0]["name"], "devbox", "{cost}");
    assert!(cloud.env.devbox(["cost"]).ok().stdout.contains("volume `devbox`"));
}
