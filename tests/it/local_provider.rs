//! Real boxes on this machine. Needs root; the first run makes the root filesystem, about a minute.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use devbox::error::Kind;
use devbox::events::Events;
use devbox::names::{InstanceId, LaunchId, VolumeName};
use devbox::process::Cmd;
use devbox::provider::local::{LocalConfig, LocalProvider};
use devbox::provider::{Instance, InstanceStatus, LaunchRequest, Placement, Provider};
use devbox::ssh::keys::LoginKey;

/// Far more than a box takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What these tests leave is looked for by names that they share, so one runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A provider with folders of its own, keys, and a volume named `data`.
struct Stage {
    dir: tempfile::TempDir,
    provider: LocalProvider,
    events: Events,
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    #[expect(clippy::await_holding_lock, reason = "a test has a thread and a runtime of its own")]
    async fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "local boxes need root: run these tests as root, for example `sudo make test`"
        );
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        for key in ["user", "host"] {
            Cmd::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
                .arg(dir.path().join(key))
                .check()
                .await
                .unwrap();
        }
        let provider = LocalProvider::new(LocalConfig {
            state: dir.path().join("state"),
            // Shared by all tests and all runs.
            cache: Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache/devbox"),
            volumes: dir.path().join("volumes"),
            nix: true,
        });
        provider.check().await.expect("this machine can have local boxes");
        provider.create_volume(&"data".parse().unwrap(), None).await.unwrap();
        Self { dir, provider, events: Events::silent(), _alone: alone }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn user_data(&self) -> String {
        let key: String = self.read("host").lines().map(|line| format!("    {line}\n")).collect();
        format!(
            "#cloud-config\nssh_authorized_keys:\n  - {}\nssh_keys:\n  ed25519_private: |\n{key}  ed25519_public: {}\n",
            self.read("user.pub").trim(),
            self.read("host.pub").trim()
        )
    }

    async fn request(&self, name: &str) -> LaunchRequest {
        let volume: VolumeName = "data".parse().unwrap();
        let offer = self.provider.market().await.unwrap().offers.remove(0);
        LaunchRequest {
            name: name.parse().unwrap(),
            launch: LaunchId::random(),
            asked: jiff::Timestamp::now(),
            placement: Placement {
                instance_type: offer.instance_type.clone(),
                region: offer.regions[0].clone(),
                system: offer.system,
                cents_per_hour: 0,
                image_family: None,
                volume: volume.clone(),
            },
            volume: self.provider.volumes(&[volume]).await.unwrap().remove(0),
            login: LoginKey { private: self.path("user"), public: self.read("user.pub") },
            user_data: self.user_data(),
        }
    }

    async fn launch(&self, name: &str) -> Instance {
        let request = self.request(name).await;
        self.provider.launch(&request, &self.events).await.map_err(tell).unwrap().launched().unwrap().keep()
    }

    async fn terminate(&self, id: &InstanceId) {
        self.provider.terminate(id, &self.events).await.map_err(tell).unwrap();
    }

    async fn status(&self, id: &InstanceId) -> Option<InstanceStatus> {
        let all = self.provider.list().await.unwrap();
        all.into_iter().find(|i| i.id == *id).map(|i| i.status)
    }

    async fn wait_for_status(&self, id: &InstanceId, wanted: InstanceStatus) {
        let until = Instant::now() + PATIENCE;
        while self.status(id).await.as_ref() != Some(&wanted) {
            assert!(Instant::now() < until, "{id} did not become {wanted} in time");
            pause().await;
        }
    }

    fn ssh(&self, address: IpAddr, command: &str) -> Cmd {
        let known = self.path("known_hosts");
        std::fs::write(&known, format!("{address} {}", self.read("host.pub"))).unwrap();
        Cmd::new("ssh")
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"])
            .args(["-o", "ConnectTimeout=10", "-o", "IdentitiesOnly=yes", "-o"])
            .arg(format!("UserKnownHostsFile={}", known.display()))
            .arg("-i")
            .arg(self.path("user"))
            .args([format!("ubuntu@{address}"), command.to_owned()])
    }

    /// What `command` prints in the box, which has to succeed.
    async fn run(&self, address: IpAddr, command: &str) -> String {
        self.ssh(address, command).check().await.map_err(tell).unwrap().text().trim().to_owned()
    }

    async fn wait_for_login(&self, address: IpAddr) -> Duration {
        let began = Instant::now();
        loop {
            let output = self.ssh(address, "true").run().await.unwrap();
            if output.status.success() {
                return began.elapsed();
            }
            assert!(began.elapsed() < PATIENCE, "no login: {:?}", output.last_error_lines(5));
            pause().await;
        }
    }
}

