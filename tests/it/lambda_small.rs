//! Small things of Lambda Cloud that people trip over: what is missing, what is slow, what is misspelt.

use crate::lambda_stage::Cloud;
use crate::support::TestEnv;

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

    // Without a key, and without a word about Lambda, local boxes are what there is.
    cloud.env.set("DEVBOX_LAMBDA_API_KEY_COMMAND", "");
    let none = cloud.env.devbox(["doctor"]).code(1).stdout;
    assert!(line_of(&none, "local: `mmdebstrap`").starts_with("missing  "), "{none}");
    assert!(!none.contains("lambda"), "{none}");
    let preset = cloud.env.devbox(["doctor", "--set", "box.preset=gh200"]).code(1).stdout;
    assert!(line_of(&preset, "lambda ").contains("there is no key for Lambda Cloud"), "{preset}");
    assert!(line_of(&preset, "local provider").starts_with("note  "), "{preset}");
}

/// What is open in the journal can't be ended without a key.
#[test]
fn doctor_misses_the_key_of_what_the_journal_has_open() {
    let mut cloud = Cloud::without_boxes();
    cloud.env.set("DEVBOX_BOX_BOOT_TIMEOUT", "1s");
    cloud.env.devbox(["up", "-y", "--preset", "gh200"]).code(5);
    cloud.env.set("LAMBDA_API_KEY", "");
    let text = cloud.env.devbox(["doctor"]).code(1).stdout;
    assert!(line_of(&text, "lambda ").contains("there is no key for Lambda Cloud"), "{text}");
    assert!(text.contains("fix: make one in Lambda's console"), "{text}");
}
