//! How the layers lie over one another.

use super::*;

fn defaults(root: Option<&str>) -> Defaults {
    Defaults { project_root: root.map(Into::into), home: "/home/me".into(), state: "/state".into() }
}

fn personal(text: &str) -> Layer {
    parse_file(text, Path::new("config.toml"), Trust::Personal).unwrap()
}

fn paths(dir: &Path) -> Paths {
    Paths {
        home: dir.into(),
        config: dir.join("config"),
        state: dir.join("state"),
        cache: dir.join("cache"),
        runtime: dir.join("run"),
    }
}

#[test]
fn the_defaults() {
    let Resolved { config, settings } = resolve(&[], &defaults(Some("/src/My Project"))).unwrap();
    assert_eq!(config.project_name().unwrap().as_str(), "my-project");
    assert_eq!(config.box_name().unwrap().as_str(), "my-project");
    let expected = Environment {
        shell: ".#default".into(),
        nix: None,
        build: BuildSetting::Auto,
        max_jobs: 4,
        cores: 0,
        packages: vec![],
        checks: vec![],
        check_timeout: Duration::from_secs(600),
    };
    assert_eq!(config.environment, expected);
    assert_eq!(config.boot_timeout(), Duration::from_secs(600));
    assert_eq!(config.capacity.factor(), 1.5);
    assert_eq!(config.preset().unwrap(), None);
    assert_eq!(config.volume.store_size.as_bytes(), 100 << 30);
    assert_eq!(config.caches.substituters, ["https://cache.nixos.org"]);
    assert_eq!(config.local.volumes, Path::new("/state/volumes"));
    assert_eq!(config.ssh, Ssh { key: None, forward_agent: false });
    assert_eq!(settings.len(), KEYS.len());
    assert!(settings.iter().all(|setting| setting.origin == Origin::Default));
}

#[test]
fn the_nearer_wins_and_says_who_it_was() {
    let far = personal("box.name = 'far'\nvolume.name = 'far'\nssh.key = '~/.ssh/id'");
    let near = parse_env([("DEVBOX_VOLUME_NAME", "near")]).unwrap();
    let Resolved { config, settings } = resolve(&[far, near], &defaults(None)).unwrap();
    assert_eq!(config.box_name().unwrap().as_str(), "far");
    assert_eq!(config.volume.name.as_str(), "near");
    assert_eq!(config.ssh.key.as_deref(), Some(Path::new("/home/me/.ssh/id")));
    let origin = |key| settings.iter().find(|s| s.key == key).unwrap().origin.to_string();
    assert_eq!(origin("volume.name"), "DEVBOX_VOLUME_NAME");
    assert_eq!(origin("box.name"), "config.toml:1:5");
}

#[test]
fn the_box_follows_the_projects_name() {
    let config = resolve(&[personal("name = 'x'")], &defaults(Some("/src/y"))).unwrap().config;
    assert_eq!(config.box_name().unwrap().as_str(), "x");
}

#[test]
fn a_folder_without_a_usable_name_needs_one() {
    for root in ["/", "/src/…"] {
        let error = resolve(&[], &defaults(Some(root))).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(error.hints(), ["write `name = \"hello\"` at the top of its `devbox.toml`"]);
        assert!(resolve(&[personal("name = 'x'")], &defaults(Some(root))).is_ok());
    }
}

#[test]
fn outside_a_project_there_is_no_name() {
    let config = resolve(&[], &defaults(None)).unwrap().config;
    assert_eq!(config.project_name().unwrap_err().kind(), Kind::Usage);
    assert_eq!(config.box_name().unwrap_err().kind(), Kind::Usage);
}

#[test]
fn every_word_of_a_choice_has_its_value() {
    for key in KEYS {
        if let (keys::Shape::OneOf(words), "box.provider") = (key.shape, key.path) {
            assert!(words.iter().all(|word| word.parse::<ProviderName>().is_ok()));
        }
    }
}

#[test]
fn a_preset_brings_its_provider_and_its_patience() {
    let chosen = personal("box.preset = '8xh100'");
    let config = resolve(std::slice::from_ref(&chosen), &defaults(None)).unwrap().config;
    assert_eq!(config.box_.provider, ProviderName::Lambda);
    assert_eq!(config.boot_timeout(), Duration::from_secs(1500));
    assert_eq!(config.preset().unwrap().unwrap().name, "8xh100");
    let near = parse_env([("DEVBOX_BOX_BOOT_TIMEOUT", "1min"), ("DEVBOX_BOX_PROVIDER", "local")]).unwrap();
    let config = resolve(&[chosen, near], &defaults(None)).unwrap().config;
    assert_eq!((config.box_.provider, config.boot_timeout()), (ProviderName::Local, Duration::from_secs(60)));
}

#[test]
fn a_preset_can_be_changed_on_the_command_line() {
    let set = |key: &str, value: &str| Assignment { key: key.into(), value: value.into(), flag: "--set" };
    let flags = parse_flags(&[set("presets.gh200.system", "x86_64-linux")]).unwrap();
    let Resolved { config, settings } = resolve(&[flags], &defaults(None)).unwrap();
    assert_eq!(config.presets["gh200"].system, Some(crate::names::System::X86_64Linux));
    assert_eq!(settings.last().unwrap().key, "presets.gh200.system");
    let error = parse_flags(&[set("presets.gh200.sistem", "x")]).unwrap_err();
    assert_eq!(error.hints(), ["did you mean `presets.gh200.system`?"]);
}

