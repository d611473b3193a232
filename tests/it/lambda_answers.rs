//! Whatever bytes come instead of an answer: no panic, and a launch is never taken for over when it may not be. And
//! whatever the document allows is listed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::Duration;

use devbox::events::Events;
use devbox::names::{LaunchId, System};
use devbox::provider::catalog::Catalog;
use devbox::provider::lambda::{KeySource, LambdaConfig, LambdaProvider};
use devbox::provider::{Attempt, LaunchRequest, Placement, Provider, Volume};
use devbox::ssh::keys::LoginKey;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::lambda_stage::Cloud;
use crate::sim_stage::Client;
use crate::support::block;

const PUBLIC: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICN+lJwsONkwrdsSnQsu1ydUkIuIg5oOC+Eslvmtt60T";

/// A server that answers each request with what `answer` makes of `METHOD /path`, byte for byte. Ends when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    end: mpsc::Sender<()>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.try_recv() != Err(mpsc::TryRecvError::Empty) {
                    return;
                }
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
                // Whoever hangs up early gets no answer.
                while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                    if first.is_empty() {
                        first.clone_from(&line);
                    }
                    if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = n.trim().parse().unwrap();
                    }
                    line.clear();
                }
                let mut body = vec![0; length];
                if reader.read_exact(&mut body).is_ok() {
                    let asked: Vec<_> = first.split(' ').take(2).collect();
                    devbox::error::ignore(stream.write_all(&answer(&asked.join(" "))));
                }
            }
        });
        Self { address, end }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        devbox::error::ignore(self.end.send(()));
        // So that it looks.
        devbox::error::ignore(std::net::TcpStream::connect(self.address));
    }
}

