//! The simulator's instances are real boxes. Needs root.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use devbox::process::Cmd;
use serde_json::{Value, json};

use crate::sim::{Boxes, Options, Scenario, Sim, scenario};
use crate::sim_stage::{Client, KEY};
use crate::support::{block, host, until};

fn start(state: &Path, scenario: Scenario) -> Sim {
    assert!(
        rustix::process::geteuid().is_root(),
        "local boxes need root: run these tests as root, for example `sudo make test`"
    );
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache/devbox");
    Sim::start(Options {
        listen: ([127, 0, 0, 1], 0).into(),
        state: state.to_owned(),
        scenario,
        boxes: Some(Boxes::Local { cache }),
        api_key: KEY.to_owned(),
    })
    .unwrap()
}

/// Ends the boxes, also those of a test that failed.
struct Ended(Sim);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end_everything();
    }
}

/// What `command` prints on the box, as the user.
fn on_box(dir: &Path, address: IpAddr, command: &str) -> Option<String> {
    let ssh = Cmd::new("ssh")
        .args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"])
        .args([
            "-o",
            "ConnectTimeout=5",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-i",
        ])
        .arg(dir.join("user"))
        .arg(format!("ubuntu@{address}"))
        .arg(command);
    let output = block(ssh.run()).unwrap();
    output.status.success().then(|| output.text().trim().to_owned())
}

fn instance(client: &Client, id: &str) -> Value {
    client.get(&format!("/instances/{id}")).data()
}

#[test]
fn an_instance_is_a_box_and_terminate_pulls_its_plug() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("user");
    host("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()]);
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let scenario = scenario::parse(
        r#"rates = { scale = 0 }
        boot = { seconds = 1, ip-after = 0, mount-delay = 2 }
        terminate = { seconds = 4 }
        filesystems = [{ name = "Data-1", region = "us-east-3" }]"#,
    )
    .unwrap();
    let state = dir.path().join("state");
    let mut sim = Ended(start(&state, scenario.clone()));
    let client = Client::of(&sim.0);
    client.post("/ssh-keys", &json!({"name": "k", "public_key": public.trim()})).ok();
    let filesystem = client.get("/file-systems").data()[0]["id"].as_str().unwrap().to_owned();
    let mount = |point: &str| {
        json!({
            "region_name": "us-east-3", "instance_type_name": "gpu_1x_gh200", "ssh_key_names": ["k"],
            "hostname": "late-1", "user_data": "#cloud-config\nwrite_files:\n  - {path: /run/told, content: hello}\n",
            "file_system_mounts": [{"file_system_id": filesystem, "mount_point": point}],
        })
    };
    let launched = client.post("/instance-operations/launch", &mount("/data/work")).data();
    let id = launched["instance_ids"][0].as_str().unwrap().to_owned();
    until("active with an address", || {
        let now = instance(&client, &id);
        now["status"] == "active" && now["ip"].is_string()
    });
    let active = Instant::now();
    let address: IpAddr = instance(&client, &id)["ip"].as_str().unwrap().parse().unwrap();
    until("login by the account's key alone", || on_box(dir.path(), address, "true").is_some());
    let run = |command: &str| on_box(dir.path(), address, command);

    let is_mounted = "mountpoint -q /data/work && echo yes || echo no";
    if active.elapsed() < Duration::from_millis(1500) {
        assert_eq!(run(is_mounted).as_deref(), Some("no"), "the volume is late");
    }
    until("the volume", || run(is_mounted).as_deref() == Some("yes"));
    assert!(active.elapsed() > Duration::from_millis(1500), "the volume was not late");
    assert_eq!(
        run("hostname; cloud-init status --wait >/dev/null; cat /run/told").as_deref(),
        Some("late-1\nhello")
    );
    assert_eq!(
        run("ls -A /nix; command -v nix nix-store nix-daemon; systemctl list-unit-files | grep ^nix; true")
            .as_deref(),
        Some("")
    );
    run("echo kept | sudo tee /data/work/note").unwrap();
    assert_eq!(std::fs::read_to_string(state.join("volumes/data-1/note")).unwrap(), "kept\n");

    // It restarts with what is on it, and finds its volume again.
    let boot = run("sudo touch /var/mine; cat /proc/1/stat | cut -d' ' -f22").unwrap();
    client.post("/instance-operations/restart", &json!({"instance_ids": [id]})).ok();
    until("another boot", || {
        run("cat /proc/1/stat | cut -d' ' -f22").is_some_and(|now| !now.is_empty() && now != boot)
    });
    until("the volume again", || run(is_mounted).as_deref() == Some("yes"));
    assert_eq!(run("ls /var/mine").as_deref(), Some("/var/mine"));

    // The simulator goes and comes; the box stays.
    sim.0.stop();
    assert!(run("true").is_some());
    sim.0 = start(&state, scenario);
    let client = Client::of(&sim.0);
    assert_eq!(instance(&client, &id)["status"], "active");

    client.post("/instance-operations/terminate", &json!({"instance_ids": [id]})).ok();
    assert_eq!(instance(&client, &id)["status"], "terminating");
    assert!(run("true").is_some(), "the plug is pulled later than asked");
    until("terminated", || instance(&client, &id)["status"] == "terminated");
    assert!(run("true").is_none());
    assert!(sim.0.left().is_empty());
    assert_eq!(std::fs::read_dir(state.join("boxes/boxes")).unwrap().count(), 0);
    assert!(state.join("volumes/data-1/note").exists(), "the volume outlives its box");
}
