//! The flake: every output for every system, with the real Nix and `tests/fixtures/nixpkgs` for nixpkgs. Nothing is
//! downloaded, and nothing is built but in the one test that runs the program.

use std::fs;
use std::path::{Path, PathBuf};

use devbox::templates::TEMPLATES;
use serde_json::{Value, json};

use crate::support::{Run, TestEnv, host, host_run, repository};

/// This machine's.
pub(crate) const HERE: &str = if cfg!(target_arch = "aarch64") { "aarch64-linux" } else { "x86_64-linux" };
const SYSTEMS: [&str; 4] = ["aarch64-darwin", "aarch64-linux", "x86_64-darwin", "x86_64-linux"];
/// What a checkout has beside its files.
const NOT_OURS: [&str; 5] = [".git", "target", "shared", "result", "bin"];

/// A copy of the repository's files and of the stand-in for nixpkgs, both free to be changed.
pub(crate) struct Checkout {
    env: TestEnv,
}

impl Checkout {
    pub(crate) fn new() -> Self {
        let env = TestEnv::empty();
        copy(repository(), &env.path("repository"));
        copy(&repository().join("tests/fixtures/nixpkgs"), &env.path("nixpkgs"));
        Self { env }
    }

    /// A path in the copy of the repository.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.env.path("repository").join(name)
    }

    /// Nix on a flake, all of whose nixpkgs is the stand-in; `words` come behind the flake.
    pub(crate) fn nix(&self, command: &[&str], flake: &str, words: &[&str]) -> Run {
        let nixpkgs = format!("path:{}", self.env.path("nixpkgs").display());
        let pins = ["--no-write-lock-file", "--override-input", "nixpkgs", &nixpkgs];
        self.bare_nix(&[command, &pins, &[flake], words].concat())
    }

    /// Nix as it is, with a home of its own and without network.
    fn bare_nix(&self, words: &[&str]) -> Run {
        let home = format!("HOME={}", self.env.path("home").display());
        let options = ["--extra-experimental-features", "nix-command flakes", "--offline"];
        host_run("env", &[&[&*home, "nix"], &options[..], words].concat())
    }

    /// What a flake's attribute comes to, a Nix function applied to it.
    #[track_caller]
    pub(crate) fn eval(&self, flake: &str, function: &str) -> Value {
        self.nix(&["eval", "--json"], flake, &["--apply", function]).ok().json()
    }

    /// The repository's flake, as a folder that is in no repository.
    pub(crate) fn folder(&self, attribute: &str) -> String {
        format!("path:{}#{attribute}", self.path("").display())
    }

    /// A template's flake.
    pub(crate) fn template(&self, name: &str, attribute: &str) -> String {
        format!("path:{}#{attribute}", self.path("nix/templates").join(name).display())
    }

    /// Changes a file's text, which must have what is to be changed.
    #[track_caller]
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let file = self.path(name);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{name} has no `{from}`");
        fs::write(file, text.replace(from, to)).unwrap();
    }

    /// Static programs for what the stand-in builds.
    fn give_tools(&self) {
        let script = repository().join("scripts/fetch-hello-tools.sh");
        host(script.to_str().unwrap(), &[self.env.path("nixpkgs").to_str().unwrap()]);
    }

    /// The derivation of the program, for this machine.
    #[track_caller]
    fn program(&self) -> Value {
        self.eval(&self.folder(&format!("packages.{HERE}.devbox")), "d: d.drvPath")
    }
}

