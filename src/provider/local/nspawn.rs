//! Booting a box: its root, its seed, the command that runs it.

use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, OrFail, Result, tick};
use crate::process::Cmd;
use crate::provider::LaunchRequest;

use super::boxes::{Place, Record, digits_of};
use super::cgroup::Groups;
use super::{bare, late, loops, network};

const LAUNCHER: &str = include_str!("launch.sh");
/// What the launcher's last line begins with.
const ENDED: &str = "devbox: the box ended";
/// From starting the launcher until the box's init runs. A fraction of a second, when all is well.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where cloud-init looks for its seed.
const SEED: &str = "var/lib/cloud/seed/nocloud";

/// Makes all that the box needs over `lower` and starts it. Its record then has its address.
pub(super) async fn start(
    place: &Place,
    record: &mut Record,
    request: &LaunchRequest,
    lower: &Path,
) -> Result<()> {
    mount_root(place, lower).await?;
    if !record.nix {
        bare::remove_nix(&place.root())?;
    }
    plant_seed(&place.root(), place.id(), request)?;
    let address = network::attach(place.id(), digits_of(place.id()).unwrap_or_default()).await?;
    record.address = Some(address);
    place.write(record)?;

    let groups = Groups::of(place.id())?;
    groups.make()?;
    loops::make_nodes()?;
    launch(place, record, &groups)?;
    booted(place, &groups).await?;
    record.started = true;
    place.write(record)
}

/// Where ssh will answer.
pub(super) fn address(record: &Record) -> Option<IpAddr> {
    record.address.map(IpAddr::V4)
}

/// Mounts the box's root: the shared root filesystem, with what the box writes over it.
async fn mount_root(place: &Place, lower: &Path) -> Result<()> {
    // Names relative to the box's folder: `:` and `,` in a path would mean something to overlayfs.
    let link = place.dir().join("lower");
    std::os::unix::fs::symlink(lower, &link).or_fail(|| format!("can't make {}", tick(&link)))?;
    for dir in [place.upper(), place.dir().join("work"), place.root()] {
        std::fs::create_dir(&dir).or_fail(|| format!("can't make {}", tick(&dir)))?;
    }
    // `volatile`: a box's root dies with it, so nothing of it need reach the disk. Its volume is no
    // part of the overlay.
    let options = "lowerdir=lower,upperdir=upper,workdir=work,volatile";
    Cmd::new("mount")
        .args(["-t", "overlay", "-o", options, "overlay", "root"])
        .dir(place.dir())
        .check()
        .await
        .map_err(|e| e.hint("the state folder must be on a filesystem such as ext4, xfs or btrfs"))
        .map(drop)
}

/// Lays the cloud-init seed and the host name into the mounted root.
fn plant_seed(root: &Path, id: &str, request: &LaunchRequest) -> Result<()> {
    let seed = root.join(SEED);
    std::fs::create_dir_all(&seed).or_fail(|| format!("can't make {}", tick(&seed)))?;
    let name = &request.name;
    // As clouds do: the account's key comes beside the user data, which need not carry any.
    let keys = match request.login.public.trim() {
        "" => String::new(),
        key => format!("public-keys: [{}]\n", serde_json::Value::from(key)),
    };
    let files = [
        (seed.join("meta-data"), format!("instance-id: {id}\nlocal-hostname: {name}\n{keys}"), 0o600),
        (seed.join("user-data"), request.user_data.clone(), 0o600),
        (root.join("etc/hostname"), format!("{name}\n"), 0o644),
        (root.join("etc/hosts"), format!("127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {name}\n"), 0o644),
    ];
    files.into_iter().try_for_each(|(path, text, mode)| write(&path, &text, mode))
}

/// Writes a file that nobody else can ever have read when `mode` says so.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let what = || format!("can't write {}", tick(path));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .or_fail(what)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode)).or_fail(what)?;
    file.write_all(text.as_bytes()).or_fail(what)
}

