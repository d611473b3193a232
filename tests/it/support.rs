//! A devbox of its own for each test: home, configuration, state and volumes in a temporary folder,
//! a cleared environment. Only the boxes' root filesystem is shared. Every box of a test is gone
//! when its [`TestEnv`] is dropped.

#![expect(
    clippy::disallowed_methods,
    reason = "tests start the program they test, and what they need around it"
)]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use devbox::events::Events;
use devbox::names::InstanceId;
use devbox::provider::Provider;
use devbox::provider::local::{LocalConfig, LocalProvider};
use serde_json::Value;

use crate::PATIENCE;

/// The repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a finished devbox left.
#[derive(Debug)]
pub(crate) struct Run {
    /// Its exit code; 128 and the signal's number for one that was killed.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// It must have ended with this exit code.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, expected, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// It must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.code(0)
    }

    /// It must have said all of this on stderr.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in:\n{}", self.stderr);
        }
        self
    }

    /// Its standard output as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e} in:\n{}", self.stdout))
    }

    /// The data of its last line of events.
    #[track_caller]
    pub(crate) fn result(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        let event: Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e} in:\n{}", self.stdout));
        assert_eq!(event["event"], "result", "{last}");
        event["data"].clone()
    }
}

/// A devbox of its own.
pub(crate) struct TestEnv {
    dir: tempfile::TempDir,
    project: PathBuf,
    vars: Vec<(String, String)>,
}

impl TestEnv {
    /// With a copy of `examples/hello`, or of a flake of `tests/fixtures/flakes`, as its project.
    pub(crate) fn new(flake: &str) -> Self {
        let env = Self::empty();
        let made = Command::new(repository().join("tests/fixtures/make-flake.sh"))
            .arg(flake)
            .arg(&env.project)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        env
    }

    /// With an empty folder as its project.
    pub(crate) fn empty() -> Self {
        let dir = tempfile::Builder::new().prefix("devbox-test-").tempdir().unwrap();
        let project = dir.path().join("project");
        for folder in ["home", "project", "volumes"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        Self { dir, project, vars: Vec::new() }
    }

    /// Sets a variable for every devbox of this test from now on.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.vars.retain(|(n, _)| n != name);
        self.vars.push((name.to_owned(), value.into()));
    }

    /// Sets it no more.
    pub(crate) fn unset(&mut self, name: &str) {
        self.vars.retain(|(n, _)| n != name);
    }

    /// A path in the test's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path in the project.
    pub(crate) fn project(&self, name: &str) -> PathBuf {
        self.project.join(name)
    }

    /// The folder of the volume that boxes get.
    pub(crate) fn volume(&self) -> PathBuf {
        self.path("volumes/devbox")
    }

    /// The store image of this machine's architecture.
    pub(crate) fn image(&self) -> PathBuf {
        self.volume().join(format!("devbox/stores/{}-linux.img", std::env::consts::ARCH))
    }

    fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        assert!(
            rustix::process::geteuid().is_root(),
            "local boxes need root: run these tests as root, for example `sudo make test`"
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_devbox"));
        command
            .args(args)
            .current_dir(&self.project)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("DEVBOX_LOCAL_VOLUMES", self.path("volumes"))
            .envs(self.vars.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs devbox in the project.
    #[track_caller]
    pub(crate) fn devbox<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        finish(self.command(args).spawn().unwrap())
    }

    /// Runs devbox with something on standard input.
    #[track_caller]
    pub(crate) fn devbox_reading<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: &str,
    ) -> Run {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        finish(child)
    }

