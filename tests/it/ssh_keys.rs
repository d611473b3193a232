//! The key to log in with is found as ssh finds it: in files, with or without a public half, and in the agent.

use std::path::{Path, PathBuf};
use std::process::Child;

use crate::support::{TestEnv, host};

/// An agent of a test's own.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    #[expect(clippy::disallowed_methods, reason = "tests start what they need")]
    fn start(env: &TestEnv) -> Self {
        let socket = env.path("agent");
        let child = std::process::Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        crate::support::until("the agent listens", || socket.exists());
        Self { child, socket }
    }

    fn add(&self, key: &Path) {
        let socket = format!("SSH_AUTH_SOCK={}", self.socket.display());
        host("env", &[&socket, "ssh-add", "-q", key.to_str().unwrap()]);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Makes a key pair.
fn make_key(file: &Path, passphrase: &str) {
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    host("ssh-keygen", &["-q", "-t", "ed25519", "-N", passphrase, "-f", file.to_str().unwrap()]);
}

fn public_of(file: &Path) -> PathBuf {
    PathBuf::from(format!("{}.pub", file.display()))
}

/// The file of the key that the last launch was given.
fn login_key(env: &TestEnv) -> PathBuf {
    let open = env.journal().into_iter().find(|entry| entry["ended"].is_null()).unwrap();
    PathBuf::from(open["login_key"].as_str().unwrap())
}

#[test]
fn a_private_key_does_without_its_public_half() {
    let env = TestEnv::new("hello");
    let (key, locked) = (env.path("home/.ssh/id_ed25519"), env.path("home/.ssh/id_ecdsa"));
    make_key(&key, "");
    make_key(&locked, "a passphrase");
    std::fs::remove_file(public_of(&key)).unwrap();
    std::fs::remove_file(public_of(&locked)).unwrap();
    let passed_over =
        format!("passed over: `{}` has a passphrase, and is not in the agent", locked.display());
    env.devbox(["up", "-y", "-v"]).ok().says(&[&passed_over]);
    assert_eq!(login_key(&env), key);
    env.on_box("true");
    env.devbox(["down"]).ok();

    // With the other one alone there is none, and it says so.
    std::fs::remove_file(&key).unwrap();
    env.devbox(["up", "-y"])
        .ok()
        .says(&["none of your ssh keys can be used without a question", "`ssh-add`"]);
    assert_eq!(login_key(&env), env.path("home/.local/state/devbox/keys/login"));
    env.devbox(["down"]).ok();
    let configured = format!("ssh.key={}", locked.display());
    env.devbox(["up", "-y", "--set", &configured]).code(2).says(&["has a passphrase", "hint: `ssh-add "]);
}

#[test]
fn a_key_that_the_agent_alone_has_logs_in() {
    let mut env = TestEnv::new("hello");
    let agent = Agent::start(&env);
    let (key, public) = (env.path("elsewhere"), env.path("public"));
    make_key(&key, "");
    agent.add(&key);
    std::fs::remove_file(&key).unwrap();
    std::fs::rename(public_of(&key), &public).unwrap();
    env.set("SSH_AUTH_SOCK", agent.socket.to_str().unwrap());
    env.devbox(["up", "-y"]).ok();
    let used = login_key(&env);
    assert!(used.starts_with(env.path("home/.local/state/devbox/keys")), "{}", used.display());
    let (used, public_text) =
        (std::fs::read_to_string(used).unwrap(), std::fs::read_to_string(&public).unwrap());
    assert!(public_text.starts_with(used.trim()), "{used}");
    env.on_box("true");
    env.devbox(["down"]).ok();

    // Named by its public half, and missed before anything is launched.
    let configured = format!("ssh.key={}", public.display());
    env.devbox(["up", "-y", "--set", &configured]).ok();
    assert_eq!(login_key(&env), public);
    env.devbox(["down"]).ok();
    env.set("SSH_AUTH_SOCK", "");
    env.devbox(["up", "-y", "--set", &configured]).code(2).says(&[
        "the private half of",
        "neither beside it nor in the agent",
        "hint: `ssh-add`",
    ]);
    env.assert_nothing_runs();
}
