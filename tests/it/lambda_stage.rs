//! A devbox and a simulated Lambda Cloud for it, quick enough for tests.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::sim::scenario::{Launch, Outcome};
use crate::sim::{Boxes, Options, Scenario, Sim, Snapshot, check, scenario};
use crate::sim_stage::{Client, KEY};
use crate::support::{TestEnv, host, repository};

/// Fast, and otherwise like the real one.
const SCENARIO: &str = r#"
rates = { scale = 20 }
boot = { seconds = 0.5, ip-after = 0.2, mount-delay = 0.5 }
terminate = { seconds = 0.3, listed = 1 }
filesystems = [{ name = "devbox", region = "us-east-3" }]
"#;

/// A devbox of its own and a cloud of its own. The cloud's boxes end with it.
pub(crate) struct Cloud {
    pub(crate) env: TestEnv,
    pub(crate) sim: Sim,
    boxes: Option<Boxes>,
    scenario: &'static str,
}

impl Cloud {
    /// With a project that brings the Nix of its box, as boxes of Lambda have none.
    pub(crate) fn with_boxes() -> Self {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache/devbox");
        Self::with_boxes_of(Boxes::Local { cache }, SCENARIO)
    }

    /// The same with boxes from elsewhere, in another scenario.
    pub(crate) fn with_boxes_of(boxes: Boxes, scenario: &'static str) -> Self {
        let env = TestEnv::empty();
        let project = env.project("");
        host(
            repository().join("tests/fixtures/guest-nix.sh").to_str().unwrap(),
            &[project.to_str().unwrap()],
        );
        Self::around(env, Some(boxes), scenario)
    }

    /// Whose instances are words alone.
    pub(crate) fn without_boxes() -> Self {
        let mut env = TestEnv::new("hello");
        // Nobody will run it.
        env.set("DEVBOX_ENVIRONMENT_NIX", "path:.#hello");
        Self::around(env, None, SCENARIO)
    }

    fn around(mut env: TestEnv, boxes: Option<Boxes>, scenario: &'static str) -> Self {
        let parsed = scenario::parse(scenario).unwrap();
        let sim = start(&env, "cloud", ([127, 0, 0, 1], 0).into(), parsed, boxes.clone());
        // What this machine can run, in place of a GH200.
        let system = format!("{}-linux", std::env::consts::ARCH);
        let config = env.project("devbox.toml");
        let text = std::fs::read_to_string(&config).unwrap().replace("provider = \"local\"\n", "");
        std::fs::write(&config, format!("{text}\n[presets.gh200]\nsystem = \"{system}\"\n")).unwrap();
        env.set("LAMBDA_API_KEY", KEY);
        env.set("DEVBOX_LAMBDA_ADDRESS", sim.base());
        env.set("DEVBOX_LAMBDA_REQUEST_INTERVAL", "60ms");
        env.set("DEVBOX_LAMBDA_LAUNCH_INTERVAL", "700ms");
        env.set("DEVBOX_LAMBDA_SETTLE_TIME", "2s");
        env.set("DEVBOX_CAPACITY_FIRST_PAUSE", "300ms");
        Self { env, sim, boxes, scenario }
    }

    /// From now on every program that devbox starts writes down its words and its environment first.
    pub(crate) fn record_programs(&mut self) -> std::path::PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let (bin, log) = (self.env.path("bin"), self.env.path("programs.log"));
        std::fs::create_dir(&bin).unwrap();
        let path = devbox::env::get("PATH").unwrap();
        for program in ["nix", "nix-store", "ssh", "ssh-add", "ssh-keygen", "tar", "sh"] {
            let Ok(real) = which::which(program) else { continue };
            let (real, log) = (real.display(), log.display());
            let text =
                format!("#!/bin/bash\n{{ echo {program} \"$@\"; env; }} >>{log}\nexec {real} \"$@\"\n");
            let file = bin.join(program);
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        self.env.set("PATH", format!("{}:{}", bin.display(), path.to_string_lossy()));
        log
    }

    /// What the next launches come to.
    pub(crate) fn script(&self, outcomes: &[Outcome]) {
        self.sim.edit(|s| s.launches = outcomes.iter().map(|o| Launch::new(*o)).collect());
    }

    /// The instances that may still be billed.
    pub(crate) fn living(&self) -> Vec<Snapshot> {
        let mut all = self.sim.instances();
        all.retain(|i| !["terminating", "terminated", "preempted"].contains(&i.status.as_str()));
        all
    }

    /// Nothing lives, and the journal knows it.
    #[track_caller]
    pub(crate) fn assert_nothing_lives(&self) {
        assert!(self.living().is_empty(), "{:?}", self.living());
        for entry in self.env.journal() {
            assert!(!entry["ended"].is_null(), "open in the journal: {entry}");
        }
    }

    /// Every answer so far was what the document says.
    #[track_caller]
    pub(crate) fn assert_faithful(&self) {
        let wrong = check::answers(&self.sim.requests());
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// The cloud goes.
    pub(crate) fn stop(&mut self) {
        self.sim.stop();
    }

    /// The cloud comes back, at the same address and as it was.
    pub(crate) fn start_again(&mut self) {
        let scenario = scenario::parse(self.scenario).unwrap();
        self.sim = start(&self.env, "cloud", self.sim.address(), scenario, self.boxes.clone());
    }

    /// Another account, at an address of its own, with a volume of the same name.
    pub(crate) fn other_account(&self) -> Sim {
        start(&self.env, "other-cloud", ([127, 0, 0, 1], 0).into(), scenario::parse(SCENARIO).unwrap(), None)
    }

    /// An instance that somebody else launched, with their tags. Its id.
    pub(crate) fn launch_elsewhere(&self, name: &str, volume: &str, tags: &Value) -> String {
        let client = Client::of(&self.sim);
        let key = self.env.path("their-key");
        if !key.exists() {
            host("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()]);
            let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
            client.post("/ssh-keys", &json!({"name": "theirs", "public_key": public.trim()})).ok();
        }
        let body = json!({
            "region_name": "us-east-3", "instance_type_name": "gpu_1x_gh200", "ssh_key_names": ["theirs"],
            "file_system_names": [volume], "name": name, "tags": tags,
        });
        // They keep to the pace too.
        std::thread::sleep(std::time::Duration::from_millis(700));
        let launched = client.post("/instance-operations/launch", &body).data();
        launched["instance_ids"][0].as_str().unwrap().to_owned()
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.sim.end_everything();
    }
}

fn start(env: &TestEnv, account: &str, listen: SocketAddr, scenario: Scenario, boxes: Option<Boxes>) -> Sim {
    Sim::start(Options { listen, state: env.path(account), scenario, boxes, api_key: KEY.to_owned() })
        .unwrap()
}