/// The command that boots the box and lives as long as it does.
fn argv_nspawn(id: &str, root: &Path, record: &Record) -> Vec<String> {
    let bind = |from: &Path, to: &str| format!("--bind={}:{}", escape(from), to);
    let mut argv: Vec<String> = [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        "--register=no",
        "--keep-unit",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        // Growing a mounted ext4 asks for it, and root on a machine of its own has it.
        "--capability=CAP_SYS_RESOURCE",
    ]
    .map(str::to_owned)
    .into();
    argv.push(format!("--machine={id}"));
    argv.push(format!("--hostname={}", record.name));
    argv.push(format!("--directory={}", root.display()));
    argv.push(format!("--network-namespace-path={}", network::namespace(id).display()));
    let there = if record.late { late::ASIDE.to_owned() } else { record.mount_point() };
    argv.push(bind(&record.folder, &escape(Path::new(&there))));
    argv.push("--bind=/dev/loop-control".into());
    argv.extend((0..loops::COUNT).map(|n| format!("--bind={}", loops::node(n).display())));
    argv
}

/// A path within a `--bind=`, where `:` separates.
fn escape(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace(':', "\\:")
}

fn launch(place: &Place, record: &Record, groups: &Groups) -> Result<()> {
    let script = place.script();
    write(&script, LAUNCHER, 0o600)?;
    let log: PathBuf = place.log();
    let log = File::create(&log).or_fail(|| format!("can't write {}", tick(&log)))?;
    let dirs: Vec<_> = groups.dirs().iter().map(|dir| dir.display().to_string()).collect();
    Cmd::new("sh")
        .arg(&script)
        .arg("keep")
        .args(argv_nspawn(place.id(), &place.root(), record))
        .env("GROUPS_OF_BOX", dirs.join("\n"))
        .dir("/")
        .detach(&log)
}

/// Waits until the box's init runs.
async fn booted(place: &Place, groups: &Groups) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while !groups.booted()? {
        let ended = place.last_words(1).iter().any(|line| line.starts_with(ENDED));
        if ended || Instant::now() > until {
            return Err(Error::new(
                Kind::Provider,
                format!("the local box `{}` did not start", record_name(place)),
            )
            .details(place.last_words(15)));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn record_name(place: &Place) -> String {
    place.record().map_or_else(|| place.id().to_owned(), |record| record.name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{LaunchId, System};

    fn record() -> Record {
        Record {
            launch: LaunchId::random(),
            name: "b".parse().unwrap(),
            system: System::X86_64Linux,
            volume: "data".parse().unwrap(),
            folder: "/v:1/data".into(),
            mount_point: None,
            late: false,
            nix: true,
            since: jiff::Timestamp::UNIX_EPOCH,
            address: None,
            started: false,
        }
    }

    #[test]
    fn the_box_sees_its_volume_its_network_and_the_loop_devices() {
        let argv = argv_nspawn("local-0123456789ab", Path::new("/s/root"), &record());
        for word in [
            "--machine=local-0123456789ab",
            "--hostname=b",
            "--directory=/s/root",
            "--network-namespace-path=/run/netns/local-0123456789ab",
            r"--bind=/v\:1/data:/lambda/nfs/data",
            "--bind=/dev/loop-control",
            "--bind=/dev/loop63",
            "--capability=CAP_SYS_RESOURCE",
        ] {
            assert!(argv.iter().any(|arg| arg == word), "{word} is not among {argv:?}");
        }
        assert_eq!(argv[0], "systemd-nspawn");

        let elsewhere = Record { mount_point: Some("/data/d".into()), ..record() };
        let argv = argv_nspawn("local-0123456789ab", Path::new("/s/root"), &elsewhere);
        assert!(argv.contains(&r"--bind=/v\:1/data:/data/d".to_owned()), "{argv:?}");
        let argv =
            argv_nspawn("local-0123456789ab", Path::new("/s/root"), &Record { late: true, ..elsewhere });
        assert!(argv.contains(&format!(r"--bind=/v\:1/data:{}", late::ASIDE)), "{argv:?}");
    }

    #[test]
    fn the_seed_is_for_root_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("user-data");
        std::fs::write(&file, "older and longer").unwrap();
        write(&file, "secret", 0o600).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "secret");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
