//! The NVIDIA driver's libraries for programs of Nix. There is no such driver here: libraries made for the test stand in
//! for it (`tests/fixtures/driver`), which open one another by name as the real ones do.

#![expect(clippy::disallowed_methods, reason = "tests start what they test")]

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{TestEnv, repository, until};

/// A machine with such a driver, without a box.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let this = Self { dir };
        make(this.dir.path(), &this.path("link"));
        std::fs::write(this.path("ld.so.conf"), format!("{}\n", this.path("lib").display())).unwrap();
        this.ldconfig();
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A cache of ld.so's of its own: this machine's programs never see these libraries.
    fn ldconfig(&self) {
        let (cache, conf) = (self.path("ld.so.cache"), self.path("ld.so.conf"));
        let made = Command::new("ldconfig")
            .args(["-X", "-C"])
            .arg(cache)
            .arg("-f")
            .arg(conf)
            .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    fn copy(&self, version: &str, patchelf: &str) -> Output {
        Command::new(repository().join("src/guest/scripts/driver-copy.sh"))
            .args([version, patchelf])
            .env("DEVBOX_LD_CACHE", self.path("ld.so.cache"))
            .env("DEVBOX_DRIVER_LINK", self.path("link"))
            .env("DEVBOX_DRIVER_STORE", self.path("store"))
            .output()
            .unwrap()
    }

    /// Must work, and say so many libraries.
    #[track_caller]
    fn copied(&self, version: &str, patchelf: &str) {
        let done = self.copy(version, patchelf);
        assert!(done.status.success(), "{done:?}");
        assert_eq!(text(&done.stdout), "3\n", "{done:?}");
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.path("link/lib")).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// What the program prints, and what it complains of.
    fn program(&self) -> (String, String) {
        let ran = Command::new(self.path("program")).env_clear().output().unwrap();
        (text(&ran.stdout), text(&ran.stderr))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn make(folder: &Path, link: &Path) {
    let made = Command::new(repository().join("tests/fixtures/driver/make.sh"))
        .args([folder, link])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
}

/// The libraries that matter and no other, each finding the others; made again when the driver is another.
#[test]
fn what_opens_another_by_name_finds_it() {
    let machine = Machine::new();
    machine.copied("570.86.15", "patchelf");
    let expected = [
        "libcuda.so",
        "libcuda.so.1",
        "libcuda.so.570.86.15",
        "libnvidia-ml.so.1",
        "libnvidia-ml.so.570.86.15",
        "libnvidia-ptxjitcompiler.so.1",
        "libnvidia-ptxjitcompiler.so.570.86.15",
    ];
    assert_eq!(machine.names(), expected.map(str::to_owned).into());
    assert_eq!(machine.program(), ("42\n".into(), String::new()));

    // What is as it was stays as it is.
    let of = |name: &str| std::fs::metadata(machine.path(name)).unwrap().ino();
    let before = of("link/lib/libcuda.so.1");
    machine.copied("570.86.15", "patchelf");
    assert_eq!(of("link/lib/libcuda.so.1"), before);

    // Another driver, and what there was of the old one is gone.
    machine.copied("575.51.03", "patchelf");
    assert_ne!(of("link/lib/libcuda.so.1"), before);
    assert_eq!(std::fs::read_dir(machine.path("store")).unwrap().count(), 1);
    assert_eq!(machine.program().0, "42\n");
    // The same version from a package that was built again.
    let before = of("link/lib/libcuda.so.1");
    std::fs::write(machine.path("lib/libnvidia-ml.so.570.86.15"), "").unwrap();
    std::fs::copy(machine.path("lib/libcuda.so.1"), machine.path("lib/libnvidia-ml.so.570.86.15")).unwrap();
    machine.copied("575.51.03", "patchelf");
    assert_ne!(of("link/lib/libcuda.so.1"), before);
}

/// Why they are copies with a RUNPATH: links to the host's, and copies as they are, leave libcuda alone in the dark.
#[test]
fn without_a_runpath_of_their_own_they_do_not_find_one_another() {
    let machine = Machine::new();
    std::fs::create_dir_all(machine.path("farm")).unwrap();
    std::os::unix::fs::symlink(machine.path("lib"), machine.path("farm/lib")).unwrap();
    std::os::unix::fs::symlink(machine.path("farm"), machine.path("link")).unwrap();
    let (said, why) = machine.program();
    assert_eq!(said, "1\n");
    assert!(why.contains("libnvidia-ptxjitcompiler.so.1: cannot open shared object file"), "{why}");

    machine.copied("570.86.15", "");
    assert_eq!(machine.program().0, "1\n");
    // And better as soon as there is a patchelf.
    machine.copied("570.86.15", "patchelf");
    assert_eq!(machine.program().0, "42\n");
}

/// What is not ours stays, and what fails leaves what there was.
#[test]
fn what_fails_leaves_what_there_was() {
    let machine = Machine::new();
    std::fs::create_dir(machine.path("link")).unwrap();
    let refused = machine.copy("570.86.15", "patchelf");
    assert!(text(&refused.stderr).contains("link is there, and is not devbox's"), "{refused:?}");
    std::fs::remove_dir(machine.path("link")).unwrap();

    machine.copied("570.86.15", "patchelf");
    let failed = machine.copy("575.51.03", "false");
    assert!(!failed.status.success());
    assert_eq!(machine.program().0, "42\n");
    assert_eq!(std::fs::read_dir(machine.path("store")).unwrap().count(), 1);

    std::fs::write(machine.path("ld.so.conf"), "/nonexistent\n").unwrap();
    machine.ldconfig();
    let none = machine.copy("575.51.03", "patchelf");
    assert!(!none.status.success());
    assert!(text(&none.stderr).contains("not among those that ldconfig lists"), "{none:?}");
}

/// On a box: none at first, which is one line and no error; then one is installed, and programs find it at once.
#[test]
fn a_box_gets_a_driver() {
    let env = TestEnv::new("hello");
    let up = env.devbox(["up", "-y", "-v"]).ok();
    up.says(&["driver: no NVIDIA driver: nothing to do"]);
    assert!(!env.on_box("ls /run").contains("opengl-driver"));

    let folder = env.path("driver");
    std::fs::create_dir(&folder).unwrap();
    make(&folder, Path::new("/run/opengl-driver"));
    let host = std::env::var_os("PATH").unwrap();
    let patchelf = std::env::split_paths(&host).map(|p| p.join("patchelf")).find(|p| p.exists()).unwrap();
    std::fs::copy(patchelf, folder.join("patchelf")).unwrap();
    let tar = Command::new("tar").arg("-C").arg(&folder).args(["-c", "."]).output().unwrap();
    assert!(tar.status.success());
    std::fs::write(env.path("driver.tar"), tar.stdout).unwrap();
    std::fs::rename(env.path("driver.tar"), env.volume().join("driver.tar")).unwrap();
    // As a package does it: the libraries, then ldconfig. The kernel's word is a file here.
    env.on_box(
        "sudo mkdir /opt/driver && cd /opt/driver && sudo tar -xf /lambda/nfs/devbox/driver.tar && \
         echo DEVBOX_DRIVER=/opt/driver/proc | sudo tee -a /etc/devbox/box.env && \
         sudo cp patchelf /usr/local/bin/ && sudo cp -P lib/libcuda* lib/libnvidia* /usr/local/lib/ && sudo ldconfig",
    );
    until("the driver to be there", || env.on_box("cat /run/devbox/driver") == "ready");
    assert_eq!(env.on_box("/opt/driver/program"), "42");
    let status = env.on_box("cat /run/devbox/status.json");
    assert!(
        status.contains(r#""step":"driver","state":"done","detail":"NVIDIA 570.86.15, 3 libraries""#),
        "{status}"
    );

    // A launch of this volume knows what was there before, and says what has changed.
    let up = env.devbox(["up"]).ok();
    up.says(&[
        "not pinned by Nix, and changed since ",
        ": driver 570.86.15, was none; GPU NVIDIA GH200 480GB, was none",
    ]);
    assert!(!env.devbox(["up"]).ok().stderr.contains("not pinned"), "told twice");
    let launches = env.volume().join(format!("devbox/launches/{}-linux/hello.jsonl", std::env::consts::ARCH));
    let launches = std::fs::read_to_string(launches).unwrap();
    let records: Vec<serde_json::Value> =
        launches.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(records.len(), 2, "{launches}");
    assert_eq!(
        (&records[0]["driver"], &records[1]["driver"]),
        (&serde_json::Value::Null, &"570.86.15".into())
    );
    assert_eq!(records[0]["fingerprint"], records[1]["fingerprint"]);
    let machine = &env.status()["machine"];
    assert_eq!(
        (&machine["driver"], &machine["gpus"][0]),
        (&"570.86.15".into(), &"NVIDIA GH200 480GB".into())
    );
    assert_eq!(machine["page-size"], 4096);
    let card = env.devbox(["status"]).ok().stdout;
    assert!(card.contains("NVIDIA GH200 480GB, driver 570.86.15"), "{card}");

    // Without a patchelf they are there, and `up` does not call that well.
    env.on_box("sudo rm /usr/local/bin/patchelf && sudo systemctl start devbox-driver.service");
    env.devbox(["up"])
        .ok()
        .says(&["warning: CUDA may not work: NVIDIA 570.86.15, 3 libraries", "`pkgs.patchelf`"]);

    // After a reboot by itself; without a driver nothing is left of it.
    env.on_box("sudo rm -r /opt/driver/proc && sudo systemctl start devbox-driver.service");
    assert_eq!(
        env.on_box("ls -d /run/opengl-driver 2>&1; cat /run/devbox/driver").lines().last(),
        Some("none")
    );
    env.devbox(["down"]).ok();
}