#[test]
fn a_slip_in_a_path_of_a_preset_has_its_way_out() {
    let refused = |key: &str| {
        parse_flags(&[Assignment { key: key.into(), value: "x".into(), flag: "--set" }]).unwrap_err()
    };
    let error = refused("presets.GH200.system");
    assert!(error.message().starts_with("`--set presets.GH200.system`: `GH200` can't be a preset name"));
    for key in ["presets", "presets.gh200"] {
        let hint = "name the preset and its key, as in `presets.gh200.regions`";
        assert_eq!(refused(key).hints(), [hint], "{key}");
    }
}

#[test]
fn the_patience_that_is_shown_is_the_one_that_holds() {
    let shown = |text: &str| {
        let Resolved { config, settings } = resolve(&[personal(text)], &defaults(None)).unwrap();
        let shown = settings.into_iter().find(|s| s.key == "box.boot-timeout").unwrap().value.unwrap();
        assert_eq!(shown.parse::<Timespan>().unwrap().as_duration(), config.boot_timeout());
        shown
    };
    assert_eq!(shown(""), "10min");
    assert_eq!(shown("box.preset = '8xh100'"), "25min");
    assert_eq!(shown("[box]\npreset = '8xh100'\nboot-timeout = '7min'"), "7min");
    assert_eq!(shown("[box]\npreset = '8xh100'\n[presets.8xh100]\nboot-timeout = '8min'"), "8min");
    assert_eq!(shown("[box]\npreset = 'x'\n[presets.x]\nextends = '8xh100'"), "25min");
    assert_eq!(shown("box.preset = 'unknown'"), "10min");
}

#[test]
fn a_preset_that_does_not_exist_is_named_with_who_chose_it() {
    let error = |layer| resolve(&[layer], &defaults(None)).unwrap().config.preset().unwrap_err();
    let file = error(personal("[box]\npreset = 'gh20'"));
    assert_eq!(file.message(), "config.toml:2:1: `box.preset`: there is no preset `gh20`");
    let own = parse_env([("DEVBOX_BOX_PRESET", "gh20")]).unwrap();
    assert_eq!(error(own).message(), "`DEVBOX_BOX_PRESET`: there is no preset `gh20`");
}

#[test]
fn a_file_of_a_project_is_not_trusted_with_the_account() {
    for key in KEYS.iter().filter(|key| key.table() == "lambda") {
        let text = format!("[lambda]\n{}\n", key.sample());
        let error = parse_file(&text, Path::new("devbox.toml"), Trust::Project).unwrap_err();
        assert!(error.message().contains("is personal"), "{error}");
    }
}

#[test]
fn numbers_of_a_file_may_be_numbers() {
    let layer = personal("box.boot-attempts = 5\n[capacity]\nfactor = 2.25\nlongest-pause = '90s'");
    let config = resolve(&[layer], &defaults(None)).unwrap().config;
    assert_eq!((config.box_.boot_attempts, config.capacity.thousandths), (5, 2250));
    let layer = personal("box.boot-attempts = '5'\ncapacity.factor = 2");
    let config = resolve(&[layer], &defaults(None)).unwrap().config;
    assert_eq!((config.box_.boot_attempts, config.capacity.factor()), (5, 2.0));
    for bad in [
        "capacity.factor = inf",
        "capacity.factor = 0.5",
        "capacity.factor = true",
        "box.boot-attempts = 1.5",
    ] {
        assert!(parse_file(bad, Path::new("x"), Trust::Personal).is_err(), "{bad}");
    }
}

#[test]
fn files_are_read_in_order_and_may_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, root) = (paths(dir.path()), dir.path().join("hello"));
    std::fs::create_dir_all(&root).unwrap();
    let name =
        |file: Option<&Path>| load(&paths, Some(&root), file, &[]).map(|r| r.config.volume.name.to_string());
    assert_eq!(name(None).unwrap(), "devbox");

    std::fs::create_dir_all(&paths.config).unwrap();
    std::fs::write(paths.config.join("config.toml"), "volume.name = 'user'").unwrap();
    assert_eq!(name(None).unwrap(), "user");

    let other = dir.path().join("other.toml");
    assert_eq!(name(Some(&other)).unwrap_err().kind(), Kind::Usage);
    std::fs::write(&other, "volume.name = 'other'").unwrap();
    assert_eq!(name(Some(&other)).unwrap(), "other");

    std::fs::write(root.join("devbox.toml"), "volume.name = 'project'").unwrap();
    assert_eq!(name(None).unwrap(), "project");
    let flag = Assignment { key: "volume.name".into(), value: "flag".into(), flag: "--volume" };
    assert_eq!(load(&paths, Some(&root), None, &[flag]).unwrap().config.volume.name.as_str(), "flag");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    let file = dir.path().join("devbox.toml");
    std::fs::write(&file, [0xff]).unwrap();
    let error = load(&paths, Some(dir.path()), None, &[]).unwrap_err();
    assert!(error.message().ends_with("devbox.toml` is not UTF-8 text"), "{error}");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(load(&paths, Some(dir.path()), None, &[]).unwrap_err().message().starts_with("can't read"));
}
