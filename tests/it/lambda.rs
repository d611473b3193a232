//! Lambda Cloud as its users meet it: scarcity, sick boxes, and a bill that nobody has to fear. Against the
//! simulator, whose instances are real boxes.

use serde_json::json;

use crate::lambda_stage::Cloud;
use crate::sim::scenario::Outcome;
use crate::sim_stage::{Client, KEY};
use crate::support::{host, until};

const UP: [&str; 4] = ["up", "-y", "--preset", "gh200"];

/// Two refusals for want of capacity, one for haste, a sick box; then a box, the shell in it, the end, and the same
/// again. The key of the account is nowhere, and every answer was one that Lambda could have given.
#[test]
fn a_box_is_launched_through_scarcity_and_everything_stays() {
    let mut cloud = Cloud::with_boxes();
    let programs = cloud.record_programs();
    let env = &cloud.env;
    cloud.script(&[
        Outcome::ListedButRefused,
        Outcome::ListedButRefused,
        Outcome::RateLimited,
        Outcome::Unhealthy,
        Outcome::Ok,
    ]);
    let up = env.devbox(["up", "-y", "-vv", "--preset", "gh200"]).ok().says(&[
        "asking for gpu_1x_gh200 in us-east-3, 1.49 USD an hour",
        "waiting for capacity, 1 h 0 min at most",
        "Too many requests",
        "died (unhealthy) while it booted: ending it after",
        "is ready after",
    ]);
    assert_eq!(cloud.living().len(), 1);
    let launches = cloud.sim.requests().iter().filter(|e| e.path.ends_with("/launch")).count();
    assert_eq!(launches, 5, "two refusals, one 429, one unhealthy, one success");

    let status = env.status();
    assert_eq!((status["ready"].as_bool(), status["cents-per-hour"].as_u64()), (Some(true), Some(149)));
    assert_eq!(status["region"], "us-east-3");
    let first = status["fingerprint"].clone();
    let nix = env.devbox([
        "run",
        "--",
        "bash",
        "-c",
        "echo here; type -P bash; readlink -f /usr/local/bin/nix-store",
    ]);
    assert!(nix.ok().stdout.contains("/nix/store/"));
    env.devbox(["ssh", "--plain", "--", "echo kept > note"]).ok();
    // On a box that is current `up` asks once and changes nothing, whether it says which preset or not.
    let before = cloud.sim.requests().len();
    env.devbox(["up"]).ok();
    assert_eq!(cloud.sim.requests().len() - before, 1);
    env.devbox(UP).ok();
    env.devbox(["up", "--preset", "h100"]).code(2).says(&["is a gpu_1x_gh200, not gpu_1x_h100"]);

    env.devbox(["down"]).ok().says(&["home and store are on the volume", "USD"]);
    cloud.assert_nothing_lives();

    let again = env.devbox(UP).ok();
    assert!(!again.stderr.contains("transfer") && !again.stderr.contains("nix  "), "{}", again.stderr);
    assert_eq!(env.status()["fingerprint"], first);
    assert_eq!(env.devbox(["ssh", "--plain", "--", "cat note"]).ok().stdout, "kept\n");
    // A box that is ended behind our back, its connection open: that is what `run` and `ssh` say.
    let ended = json!({ "instance_ids": [env.status()["instance"]] });
    Client::of(&cloud.sim).post("/instance-operations/terminate", &ended).ok();
    until("its power is off", || env.status()["status"] == "gone");
    env.devbox(["run", "--", "true"]).code(5).says(&["`with-nix` died", "`devbox up` clears it away"]);
    env.devbox(["down", "With-Nix"]).ok().says(&["was gone already"]);
    cloud.assert_nothing_lives();
    cloud.assert_faithful();

    assert!(!up.stderr.contains(KEY) && !up.stdout.contains(KEY));
    // Nor is it among the events.
    let events = env.devbox(["up", "-y", "-vv", "--json", "--preset", "gh200", "--wait-capacity", "0s"]).ok();
    assert!(events.stdout.contains("POST ") && !events.stdout.contains(KEY) && !events.stderr.contains(KEY));
    env.devbox(["down"]).ok();
    let programs = std::fs::read_to_string(programs).unwrap();
    assert!(
        programs.contains("ssh -F") && programs.contains("nix ") && programs.contains("HOME="),
        "{programs}"
    );
    assert!(!programs.contains(KEY), "a program was given the key");
    for instance in cloud.sim.instances() {
        assert!(!instance.user_data.contains(KEY));
    }
    for exchange in cloud.sim.requests() {
        assert!(!exchange.path.contains(KEY) && !exchange.request.to_string().contains(KEY));
    }
    let state = env.path("home");
    let found = host(
        "sh",
        &["-c", &format!("grep -rl {KEY} {} {} || test $? = 1", state.display(), env.path("run").display())],
    );
    assert_eq!(found, "");
}

