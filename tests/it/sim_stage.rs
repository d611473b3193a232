//! A simulator without boxes and somebody who asks it.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::sim::{Options, Scenario, Sim, check, scenario};

pub(crate) const KEY: &str = "secret_test_key";

/// An answer that came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn data(self) -> Value {
        self.ok().json()["data"].take()
    }

    /// Its status and its error's code.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["error"]["code"].as_str().unwrap().to_owned())
    }
}

/// Asks a simulator. Every call has a connection of its own.
pub(crate) struct Client {
    pub(crate) address: std::net::SocketAddr,
    authorization: String,
}

impl Client {
    pub(crate) fn of(sim: &Sim) -> Self {
        Self { address: sim.address(), authorization: format!("Bearer {KEY}") }
    }

    pub(crate) fn with(&self, authorization: &str) -> Self {
        Self { address: self.address, authorization: authorization.to_owned() }
    }

    /// Nothing where the connection was dropped.
    pub(crate) fn send(&self, method: &str, path: &str, body: &str) -> Option<Answer> {
        use std::io::{Read, Write};
        let mut socket = std::net::TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            self.authorization,
            body.len()
        );
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(body.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        // A connection that was reset has told nothing either.
        let _ended = socket.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (headers, text) = text.split_once("\r\n\r\n")?;
        let status = headers.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, headers: headers.to_ascii_lowercase(), text: text.to_owned() })
    }

    #[track_caller]
    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send(method, &format!("/api/v1{path}"), body).expect("an answer")
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "")
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, &body.to_string())
    }
}

/// A simulator on a folder of its own.
pub(crate) struct Stage {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) sim: Sim,
    pub(crate) client: Client,
}

pub(crate) fn start(state: &Path, scenario: Scenario) -> Sim {
    Sim::start(Options {
        listen: ([127, 0, 0, 1], 0).into(),
        state: state.to_owned(),
        scenario,
        boxes: None,
        api_key: KEY.to_owned(),
    })
    .unwrap()
}

/// Quick, without limits, with a key and a filesystem.
pub(crate) const QUICK: &str = r#"
    rates = { scale = 0 }
    boot = { seconds = 0, ip-after = 0 }
    terminate = { seconds = 0 }
    filesystems = [{ name = "fs", region = "us-east-3" }]
    ssh-keys = { k = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMRuB/9ys540yPp2PQ4vDXagSO9KxsbjJ4s9jUiLKJY2" }
"#;

impl Stage {
    pub(crate) fn new(scenario: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text =
            if scenario.contains("rates") { scenario.to_owned() } else { format!("{QUICK}{scenario}") };
        let sim = start(dir.path(), scenario::parse(&text).unwrap());
        let client = Client::of(&sim);
        Self { dir, sim, client }
    }

    pub(crate) fn launch(&self) -> Option<Answer> {
        self.client.send("POST", "/api/v1/instance-operations/launch", &wish().to_string())
    }

    #[track_caller]
    pub(crate) fn launched(&self) -> String {
        self.launch().unwrap().data()["instance_ids"][0].as_str().unwrap().to_owned()
    }

    pub(crate) fn terminate(&self, id: &str) -> Value {
        self.client.post("/instance-operations/terminate", &json!({"instance_ids": [id]})).data()
    }

    pub(crate) fn listed(&self) -> Vec<Value> {
        self.client.get("/instances").data().as_array().unwrap().clone()
    }

    pub(crate) fn regions_of(&self, instance_type: &str) -> Vec<String> {
        let item = self.client.get("/instance-types").data()[instance_type].take();
        let regions = item["regions_with_capacity_available"].as_array().unwrap();
        regions.iter().map(|r| r["name"].as_str().unwrap().to_owned()).collect()
    }

    /// All that was answered is what the document says, and our notes of it.
    #[track_caller]
    pub(crate) fn sound(&self) {
        let all = self.sim.requests();
        assert!(!all.is_empty());
        assert_eq!(check::answers(&all), Vec::<String>::new());
        assert_eq!(check::by_notes(&all), Vec::<String>::new());
    }
}

pub(crate) fn wish() -> Value {
    json!({
        "region_name": "us-east-3",
        "instance_type_name": "gpu_1x_gh200",
        "ssh_key_names": ["k"],
        "file_system_names": ["fs"],
        "name": "one",
        "tags": [{"key": "devbox:launch", "value": "67e5504410b1426f9247bb680e5fe0c8"}],
    })
}

/// The same with something else in it.
pub(crate) fn but(field: &str, value: Value) -> Value {
    let mut wish = wish();
    wish[field] = value;
    wish
}
