//! What people read when a setting is wrong, and what must hold for any text.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

/// An error as a person sees it, near enough.
fn seen(e: &Error) -> String {
    assert_eq!(e.kind(), Kind::Usage, "{e}");
    let mut out = format!("{e}\n");
    out.extend(e.detail_lines().iter().map(|line| format!("  {line}\n")));
    out.extend(e.causes().iter().map(|line| format!("caused by: {line}\n")));
    out.extend(e.hints().iter().map(|line| format!("hint: {line}\n")));
    out
}

fn project(text: &str) -> Result<Layer> {
    parse_file(text, Path::new("devbox.toml"), Trust::Project)
}

fn wrong(text: &str) -> String {
    seen(&project(text).unwrap_err())
}

fn hint(text: &str) -> String {
    project(text).unwrap_err().hints()[0].clone()
}

#[test]
fn a_good_file_is_read_with_its_places() {
    let layer =
        project("name = 'x'\n[volume]\nstore-size = '2048 GiB'\n[caches]\nsubstituters = []\n").unwrap();
    let (value, origin) = layer.get("volume.store-size").unwrap();
    assert_eq!((value.to_string(), origin.to_string()), ("2TiB".into(), "devbox.toml:3:1".into()));
    assert_eq!(layer.get("caches.substituters").unwrap().0, Value::Many(vec![]));
    assert!(layer.get("volume.name").is_none());
    assert_eq!(project("").unwrap(), Layer::default());
}

#[test]
fn dotted_and_inline_tables_are_the_same_to_it() {
    let value = |text| project(text).unwrap().get("volume.name").unwrap().0.to_string();
    assert_eq!(value("volume.name = 'x'"), "x");
    assert_eq!(value("volume = { name = 'x' }"), "x");
}