/// What people see of an account: theirs, those of other machines, and what is none of our business.
#[test]
fn every_box_of_the_account_is_seen_and_what_is_not_ours_is_left_alone() {
    let cloud = Cloud::without_boxes();
    let env = &cloud.env;
    let tags = |launch: &str| {
        json!([
            {"key": "devbox:launch", "value": launch},
            {"key": "devbox:from", "value": "laptop"},
            {"key": "devbox:asked", "value": "2026-01-01T00:00:00Z"},
        ])
    };
    let one = cloud.launch_elsewhere("hello", "devbox", &tags("00000000000000000000000000000001"));
    let status = env.devbox(["status"]).ok().stdout;
    for word in ["hello", "launched by another machine, `laptop`", "1.49 USD an hour", "devbox down"] {
        assert!(status.contains(word), "{word} is not in:\n{status}");
    }
    let other = &env.devbox(["status", "--json"]).ok().json()["others"][0];
    assert!(other["cents"].as_u64().unwrap() > 100_000, "{other}");

    env.devbox(UP).code(4).says(&["did not launch (`laptop` did)", &one]);
    env.devbox(["up", "-y", "--preset", "gh200", "mine"])
        .code(7)
        .says(&["`devbox` is in use by the box `hello`", &one]);
    env.devbox(["down", &one]).code(5).says(&["was launched by another machine (`laptop`)", "--force"]);

    let two = cloud.launch_elsewhere("Hello", "devbox", &tags("00000000000000000000000000000002"));
    env.devbox(["down", "hello", "--force"]).code(2).says(&["2 instances are called `hello`", &one, &two]);
    env.devbox(["down", &one, "--force"]).ok();
    env.devbox(["down", "HELLO", "--force"]).ok();
    assert!(cloud.living().is_empty());

    let foreign = cloud.launch_elsewhere("theirs", "devbox", &json!([]));
    env.devbox(["down", &foreign, "--force"]).code(2).says(&["is not ours", "never touches it"]);
    env.devbox(["down", "theirs", "--force"]).code(2).says(&["is not ours", &foreign]);
    assert!(env.devbox(["status"]).ok().stdout.contains("not ours, never touched"));
    env.devbox(["down", "--all", "-y"]).ok();
    assert_eq!(cloud.living().len(), 1);
    cloud.assert_faithful();
}

/// Every listing of the account, in every form.
#[test]
fn everything_can_be_listed() {
    let mut cloud = Cloud::without_boxes();
    let none = ["list", "instances", "--set", "box.provider=lambda"];
    cloud.env.devbox(none).ok().says(&["there are no instances at `lambda`", "hint: `devbox up`"]);
    assert_eq!(cloud.env.devbox([&none[..], &["--json"]].concat()).ok().json(), json!({"instances": []}));
    let tag = json!([{"key": "devbox:launch", "value": "00000000000000000000000000000001"}]);
    let id = cloud.launch_elsewhere("hello", "devbox", &tag);
    for (what, word) in [
        ("instances", id.as_str()),
        ("instance-types", "gpu_1x_gh200"),
        ("images", "lambda-stack-24-04"),
        ("filesystems", "devbox"),
        ("ssh-keys", "theirs"),
        ("firewall-rulesets", "Global Firewall Rules"),
        ("presets", "8xh100"),
    ] {
        for form in [&["list", what][..], &["list", what, "--table"], &["list", "--table", what]] {
            let text = cloud.env.devbox(form).ok().stdout;
            assert!(text.contains(word), "{form:?}:\n{text}");
        }
        let document = cloud.env.devbox(["list", what, "--json"]).ok().json();
        assert!(!document[what].as_array().unwrap().is_empty(), "{document}");
    }
    // Nothing is hidden because it is sold out; what is free comes first.
    let types = cloud.env.devbox(["list", "instance-types", "--json"]).ok().json();
    let free: Vec<bool> = types["instance-types"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| !t["regions_with_capacity_available"].as_array().unwrap().is_empty())
        .collect();
    assert!(free.contains(&false) && free.is_sorted_by(|a, b| a >= b), "{free:?}");
    // An image is one card and one line, wherever it can be launched; JSON has it for each region.
    let lines = cloud.env.devbox(["list", "images", "--table"]).ok().stdout.lines().count();
    let images = cloud.env.devbox(["list", "images", "--json"]).ok().json();
    assert!(lines < 10 && images["images"].as_array().unwrap().len() > 50, "{lines}\n{images}");
    // Words that are new to us are shown as they come.
    cloud.sim.edit(|s| s.odd = true);
    for what in ["instances", "instance-types", "images", "filesystems", "ssh-keys", "firewall-rulesets"] {
        cloud.env.devbox(["list", what]).ok();
    }
    cloud.env.devbox(["status"]).ok();
    let doctor = cloud.env.devbox(["doctor", "--set", "box.provider=lambda"]);
    assert!(doctor.stdout.contains("takes the key"), "{}", doctor.stdout);
    cloud.env.devbox(["down", &id, "--force"]).ok();
    cloud.stop();
    cloud.env.devbox(["list", "instances"]).code(4).says(&["can't be reached"]);
    for (what, words) in [("images", "images"), ("ssh-keys", "ssh keys"), ("filesystems", "filesystems")] {
        cloud.env.devbox(["list", what]).code(4).says(&[&format!("can't list the {words}: ")]);
    }
}

