//! Small things of Lambda Cloud that people trip over: what is missing, what is slow, what is misspelt.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::lambda_stage::Cloud;
use crate::support::{TestEnv, finish, host, signal};

/// Far less than trying again and again takes.
const AT_ONCE: Duration = Duration::from_secs(8);

/// Programs of this machine in a folder of their own: all that Lambda needs, and nothing for local boxes.
fn path_without_local_boxes(env: &TestEnv) -> String {
    let bin = env.path("few");
    std::fs::create_dir(&bin).unwrap();
    for program in ["nix", "nix-store", "ssh", "ssh-add", "ssh-keygen", "tar", "sh", "cat"] {
        std::os::unix::fs::symlink(which::which(program).unwrap(), bin.join(program)).unwrap();
    }
    bin.display().to_string()
}

/// The line of `doctor` about `what`.
#[track_caller]
fn line_of<'a>(text: &'a str, what: &str) -> &'a str {
    let is_it = |line: &&str| line.get(9..).is_some_and(|rest| rest.starts_with(what));
    text.lines().find(is_it).unwrap_or_else(|| panic!("no line of {what}:\n{text}"))
}

/// The key is looked at wherever there is one, nobody having said that boxes come from Lambda; and who has one
/// needs nothing for local boxes.
#[test]
fn doctor_looks_at_lambda_wherever_there_is_a_key() {
    let mut cloud = Cloud::without_boxes();
    let path = path_without_local_boxes(&cloud.env);
    cloud.env.set("PATH", path);
    let fine = cloud.env.devbox(["doctor"]).ok().stdout;
    assert!(line_of(&fine, "lambda ").starts_with("ok  ") && fine.contains("takes the key"), "{fine}");
    let local = line_of(&fine, "local provider");
    assert!(local.starts_with("note  ") && local.contains("mmdebstrap"), "{fine}");
    // Who asks for local boxes needs them.
    let asked = cloud.env.devbox(["doctor", "--set", "box.provider=local"]).code(1).stdout;
    assert!(line_of(&asked, "local: `mmdebstrap`").starts_with("missing  "), "{asked}");
    assert!(line_of(&asked, "lambda ").starts_with("ok  "), "{asked}");

    // From wherever the key is.
    cloud.env.set("LAMBDA_API_KEY", "");
    cloud.env.set("DEVBOX_LAMBDA_API_KEY_COMMAND", "echo secret_wrong");
    let wrong = cloud.env.devbox(["doctor"]).code(1).says(&["one thing that devbox needs is missing"]).stdout;
    assert!(line_of(&wrong, "lambda ").starts_with("missing  "), "{wrong}");
    assert!(wrong.contains("global/invalid-api-key") && !wrong.contains("secret_wrong"), "{wrong}");

    // Without a key, local boxes are what there is.
    cloud.env.set("DEVBOX_LAMBDA_API_KEY_COMMAND", "");
    let none = cloud.env.devbox(["doctor"]).code(1).stdout;
    assert!(line_of(&none, "local: `mmdebstrap`").starts_with("missing  "), "{none}");
    assert!(line_of(&none, "lambda ").starts_with("note  "), "{none}");
    let preset = cloud.env.devbox(["doctor", "--set", "box.preset=gh200"]).code(1).stdout;
    assert!(line_of(&preset, "lambda ").contains("there is no key for Lambda Cloud"), "{preset}");
    assert!(line_of(&preset, "local provider").starts_with("note  "), "{preset}");
}

/// What is open in the journal can't be ended without a key.
#[test]
fn doctor_misses_the_key_of_what_the_journal_has_open() {
    let mut cloud = Cloud::without_boxes();
    let child = cloud.env.start_until(["up", "-y", "--json", "--preset", "gh200"], r#""phase":"boot""#);
    signal(&child, rustix::process::Signal::INT);
    finish(child).code(130);
    cloud.env.set("LAMBDA_API_KEY", "");
    let text = cloud.env.devbox(["doctor"]).code(1).stdout;
    assert!(line_of(&text, "lambda ").contains("there is no key for Lambda Cloud"), "{text}");
    assert!(text.contains("fix: make one in Lambda's console"), "{text}");
}

/// A devbox whose Lambda is at this address, at the pace of the real one.
fn pointed_at(address: String) -> TestEnv {
    let mut env = TestEnv::empty();
    env.set("LAMBDA_API_KEY", "secret_x");
    env.set("DEVBOX_LAMBDA_ADDRESS", address);
    env
}

/// A server with TLS, whose certificate is none. It takes a connection after the other until the test ends.
fn with_a_bad_certificate(env: &TestEnv) -> String {
    #[derive(Debug)]
    struct Bad(Arc<CertifiedKey>);
    impl ResolvesServerCert for Bad {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
    }
    let file = env.path("tls-key");
    host("ssh-keygen", &["-q", "-t", "ecdsa", "-m", "PKCS8", "-N", "", "-f", file.to_str().unwrap()]);
    let text = std::fs::read_to_string(&file).unwrap();
    let inside: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let key = base64::engine::general_purpose::STANDARD.decode(inside).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let bad = Bad(Arc::new(CertifiedKey::new(vec![CertificateDer::from(vec![0x30, 0x00])], key)));
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(bad));
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}/api/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            // The client hangs up in the middle, which is what this is for.
            let mut talk = rustls::StreamOwned::new(tls, stream.unwrap());
            devbox::error::ignore(talk.read(&mut [0]));
        }
    });
    address
}

/// A connection that is not safe does not become safe by trying again, and it is no network that is missing.
#[test]
fn without_safe_tls_it_ends_at_once_and_says_so() {
    let cloud = Cloud::without_boxes();
    let plain = pointed_at(cloud.sim.base().replace("http://", "https://"));
    let mut bad = pointed_at(String::new());
    let address = with_a_bad_certificate(&bad);
    bad.set("DEVBOX_LAMBDA_ADDRESS", address);
    for (env, words) in [(plain, "does not speak TLS"), (bad, "its certificate is not to be trusted")] {
        let began = Instant::now();
        let run = env.devbox(["list", "images"]).code(4).says(&[words, "hint:", "`lambda.address`"]);
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        assert!(!run.stderr.contains("is there a network"), "{}", run.stderr);
    }
}

#[test]
fn an_address_that_lacks_its_path_is_found_out() {
    let cloud = Cloud::without_boxes();
    let env = pointed_at(cloud.sim.base().replace("/api/v1", ""));
    env.devbox(["list", "images"]).code(4).says(&[
        "global/not-found",
        "hint: is `lambda.address`",
        "`/api/v1`",
    ]);
}

/// Whoever waits for a server that takes the connection and says nothing is told so within seconds.
#[test]
fn silence_is_explained() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let env = pointed_at(format!("http://{}/api/v1", silent.local_addr().unwrap()));
    let began = Instant::now();
    let mut child = env.start(["list", "images"]);
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let told =
        lines.map_while(Result::ok).find(|line| line.contains("waiting for an answer of Lambda (`images`)"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        told.is_some() && began.elapsed() < Duration::from_secs(25),
        "{told:?} after {:?}",
        began.elapsed()
    );
}
