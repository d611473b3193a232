//! What is on the books and what is not: nobody is told that nothing runs where that is not certain.

use serde_json::{Value, json};

use crate::lambda_stage::Cloud;
use crate::sim::scenario::Outcome;
use crate::sim_stage::Client;
use crate::support::{SmallDisk, host};

const UP: [&str; 4] = ["up", "-y", "--preset", "gh200"];

fn tags(launch: &str) -> Value {
    json!([{"key": "devbox:launch", "value": launch}, {"key": "devbox:from", "value": "laptop"}])
}

/// While `up` waits for capacity there is nothing to end, and somebody at work: that is what `down` says, and `wait`
/// waits.
#[test]
fn a_wait_for_capacity_is_no_empty_machine() {
    let cloud = Cloud::without_boxes();
    let env = &cloud.env;
    cloud.script(&[Outcome::ListedButRefused; 200]);
    let child = env.start_until(["up", "-y", "--json", "--preset", "gh200"], "waiting for capacity");
    std::thread::sleep(std::time::Duration::from_millis(200));
    let process = format!("kill -INT {}", child.id());
    env.devbox(["down"]).code(1).says(&["`hello` is being worked on: `devbox up`", &process]);
    env.devbox(["down", "Hello"]).code(1).says(&["is being worked on"]);
    env.devbox(["down", "--all", "-y"]).code(1).says(&["is being worked on"]);
    env.devbox(["wait", "--timeout", "1s"]).code(5).says(&["was not ready within 1s"]);
    env.devbox(["wait", "--for", "gone", "--timeout", "1s"]).code(5).says(&["was not gone within 1s"]);
    crate::support::signal(&child, rustix::process::Signal::INT);
    crate::support::finish(child).code(130);
    env.devbox(["down", "--all", "-y"]).ok().says(&["this machine has no box up"]);
    env.devbox(["wait", "--for", "gone"]).ok();
    cloud.assert_nothing_lives();
}

/// The boxes of other machines can be looked at, waited for and ended, by their names too; what is lost is said.
#[test]
fn a_box_of_another_machine_can_be_meant() {
    let cloud = Cloud::without_boxes();
    let env = &cloud.env;
    let id = cloud.launch_elsewhere("Hello", "devbox", &tags("00000000000000000000000000000001"));
    assert!(env.devbox(["status", "hello"]).ok().stdout.contains("launched by another machine, `laptop`"));
    env.devbox(["status", "nobody"]).code(2).says(&["no box called `nobody`"]);
    env.devbox(["wait", "hello"]).code(2).says(&[&id, "was not launched by this machine"]);
    env.devbox(["wait", "--for", "gone", "--timeout", "1s"]).code(5).says(&["was not gone within 1s", &id]);
    env.devbox(UP).code(4).says(&["this machine did not launch", "--force", "is lost"]);
    env.devbox(["down", "--all", "-y"]).ok().says(&[&id, "by another machine (`laptop`)", "goes on"]);
    env.devbox(["down", "-y"]).code(5).says(&["can't be brought to rest from here", "--force", "is lost"]);
    assert_eq!(cloud.living().len(), 1);
    env.devbox(["down", "--force"]).ok().says(&["is lost", "is down"]);
    cloud.assert_nothing_lives();
}

/// A tag of ours that this version can't read is ours all the same: nobody calls it somebody else's.
#[test]
fn a_tag_that_is_new_is_ours() {
    let cloud = Cloud::without_boxes();
    let env = &cloud.env;
    let id = cloud.launch_elsewhere("next", "devbox", &tags("not-a-launch-id"));
    let status = env.devbox(["status"]).ok().stdout;
    assert!(status.contains("launched by another machine") && !status.contains("not ours"), "{status}");
    env.devbox(UP).code(7).says(&["in use by the box `next`", &format!("devbox down {id} --force")]);
    env.devbox(["down", "next", "--force"]).ok();
    cloud.assert_nothing_lives();
}

