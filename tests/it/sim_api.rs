//! The simulator's API, without boxes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::sim::scenario::{self, Fault, FaultKind, Launch, Outcome};
use crate::sim::{Exchange, Options, Scenario, Sim, check};
use crate::sim_stage::{Client, KEY, QUICK, Stage, but, start, wish};
use crate::support::until;

#[test]
fn a_key_is_asked_for_in_each_documented_way() {
    use base64::Engine;
    let stage = Stage::new("");
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{KEY}:"));
    for good in [format!("Bearer {KEY}"), format!("Basic {basic}"), format!("Basic {KEY}")] {
        stage.client.with(&good).get("/instances").ok();
    }
    for bad in ["", "Bearer x", "Basic eA==", KEY] {
        let refused = stage.client.with(bad).get("/instances").refusal();
        assert_eq!(refused, (401, "global/invalid-api-key".to_owned()));
    }
    stage.sim.edit(|s| s.account = scenario::Account::Inactive);
    assert_eq!(stage.client.get("/images").refusal(), (403, "global/account-inactive".to_owned()));
    stage.sim.edit(|s| s.account = scenario::Account::InvalidAddress);
    stage.client.get("/images").ok();
    assert_eq!(stage.launch().unwrap().refusal(), (403, "global/invalid-address".to_owned()));
    let created = stage.client.post("/filesystems", &json!({"name": "a", "region": "us-east-3"}));
    assert_eq!(created.refusal(), (403, "global/invalid-address".to_owned()));
    stage.sound();
}

#[test]
fn what_is_not_in_the_document_is_refused_in_its_envelope() {
    let stage = Stage::new("");
    assert_eq!(stage.client.get("/nothing").status, 404);
    assert_eq!(stage.client.get("/instances/").status, 404);
    let refused = stage.client.call("DELETE", "/instances/x", "");
    assert_eq!(refused.status, 405);
    assert!(refused.headers.contains("allow: get, post"), "{refused:?}");
    for body in ["", "{", "[]", "null", "\"x\""] {
        for (method, path) in [
            ("POST", "/instance-operations/launch"),
            ("POST", "/instance-operations/terminate"),
            ("POST", "/filesystems"),
            ("PUT", "/firewall-rules"),
            ("PATCH", "/firewall-rulesets/global"),
        ] {
            let refused = stage.client.call(method, path, body).refusal();
            assert_eq!(refused, (400, "global/invalid-parameters".to_owned()), "{method} {path} {body}");
        }
    }
    stage.sound();
}

#[test]
fn a_launch_that_is_not_sound_is_told_what_the_document_says() {
    let stage = Stage::new("quota = { instances = 1 }");
    let elsewhere = stage.client.post("/filesystems", &json!({"name": "far", "region": "us-west-1"})).data();
    let invalid = "global/invalid-parameters";
    let absent = "global/object-does-not-exist";
    let wrong = "instance-operations/launch/file-system-in-wrong-region";
    let mount = |id: &Value, point: &str| json!([{"file_system_id": id, "mount_point": point}]);
    for (field, value, status, code) in [
        ("region_name", json!("mars-1"), 400, invalid),
        ("region_name", json!(1), 400, invalid),
        ("instance_type_name", json!("gpu_9x"), 404, absent),
        ("ssh_key_names", json!([]), 400, invalid),
        ("ssh_key_names", json!(["k", "k"]), 400, invalid),
        ("ssh_key_names", json!(["x"]), 404, absent),
        ("file_system_names", json!(["x"]), 404, absent),
        ("file_system_names", json!(["far"]), 400, wrong),
        ("file_system_mounts", mount(&elsewhere["id"], "/data/x"), 400, wrong),
        ("file_system_mounts", mount(&elsewhere["id"], "/nix"), 400, invalid),
        ("file_system_mounts", mount(&elsewhere["id"], &format!("/data/{}", "x".repeat(256))), 400, invalid),
        ("hostname", json!("-x"), 400, invalid),
        ("hostname", json!(""), 400, invalid),
        ("name", json!("x".repeat(65)), 400, invalid),
        ("tags", json!([{"key": "X", "value": ""}]), 400, invalid),
        ("tags", json!([{"key": "xy", "value": "x".repeat(129)}]), 400, invalid),
        ("tags", json!([{"key": "xy"}]), 400, invalid),
        ("user_data", json!("x".repeat(1_000_001)), 400, invalid),
        ("image", json!({}), 400, invalid),
        ("image", json!({"family": "gentoo"}), 404, absent),
        ("image", json!({"id": "x"}), 404, absent),
        ("firewall_rulesets", json!([{"id": "x"}]), 404, absent),
        ("quantity", json!(2), 400, invalid),
    ] {
        let refused = stage.client.post("/instance-operations/launch", &but(field, value.clone())).refusal();
        assert_eq!(refused, (status, code.to_owned()), "{field} {value}");
    }
    stage.sim.edit(|s| s.launch_not_found = scenario::NotFound(400));
    let refused = stage.client.post("/instance-operations/launch", &but("ssh_key_names", json!(["x"])));
    assert_eq!(refused.refusal(), (400, absent.to_owned()));
    assert!(stage.sim.instances().is_empty());

    // An x86 image does not fit an arm64 machine, though it is in its region.
    let images = stage.client.get("/images").data();
    let fit = |architecture: &str| {
        let fits = |i: &&Value| i["region"]["name"] == "us-east-3" && i["architecture"] == architecture;
        json!({"id": images.as_array().unwrap().iter().find(fits).unwrap()["id"]})
    };
    let launch = |image: Value| stage.client.post("/instance-operations/launch", &but("image", image));
    assert_eq!(launch(fit("x86_64")).status, 400);
    launch(fit("arm64")).ok();
    assert_eq!(stage.launch().unwrap().refusal(), (400, "global/quota-exceeded".to_owned()));
    stage.sound();
}