/// Copies a folder's files.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (name, kind) = (entry.file_name(), entry.file_type().unwrap());
        let ours = !NOT_OURS.iter().any(|other| name == *other);
        if kind.is_dir() && ours {
            copy(&entry.path(), &to.join(name));
        } else if kind.is_file() && ours {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

/// The files of a folder and their texts, by name.
fn files(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut all: Vec<_> = entries
        .map(|e| (e.file_name().into_string().unwrap(), fs::read_to_string(e.path()).unwrap()))
        .collect();
    all.sort();
    all
}

#[test]
fn every_output_evaluates_for_every_system() {
    let checkout = Checkout::new();
    let of = |output: &str, names: &[&str], leaf: &str| {
        let function = format!("builtins.mapAttrs (_: builtins.mapAttrs (_: x: x.{leaf}))");
        let all = checkout.eval(&checkout.folder(output), &function);
        let mut paths = Vec::new();
        for system in SYSTEMS {
            let here = all[system].as_object().unwrap_or_else(|| panic!("no {output}.{system} in {all}"));
            assert_eq!(here.keys().collect::<Vec<_>>(), names, "{output}.{system}");
            paths.extend(here.values().map(|path| path.as_str().unwrap().to_owned()));
        }
        assert_eq!(all.as_object().unwrap().len(), SYSTEMS.len(), "{output}");
        paths
    };
    let packages = of("packages", &["default", "devbox"], "drvPath");
    assert_ne!(packages[0], packages[2], "one for each system");
    assert_eq!(packages[0], packages[1], "`default` is the program");
    for program in of("apps", &["default", "devbox"], "program") {
        assert!(program.ends_with("/bin/devbox"), "{program}");
    }
    of("devShells", &["default"], "drvPath");
    of("checks", &["clippy", "devbox", "scripts"], "drvPath");

    let about = "d: { inherit (d.meta) description license mainProgram platforms; }";
    let meta = checkout.eval(&checkout.folder(&format!("packages.{HERE}.devbox")), about);
    assert_eq!((&meta["mainProgram"], &meta["license"]["spdxId"]), (&json!("devbox"), &json!("MIT")));
    assert_eq!(meta["platforms"].as_array().unwrap().len(), SYSTEMS.len());

    // What `nix flake check` looks at beside that: overlays and templates are of the right shape.
    checkout.nix(&["flake", "check", "--no-build"], &checkout.folder(""), &[]).ok();
}

#[test]
fn a_git_checkout_and_a_folder_are_the_same_program_and_edits_elsewhere_are_not_another() {
    let checkout = Checkout::new();
    let program = checkout.program();
    let root = checkout.path("");
    let git = |args: &[&str]| host("git", &[&["-C", root.to_str().unwrap()], args].concat());
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    let in_git = format!("git+file://{}#packages.{HERE}.devbox", root.display());
    assert_eq!(checkout.eval(&in_git, "d: d.drvPath"), program);

    fs::write(checkout.path("README.md"), "another\n").unwrap();
    fs::write(checkout.path("tests/it/another.rs"), "").unwrap();
    checkout.edit("nix/checks.nix", "needs neither", "needs no");
    assert_eq!(checkout.program(), program);
    checkout.edit("src/main.rs", "fn main", "// another\nfn main");
    let edited = checkout.program();
    assert_ne!(edited, program);
    // It is in the binary.
    checkout.edit("nix/templates/minimal/flake.nix", "A dev shell", "Another dev shell");
    assert_ne!(checkout.program(), edited);
}

#[test]
fn the_overlay_has_the_program() {
    let checkout = Checkout::new();
    let nixpkgs = checkout.env.path("nixpkgs");
    let function = format!(
        "overlay: (import (/. + {:?}) {{ system = {HERE:?}; overlays = [ overlay ]; }}).devbox.drvPath",
        nixpkgs.to_str().unwrap()
    );
    let flake = checkout.folder("overlays.default");
    let with_overlay =
        checkout.nix(&["eval", "--json", "--impure"], &flake, &["--apply", &function]).ok().json();
    let path = with_overlay.as_str().unwrap();
    assert!(path.ends_with(concat!("-devbox-", env!("CARGO_PKG_VERSION"), ".drv")), "{path}");
}

/// `nix run` builds the package, with the program that cargo built for what rustc would make of the source.
#[test]
fn nix_run_runs_the_program() {
    let checkout = Checkout::new();
    let put = |from: &Path, to: &str| {
        let to = checkout.env.path("nixpkgs").join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    };
    let flake = checkout.folder("devbox");
    // A store of its own, which goes with the test. In the sandbox the program needs this machine's C library.
    let store = checkout.env.path("store");
    let libraries =
        ["/lib", "/lib64", "/usr/lib", "/usr/lib64"].into_iter().filter(|l| Path::new(l).exists());
    let libraries = libraries.collect::<Vec<_>>().join(" ");
    let nix = |command: &[&str], flake: &str, words: &[&str]| {
        let store = ["--store", store.to_str().unwrap(), "--option", "sandbox", "true"];
        let more = ["--option", "extra-sandbox-paths", &libraries, "--option", "substituters", ""];
        checkout.nix(&[command, &store, &more].concat(), flake, words)
    };
    let without = nix(&["build", "--no-link"], &flake, &[]);
    assert_ne!(without.code, 0, "there is nothing to build with");

    checkout.give_tools();
    // Without debug information, which is most of it.
    let slim = checkout.env.path("slim");
    host("strip", &["-S", "-o", slim.to_str().unwrap(), env!("CARGO_BIN_EXE_devbox")]);
    put(&slim, &format!("built/{HERE}/devbox"));

    let version = nix(&["run"], &flake, &["--", "--version"]).ok().stdout;
    assert_eq!(version, format!("devbox {}\n", env!("CARGO_PKG_VERSION")));

    let package = checkout.folder(&format!("packages.{HERE}.devbox.outPath"));
    let out = nix(&["eval", "--raw"], &package, &[]).ok().stdout;
    let out = store.join(out.trim_start_matches('/'));
    for (shell, file) in [
        ("bash", "bash-completion/completions/devbox.bash"),
        ("fish", "fish/vendor_completions.d/devbox.fish"),
        ("zsh", "zsh/site-functions/_devbox"),
    ] {
        let installed = fs::read_to_string(out.join("share").join(file)).unwrap();
        assert_eq!(installed, checkout.env.devbox(["completions", shell]).ok().stdout, "{shell}");
    }
    // Whoever has no Nix and no ssh on PATH gets them, behind what is there.
    let wrapper = fs::read_to_string(out.join("bin/devbox")).unwrap();
    assert!(wrapper.contains("-nix/bin:/nix/store/") && wrapper.contains("-openssh/bin"), "{wrapper}");
}

/// From an empty repository to a shell on a box.
#[test]
fn a_project_from_a_template_comes_up() {
    let checkout = Checkout::new();
    let env = &checkout.env;
    checkout.give_tools();
    let project = env.project("");
    let git = |args: &[&str]| host("git", &[&["-C", project.to_str().unwrap()], args].concat());
    git(&["init", "--quiet"]);
    let init = env.devbox(["init", "--template", "minimal"]).ok();
    let (_, hint) = init.stderr.split_once("Nix sees only what git knows: `git ").unwrap();
    let hint = hint.split('`').next().unwrap().to_owned();
    // Not the true nixpkgs, which is far away; `up` locks this one.
    let flake = fs::read_to_string(env.project("flake.nix")).unwrap();
    let nixpkgs = format!("path:{}", env.path("nixpkgs").display());
    let flake = flake.replace("github:NixOS/nixpkgs/nixos-26.05", &nixpkgs);
    fs::write(env.project("flake.nix"), flake).unwrap();
    fs::write(env.project("flake.lock"), r#"{ "nodes": { "root": {} }, "root": "root", "version": 7 }"#)
        .unwrap();

    env.devbox(["up", "-y"]).code(3).says(&["git does not know the flake", "git add"]);
    git(&hint.split(' ').collect::<Vec<_>>());
    env.devbox(["up", "-y"]).ok();
    let said = env.devbox(["run", "--", "git"]).ok().stdout;
    assert_eq!(said, "git of the stand-in for nixpkgs\n");
    env.devbox(["down"]).ok();
    env.assert_nothing_runs();
}

/// What is called by a name that nixpkgs does not have, or with an argument that it does not know, is noticed.
#[test]
fn a_slip_in_the_nix_files_is_noticed() {
    let slips = [
        ("nix/package.nix", "installShellFiles", "installShellFile", "wants `installShellFile`"),
        ("nix/package.nix", "lockFile", "lockfile", "does not know `lockfile`"),
        ("nix/package.nix", "nativeBuildInputs", "nativeBuildInput", "does not know `nativeBuildInput`"),
        ("nix/package.nix", "postInstall", "postinstall", "does not know `postinstall`"),
        ("nix/package.nix", "makeBinPath", "makeBinPaths", "attribute 'makeBinPaths' missing"),
        ("nix/package.nix", "fileset = lib", "files = lib", "without required argument 'fileset'"),
        ("nix/package.nix", "../src ", "../source ", "source` does not exist"),
        ("nix/package.nix", "platforms.linux", "platforms.Linux", "attribute 'Linux' missing"),
        ("nix/dev-shell.nix", "packages =", "package =", "does not know `package`"),
        ("nix/dev-shell.nix", "util-linux", "utillinux", "wants `utillinux`"),
        ("nix/checks.nix", "hasExt", "hasExtension", "attribute 'hasExtension' missing"),
        ("nix/checks.nix", "runCommand", "runCommands", "attribute 'runCommands' missing"),
    ];
    let checkout = Checkout::new();
    for (file, from, to, says) in slips {
        let right = fs::read_to_string(checkout.path(file)).unwrap();
        checkout.edit(file, from, to);
        let function = "f: builtins.map (x: x.drvPath) (builtins.attrValues f)";
        let output = if file == "nix/dev-shell.nix" { "devShells" } else { "checks" };
        let flake = checkout.folder(&format!("{output}.{HERE}"));
        let run = checkout.nix(&["eval", "--json"], &flake, &["--apply", function]);
        assert!(run.code != 0 && run.stderr.contains(says), "{file}, {from}: {}", run.stderr);
        fs::write(checkout.path(file), right).unwrap();
    }
}

/// Each name that the stand-in has is one that was looked up, and its README says where.
#[test]
fn every_name_of_nixpkgs_was_looked_up() {
    let checkout = Checkout::new();
    let readme = fs::read_to_string(repository().join("tests/fixtures/nixpkgs/README.md")).unwrap();
    let nixpkgs = format!("path:{}", checkout.env.path("nixpkgs").display());
    for (attribute, prefix) in [
        ("lib".to_owned(), "lib."),
        ("lib.fileset".to_owned(), "lib.fileset."),
        (format!("legacyPackages.{HERE}"), ""),
        (format!("legacyPackages.{HERE}.python3Packages"), "python3Packages."),
    ] {
        let flake = format!("{nixpkgs}#{attribute}");
        let names = checkout.bare_nix(&["eval", "--json", &flake, "--apply", "builtins.attrNames"]);
        for name in names.ok().json().as_array().unwrap() {
            let named = format!("`{prefix}{}`", name.as_str().unwrap());
            assert!(readme.contains(&named), "{named} is not in the stand-in's README");
        }
    }
}

#[test]
fn templates_are_the_same_from_nix_and_from_devbox() {
    let checkout = Checkout::new();
    let about = "builtins.mapAttrs (_: t: { inherit (t) description welcomeText; })";
    let all = checkout.eval(&checkout.folder("templates"), about);
    assert_eq!(all.as_object().unwrap().len(), TEMPLATES.len() + 1, "{all}");
    for template in &TEMPLATES {
        let said = json!({ "description": template.about, "welcomeText": template.next });
        assert_eq!(all[template.name], said);
        let (by_nix, by_devbox) = (checkout.env.path("by-nix"), checkout.env.path("by-devbox"));
        // `nix flake new` is `nix flake init` in a new folder.
        let new = ["flake", "new", "--template", &checkout.folder(template.name), by_nix.to_str().unwrap()];
        checkout.bare_nix(&new).ok();
        fs::create_dir(&by_devbox).unwrap();
        checkout
            .env
            .devbox(["-C", by_devbox.to_str().unwrap(), "init", "--template", template.name])
            .ok()
            .says(&[template.next.trim()]);
        assert_eq!(files(&by_nix), files(&by_devbox), "{}", template.name);
        for folder in [by_nix, by_devbox] {
            fs::remove_dir_all(folder).unwrap();
        }
    }
    assert_eq!(all["default"], all[TEMPLATES[0].name]);
}

/// The locks are whole, and all of one nixpkgs.
#[test]
fn every_lock_names_the_same_nixpkgs() {
    let checkout = Checkout::new();
    let lock = |folder: &Path| -> Value {
        serde_json::from_slice(&fs::read(folder.join("flake.lock")).unwrap()).unwrap()
    };
    let ours = lock(repository());
    let locked = &ours["nodes"]["nixpkgs"]["locked"];
    for key in ["rev", "narHash", "lastModified"] {
        assert!(!locked[key].is_null(), "{ours}");
    }
    for template in &TEMPLATES {
        let folder = repository().join("nix/templates").join(template.name);
        assert_eq!(lock(&folder), ours, "{}", template.name);
        let flake = fs::read_to_string(folder.join("flake.nix")).unwrap();
        let original = &ours["nodes"]["nixpkgs"]["original"];
        let url = format!("github:NixOS/nixpkgs/{}", original["ref"].as_str().unwrap());
        assert!(flake.contains(&url), "{} does not want {url}", template.name);
        // Nix has nothing to add to it.
        let flake = checkout.template(template.name, "");
        let metadata = ["flake", "metadata", "--json", "--no-update-lock-file", &flake];
        let metadata = checkout.bare_nix(&metadata).ok().json();
        assert_eq!(metadata["locks"]["nodes"]["nixpkgs"]["locked"], *locked);
    }
}