/// A file of the journal that can't be read hides nothing of the others, and what it stands for is seen by its tag.
#[test]
fn a_damaged_journal_hides_nothing() {
    let mut cloud = Cloud::without_boxes();
    cloud.env.set("DEVBOX_FAILPOINT", "id");
    cloud.env.devbox(UP).code(128 + 9);
    cloud.env.set("DEVBOX_FAILPOINT", "");
    let journal = cloud.env.path("home/.local/state/devbox/journal");
    let file = std::fs::read_dir(&journal).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, "{").unwrap();
    let env = &cloud.env;

    let status = env.devbox(["status"]).code(1).says(&["is damaged", file.to_str().unwrap()]);
    assert!(status.stdout.contains("launched here, its file in the journal is damaged"), "{}", status.stdout);
    assert_eq!(env.instances().len(), 1);
    env.devbox(UP).code(1).says(&["is damaged", "devbox status"]);
    env.devbox(["down", "--all", "-y", "--force"]).code(1).says(&["is damaged", "goes on"]);
    assert_eq!(cloud.living().len(), 1);
    let id = env.instances()[0]["id"].as_str().unwrap().to_owned();
    env.devbox(["down", &id, "--force"]).ok().says(&["is damaged", "is down"]);
    std::fs::write(&file, whole).unwrap();
    env.devbox(["down"]).ok();
    cloud.assert_nothing_lives();
}

/// A slip in a file takes nothing else out of it, and no command says "none" that could not look everywhere.
#[test]
fn a_slip_in_the_configuration_hides_no_account() {
    let mut cloud = Cloud::without_boxes();
    let address = cloud.sim.base();
    cloud.env.set("DEVBOX_LAMBDA_ADDRESS", address.as_str());
    cloud.launch_elsewhere("hello", "devbox", &tags("00000000000000000000000000000001"));
    // All that says where Lambda is, and with which key, is in the file with the slip.
    let (config, key) = (cloud.env.path("home/.config/devbox/config.toml"), cloud.env.path("key"));
    std::fs::write(&key, crate::sim_stage::KEY).unwrap();
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    let right = format!("[lambda]\naddress = '{address}'\napi-key-file = '{}'\n", key.display());
    let mut env = std::mem::replace(&mut cloud.env, crate::support::TestEnv::empty());
    env.unset("DEVBOX_LAMBDA_ADDRESS");
    env.unset("LAMBDA_API_KEY");
    let slips = ["nmae = 1\n", "settle-time = 'soon'\n", "[presets.a]\nextends = 'a'\n"];
    for slip in slips {
        std::fs::write(&config, format!("{right}{slip}")).unwrap();
        let status = env.devbox(["status"]).code(2).says(&["config.toml:"]);
        assert!(status.stdout.contains("launched by another machine"), "{slip}: {}", status.stdout);
        let list = env.devbox(["list", "instances"]).code(2).says(&["config.toml:"]);
        assert!(list.stdout.contains("gpu_1x_gh200"), "{slip}: {}", list.stdout);
        let down = env.devbox(["down", "--all", "-y"]).code(2).says(&["config.toml:", "goes on"]);
        assert!(!down.stderr.contains("no box up"), "{}", down.stderr);
    }
    // Where nothing can be known, nothing is said.
    for slip in ["[lambda", "[lambda]\naddress = 'ftp://x'\n"] {
        std::fs::write(&config, slip).unwrap();
        for command in [&["status"][..], &["list", "instances"], &["down", "--all", "-y"], &["down", "-y"]] {
            let run = env.devbox(command).code(2).says(&["config.toml:"]);
            assert!(
                !run.stderr.contains("no box ") && !run.stderr.contains("no instances"),
                "{}",
                run.stderr
            );
        }
    }
    // A key that is written there all the same is not shown, and what hides it is said before that there is none.
    std::fs::write(&config, format!("[lambda]\naddress = '{address}'\napi-key = 'secret_1'\n")).unwrap();
    for command in [&["status"][..], &["list", "filesystems"], &["down", "--all", "-y"], &["config"]] {
        let run = env.devbox(command).code(2);
        assert!(run.stderr.starts_with(&format!("error: {}:3", config.display())), "{}", run.stderr);
        assert!(run.stderr.contains("api-key-file") && !run.stderr.contains("secret_1"), "{}", run.stderr);
    }
    std::fs::write(&config, &right).unwrap();
    for wrong in [&["--config", "/nope", "status"][..], &["--set", "lambda.address=ftp://x", "status"]] {
        assert_eq!(env.devbox(wrong).code(2).stdout, "");
    }
    env.devbox(["down", "--force"]).ok();
    assert!(cloud.living().is_empty());
}