#[test]
fn an_instance_lives_and_ends_and_its_filesystem_is_in_use_meanwhile() {
    let stage = Stage::new("[[launches]]\noutcome = 'unhealthy'");
    stage.sim.edit(|s| {
        s.boot.seconds = 1.0;
        s.terminate = scenario::Terminate { seconds: 1.0, listed: 0.5 };
    });
    let id = stage.launched();
    let status = || stage.client.get(&format!("/instances/{id}")).data()["status"].clone();
    assert_eq!(status(), "booting");
    until("unhealthy", || status() == "unhealthy");
    let filesystem = || stage.client.get("/file-systems").data()[0].take();
    assert_eq!(filesystem()["is_in_use"], true);
    let path = format!("/filesystems/{}", filesystem()["id"].as_str().unwrap());
    let refused = stage.client.call("DELETE", &path, "").refusal();
    assert_eq!(refused, (400, "filesystems/filesystem-in-use".to_owned()));
    assert_eq!(stage.terminate(&id)["terminated_instances"][0]["status"], "terminating");
    assert_eq!(status(), "terminating");
    until("terminated", || status() == "terminated");
    assert_eq!(filesystem()["is_in_use"], false);
    until("gone from the list", || stage.listed().is_empty());
    let gone = stage.client.get(&format!("/instances/{id}")).refusal();
    assert_eq!(gone, (404, "global/object-does-not-exist".to_owned()));
    let absent = stage.client.post("/instance-operations/terminate", &json!({"instance_ids": [id]}));
    assert_eq!(absent.refusal(), (404, "global/object-does-not-exist".to_owned()));
    let deleted = stage.client.call("DELETE", &path, "").data();
    assert!(path.ends_with(deleted["deleted_ids"][0].as_str().unwrap()));
    assert_eq!(stage.client.call("DELETE", &path, "").status, 404);
    assert_eq!(stage.sim.instances()[0].status, "terminated");
    stage.sound();
}

#[test]
fn beyond_the_rates_is_429_and_steady_is_not() {
    let stage = Stage::new("rates = { scale = 5, tolerance = 0.05, retry-after = 3 }");
    let statuses: Vec<_> = (0..6).map(|_| stage.client.get("/instances").status).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    until("a refusal with its header", || {
        let answer = stage.client.get("/instances");
        answer.status == 429 && answer.headers.contains("retry-after: 3")
    });
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(250));
        stage.client.get("/instances").ok();
    }
    // A launch in 2.4 s, whatever else is asked.
    std::thread::sleep(Duration::from_millis(250));
    assert_ne!(stage.launch().unwrap().status, 429);
    std::thread::sleep(Duration::from_millis(250));
    assert_eq!(stage.launch().unwrap().status, 429);
    std::thread::sleep(Duration::from_millis(2400));
    assert_ne!(stage.launch().unwrap().status, 429);
    stage.sound();
}

