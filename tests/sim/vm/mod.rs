//! QEMU guests as boxes: a kernel of their own, filesystems of a real NFS server, and power that goes at once. The
//! processor is emulated, since hardware virtualisation is not to be had everywhere. Needs root.
//!
//! A guest is a folder `vms/ID` of the simulator's state: seed, disk, console, process id.

mod process;
mod share;
mod tools;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use devbox::error::{Error, Kind, OrFail, Result, tick};
use devbox::names::{LaunchId, sanitize};
use devbox::process::Cmd;
use serde_json::json;

use super::state::Instance;
pub(crate) use share::Share;
use tools::{Tools, inside, option};

/// A first run downloads a Debian or two.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// What the kernel is told: its disk, where to talk, and to leave out what costs time.
const KERNEL: &str =
    "root=/dev/nvme0n1 rw console=ttyS0 quiet systemd.show_status=0 mitigations=off audit=0 apparmor=0";

/// Where guests come from.
#[derive(Debug)]
pub(crate) struct Vms {
    tools: Tools,
    /// The folder of the kernel and of the disk under every guest's own.
    guest: PathBuf,
    /// The server of the filesystems.
    pub(crate) share: Share,
}

impl Vms {
    /// Guests that start from what is in `cache`, made if it is not there yet. Their filesystems are folders of
    /// `shared`: simulators that have the same one share them.
    pub(crate) fn new(cache: &Path, shared: &Path) -> Result<Self> {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim/vm/make.sh");
        let make = Cmd::new(recipe).arg(cache).deadline(DEADLINE);
        let made = super::runtime()?.block_on(make.check())?.text();
        let mut folders = made.lines().map(PathBuf::from);
        let mut next =
            || folders.next().ok_or_else(|| Error::new(Kind::Failed, "the recipe of guests made nothing"));
        let (tools, guest) = (Tools(next()?), next()?);
        Ok(Self { share: Share::new(shared, tools.clone())?, tools, guest })
    }

