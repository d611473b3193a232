//! The cloud-init user data of a launch: host key, host name, login key, scripts, units, settings.
//! No secret of the account is in it. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{Error, Kind, Result};
use crate::guest::LIB;
use crate::names::{BoxName, LaunchId, MAX_NAME, System};
use crate::process::shell_quote;
use crate::ssh::keys::HostKey;

/// The most that Lambda takes (OpenAPI document 1.8.3, `user_data`), in bytes.
pub const MOST: usize = 1_000_000;

/// How long a box waits for a store image that another has: a filesystem may take minutes to notice that its holder is
/// gone (local-box.md). Where the holder lives, `up` says so long before.
const LEASE_WAIT: Duration = Duration::from_secs(600);

/// The user that images come with.
pub const USER: &str = "ubuntu";

/// What a launch tells its box. It holds the private host key, so it has no `Debug`.
#[derive(Clone)]
pub struct UserData<'a> {
    /// The box.
    pub name: &'a BoxName,
    /// The launch.
    pub launch: LaunchId,
    /// What the box runs.
    pub system: System,
    /// The host key it is to show.
    pub host_key: &'a HostKey,
    /// The public keys that may log in.
    pub authorized_keys: &'a [String],
    /// Where the volume is mounted.
    pub mount_point: &'a str,
    /// How long the volume may take to appear.
    pub volume_wait: Duration,
    /// What the lease is kept by: `auto`, `flock` or `text`.
    pub lease: &'a str,
    /// The size of a new StoreImage in bytes.
    pub store_size: u64,
    /// Where the box may substitute from.
    pub substituters: &'a [String],
    /// The keys whose signatures it takes: those of the substituters, and that of this machine.
    pub trusted_public_keys: &'a [String],
}

macro_rules! scripts {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("scripts/", $name)))),*] };
}
macro_rules! units {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("units/", $name)))),*] };
}

const SCRIPTS: [(&str, &str); 38] = scripts![
    "lib.sh",
    "volume.sh",
    "lease.sh",
    "busy.sh",
    "hold.sh",
    "grant.sh",
    "store.sh",
    "home.sh",
    "recover.sh",
    "nix.sh",
    "nix-daemon.sh",
    "driver.sh",
    "driver-copy.sh",
    "facts.sh",
    "missing.sh",
    "seed.sh",
    "build.sh",
    "locked.sh",
    "activate.sh",
    "record.sh",
    "shell.sh",
    "check.sh",
    "checked.sh",
    "enter.sh",
    "quiesce.sh",
    "work.sh",
    "copies.sh",
    "thaw.sh",
    "store-status.sh",
    "store-gc.sh",
    "store-grow.sh",
    "store-check.sh",
    "store-snapshot.sh",
    "store-restore.sh",
    "rollback.sh",
    "verify.sh",
    "listing.sh",
    "start.sh",
];
const UNITS: [(&str, &str); 8] = units![
    "devbox.target",
    "devbox-volume.service",
    "devbox-store.service",
    "devbox-home.service",
    "devbox-nix.service",
    "devbox-nix-daemon.service",
    "devbox-driver.service",
    "devbox-driver.path",
];
const SYSUSERS: &str = include_str!("units/sysusers.conf");

/// The script that brings the units up, and the last of the files that cloud-init writes.
const START: &str = "/usr/local/lib/devbox/start.sh";

/// cloud-init runs its commands a second and more after it has written its files, so a unit of our
/// own waits for the last file and starts right then.
const START_EARLY: &str = "systemd-run --quiet --no-block --unit=devbox-start --property=DefaultDependencies=no \
     sh -c 'until [ -x /usr/local/lib/devbox/start.sh ]; do sleep 0.02; done; exec /usr/local/lib/devbox/start.sh'";

