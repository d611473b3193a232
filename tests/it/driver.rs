//! The NVIDIA driver's libraries for programs of Nix. There is no such driver here: libraries made for the test stand in
//! for it (`tests/fixtures/driver`), which open one another by name as the real ones do.

#![expect(clippy::disallowed_methods, reason = "tests start what they test")]

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{SmallDisk, TestEnv, repository, until};

/// A machine with such a driver, without a box.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let this = Self { dir };
        make(this.dir.path(), &this.path("link"), None);
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
        assert_eq!(text(&done.stdout), "4\n", "{done:?}");
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

fn make(folder: &Path, link: &Path, version: Option<&str>) {
    let made = Command::new(repository().join("tests/fixtures/driver/make.sh"))
        .args([folder, link])
        .args(version)
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
        "libnvidia-nvvm70.so.4",
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

    // The same version from a package that was built again; what there was before is gone.
    let ml = machine.path("lib/libnvidia-ml.so.570.86.15");
    std::fs::remove_file(&ml).unwrap();
    std::fs::copy(machine.path("lib/libcuda.so.1"), ml).unwrap();
    machine.copied("570.86.15", "patchelf");
    assert_ne!(of("link/lib/libcuda.so.1"), before);
    assert_eq!(std::fs::read_dir(machine.path("store")).unwrap().count(), 1);
}

/// A package brings another driver: what runs keeps what it works with, until the kernel has the new one too.
#[test]
fn the_copies_are_of_the_driver_that_the_kernel_has() {
    let machine = Machine::new();
    machine.copied("570.86.15", "patchelf");
    std::fs::remove_dir_all(machine.path("lib")).unwrap();
    make(machine.dir.path(), &machine.path("link"), Some("575.51.03"));
    machine.ldconfig();
    machine.copied("570.86.15", "patchelf");
    assert_eq!(machine.program().0, "42\n");
    machine.copied("575.51.03", "patchelf");
    assert_eq!(machine.program().0, "575\n");

    // After a boot with the old module there is nothing that works, and that is said.
    std::fs::remove_file(machine.path("link")).unwrap();
    assert_eq!(text(&machine.copy("570.86.15", "patchelf").stdout), "4\nmismatch 575.51.03\n");
}

/// CUDA's compatibility packages bring a libcuda of a later driver, which ldconfig may list first.
#[test]
fn a_compatibility_package_is_not_taken_for_the_driver() {
    let machine = Machine::new();
    std::fs::rename(machine.path("lib"), machine.path("real")).unwrap();
    make(machine.dir.path(), &machine.path("link"), Some("580.65.06"));
    std::fs::rename(machine.path("lib"), machine.path("compat")).unwrap();
    let folders = format!("{}\n{}\n", machine.path("compat").display(), machine.path("real").display());
    std::fs::write(machine.path("ld.so.conf"), folders).unwrap();
    machine.ldconfig();
    machine.copied("570.86.15", "patchelf");
    assert_eq!(machine.program().0, "42\n");
    machine.copied("580.65.06", "patchelf");
    assert_eq!(machine.program().0, "580\n");
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

    let foreign = machine.copy("570.86.15", "patchelf");
    assert!(text(&foreign.stderr).contains("link is there, and is not devbox's"), "{foreign:?}");
    std::fs::remove_file(machine.path("link")).unwrap();
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
    assert!(text(&failed.stderr).contains("false does not work"), "{failed:?}");
    assert_eq!(machine.program().0, "42\n");
    assert_eq!(std::fs::read_dir(machine.path("store")).unwrap().count(), 1);

    std::fs::write(machine.path("ld.so.conf"), "/nonexistent\n").unwrap();
    machine.ldconfig();
    let none = machine.copy("575.51.03", "patchelf");
    assert!(!none.status.success());
    assert!(text(&none.stderr).contains("not among those that ldconfig lists"), "{none:?}");
}

