//! What a test plays in: a share, and a laptop whose account has guests on that share, under two names. Tells what
//! happens and when, since each step takes long.

use std::io::BufRead;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lambda_stage::Cloud;
use crate::sim::Boxes;
use crate::sim::vm::Vms;
use crate::sim_stage::Client;
use crate::support::{block, host};

const SCENARIO: &str = r#"
rates = { scale = 20 }
boot = { seconds = 0.5, ip-after = 0.2 }
terminate = { seconds = 0, listed = 1 }
filesystems = [{ name = "devbox", region = "us-east-3" }, { name = "twin", region = "us-east-3" }]
"#;

/// How a laptop asks for its box.
pub(crate) const UP: [&str; 6] = ["up", "-y", "-v", "--json", "--preset", "gh200"];
/// What that box is called.
pub(crate) const BOX: &str = "with-nix";

pub(crate) struct Room {
    pub(crate) vms: Arc<Vms>,
    name: &'static str,
    began: Instant,
    /// Its folder goes last.
    dir: tempfile::TempDir,
}

impl Room {
    pub(crate) fn new(name: &'static str) -> Self {
        assert!(rustix::process::geteuid().is_root(), "guests need root: `make test-vm`");
        let dir = tempfile::Builder::new().prefix("devbox-vm-").tempdir().unwrap();
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache/devbox/vm");
        let vms = Arc::new(Vms::new(&cache, dir.path()).unwrap());
        vms.share.twin("devbox", "twin").unwrap();
        let room = Self { vms, name, began: Instant::now(), dir };
        room.say("begins");
        room
    }

    pub(crate) fn laptop(&self) -> Laptop {
        Laptop { cloud: Cloud::with_boxes_of(Boxes::Vms(Arc::clone(&self.vms)), SCENARIO), room: self.name }
    }

    pub(crate) fn say(&self, what: &str) {
        eprintln!("[{:7.1} s] {}: {what}", self.began.elapsed().as_secs_f64(), self.name);
    }

    /// A line of the table that `scripts/test-vm.sh` ends with.
    pub(crate) fn tell(&self, fault: &str, tries: usize, lost: &str, saw: &str) {
        eprintln!("table: | {fault} | {tries} | {lost} | {saw} |");
    }

    /// Says what happens, does it, says how long it took.
    pub(crate) fn time<T>(&self, what: &str, deed: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = deed();
        self.say(&format!("{what}: {:.1} s", began.elapsed().as_secs_f64()));
        done
    }

    pub(crate) fn start_server(&self) {
        block(self.vms.share.start()).unwrap();
    }

    /// The store image, which nobody has mounted now, is whole without any repair.
    #[track_caller]
    pub(crate) fn assert_image_is_clean(&self) {
        let image = self.vms.share.volume("devbox").join("devbox/stores/x86_64-linux.img");
        let image = image.to_str().unwrap();
        let superblock = host("dumpe2fs", &["-h", image]);
        assert!(!superblock.contains("needs_recovery"), "{superblock}");
        host("e2fsck", &["-f", "-n", image]);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("nfs/log")).unwrap_or_default();
            eprintln!("the NFS server said last:\n{}", last(&log, 10));
        }
        if let Err(e) = self.vms.share.stop() {
            eprintln!("the NFS server is left: {e}");
        }
        self.say(if std::thread::panicking() { "failed" } else { "is over" });
    }
}