    /// Starts the guest of an instance, or finds it running: its id and its address.
    pub(super) async fn start(&self, state: &Path, instance: &Instance) -> Result<(String, String)> {
        let launch = instance
            .machine
            .as_ref()
            .map(|m| m.launch)
            .ok_or_else(|| Error::new(Kind::Failed, "the instance is to have no box"))?;
        let (id, address) = (id_of(launch), address_of(launch));
        let dir = state.join("vms").join(&id);
        if process::running(&dir.join("pid"), &id).is_some() {
            return Ok((id, address));
        }
        devbox::paths::make_private(&dir)?;
        if !instance.mounts.is_empty() {
            self.share.start().await?;
        }
        self.seed(&dir, &id, instance)?;
        let disk = dir.join("disk");
        if !disk.exists() {
            let image = self.tools.cmd(&[&dir, &self.guest], "qemu-img");
            let image = image.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]);
            image.arg(inside(&self.guest.join("disk.img"))).arg(inside(&disk)).check().await?;
        }
        let seed =
            self.tools.cmd(&[&dir], "genisoimage").args(["-quiet", "-joliet", "-rock", "-volid", "cidata"]);
        let seed = seed.arg("-output").arg(inside(&dir.join("seed.iso")));
        seed.args(["user-data", "meta-data", "vendor-data"].map(|name| inside(&dir.join(name))))
            .check()
            .await?;
        // It returns once the guest runs, its port is taken and the process id is written.
        self.argv_qemu(&dir, &id, &address).check().await?;
        Ok((id, address))
    }

    /// What cloud-init finds. The filesystems come by way of the vendor, as with a real provider: the user data knows
    /// nothing of how they are mounted.
    fn seed(&self, dir: &Path, id: &str, instance: &Instance) -> Result<()> {
        let mut mounts = Vec::new();
        for mount in &instance.mounts {
            let name = sanitize(&mount.name)
                .ok_or_else(|| Error::new(Kind::Failed, format!("no folder for `{}`", mount.name)))?;
            let options = format!("rw,vers=4.2,port={},nofail,_netdev", self.share.port());
            mounts.push(json!([self.share.source(&name)?, mount.mount_point, "nfs4", options, "0", "0"]));
        }
        let meta = json!({
            "instance-id": id, "local-hostname": instance.hostname, "public-keys": [instance.public_key],
        });
        let user = match instance.user_data.as_str() {
            "" => "#cloud-config\n{}\n",
            given => given,
        };
        // JSON is YAML.
        let vendor = format!("#cloud-config\n{}\n", json!({ "mounts": mounts }));
        for (name, text) in
            [("meta-data", &meta.to_string()), ("user-data", &user.to_owned()), ("vendor-data", &vendor)]
        {
            let file = dir.join(name);
            std::fs::write(&file, text).or_fail(|| format!("can't write {}", tick(&file)))?;
        }
        Ok(())
    }

    fn argv_qemu(&self, dir: &Path, id: &str, address: &str) -> Cmd {
        let drive = |name: &str| option(&inside(&dir.join(name)));
        self.tools
            .cmd(&[dir, &self.guest], "qemu-system-x86_64")
            .args(["-name", id, "-daemonize", "-display", "none", "-nodefaults", "-no-user-config"])
            .arg("-pidfile")
            .arg(inside(&dir.join("pid")))
            .args(["-machine", "q35,sata=off,smbus=off", "-accel", "tcg,thread=multi", "-cpu", "Westmere"])
            .args(["-smp", "2", "-m", "2048"])
            .arg("-kernel")
            .arg(inside(&self.guest.join("kernel")))
            .args(["-append", KERNEL])
            .args(["-serial", &format!("file:{}", inside(&dir.join("console")))])
            .args(["-qmp", &format!("unix:{},server=on,wait=off", drive("qmp"))])
            // The disk of the box itself is lost with it, so nobody waits for it to be written.
            .args(["-device", "nvme,id=nvme,serial=root", "-device", "nvme-ns,drive=root,bus=nvme,nsid=1"])
            .args(["-drive", &format!("if=none,id=root,format=qcow2,cache=unsafe,file={}", drive("disk"))])
            .args(["-device", "virtio-blk-pci,drive=seed"])
            .args(["-drive", &format!("if=none,id=seed,format=raw,readonly=on,file={}", drive("seed.iso"))])
            .args(["-netdev", &format!("user,id=net,ipv6=off,hostfwd=tcp:{address}:22-:22")])
            .args(["-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"])
    }

    /// Presses the button: the guest starts anew, nothing is told inside.
    pub(super) fn reset(&self, state: &Path, id: &str) -> Result<()> {
        self.monitor(state, id, "system_reset")
    }

    fn monitor(&self, state: &Path, id: &str, command: &str) -> Result<()> {
        let socket = state.join("vms").join(id).join("qmp");
        let what = || format!("can't tell the guest `{id}` to `{command}`");
        let stream = UnixStream::connect(&socket).or_fail(what)?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).or_fail(what)?;
        let mut lines = BufReader::new(stream.try_clone().or_fail(what)?).lines();
        for execute in ["qmp_capabilities", command] {
            writeln!(&stream, "{}", json!({ "execute": execute })).or_fail(what)?;
            // The greeting, and what happens meanwhile, is no answer.
            let answer = lines
                .by_ref()
                .map_while(Result::ok)
                .find(|l| l.contains("\"return\"") || l.contains("\"error\""));
            if !answer.as_ref().is_some_and(|a| a.contains("\"return\"")) {
                return Err(Error::new(Kind::Failed, what()).detail(answer.unwrap_or_default()));
            }
        }
        Ok(())
    }

    /// The power goes; nothing is left but what the guest said on its console.
    pub(super) fn end(&self, state: &Path, launch: LaunchId) -> Result<()> {
        let id = id_of(launch);
        let dir = state.join("vms").join(&id);
        process::kill(&dir.join("pid"), &id)?;
        if dir.exists() {
            let consoles = state.join("consoles");
            let what = || format!("can't clear away {}", tick(&dir));
            std::fs::create_dir_all(&consoles).or_fail(what)?;
            match std::fs::rename(dir.join("console"), consoles.join(&id)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).or_fail(what),
                _ => std::fs::remove_dir_all(&dir).or_fail(what)?,
            }
        }
        Ok(())
    }
}

/// The same launch, the same guest.
fn id_of(launch: LaunchId) -> String {
    format!("vm-{}", launch.to_string().chars().take(12).collect::<String>())
}

/// An address of this machine that no other launch has: plain ssh finds the guest at its port 22.
fn address_of(launch: LaunchId) -> String {
    let text = launch.to_string();
    let byte =
        |n: usize| text.get(2 * n..2 * n + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or(1);
    format!("127.{}.{}.{}", 64 + byte(0) / 2 % 64, byte(1), 1 + byte(2) % 254)
}

#[cfg(test)]
mod tests {
    use super::{address_of, id_of};

    #[test]
    fn a_launch_has_an_id_and_an_address_of_its_own() {
        let launch = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap();
        assert_eq!(id_of(launch), "vm-67e5504410b1");
        assert_eq!(address_of(launch), "127.115.229.81");
    }
}