/// One library that patchelf can't change takes none of the others with it.
#[test]
fn a_library_that_can_not_be_changed_is_named() {
    let machine = Machine::new();
    let picky = machine.path("picky");
    let refuses = "#!/bin/sh\ncase $3 in *libnvidia-ml*) echo 'odd sections' >&2; exit 1 ;; esac\nexec patchelf \"$@\"\n";
    std::fs::write(&picky, refuses).unwrap();
    std::fs::set_permissions(&picky, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let done = machine.copy("570.86.15", picky.to_str().unwrap());
    assert_eq!(text(&done.stdout), "4\nrefused libnvidia-ml.so.570.86.15\n", "{done:?}");
    assert_eq!(machine.program().0, "42\n");
}

/// The step itself, where `/run` is as Ubuntu has it: nothing that can be mapped. It waits for a driver that is on its
/// way, and for no other.
#[test]
fn the_step_says_how_it_is() {
    let machine = Machine::new();
    let run = SmallDisk::mount(&machine.path("run"), "noexec,mode=755,size=16m");
    std::fs::rename(machine.path("proc"), machine.path("later")).unwrap();
    let set = |name: &str, at: &str| format!("{name}='{}'\n", machine.path(at).display());
    let env = [
        "DEVBOX_BOX=b\nDEVBOX_LAUNCH=l\nDEVBOX_SYSTEM=s\nDEVBOX_VOLUME=/none\nDEVBOX_DRIVER_WAIT=1\nset -a\n"
            .to_owned(),
        set("DEVBOX_RUN", "run/devbox"),
        set("DEVBOX_DRIVER", "proc"),
        set("DEVBOX_PCI", "pci"),
        set("DEVBOX_DRIVER_LINK", "run/opengl-driver"),
        set("DEVBOX_DRIVER_STORE", "store"),
        set("DEVBOX_LD_CACHE", "ld.so.cache"),
        "set +a\n".to_owned(),
    ];
    std::fs::write(machine.path("box.env"), env.concat()).unwrap();
    std::fs::create_dir_all(machine.path("run/devbox")).unwrap();
    let step = || {
        let mut script = Command::new(repository().join("src/guest/scripts/driver.sh"));
        let ran = script.env("DEVBOX_ENV", machine.path("box.env")).output().unwrap();
        assert!(ran.status.success(), "{}", text(&ran.stderr));
        let status = std::fs::read(machine.path("run/devbox/status.json")).unwrap();
        let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
        let state = std::fs::read_to_string(machine.path("run/devbox/driver")).unwrap();
        (state.trim().to_owned(), status["steps"][0]["detail"].as_str().unwrap().to_owned())
    };
    let is = |state: &str, detail: &str| (state.to_owned(), detail.to_owned());
    assert_eq!(step(), is("none", "no NVIDIA driver: nothing to do"));

    let gpu = machine.path("pci/0009:01:00.0");
    std::fs::create_dir_all(&gpu).unwrap();
    std::fs::write(gpu.join("vendor"), "0x10de\n").unwrap();
    std::fs::write(gpu.join("class"), "0x030200\n").unwrap();
    assert_eq!(step(), is("unloaded", "there is an NVIDIA GPU, and its driver is not loaded"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(300));
            std::fs::rename(machine.path("later"), machine.path("proc")).unwrap();
        });
        assert_eq!(step(), is("ready", "NVIDIA 570.86.15, 4 libraries"));
    });
    let program = machine.path("program");
    make(machine.dir.path(), &machine.path("run/opengl-driver"), None);
    assert_eq!(text(&Command::new(program).env_clear().output().unwrap().stdout), "42\n");
    assert_eq!(
        std::fs::read(machine.path("run/devbox/driver.made")).unwrap(),
        std::fs::read(machine.path("run/devbox/driver.of")).unwrap(),
        "a shell that is entered would look again"
    );
    drop(run);
}

/// `make test-gpu`, whose real driver and GPU are not had here: without them it says so, and that is no success. With
/// what stands in for them all of it runs, and it fails where the libraries do not find one another.
#[test]
fn the_test_on_a_gpu_tells_what_it_found() {
    let machine = Machine::new();
    let test = |set: &[(&str, &str)]| {
        let mut script = Command::new(repository().join("scripts/test-gpu.sh"));
        script.env("DEVBOX_DRIVER", machine.path("proc")).env("TEST_GPU_FOLDER", machine.path("work"));
        script.env("DEVBOX_LD_CACHE", machine.path("ld.so.cache")).envs(set.iter().copied());
        let ran = script.output().unwrap();
        (ran.status.code().unwrap(), text(&ran.stdout) + &text(&ran.stderr))
    };
    let (code, said) = test(&[("DEVBOX_DRIVER", "/nonexistent")]);
    assert_eq!(code, 77, "{said}");
    assert!(said.contains("no NVIDIA driver on this machine"), "{said}");

    let cuda = "libcuda.so.570.86.15";
    std::fs::copy(machine.path("cuda").join(cuda), machine.path("lib").join(cuda)).unwrap();
    let (code, said) = test(&[]);
    assert_eq!(code, 0, "{said}");
    for words in
        ["GPU 0      NVIDIA GH200 480GB", "its answer is 42", "/lib/libnvidia-ptxjitcompiler.so.570.86.15\n"]
    {
        assert!(said.contains(words), "`{words}` is not in:\n{said}");
    }
    let (code, said) = test(&[("TEST_NO_GPU", "1")]);
    assert_eq!(code, 77, "{said}");
    assert!(said.contains("the driver is there, and no GPU"), "{said}");

    // A patchelf that does nothing.
    let bin = machine.path("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink("/bin/true", bin.join("patchelf")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let (code, said) = test(&[("PATH", &path)]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("cuModuleLoadData: error 221, PTX JIT compiler library not found"), "{said}");
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
    make(&folder, Path::new("/run/opengl-driver"), None);
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
        status.contains(r#""step":"driver","state":"done","detail":"NVIDIA 570.86.15, 4 libraries""#),
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
        .says(&["warning: CUDA may not work: NVIDIA 570.86.15, 4 libraries", "`pkgs.patchelf`"]);

    // One in the closure of an environment will do, as nixpkgs' mkShell has it: the box needs none of its own.
    env.on_box(
        "mkdir -p /tmp/patchelf-0.15.2/bin && cp /opt/driver/patchelf /tmp/patchelf-0.15.2/bin && \
         sudo nix-env --quiet --profile /nix/var/nix/profiles/devbox/other --set $(nix-store --add /tmp/patchelf-0.15.2) && \
         ! type -P patchelf && sudo systemctl start devbox-driver.service",
    );
    assert_eq!(env.on_box("cat /run/devbox/driver; /opt/driver/program"), "ready\n42");
    assert!(!env.devbox(["up"]).ok().stderr.contains("CUDA may not work"));

    // Another driver in the kernel, without a reboot: the next shell looks.
    env.on_box("echo '-' | sudo tee -a /opt/driver/proc/version");
    env.devbox(["run", "--", "true"]).ok().says(&["devbox: the NVIDIA driver has changed"]);
    assert!(!env.devbox(["run", "--", "true"]).ok().stderr.contains("has changed"), "told twice");

    // After a reboot by itself; without a driver nothing is left of it.
    env.on_box("sudo rm -r /opt/driver/proc && sudo systemctl start devbox-driver.service");
    assert_eq!(
        env.on_box("ls -d /run/opengl-driver 2>&1; cat /run/devbox/driver").lines().last(),
        Some("none")
    );
    env.devbox(["down"]).ok();
}