#[test]
fn capacity_comes_and_goes() {
    let stage = Stage::new(
        r#"
        [[launches]]
        outcome = "listed-but-refused"
        [[launches]]
        outcome = "no-capacity"
        after = 2
        [capacity]
        gpu_1x_gh200 = [{ region = "us-east-3", count = 1 }, { region = "us-west-1", from = 3600 }]
        gpu_1x_a10 = []
        "#,
    );
    let no_capacity = (400, "instance-operations/launch/insufficient-capacity".to_owned());
    assert_eq!(stage.regions_of("gpu_1x_gh200"), ["us-east-3"]);
    assert_eq!(stage.regions_of("gpu_1x_a10"), Vec::<String>::new());
    assert_eq!(stage.launch().unwrap().refusal(), no_capacity);
    assert_eq!(stage.regions_of("gpu_1x_gh200"), ["us-east-3"]);
    assert_eq!(stage.launch().unwrap().refusal(), no_capacity);
    assert_eq!(stage.regions_of("gpu_1x_gh200"), Vec::<String>::new());
    until("capacity again", || stage.regions_of("gpu_1x_gh200") == ["us-east-3"]);
    let id = stage.launched();
    assert_eq!(stage.launch().unwrap().refusal(), no_capacity, "there was one");
    stage.terminate(&id);
    stage.launched();
    stage.sound();
}

#[test]
fn launches_come_out_as_the_script_says() {
    let stage = Stage::new("");
    let script = |launches: Vec<Launch>| stage.sim.edit(|s| s.launches = launches);
    let made = || stage.sim.instances().len();

    script(vec![Launch::new(Outcome::LostAnswer), Launch::new(Outcome::NeverArrived)]);
    assert!(stage.launch().is_none());
    assert_eq!((made(), stage.listed().len()), (1, 1));
    assert!(stage.launch().is_none());
    assert_eq!((made(), stage.listed().len()), (1, 1));

    script(vec![Launch::new(Outcome::Late).after(1.5)]);
    assert!(stage.launch().is_none());
    assert_eq!((made(), stage.listed().len()), (2, 1));
    let late = stage.sim.instances()[1].id.clone();
    assert_eq!(stage.client.get(&format!("/instances/{late}")).status, 404);
    until("the late one", || stage.listed().len() == 2);

    script(vec![Launch::new(Outcome::Slow).after(0.4)]);
    let began = Instant::now();
    stage.launched();
    assert!(began.elapsed() >= Duration::from_millis(400));

    script(vec![Launch::new(Outcome::Garbage), Launch::new(Outcome::GarbageRefused)]);
    let garbage = stage.launch().unwrap();
    assert_eq!((garbage.status, made()), (200, 4));
    assert!(serde_json::from_str::<Value>(&garbage.text).is_err());
    assert_eq!((stage.launch().unwrap().status, made()), (502, 4));

    script(vec![
        Launch::new(Outcome::RateLimited),
        Launch { status: Some(503), code: Some("provider/x".into()), ..Launch::new(Outcome::Error) },
        Launch { region: Some("us-west-1".into()), ..Launch::new(Outcome::NeverArrived) },
        Launch::new(Outcome::Preempted).after(0.2),
    ]);
    assert_eq!(stage.launch().unwrap().status, 429);
    assert_eq!(stage.launch().unwrap().refusal(), (503, "provider/x".to_owned()));
    let id = stage.launched();
    until("preempted", || stage.client.get(&format!("/instances/{id}")).data()["status"] == "preempted");

    let tags = &stage.sim.instances()[0].tags;
    assert_eq!(tags[0].0, "devbox:launch");
    assert_eq!(stage.listed()[0]["tags"], wish()["tags"]);
    assert_eq!(
        crate::sim::calls(&stage.sim.requests(), "POST", "*/launch").iter().filter(|e| e.dropped).count(),
        3
    );
    stage.sound();
}

#[test]
fn faults_hit_the_calls_they_are_for() {
    let stage = Stage::new("");
    let fault = |kind| stage.sim.edit(|s| s.faults = vec![Fault::new("*", "/api/v1/*", kind)]);
    for (kind, status) in [
        (FaultKind::Internal, 500),
        (FaultKind::RateLimited, 429),
        (FaultKind::ProviderError, 503),
        (FaultKind::Conflict, 409),
    ] {
        fault(kind);
        assert_eq!(stage.client.call("PATCH", "/firewall-rulesets/global", "{}").status, status);
        stage.client.call("PATCH", "/firewall-rulesets/global", "{}").ok();
    }
    let create = |name: &str| {
        let body = json!({"name": name, "region": "us-east-3"}).to_string();
        stage.client.send("POST", "/api/v1/filesystems", &body)
    };
    let count = || stage.client.get("/file-systems").data().as_array().unwrap().len();
    fault(FaultKind::Drop);
    assert!(create("dropped").is_none());
    assert_eq!(count(), 1);
    fault(FaultKind::Lost);
    assert!(create("lost").is_none());
    assert_eq!(count(), 2);
    fault(FaultKind::Garbage);
    assert!(serde_json::from_str::<Value>(&create("garbage").unwrap().text).is_err());
    assert_eq!(count(), 3);

    let only = Fault { times: 2, skip: 1, ..Fault::new("GET", "*/images", FaultKind::Internal) };
    stage.sim.edit(|s| s.faults = vec![only]);
    stage.client.get("/ssh-keys").ok();
    let statuses: Vec<_> = (0..4).map(|_| stage.client.get("/images").status).collect();
    assert_eq!(statuses, [200, 500, 500, 200]);
    stage.sound();
}