/// A host name that no other launch has: two NFS clients of one name both got the same lock
/// (local-box.md), so a name alone would not do.
pub fn host_name(name: &BoxName, launch: LaunchId) -> String {
    let id = launch.to_string();
    let suffix = &id[..6];
    let keep = MAX_NAME - suffix.len() - 1;
    let name: String = name.as_str().chars().take(keep).collect();
    format!("{}-{suffix}", name.trim_end_matches('-'))
}

/// The user data as cloud-init takes it. JSON is YAML, so nothing needs quoting rules of its own.
///
/// # Errors
/// [`Kind::Usage`] when the settings make it longer than providers take.
pub fn render(data: &UserData<'_>) -> Result<String> {
    let file = |path: String, mode: &str, content: &str| json!({"path": path, "permissions": mode, "content": content});
    let mut files: Vec<Value> = Vec::new();
    for (name, text) in UNITS {
        files.push(file(format!("/etc/systemd/system/{name}"), "0644", text));
    }
    files.push(file("/etc/devbox/sysusers.conf".into(), "0644", SYSUSERS));
    files.push(file("/etc/devbox/box.env".into(), "0644", &render_box_env(data)));
    files.push(file("/etc/devbox/nix.conf".into(), "0644", &render_nix_conf(data)));
    files.push(file(format!("/etc/devbox/authorized_keys.d/{USER}"), "0644", &lines(data.authorized_keys)));
    // The home is on the volume and brings its own authorized_keys: the keys of this launch work beside it.
    files.push(file(
        "/etc/ssh/sshd_config.d/10-devbox.conf".into(),
        "0644",
        "AuthorizedKeysFile .ssh/authorized_keys /etc/devbox/authorized_keys.d/%u\n",
    ));

    for (name, text) in SCRIPTS {
        files.push(file(format!("{LIB}/{name}"), "0755", text));
    }

    let document = json!({
        "hostname": host_name(data.name, data.launch),
        "preserve_hostname": false,
        "manage_etc_hosts": true,
        "ssh_deletekeys": true,
        "ssh_keys": {"ed25519_private": data.host_key.private, "ed25519_public": data.host_key.public},
        "ssh_authorized_keys": data.authorized_keys,
        "write_files": files,
        "bootcmd": [["cloud-init-per", "instance", "devbox", "sh", "-c", START_EARLY]],
        // The same again where `bootcmd` did not come through: starting what runs changes nothing.
        "runcmd": [[START], ["systemctl", "try-reload-or-restart", "ssh.service"]],
    });
    let text = format!("#cloud-config\n{document:#}\n");
    if text.len() > MOST {
        return Err(Error::new(
            Kind::Usage,
            format!("the user data of the box has {} bytes, providers take {MOST}", text.len()),
        )
        .hint("shorten `caches.substituters` and `caches.trusted-public-keys`"));
    }
    Ok(text)
}

fn lines(items: &[String]) -> String {
    items.iter().fold(String::new(), |mut text, item| {
        text.push_str(item);
        text.push('\n');
        text
    })
}

/// The parameters of the scripts.
fn render_box_env(data: &UserData<'_>) -> String {
    let mut text = String::new();
    let mut set = |name: &str, value: String| {
        // Writing to a String can't fail.
        crate::error::ignore(writeln!(text, "{name}={}", shell_quote(&value)));
    };
    set("DEVBOX_BOX", data.name.to_string());
    set("DEVBOX_LAUNCH", data.launch.to_string());
    set("DEVBOX_SYSTEM", data.system.to_string());
    set("DEVBOX_USER", USER.to_owned());
    set("DEVBOX_VOLUME", data.mount_point.to_owned());
    set("DEVBOX_VOLUME_WAIT", data.volume_wait.as_secs().to_string());
    set("DEVBOX_LEASE", data.lease.to_owned());
    set("DEVBOX_LEASE_WAIT", LEASE_WAIT.as_secs().to_string());
    set("DEVBOX_STORE_SIZE", data.store_size.to_string());
    text
}