pub(crate) fn http(status: u16, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub(crate) fn data(value: &Value) -> Vec<u8> {
    http(200, json!({ "data": value }).to_string().as_bytes())
}

/// A client in a hurry. The key is in a file of `dir`.
fn provider(server: &Server, dir: &std::path::Path) -> LambdaProvider {
    let file = dir.join("key");
    std::fs::write(&file, "secret_key").unwrap();
    let config = LambdaConfig {
        address: server.base(),
        key: KeySource { file: Some(file), command: None },
        request_interval: Duration::ZERO,
        launch_interval: Duration::ZERO,
        settle_time: Duration::ZERO,
        pace_file: dir.join("pace"),
        from: "test".into(),
    };
    LambdaProvider::new(config, Events::silent()).unwrap()
}

fn request() -> LaunchRequest {
    let volume: devbox::names::VolumeName = "devbox".parse().unwrap();
    LaunchRequest {
        name: "hello".parse().unwrap(),
        launch: LaunchId::random(),
        asked: jiff::Timestamp::now(),
        placement: Placement {
            instance_type: "gpu_1x_gh200".into(),
            region: "us-east-3".into(),
            system: System::Aarch64Linux,
            cents_per_hour: 149,
            image_family: None,
            volume: volume.clone(),
        },
        volume: Volume {
            name: volume,
            id: "f".into(),
            mount_point: "/lambda/nfs/devbox".into(),
            region: Some("us-east-3".into()),
            place: "us-east-3".into(),
        },
        login: LoginKey { private: "/k".into(), public: PUBLIC.into() },
        user_data: "#cloud-config\n".into(),
    }
}

/// What a launch comes to when it is answered with `launch`, and then the listing with `listing`.
fn launch(launch: Vec<u8>, listing: Vec<u8>) -> devbox::error::Result<Attempt> {
    let server = Server::start(move |asked| match asked {
        "GET /ssh-keys" => data(&json!([{"id": "k", "name": "k", "public_key": PUBLIC}])),
        "POST /instance-operations/launch" => launch.clone(),
        _ => listing.clone(),
    });
    let dir = tempfile::tempdir().unwrap();
    block(provider(&server, dir.path()).launch(&request(), &Events::silent()))
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "[\\[\\]{}\":,a-z0-9 ]{0,80}".prop_map(String::into_bytes),
        Just(br#"{"data": {"instance_ids": []}}"#.to_vec()),
        Just(br#"{"data": {"instance_ids": [17]}}"#.to_vec()),
        Just(br#"{"data": [{}]}"#.to_vec()),
        Just(br#"{"error": {"code": 5}}"#.to_vec()),
    ]
}

/// A Lambda that lists `count` of everything: any text, any number, optional fields or none, and words and fields that
/// the document does not have.
fn fitting(texts: &[String], number: u32, with_optional: bool, count: usize) -> Server {
    let text = |n: usize| texts[n].clone();
    let region = json!({"name": text(0), "description": text(1)});
    let kind = json!({
        "name": text(2), "description": text(3), "gpu_description": text(4), "price_cents_per_hour": number,
        "specs": {"vcpus": number, "memory_gib": number, "storage_gib": number, "gpus": number},
    });
    let mut instance = json!({
        "id": "i-1", "status": text(5), "ssh_key_names": [text(6)], "file_system_names": [text(7)],
        "region": region, "instance_type": kind, "actions": {},
    });
    if with_optional {
        for (name, value) in [
            ("name", json!(text(1))),
            ("ip", json!(text(2))),
            ("tags", json!([{"key": text(3), "value": text(4)}])),
            ("new", json!({"a": [1]})),
        ] {
            instance[name] = value;
        }
    }
    let time = "2026-01-02T03:04:05Z";
    let image = json!({
        "id": text(0), "created_time": time, "updated_time": time, "name": text(1), "description": text(2),
        "family": text(3), "version": text(4), "architecture": text(5), "region": region,
    });
    let filesystem = json!({
        "id": text(0), "name": text(1), "mount_point": text(2), "created": time, "is_in_use": with_optional,
        "created_by": {"id": text(3), "email": text(4), "status": text(5)}, "region": region, "new": number,
    });
    let key = json!({"id": text(0), "name": text(1), "public_key": text(2)});
    let ruleset = json!({
        "id": text(0), "name": text(1), "region": region, "created": time, "instance_ids": [text(2)],
        "rules": [{"protocol": text(3), "port_range": [1, 65535], "source_network": text(4), "description": text(5)}],
    });
    let many = move |one: &Value| data(&Value::Array(vec![one.clone(); count]));
    let types: serde_json::Map<String, Value> = (0..count)
        .map(|n| (n.to_string(), json!({"instance_type": kind, "regions_with_capacity_available": [region]})))
        .collect();
    Server::start(move |asked| match asked {
        "GET /instances" => many(&instance),
        "GET /instance-types" => data(&Value::Object(types.clone())),
        "GET /images" => many(&image),
        "GET /file-systems" => many(&filesystem),
        "GET /ssh-keys" => many(&key),
        "GET /firewall-rulesets/global" => {
            data(&json!({"id": "global", "name": "Global Firewall Rules", "rules": []}))
        }
        _ => many(&ruleset),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The journal is closed after `NoCapacity`, `Refused` and `Lost`: so these come only when nothing can run. Nonsense
    /// with a good or a server's status is an unanswered launch; as long as the listing is nonsense too, nobody knows.
    #[test]
    fn nonsense_never_ends_a_launch(body in bytes(), status in prop_oneof![Just(200_u16), Just(202), Just(500), Just(503)], raw: bool) {
        let answer = if raw { body.clone() } else { http(status, &body) };
        let listing = http(200, b"nonsense");
        match launch(answer.clone(), listing) {
            Err(_) | Ok(Attempt::Launched(_)) => {}
            Ok(other) => prop_assert!(false, "{:?}", other),
        }
        // With a listing that can be believed, and that does not show it, it is lost: still no refusal.
        match launch(answer, data(&json!([]))) {
            Ok(Attempt::Lost(_) | Attempt::Launched(_)) => {}
            other => prop_assert!(false, "{:?}", other.map(|_| ())),
        }
    }

    /// No listing takes bytes that are none for an empty account.
    #[test]
    fn nonsense_is_never_an_empty_account(body in bytes(), raw: bool) {
        let answer = if raw { body.clone() } else { http(200, &body) };
        let server = Server::start(move |_| answer.clone());
        let dir = tempfile::tempdir().unwrap();
        let provider = provider(&server, dir.path());
        if let Ok(instances) = block(provider.list()) {
            prop_assert!(!instances.is_empty() || !raw && serde_json::from_slice::<Value>(&body).unwrap().get("data").is_some());
        }
    }

    /// Whatever fits the document's schemas is listed, one for one.
    #[test]
    fn what_fits_the_document_is_listed(
        texts in proptest::collection::vec(".{0,30}", 8),
        number in any::<u32>(),
        with_optional: bool,
        count in 0_usize..4,
    ) {
        let server = fitting(&texts, number, with_optional, count);
        let dir = tempfile::tempdir().unwrap();
        let provider = provider(&server, dir.path());
        block(async {
            let found = [
                provider.list().await.unwrap().len(),
                provider.instance_types().await.unwrap().len(),
                provider.images().await.unwrap().len(),
                provider.filesystems().await.unwrap().len(),
                provider.ssh_keys().await.unwrap().len(),
                provider.rulesets().await.unwrap().len() - 1,
            ];
            assert_eq!(found, [count; 6]);
        });
    }
}

/// What `up` asks for before it launches, as the simulator answers it.
const ASKED: [&str; 5] = ["instances", "file-systems", "instance-types", "images", "ssh-keys"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// The same for the whole command: whatever bytes a launch is answered with, the launch is on the books and can be
    /// read; it is closed only where the listing can be believed.
    #[test]
    fn nonsense_never_loses_the_journal(body in bytes(), raw: bool, listing_too: bool) {
        let mut cloud = Cloud::without_boxes();
        let client = Client::of(&cloud.sim);
        let ask = |what: &&str| {
            // At the pace of the simulator.
            std::thread::sleep(Duration::from_millis(60));
            data(&client.get(&format!("/{what}")).data())
        };
        let right: Vec<_> = ASKED.iter().map(ask).collect();
        let launched = std::sync::atomic::AtomicBool::new(false);
        let nonsense = if raw { body } else { http(200, &body) };
        let server = Server::start(move |asked| {
            let after = launched.load(std::sync::atomic::Ordering::Relaxed);
            match asked.strip_prefix("GET /") {
                Some("instances") if listing_too && after => http(200, b"nonsense"),
                Some(what) => ASKED.iter().position(|a| *a == what).map_or_else(|| http(404, b""), |n| right[n].clone()),
                None if asked.ends_with("/ssh-keys") => data(&json!({"id": "k", "name": "k"})),
                None => {
                    launched.store(true, std::sync::atomic::Ordering::Relaxed);
                    nonsense.clone()
                }
            }
        });
        cloud.env.set("DEVBOX_LAMBDA_ADDRESS", server.base());
        cloud.env.set("DEVBOX_LAMBDA_REQUEST_INTERVAL", "1ms");
        cloud.env.set("DEVBOX_LAMBDA_LAUNCH_INTERVAL", "1ms");
        cloud.env.set("DEVBOX_LAMBDA_SETTLE_TIME", "0s");
        cloud.env.set("DEVBOX_CAPACITY_FIRST_PAUSE", "1ms");
        cloud.env.devbox(["up", "-y", "--preset", "gh200"]).code(4);
        let journal = cloud.env.journal();
        let open = journal.iter().filter(|e| e["ended"].is_null()).count();
        prop_assert_eq!((journal.len(), open), if listing_too { (1, 1) } else { (3, 0) });
    }

    /// And from there to the screen: every listing shows it, in every form, and nothing of it acts on the terminal.
    #[test]
    fn what_fits_the_document_is_seen(
        texts in proptest::collection::vec(".{0,30}", 8),
        number in any::<u32>(),
        with_optional: bool,
        count in 1_usize..4,
    ) {
        let mut cloud = Cloud::without_boxes();
        let server = fitting(&texts, number, with_optional, count);
        cloud.env.set("DEVBOX_LAMBDA_ADDRESS", server.base());
        cloud.env.set("DEVBOX_LAMBDA_REQUEST_INTERVAL", "1ms");
        for what in ["instances", "instance-types", "images", "filesystems", "ssh-keys", "firewall-rulesets"] {
            for form in [&[][..], &["--table"], &["--json"]] {
                let words: Vec<&str> = ["list", what].into_iter().chain(form.iter().copied()).collect();
                let run = cloud.env.devbox(&words).ok();
                if form == ["--json"] {
                    let all = run.json()[what].as_array().unwrap().len();
                    prop_assert_eq!(all, count + usize::from(what == "firewall-rulesets"));
                } else {
                    prop_assert!(run.stdout.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", run.stdout);
                    prop_assert!(!run.stdout.trim().is_empty(), "{what}");
                }
            }
        }
        let status = cloud.env.devbox(["status"]).ok().stdout;
        prop_assert!(status.contains("i-1"), "{status}");
    }
}