#[test]
fn odd_answers_have_words_of_a_later_version() {
    let stage = Stage::new("odd = true");
    stage.launched();
    let all = stage.listed();
    assert_eq!(
        (all.len(), all[0]["status"].as_str(), all[1]["status"].as_str()),
        (2, Some("active"), Some("hibernating"))
    );
    assert_eq!(all[1]["region"]["name"], "mars-north-1");
    assert!(all[0]["added_later"].is_object());
    let types = stage.client.get("/instance-types").data();
    let odd = &types["gpu_1x_unobtainium"];
    assert_eq!(odd["regions_with_capacity_available"][0]["name"], "mars-north-1");
    assert!(types.as_object().unwrap().values().all(|t| t["instance_type"].is_object()));
    stage.sim.edit(|s| s.odd = false);
    assert_eq!(stage.listed().len(), 1);
    assert_eq!(stage.sim.requests().iter().filter(|e| e.odd).count(), 3);
    stage.sound();
}

#[test]
fn state_outlives_the_simulator() {
    let mut stage = Stage::new("[[launches]]\noutcome = 'ok'\n[[launches]]\noutcome = 'never-arrived'");
    let id = stage.launched();
    let before =
        (stage.listed(), stage.client.get("/file-systems").data(), stage.client.get("/audit-events").data());
    let scenario = |more: &str| {
        let script = "[[launches]]\noutcome = 'ok'\n[[launches]]\noutcome = 'never-arrived'";
        scenario::parse(&format!("{QUICK}{script}{more}")).unwrap()
    };
    stage.sim.stop();
    assert!(std::net::TcpStream::connect(stage.client.address).is_err());
    stage.sim = start(stage.dir.path(), scenario(""));
    stage.client = Client::of(&stage.sim);
    let after =
        (stage.listed(), stage.client.get("/file-systems").data(), stage.client.get("/audit-events").data());
    assert_eq!(before, after);
    assert!(stage.launch().is_none(), "the script goes on where it was");
    let other = Sim::start(Options {
        listen: ([127, 0, 0, 1], 0).into(),
        state: stage.dir.path().to_owned(),
        scenario: Scenario::default(),
        boxes: None,
        api_key: KEY.to_owned(),
    });
    assert!(other.is_err_and(|e| e.message().starts_with("another simulator uses")));
    stage.terminate(&id);
    stage.sim.end_everything();
    assert!(stage.sim.instances().iter().all(|i| i.status == "terminated"));
    stage.sound();
}