fn render_nix_conf(data: &UserData<'_>) -> String {
    format!(
        "# Written by devbox on each boot.\n\
         build-users-group = nixbld\n\
         experimental-features = nix-command flakes\n\
         substituters = {}\n\
         trusted-public-keys = {}\n\
         # The user has sudo: trust adds nothing that is not theirs already.\n\
         trusted-users = root {USER}\n\
         # No registry: nothing here looks names up on the web.\n\
         flake-registry =\n\
         # What the image knows of its machine.\n\
         !include machine.conf\n",
        data.substituters.join(" "),
        data.trusted_public_keys.join(" "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(store_size: u64) -> String {
        let host_key =
            HostKey { private: "-----BEGIN\nsecret\n-----END\n".into(), public: "ssh-ed25519 H".into() };
        render(&UserData {
            name: &"hello".parse().unwrap(),
            launch: "00000000000000000000000000000001".parse().unwrap(),
            system: System::X86_64Linux,
            host_key: &host_key,
            authorized_keys: &["ssh-ed25519 AAAA".into()],
            mount_point: "/lambda/nfs/devbox",
            volume_wait: Duration::from_secs(120),
            lease: "auto",
            store_size,
            substituters: &["https://cache.nixos.org".into()],
            trusted_public_keys: &["k-1:x".into(), "k-2:y".into()],
        })
        .unwrap()
    }

    fn file(path: &str) -> Value {
        let text = rendered(1 << 30);
        let document: Value = serde_json::from_str(text.strip_prefix("#cloud-config\n").unwrap()).unwrap();
        let files = document["write_files"].as_array().unwrap().clone();
        files.into_iter().find(|f| f["path"] == path).unwrap()
    }

    #[test]
    fn every_script_and_unit_is_on_board() {
        for (folder, table) in
            [("scripts", SCRIPTS.map(|s| s.0).to_vec()), ("units", UNITS.map(|u| u.0).to_vec())]
        {
            let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guest").join(folder);
            for entry in std::fs::read_dir(here).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                // watch.sh runs before anything of ours is on the box; sysusers.conf is laid elsewhere.
                if !["watch.sh", "sysusers.conf"].contains(&name.as_str()) {
                    assert!(table.contains(&name.as_str()), "{folder}/{name} is not laid onto the box");
                }
            }
        }
    }

    #[test]
    fn the_script_that_starts_everything_is_written_last() {
        let text = rendered(1 << 30);
        let document: Value = serde_json::from_str(text.strip_prefix("#cloud-config\n").unwrap()).unwrap();
        assert_eq!(document["write_files"].as_array().unwrap().last().unwrap()["path"], START);
    }

    #[test]
    fn parameters_are_an_environment_file() {
        insta::assert_snapshot!(file("/etc/devbox/box.env")["content"].as_str().unwrap(), @r"
        DEVBOX_BOX=hello
        DEVBOX_LAUNCH=00000000000000000000000000000001
        DEVBOX_SYSTEM=x86_64-linux
        DEVBOX_USER=ubuntu
        DEVBOX_VOLUME=/lambda/nfs/devbox
        DEVBOX_VOLUME_WAIT=120
        DEVBOX_LEASE=auto
        DEVBOX_LEASE_WAIT=600
        DEVBOX_STORE_SIZE=1073741824
        ");
    }

    #[test]
    fn the_box_has_its_own_nix_settings() {
        let conf = file("/etc/devbox/nix.conf");
        let text = conf["content"].as_str().unwrap();
        assert!(text.contains("trusted-public-keys = k-1:x k-2:y\n"), "{text}");
    }

    #[test]
    fn it_is_what_providers_take() {
        assert!(rendered(1).len() < MOST / 4);
    }

    #[test]
    fn host_names_differ_between_launches_and_fit() {
        let name: BoxName = "x".repeat(63).parse().unwrap();
        let (a, b) = (host_name(&name, LaunchId::random()), host_name(&name, LaunchId::random()));
        assert_ne!(a, b);
        assert_eq!(a.len(), MAX_NAME);
        assert!(a.parse::<BoxName>().is_ok());
    }
}