/// A test that fails leaves nothing either.
impl Drop for Stage {
    fn drop(&mut self) {
        let provider = self.provider.clone();
        let end_all = move || {
            block(async {
                for instance in provider.list().await.unwrap() {
                    provider.terminate(&instance.id, &Events::silent()).await.map_err(tell).unwrap();
                }
            });
        };
        // A thread of its own, since a runtime may be running in this one.
        let ended = std::thread::spawn(end_all).join();
        assert!(ended.is_ok() || std::thread::panicking(), "the boxes could not be ended");
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// Shows all that an error has to say before a test fails with it.
fn tell(e: devbox::error::Error) -> devbox::error::Error {
    eprintln!("{e}\n{:#?}\n{:#?}\n{:#?}", e.causes(), e.detail_lines(), e.hints());
    e
}

async fn banner(address: IpAddr) -> Duration {
    use tokio::io::AsyncReadExt;
    let began = Instant::now();
    loop {
        let greeting = async {
            let mut socket = tokio::net::TcpStream::connect((address, 22)).await?;
            let mut start = [0; 4];
            socket.read_exact(&mut start).await.map(|_| start)
        };
        if let Ok(Ok(start)) = tokio::time::timeout(Duration::from_secs(1), greeting).await {
            assert_eq!(&start, b"SSH-");
            return began.elapsed();
        }
        assert!(began.elapsed() < PATIENCE, "no ssh at {address}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Processes whose command line names `word`.
fn processes_with(word: &str) -> Vec<(i32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        // A process that ended meanwhile has none.
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(word) {
            found.push((pid, line));
        }
    }
    found
}

/// Everything on this machine that names the box, its folder or its volume.
async fn traces(stage: &Stage, id: &InstanceId) -> Vec<String> {
    let id = id.0.as_str();
    let digits = id.trim_start_matches("local-");
    let folder = stage.dir.path().to_str().unwrap();
    let mut traces: Vec<String> =
        processes_with(id).into_iter().map(|(pid, line)| format!("{pid} {line}")).collect();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    traces.extend(mounts.lines().filter(|line| line.contains(id)).map(str::to_owned));
    for (program, args) in
        [("ip", &["netns"][..]), ("ip", &["-brief", "link"]), ("losetup", &["--list", "--noheadings"])]
    {
        let all = Cmd::new(program).args(args).check().await.unwrap().text();
        let ours = |line: &&str| line.contains(id) || line.contains(digits) || line.contains(folder);
        traces.extend(all.lines().filter(ours).map(str::to_owned));
    }
    for top in ["/sys/fs/cgroup", "/run/systemd/nspawn", stage.path("state/boxes").to_str().unwrap()] {
        let found = Cmd::new("find")
            .args([top, "-maxdepth", "2", "-name"])
            .arg(format!("*{id}*"))
            .run()
            .await
            .unwrap();
        traces.extend(found.text().lines().map(str::to_owned));
    }
    let addresses = Path::new("/run/devbox-local/addresses");
    for entry in std::fs::read_dir(addresses).into_iter().flatten().flatten() {
        let owner = std::fs::read_to_string(entry.path()).unwrap_or_default();
        traces.extend((owner == id).then(|| entry.path().display().to_string()));
    }
    traces
}

async fn assert_gone(stage: &Stage, id: &InstanceId) {
    assert_eq!(traces(stage, id).await, Vec::<String>::new());
    assert_eq!(stage.status(id).await, None);
}

/// Where a box has its image on the volume. Named by its id, so that loop devices can be told apart.
fn image(id: &InstanceId) -> String {
    format!("/lambda/nfs/data/store-of-{id}.img")
}

/// Makes an image on the volume and mounts it, as the guest's own set-up will.
fn mount_image(id: &InstanceId) -> String {
    let image = image(id);
    format!(
        "set -eu
        sudo truncate -s 64M {image}
        loop=$(sudo losetup --find --show --direct-io=on {image})
        sudo mkfs.ext4 -q $loop
        sudo mkdir -p /mnt/store
        sudo mount $loop /mnt/store
        hostname | sudo tee /mnt/store/who"
    )
}

#[test]
fn two_boxes_at_once_live_their_lives_and_leave_nothing() {
    block(async {
        let stage = Stage::new().await;
        let began = Instant::now();
        let (one, two) = tokio::join!(stage.launch("one"), stage.launch("two"));
        println!("two launches: {:?}", began.elapsed());
        assert_ne!((&one.id, one.address), (&two.id, two.address));
        assert_eq!((one.status.clone(), one.cents_per_hour), (InstanceStatus::Active, Some(0)));

        for (instance, name) in [(&one, "one"), (&two, "two")] {
            let address = instance.address.unwrap();
            stage.wait_for_login(address).await;
            println!("{name}: login after {:?}", began.elapsed());
            assert_eq!(
                stage.run(address, "id -u; hostname; sudo -n id -u").await,
                format!("1000\n{name}\n0")
            );
            assert_eq!(
                stage.run(address, "sudo -n hostname -I; ip route").await.split(' ').next(),
                Some(&*address.to_string())
            );
            assert_eq!(stage.run(address, &mount_image(&instance.id)).await, name);
            // Left attached, on the volume and on the box's own root.
            let own = format!("/root/own-of-{}.img", instance.id);
            stage.run(address, &format!("sudo losetup --find {}", image(&instance.id))).await;
            stage.run(address, &format!("sudo truncate -s 1M {own} && sudo losetup --find {own}")).await;
        }

        stage.terminate(&one.id).await;
        assert_eq!(stage.run(two.address.unwrap(), "cat /mnt/store/who").await, "two");
        let began = Instant::now();
        stage.terminate(&two.id).await;
        println!("terminate: {:?}", began.elapsed());
        stage.terminate(&two.id).await;
        assert_gone(&stage, &one.id).await;
        assert_gone(&stage, &two.id).await;
        let kept = stage.path("volumes/data").join(format!("store-of-{}.img", two.id));
        assert!(kept.exists(), "the volume outlives its boxes");
    });
}

#[test]
fn a_box_reboots_and_powers_off() {
    block(async {
        let stage = Stage::new().await;
        let began = Instant::now();
        let instance = stage.launch("phoenix").await;
        println!("launch: {:?}", began.elapsed());
        let address = instance.address.unwrap();
        banner(address).await;
        println!("launch to banner: {:?}", began.elapsed());
        stage.wait_for_login(address).await;
        println!("launch to login: {:?}", began.elapsed());
        stage.run(address, "cloud-init status --wait").await;
        println!("launch to cloud-init done: {:?}", began.elapsed());

        let boot = "cat /proc/1/stat | cut -d' ' -f22";
        let before = stage.run(address, boot).await;
        let began = Instant::now();
        // The connection may end before the command does.
        stage.ssh(address, "sudo systemctl reboot").run().await.unwrap();
        loop {
            stage.wait_for_login(address).await;
            let now = stage.ssh(address, boot).run().await.unwrap().text().trim().to_owned();
            if !now.is_empty() && now != before {
                break;
            }
            assert!(began.elapsed() < PATIENCE);
        }
        println!("reboot to login: {:?}", began.elapsed());
        assert_eq!(stage.status(&instance.id).await, Some(InstanceStatus::Active));

        stage.ssh(address, "sudo systemctl poweroff").run().await.unwrap();
        stage.wait_for_status(&instance.id, InstanceStatus::Dead).await;
        stage.terminate(&instance.id).await;
        assert_gone(&stage, &instance.id).await;
    });
}

#[test]
fn a_killed_box_is_dead_until_it_is_ended() {
    block(async {
        let stage = Stage::new().await;
        let request = stage.request("victim").await;
        let first = stage.provider.launch(&request, &stage.events).await.unwrap().launched().unwrap().keep();
        let again = stage.provider.launch(&request, &stage.events).await.unwrap().launched().unwrap().keep();
        assert_eq!(first, again, "the same launch is the same box");
        assert_eq!(stage.provider.list().await.unwrap().len(), 1);
        stage.wait_for_login(first.address.unwrap()).await;
        stage.run(first.address.unwrap(), &mount_image(&first.id)).await;

        stage.provider.kill(&first.id).await.unwrap();
        assert_eq!(stage.status(&first.id).await, Some(InstanceStatus::Dead));
        stage.terminate(&first.id).await;
        assert_gone(&stage, &first.id).await;
    });
}

#[test]
fn a_box_whose_nspawn_was_killed_can_be_ended_and_launched_over() {
    block(async {
        let stage = Stage::new().await;
        let request = stage.request("orphan").await;
        let first = stage.provider.launch(&request, &stage.events).await.unwrap().launched().unwrap().keep();
        stage.wait_for_login(first.address.unwrap()).await;
        let machine = format!("--machine={}", first.id);
        let nspawns: Vec<_> = processes_with(&machine)
            .into_iter()
            .filter(|(_, line)| line.starts_with("systemd-nspawn"))
            .collect();
        assert!(!nspawns.is_empty());
        for (pid, _) in nspawns {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        stage.terminate(&first.id).await;
        assert_gone(&stage, &first.id).await;

        let second = stage.provider.launch(&request, &stage.events).await.unwrap().launched().unwrap().keep();
        assert_eq!(second.id, first.id);
        stage.wait_for_login(second.address.unwrap()).await;
        // Parts that are already gone don't hinder.
        Cmd::new("ip").args(["netns", "delete", &second.id.0]).check().await.unwrap();
        std::fs::remove_file(stage.path("state/boxes").join(&second.id.0).join("box.json")).unwrap();
        assert_eq!(stage.provider.list().await.unwrap().len(), 1);
        stage.terminate(&second.id).await;
        assert_gone(&stage, &second.id).await;
    });
}

#[test]
fn a_launch_or_an_end_cut_off_at_any_moment_is_listed_and_can_be_ended() {
    block(async {
        let stage = Stage::new().await;
        // So that the root filesystem is there and the moments are those of the launch itself.
        let first = stage.launch("first").await;
        stage.terminate(&first.id).await;
        for moment in (0..=150).step_by(10).map(Duration::from_millis) {
            let request = stage.request("cut").await;
            let launch = stage.provider.launch(&request, &stage.events);
            let launched = tokio::time::timeout(moment, launch).await;
            if let Ok(launched) = launched {
                launched.unwrap().launched().unwrap().keep();
            }
            let all = stage.provider.list().await.unwrap();
            let Some(cut) = all.first() else { continue };
            assert_eq!((all.len(), cut.launch), (1, Some(request.launch)), "{moment:?}");
            if cut.status != InstanceStatus::Active {
                // At once for a process of its own; here, other tests fork, and a fork holds all locks
                // until it execs.
                stage.wait_for_status(&cut.id, InstanceStatus::Dead).await;
            }

            // What is left does not hinder the same launch.
            let again = stage
                .provider
                .launch(&request, &stage.events)
                .await
                .map_err(tell)
                .unwrap()
                .launched()
                .unwrap()
                .keep();
            assert_eq!((&again.id, &again.status), (&cut.id, &InstanceStatus::Active), "{moment:?}");
            let end = stage.provider.terminate(&cut.id, &stage.events);
            if let Ok(ended) = tokio::time::timeout(moment, end).await {
                ended.unwrap();
            }
            stage.terminate(&cut.id).await;
            assert_gone(&stage, &cut.id).await;
        }
    });
}

#[test]
fn what_cannot_run_here_is_refused_before_anything_is_made() {
    block(async {
        let stage = Stage::new().await;
        let mut request = stage.request("other").await;
        let (x86, arm) = (devbox::names::System::X86_64Linux, devbox::names::System::Aarch64Linux);
        request.placement.system = if request.placement.system == x86 { arm } else { x86 };
        let error = stage.provider.launch(&request, &stage.events).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Provider);
        let mut request = stage.request("other").await;
        request.volume.name = "absent".parse().unwrap();
        let error = stage.provider.launch(&request, &stage.events).await.unwrap_err();
        assert_eq!(error.to_string(), "there is no volume `absent`");
        let error = stage.provider.terminate(&InstanceId("../..".into()), &stage.events).await.unwrap_err();
        assert!(error.to_string().ends_with("is no local box"));
        assert!(stage.provider.list().await.unwrap().is_empty());
    });
}