#[test]
fn every_endpoint_answers_as_documented() {
    let stage = Stage::new("");
    let client = &stage.client;
    for path in ["/instances", "/instance-types", "/ssh-keys", "/file-systems", "/images", "/firewall-rules"]
    {
        client.get(path).ok();
    }
    let key = client.post("/ssh-keys", &json!({"name": "made"})).data();
    assert!(key["private_key"].as_str().unwrap().starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
    assert_eq!(client.post("/ssh-keys", &json!({"name": "made"})).status, 400);
    assert_eq!(client.post("/ssh-keys", &json!({"name": "bad", "public_key": "nonsense"})).status, 400);
    let path = format!("/ssh-keys/{}", key["id"].as_str().unwrap());
    client.call("DELETE", &path, "").ok();
    assert_eq!(client.call("DELETE", &path, "").refusal(), (400, "global/invalid-parameters".to_owned()));

    for n in 1..24 {
        client.post("/filesystems", &json!({"name": format!("n{n}"), "region": "us-west-1"})).ok();
    }
    let create =
        |name: &str| client.post("/filesystems", &json!({"name": name, "region": "us-west-1"})).refusal();
    assert_eq!(create("n25"), (400, "global/quota-exceeded".to_owned()));
    assert_eq!(create("n1"), (400, "global/duplicate".to_owned()));
    assert_eq!(create("1n"), (400, "global/invalid-parameters".to_owned()));

    let rule =
        json!({"protocol": "tcp", "port_range": [80, 80], "source_network": "0.0.0.0/0", "description": "d"});
    client.call("PUT", "/firewall-rules", &json!({"data": [rule]}).to_string()).ok();
    assert_eq!(client.get("/firewall-rulesets/global").data()["rules"], json!([rule]));
    client.call("PATCH", "/firewall-rulesets/global", &json!({"rules": []}).to_string()).ok();
    assert_eq!(client.get("/firewall-rules").data(), json!([]));
    let ruleset = client
        .post("/firewall-rulesets", &json!({"name": "r", "region": "us-east-3", "rules": [rule]}))
        .data();
    let path = format!("/firewall-rulesets/{}", ruleset["id"].as_str().unwrap());
    client.call("PATCH", &path, &json!({"name": "s"}).to_string()).ok();
    assert_eq!(client.get(&path).data()["name"], "s");
    assert_eq!(client.get("/firewall-rulesets/x").status, 404);

    let launch =
        client.post("/instance-operations/launch", &but("firewall_rulesets", json!([{"id": ruleset["id"]}])));
    let id = launch.data()["instance_ids"][0].as_str().unwrap().to_owned();
    assert_eq!(client.get(&path).data()["instance_ids"], json!([id]));
    let refused = client.call("DELETE", &path, "").refusal();
    assert_eq!(refused, (400, "firewall-rulesets/firewall-ruleset-in-use".to_owned()));
    let instance = client.post(&format!("/instances/{id}"), &json!({"name": "two"})).data();
    assert_eq!((instance["name"].as_str(), instance["status"].as_str()), (Some("two"), Some("active")));
    assert_eq!(client.get("/instances?cluster_id=x").data(), json!([]));
    client.post("/instance-operations/restart", &json!({"instance_ids": [id]})).ok();
    assert_eq!(client.post("/instance-operations/restart", &json!({"instance_ids": [id, "x"]})).status, 404);
    stage.terminate(&id);
    client.call("DELETE", &path, "").ok();

    (0..40).for_each(|_| drop(client.post("/ssh-keys", &json!({"name": "z"}))));
    (0..40).for_each(|_| drop(client.call("PUT", "/firewall-rules", r#"{"data": []}"#).ok()));
    let first = client.get("/audit-events").data();
    let token = first["page_token"].as_str().unwrap();
    let second = client.get(&format!("/audit-events?page_token={token}")).data();
    assert_eq!((first["events"].as_array().unwrap().len(), second["page_token"].is_null()), (50, true));
    let some =
        client.get("/audit-events?resource_type=cloud.instance&start=2025-09-01T10:30:45.123456Z").data();
    assert!(some["events"].as_array().unwrap().iter().all(|e| e["resource_name"] == "instance"));
    for bad in ["start=x", "end=2025", "page_token=x"] {
        assert_eq!(client.get(&format!("/audit-events?{bad}")).status, 400);
    }
    stage.sound();
}

/// A check that can't fail says nothing.
#[test]
fn the_checks_find_what_is_wrong() {
    let stage = Stage::new("");
    stage.launched();
    stage.listed();
    stage.client.get("/instances/x");
    let all = stage.sim.requests();
    type Spoil = fn(&mut Exchange);
    let spoils: [(usize, Spoil); 6] = [
        (1, |e| e.answer["data"][0]["status"] = json!("hibernating")),
        (1, |e| drop(e.answer["data"][0].as_object_mut().unwrap().remove("actions"))),
        (1, |e| e.answer["more"] = json!(1)),
        (1, |e| e.answer["data"][0]["instance_type"]["price_cents_per_hour"] = json!("149")),
        (2, |e| e.answer["error"]["code"] = json!("global/invalid-parameters")),
        (0, |e| e.answer = json!({"data": {}})),
    ];
    for (n, (at, spoil)) in spoils.into_iter().enumerate() {
        let mut all = all.clone();
        spoil(&mut all[at]);
        assert_ne!(check::by_notes(&all), Vec::<String>::new(), "{n}");
        assert_ne!(check::answers(&all), Vec::<String>::new(), "{n}");
        all[at].odd = true;
        assert_eq!(check::answers(&all), Vec::<String>::new(), "{n}");
    }
    stage.sound();
}