/// Everything that can be known before money is spent is said before money is spent.
#[test]
fn what_can_not_work_is_refused_before_it_costs() {
    let mut cloud = Cloud::without_boxes();
    let local = ["up", "-y", "--preset", "gh200", "--set", "box.provider=local"];
    cloud.env.devbox(local).code(2).says(&["`box.provider` is `local`", "--set box.provider=lambda"]);
    let none = ["up", "-y", "--set", "box.provider=lambda"];
    cloud.env.devbox(none).code(2).says(&["no preset is chosen", "devbox up --preset gh200", "list presets"]);
    cloud
        .env
        .devbox(["up", "--preset", "gh20"])
        .code(2)
        .says(&["there is no preset `gh20`", "did you mean `gh200`?"]);
    let regions = ["up", "-y", "--preset", "gh200", "--set", "presets.gh200.regions=us-west-1"];
    cloud
        .env
        .devbox(regions)
        .code(7)
        .says(&["no volume is in the regions wanted", "`devbox` lives in us-east-3"]);
    let image = ["up", "-y", "--preset", "gh200", "--set", "presets.gh200.image-family=windows"];
    cloud
        .env
        .devbox(image)
        .code(4)
        .says(&["there is no image of the family `windows`", "lambda-stack-24-04"]);
    let kind = ["up", "-y", "--preset", "gh200", "--set", "presets.gh200.instance-types=gpu_99x*"];
    cloud.env.devbox(kind).code(2).says(&["there is no instance type `gpu_99x*`"]);
    let name = ["up", "--preset", "gh200", "--dry-run", "--set", "volume.name=1x"];
    cloud.env.devbox(name).code(2).says(&["can't make the filesystem `1x`", "begins with a letter"]);
    let volume =
        ["up", "--preset", "gh200", "--set", "volume.name=new", "--set", "presets.gh200.regions=us-east-3"];
    cloud.env.devbox(volume).code(7).says(&[
        "there is no volume `new`",
        "`devbox up --preset gh200 --set volume.name=new --set presets.gh200.regions=us-east-3 -y` makes it in us-east-3",
        "it would live in us-east-3 for good",
    ]);
    let plan = cloud.env.devbox(volume.into_iter().chain(["--dry-run"])).ok().stdout;
    assert!(
        plan.contains("create  the volume `new` in us-east-3") && plan.contains("1.49 USD an hour, free now"),
        "{plan}"
    );
    // Names are found in any case.
    let plan = ["up", "HELLO", "--preset", "GH200", "--set", "volume.name=DevBox", "--dry-run", "--json"];
    let plan = cloud.env.devbox(plan).ok().json();
    assert_eq!((plan["box"].as_str(), plan["launch"][0]["volume"].as_str()), (Some("hello"), Some("devbox")));
    assert_eq!(plan["launch"][0]["free"], true);

    cloud.env.set("LAMBDA_API_KEY", "secret_wrong_key");
    cloud.env.devbox(UP).code(4).says(&["global/invalid-api-key", "LAMBDA_API_KEY"]);
    cloud.env.set("LAMBDA_API_KEY", "");
    cloud.env.devbox(UP).code(2).says(&["there is no key for Lambda Cloud", "export LAMBDA_API_KEY"]);
    let file = cloud.env.path("key");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    cloud.env.set("DEVBOX_LAMBDA_API_KEY_FILE", file.to_str().unwrap());
    cloud.env.devbox(["up", "--preset", "gh200", "--dry-run"]).ok();
    cloud.env.set("DEVBOX_LAMBDA_API_KEY_FILE", "");
    cloud.env.set("DEVBOX_LAMBDA_API_KEY_COMMAND", format!("cat {}", file.display()));
    cloud.env.devbox(["up", "--preset", "gh200", "--dry-run"]).ok();
    cloud.env.set("DEVBOX_LAMBDA_API_KEY_COMMAND", "echo oops >&2; exit 3");
    cloud.env.devbox(UP).code(2).says(&["api-key-command` failed", "oops"]);
    assert!(cloud.sim.requests().iter().all(|e| !e.path.ends_with("/launch")));
    assert!(cloud.env.journal().is_empty());
}