    /// Starts devbox and lets it run.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Child {
        self.command(args).spawn().unwrap()
    }

    /// Starts `devbox --json …` and lets it run until it has printed a line with `mark` in it.
    pub(crate) fn start_until<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        mark: &str,
    ) -> Child {
        let mut child = self.command(args).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 {
            if line.contains(mark) {
                // The rest must be read, or devbox would wait for us.
                std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
                return child;
            }
            line.clear();
        }
        let rest = finish(child);
        panic!("`{mark}` did not come:\n{}", rest.stderr);
    }

    /// A command in the box, as the user, outside the dev shell. It must succeed.
    #[track_caller]
    pub(crate) fn on_box(&self, command: &str) -> String {
        self.devbox(["ssh", "--plain", "--", command]).ok().stdout.trim().to_owned()
    }

    /// The instances of the provider.
    #[track_caller]
    pub(crate) fn instances(&self) -> Vec<Value> {
        self.devbox(["list", "instances", "--json"]).ok().json()["instances"].as_array().unwrap().clone()
    }

    /// The one box that `status` shows.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let document = self.devbox(["status", "--json"]).ok().json();
        assert_eq!(document["boxes"].as_array().unwrap().len(), 1, "{document}");
        document["boxes"][0].clone()
    }

    /// The provider itself, for what no command does.
    pub(crate) fn provider(&self) -> LocalProvider {
        LocalProvider::new(LocalConfig {
            state: self.path("home/.local/state/devbox/local"),
            cache: Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache/devbox"),
            volumes: self.path("volumes"),
            nix: true,
        })
    }

    /// The one box loses its power.
    #[track_caller]
    pub(crate) fn pull_the_plug(&self) {
        let instances = self.instances();
        assert_eq!(instances.len(), 1, "{instances:?}");
        let id = InstanceId(instances[0]["id"].as_str().unwrap().to_owned());
        block(self.provider().kill(&id)).unwrap();
    }

    /// The journal's entries.
    pub(crate) fn journal(&self) -> Vec<Value> {
        let Ok(folder) = std::fs::read_dir(self.path("home/.local/state/devbox/journal")) else {
            return Vec::new();
        };
        folder.map(|f| serde_json::from_slice(&std::fs::read(f.unwrap().path()).unwrap()).unwrap()).collect()
    }

    /// Nothing runs, and nothing is open in the journal.
    #[track_caller]
    pub(crate) fn assert_nothing_runs(&self) {
        assert!(self.instances().is_empty(), "{:?}", self.instances());
        for entry in self.journal() {
            assert!(!entry["ended"].is_null(), "open in the journal: {entry}");
        }
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        let provider = self.provider();
        let ended = block(async {
            for instance in provider.list().await? {
                provider.terminate(&instance.id, &Events::silent()).await?;
            }
            Ok::<_, devbox::error::Error>(())
        });
        if let Err(e) = ended {
            eprintln!("a box of a test is left: {e}");
        }
    }
}

/// Waits for a devbox, within reason.
#[track_caller]
pub(crate) fn finish(mut child: Child) -> Run {
    let read = |from: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut from) = from {
                from.read_to_end(&mut text).unwrap();
            }
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let stdout = read(child.stdout.take().map(|s| Box::new(s) as _));
    let stderr = read(child.stderr.take().map(|s| Box::new(s) as _));
    let until = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("devbox did not end:\n{}", stderr.join().unwrap());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
    Run { code, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

/// Sends a signal to a child of ours.
pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Runs a program of this machine that must succeed.
#[track_caller]
pub(crate) fn host(program: &str, args: &[&str]) -> String {
    let run = host_run(program, args);
    assert_eq!(run.code, 0, "{program} {args:?}: {}", run.stderr);
    run.stdout
}

/// Runs a program of this machine.
#[track_caller]
pub(crate) fn host_run(program: &str, args: &[&str]) -> Run {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "never came: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A filesystem in memory, mounted until it is dropped.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `options` as mount takes them, such as `size=3m`.
    pub(crate) fn mount(at: &Path, options: &str) -> Self {
        std::fs::create_dir_all(at).unwrap();
        host("mount", &["-t", "tmpfs", "-o", options, "tmpfs", at.to_str().unwrap()]);
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a box that a failed test left may still use it.
        host("umount", &["--lazy", self.0.to_str().unwrap()]);
    }
}