fn last(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A devbox with an account of its own.
pub(crate) struct Laptop {
    pub(crate) cloud: Cloud,
    /// Where it is, for people.
    room: &'static str,
}

impl Laptop {
    /// The power of a box goes, as it does when an instance is terminated: QEMU gets a SIGKILL.
    #[track_caller]
    pub(crate) fn pull_the_plug(&self, name: &str) {
        let living = self.cloud.living();
        let id = &living.iter().find(|i| i.name.as_deref() == Some(name)).unwrap().id;
        Client::of(&self.cloud.sim)
            .post("/instance-operations/terminate", &json!({ "instance_ids": [id] }))
            .ok();
        let until = Instant::now() + Duration::from_secs(30);
        while self.cloud.sim.left().contains(id) {
            assert!(Instant::now() < until, "its power does not go");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A command in a box, as the user, outside the dev shell. It must succeed.
    #[track_caller]
    pub(crate) fn on(&self, name: &str, command: &str) -> String {
        self.on_reading(name, command, "")
    }

    /// The same with something on standard input.
    #[track_caller]
    pub(crate) fn on_reading(&self, name: &str, command: &str, input: &str) -> String {
        let run = self.cloud.env.devbox_reading(["ssh", "--plain", name, "--", command], input);
        run.ok().stdout.trim().to_owned()
    }

    /// Brings the box up: the result, and how store and Nix were found.
    #[track_caller]
    pub(crate) fn up(&self) -> (Value, String) {
        let up = self.cloud.env.devbox(UP).ok();
        eprintln!("            {}: {}", self.room, phases(&up.stdout));
        (up.result(), found(&up.stdout))
    }

    /// A command in the box, whose standard output is collected line by line while it runs.
    pub(crate) fn listen(&self, command: &str) -> Listening {
        let mut child = self.cloud.env.start(["ssh", "--plain", "--", command]);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (stdout, to) = (child.stdout.take().unwrap(), Arc::clone(&heard));
        let reader = std::thread::spawn(move || {
            // A line that was cut off was not said.
            let mut from = std::io::BufReader::new(stdout);
            let mut line = String::new();
            while from.read_line(&mut line).is_ok_and(|n| n > 0) && line.ends_with('\n') {
                to.lock().unwrap().push(line.trim_end().to_owned());
                line.clear();
            }
        });
        Listening { child, heard, reader }
    }
}

impl Drop for Laptop {
    fn drop(&mut self) {
        self.cloud.sim.end_everything();
        if std::thread::panicking() {
            let consoles = self.cloud.env.path("cloud/consoles");
            for console in std::fs::read_dir(consoles).into_iter().flatten().flatten() {
                let text = std::fs::read(console.path()).unwrap_or_default();
                let text = console::strip_ansi_codes(&String::from_utf8_lossy(&text)).into_owned();
                eprintln!("{} said last:\n{}", console.file_name().to_string_lossy(), last(&text, 30));
            }
        }
    }
}

/// The phases that an `up` finished.
fn finished(events: &str) -> impl Iterator<Item = Value> {
    let events = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(|e| e["event"] == "finished")
}

/// How its last set-up found the store, and its Nix what was written last.
fn found(events: &str) -> String {
    let set_up = finished(events).filter(|e| e["phase"] == "bootstrap").last();
    let store = set_up.map_or_else(String::new, |e| e["summary"].as_str().unwrap_or_default().to_owned());
    let notes = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let nix =
        notes.filter_map(|e| Some(e["message"].as_str()?.strip_prefix("nix: ")?.to_owned())).next_back();
    nix.map_or_else(|| store.clone(), |nix| format!("{store}; Nix: {nix}"))
}

/// After how many seconds it said something that begins so, for the last time.
pub(crate) fn told(events: &str, beginning: &str) -> Option<f64> {
    let mut notes = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let note = notes.rfind(|e| e["message"].as_str().is_some_and(|m| m.starts_with(beginning)))?;
    note["seconds"].as_f64()
}

/// What it spent its time with.
fn phases(events: &str) -> String {
    let phase = |e: Value| {
        let took = e["took"].as_f64().unwrap_or_default();
        format!("{} {took:.1} s", e["phase"].as_str().unwrap_or_default())
    };
    finished(events).map(phase).collect::<Vec<_>>().join(", ")
}

/// A command that runs in a box.
pub(crate) struct Listening {
    child: std::process::Child,
    heard: Arc<Mutex<Vec<String>>>,
    reader: std::thread::JoinHandle<()>,
}

impl Listening {
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// It is cut off: what it said until then.
    pub(crate) fn end(mut self) -> Vec<String> {
        // It may have ended by itself.
        drop(self.child.kill());
        self.child.wait().unwrap();
        self.reader.join().unwrap();
        self.heard.lock().unwrap().clone()
    }
}