/// What Lambda says in a way that makes no sense hides nothing of the rest.
#[test]
fn an_instance_that_can_not_be_read_hides_no_other() {
    let mut cloud = Cloud::without_boxes();
    cloud.env.set("DEVBOX_FAILPOINT", "id");
    cloud.env.devbox(UP).code(128 + 9);
    cloud.env.set("DEVBOX_FAILPOINT", "");
    let real = Client::of(&cloud.sim).get("/instances").data()[0].clone();
    let odd = json!({"id": "odd", "name": "odd", "tags": [], "region": 17});
    let mut bare = real.clone();
    for name in ["name", "ip", "region", "file_system_names", "instance_type"] {
        bare[name] = Value::Null;
    }
    let volumes = Client::of(&cloud.sim).get("/file-systems").data();
    let server = crate::lambda_answers::Server::start(move |asked| match asked {
        "GET /instances" => crate::lambda_answers::data(&json!([odd, bare, null])),
        "GET /file-systems" => crate::lambda_answers::data(&volumes),
        _ => crate::lambda_answers::http(404, b"{}"),
    });
    let (there, env) = (cloud.sim.base(), &mut cloud.env);
    env.set("DEVBOX_LAMBDA_ADDRESS", server.base());
    let list = env.devbox(["list", "instances"]).ok().stdout;
    assert!(list.contains("unreadable") && list.contains("odd"), "{list}");
    let status = env.devbox(["status", "--json"]).ok().json();
    assert_eq!(status["boxes"][0]["instance"], real["id"], "{status}");
    assert_eq!(status["not-ours"][0]["status"], "unreadable", "{status}");
    env.set("DEVBOX_LAMBDA_ADDRESS", there);
    env.devbox(["down", "--force"]).ok();
    cloud.assert_nothing_lives();
}

/// A disk that nobody can write to keeps nobody from seeing and ending what bills.
#[test]
fn a_disk_that_can_not_be_written_keeps_nobody_from_the_end() {
    let mut cloud = Cloud::without_boxes();
    let disk = cloud.env.path("home/.local");
    let _mounted = SmallDisk::mount(&disk, "size=3m");
    cloud.env.set("DEVBOX_FAILPOINT", "id");
    cloud.env.devbox(UP).code(128 + 9);
    cloud.env.set("DEVBOX_FAILPOINT", "");
    let env = &cloud.env;
    host("mount", &["-o", "remount,ro", disk.to_str().unwrap()]);
    assert!(env.devbox(["status"]).ok().stdout.contains("hello"));
    assert_eq!(env.instances().len(), 1);
    env.devbox(UP).code(1).says(&["mounted read-only", "mount it writable", "still running"]);
    assert_eq!(cloud.living().len(), 1);
    env.devbox(["down", "--force"])
        .code(1)
        .says(&["has been ended, only the journal does not know it yet", "mount it writable"]);
    assert!(cloud.living().is_empty());
    host("mount", &["-o", "remount,rw", disk.to_str().unwrap()]);
    env.devbox(["down"]).ok();
    cloud.assert_nothing_lives();
}

/// A journal that can't be read at all hides no instance.
#[test]
fn a_journal_that_can_not_be_read_hides_no_instance() {
    let cloud = Cloud::without_boxes();
    let id = cloud.launch_elsewhere("hello", "devbox", &tags("00000000000000000000000000000001"));
    let journal = cloud.env.path("home/.local/state/devbox/journal");
    std::fs::create_dir_all(journal.parent().unwrap()).unwrap();
    std::fs::write(&journal, "").unwrap();
    let status = cloud.env.devbox(["status"]).code(1).says(&["the journal's folder can't be read", "hint:"]);
    assert!(status.stdout.contains(&id), "{}", status.stdout);
    cloud.env.devbox(["down", "--all", "-y"]).code(1).says(&["the journal's folder can't be read", &id]);
    cloud.env.devbox(UP).code(1).says(&["the journal's folder can't be read"]);
    assert_eq!(cloud.living().len(), 1);
    cloud.env.devbox(["down", "hello", "--force"]).ok();
    cloud.assert_nothing_lives();
}

/// A box is that of the project it was launched for.
#[test]
fn the_box_of_another_project_is_left_alone() {
    let mut cloud = Cloud::without_boxes();
    cloud.env.set("DEVBOX_FAILPOINT", "id");
    cloud.env.devbox(["up", "-y", "--preset", "gh200", "shared"]).code(128 + 9);
    cloud.env.set("DEVBOX_FAILPOINT", "");
    let up = ["up", "-y", "--preset", "gh200", "shared", "--set", "name=other"];
    cloud
        .env
        .devbox(up)
        .code(2)
        .says(&["`shared` is up, and is the box of the project `hello`", "OTHER-NAME"]);
    assert_eq!(cloud.living().len(), 1);
    cloud.env.devbox(["down", "shared"]).ok();
    cloud.assert_nothing_lives();
}