#[test]
fn an_unknown_key() {
    assert_snapshot!(wrong("name = \"x\"\n\n[volume]\nstore_size = \"1GiB\"\n"), @r#"
    devbox.toml:4:1: unknown key `volume.store_size`
      4 | store_size = "1GiB"
        | ^^^^^^^^^^
    hint: did you mean `store-size`?
    "#);
}

#[test]
fn the_way_out_for_unknown_names() {
    assert_eq!(hint("[volume]\nnmae = 'x'"), "did you mean `name`?");
    assert_eq!(hint("[volume]\nsize = '1GiB'"), "did you mean `store-size`?");
    assert_eq!(hint("[box]\nsize = '1GiB'"), "did you mean `volume.store-size`?");
    assert_eq!(hint("[caches]\nkeys = []"), "did you mean `trusted-public-keys`?");
    assert_eq!(hint("[box]\nstore-size = '1GiB'"), "`store-size` belongs to `[volume]`");
    assert_eq!(hint("store-size = '1GiB'"), "`store-size` belongs to `[volume]`");
    assert_eq!(hint("store_size = '1GiB'"), "did you mean `volume.store-size`?");
    assert_eq!(hint("[volumes]\nname = 'x'"), "did you mean `[volume]`?");
    assert_eq!(hint("enviroment = 'x'"), "did you mean `[environment]`?");
    assert_eq!(hint("\"volume.name\" = 'x'"), "`name` belongs to `[volume]`");
    assert_eq!(hint("[volume]\nfrobnicate = 1"), "`[volume]` knows `name`, `store-size`, `lease`");
    assert_eq!(
        hint("[frobnicate]\nx = 1"),
        "the tables are `[environment]`, `[box]`, `[capacity]`, `[volume]`, `[caches]`, `[ssh]`, `[lambda]`, `[local]`, `[presets.NAME]`"
    );
    assert_eq!(hint("volume = 'x'"), "write `[volume]`, and its keys on the lines below");
}

#[test]
fn a_wrong_type() {
    assert_snapshot!(wrong("[volume]\nstore-size = 100\n"), @r#"
    devbox.toml:2:14: `volume.store-size` takes a size, found an integer
      2 | store-size = 100
        |              ^^^
    hint: write for example `store-size = "100GiB"`
    "#);
    assert_snapshot!(wrong("[caches]\nsubstituters = \"https://cache.nixos.org\"\n"), @r#"
    devbox.toml:2:16: `caches.substituters` takes a list of addresses, found a string
      2 | substituters = "https://cache.nixos.org"
        |                ^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: write for example `substituters = ["https://cache.nixos.org"]`
    "#);
}

#[test]
fn a_bad_size() {
    assert_snapshot!(wrong("[volume]\nstore-size = \"100 gigs\"\n"), @r#"
    devbox.toml:2:14: `volume.store-size`: `100 gigs` is not a size: `gigs` is no unit of size
      2 | store-size = "100 gigs"
        |              ^^^^^^^^^^
    hint: write a whole number and one of `MiB`, `GiB`, `TiB`, `MB`, `GB`, `TB`
    "#);
    assert_snapshot!(wrong("[volume]\nstore-size = \"1MiB\"\n"), @r#"
    devbox.toml:2:14: `volume.store-size`: `1MiB` is too small: it must be at least `64MiB`
      2 | store-size = "1MiB"
        |              ^^^^^^
    "#);
}

#[test]
fn a_syntax_error() {
    assert_snapshot!(wrong("name = \"x\"\n[volume\nname = \"y\"\n"), @r#"
    devbox.toml:2:8: this is not TOML: unclosed table, expected `]`
      2 | [volume
        |        ^
    "#);
    assert_snapshot!(wrong("name = \"x\"\nname = \"y\"\n"), @r#"
    devbox.toml:2:1: this is not TOML: duplicate key
      2 | name = "y"
        | ^^^^
    "#);
}

#[test]
fn a_personal_key_in_a_project() {
    let text = "[ssh]\nforward-agent = true\n";
    assert_snapshot!(wrong(text), @r#"
    devbox.toml:2:1: `ssh.forward-agent` is personal, a project's file can't set it
      2 | forward-agent = true
        | ^^^^^^^^^^^^^
    hint: a cloned repository is not trusted with it: write it to `~/.config/devbox/config.toml`, or set `DEVBOX_SSH_FORWARD_AGENT`
    "#);
    assert!(parse_file(text, Path::new("config.toml"), Trust::Personal).is_ok());
}

#[test]
fn everything_that_is_wrong_is_said_at_once_in_order() {
    assert_snapshot!(wrong("[volume]\nname = \"a_b\"\n[box]\nprovider = \"aws\"\n[caches]\ntrusted-public-keys = [\"x\", 1]\n"), @r#"
    devbox.toml:2:8: `volume.name`: `a_b` can't be a volume name: it contains '_'
      2 | name = "a_b"
        |        ^^^^^
      devbox.toml:4:12: `box.provider`: `aws` is not known
      4 | provider = "aws"
        |            ^^^^^
      devbox.toml:6:24: `caches.trusted-public-keys`: `x` is not a public key
      6 | trusted-public-keys = ["x", 1]
        |                        ^^^
      caused by: public key has no name separator
      devbox.toml:6:29: `caches.trusted-public-keys` takes a list of public keys, found an integer
      6 | trusted-public-keys = ["x", 1]
        |                             ^
    hint: use 1 to 63 letters, digits and `-`, beginning with a letter or a digit
    hint: for example `a-b`
    hint: it can be `lambda`, `local`
    hint: write it as its owner publishes it: `NAME:BASE64`
    hint: write for example `trusted-public-keys = ["cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="]`
    "#);
}

#[test]
fn hostile_text_is_not_echoed_raw() {
    let seen = wrong("\"\\u001b[2J\" = 1\n[volume]\nname = \"\\u001b[2J\"\n");
    assert!(!seen.contains('\x1b'), "{seen:?}");
}

#[test]
fn variables() {
    let layer = parse_env([
        ("DEVBOX_VOLUME_STORE_SIZE", "1GiB"),
        ("DEVBOX_CACHES_SUBSTITUTERS", "https://a  https://b"),
        ("DEVBOX_FAILPOINT", "launch"),
    ])
    .unwrap();
    assert_eq!(layer.get("volume.store-size").unwrap().1.to_string(), "DEVBOX_VOLUME_STORE_SIZE");
    let (value, _) = layer.get("caches.substituters").unwrap();
    assert_eq!(*value, Value::Many(vec!["https://a".into(), "https://b".into()]));
}

#[test]
fn an_unknown_variable() {
    let error =
        parse_env([("DEVBOX_VOLUME_SIZE", "1GiB"), ("DEVBOX_FOO", "1"), ("DEVBOX_SSH_FORWARD_AGENT", "yes")]);
    assert_snapshot!(seen(&error.unwrap_err()), @r#"
    unknown environment variable `DEVBOX_VOLUME_SIZE`
      unknown environment variable `DEVBOX_FOO`
      `DEVBOX_SSH_FORWARD_AGENT`: `yes` is neither `true` nor `false`
    hint: did you mean `DEVBOX_VOLUME_STORE_SIZE`?
    hint: unset it: what starts with `DEVBOX_` sets a key, as `DEVBOX_VOLUME_NAME` does
    "#);
}

#[test]
fn flags() {
    let set = |text: &str| parse_flags(&[parse_assignment(text)?]);
    let layer = set("environment.shell=.#a=b").unwrap();
    let (value, origin) = layer.get("environment.shell").unwrap();
    assert_eq!((value.to_string(), origin.to_string()), (".#a=b".into(), "--set".into()));
    assert_snapshot!(seen(&set("volume.size=1GiB").unwrap_err()), @r#"
    `--set`: unknown key `volume.size`
    hint: did you mean `volume.store-size`?
    "#);
    assert_snapshot!(seen(&set("box.boot-timeout=10").unwrap_err()), @r#"
    `--set box.boot-timeout`: `10` is not a duration: it has no unit
    hint: write for example `10s`
    "#);
    assert_snapshot!(seen(&set("volume.name").unwrap_err()), @r#"
    `--set` takes `KEY=VALUE`, not `volume.name`
    hint: for example `--set volume.store-size=100GiB`
    "#);
    let own = Assignment { key: "volume.name".into(), value: "a_b".into(), flag: "--volume" };
    assert!(
        parse_flags(&[own]).unwrap_err().message().starts_with("`--volume`: `a_b` can't be a volume name")
    );
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,200}") {
        crate::error::ignore(project(&text));
    }

    #[test]
    fn any_soup_of_toml_is_read_or_refused(
        words in proptest::collection::vec(
            prop_oneof![
                Just("[volume]\n"), Just("[box]\n"), Just("[[box]]\n"), Just("name"), Just("store-size"), Just(" = "),
                Just("\"1GiB\""), Just("'''"), Just("\n"), Just("["), Just("]"), Just("{"), Just("}"), Just(","),
                Just("[presets.a]\n"), Just("presets"), Just("extends"), Just("regions"), Just("true"), Just("1.5"), Just("1979-05-27"), Just("."), Just("#"), Just("ü"), Just("\t"), Just("\r\n"),
            ],
            0..30,
        )
    ) {
        let text = words.concat();
        if let Err(e) = project(&text) {
            prop_assert!(!e.message().contains('\n'), "{}", e);
            prop_assert!(e.detail_lines().iter().all(|line| !line.contains(char::is_control)));
        }
    }

    #[test]
    fn any_assignment_is_taken_or_refused(key in ".{0,40}", value in ".{0,40}") {
        crate::error::ignore(parse_assignment(&key));
        crate::error::ignore(parse_flags(&[Assignment { key, value, flag: "--set" }]));
    }
}
