//! The network of local boxes: a bridge on this machine, for each box a namespace with one `eth0` on
//! it. Nothing is routed further, and nothing of it is set up inside the box.
//!
//! Addresses are handed out for the whole machine, whatever state folder a box belongs to.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Kind, OrFail, Result, tick};
use crate::process::Cmd;

use super::lock;

/// What is ours on this machine until it restarts: the lock and the addresses.
const RUN: &str = "/run/devbox-local";
/// Where `ip netns` keeps its namespaces.
const NAMESPACES: &str = "/run/netns";
const BRIDGE: &str = "devbox0";
/// The first three numbers of every address.
const NET: [u8; 3] = [10, 77, 0];
const PREFIX: u8 = 24;
/// This machine's own address on the bridge.
const HOST: u8 = 1;

/// The path by which others enter the namespace of the box `id`.
pub(super) fn namespace(id: &str) -> PathBuf {
    Path::new(NAMESPACES).join(id)
}

/// The name of this machine's end of the cable to a box: 15 characters, the longest there is.
fn cable(digits: &str) -> String {
    format!("db-{digits}")
}

fn address(host: u8) -> Ipv4Addr {
    let [a, b, c] = NET;
    Ipv4Addr::new(a, b, c, host)
}

/// The addresses to try, in order. They start at a place that depends on the box, so that an address
/// is not given again at once: somebody may still be waiting for the box that had it.
fn plan_addresses(digits: &str) -> impl Iterator<Item = Ipv4Addr> {
    const FIRST: u8 = HOST + 1;
    const COUNT: u8 = 254 - FIRST + 1;
    let start = digits.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    (0..u32::from(COUNT)).map(move |step| {
        let offset = start.wrapping_add(step) % u32::from(COUNT);
        address(FIRST + u8::try_from(offset).unwrap_or(0))
    })
}

/// One line of `ip -json route`.
#[derive(Debug, Deserialize)]
struct Route {
    dst: String,
    dev: Option<String>,
}

/// The route of somebody else that leads to our addresses, if there is one.
fn parse_conflict(routes: &str) -> Result<Option<String>> {
    let routes: Vec<Route> = if routes.trim().is_empty() {
        Vec::new()
    } else {
        serde_json::from_str(routes).or_fail(|| "`ip -json route` answered something unknown".into())?
    };
    let theirs = |route: &&Route| route.dev.as_deref() != Some(BRIDGE) && overlaps(&route.dst);
    Ok(routes
        .iter()
        .find(theirs)
        .map(|route| format!("{} through `{}`", route.dst, route.dev.as_deref().unwrap_or("?"))))
}

/// Whether `dst`, as `ip` writes it, shares an address with our network. `default` does not count.
fn overlaps(dst: &str) -> bool {
    let (net, bits) = dst.split_once('/').unwrap_or((dst, "32"));
    let (Ok(net), Ok(bits)) = (net.parse::<Ipv4Addr>(), bits.parse::<u8>()) else { return false };
    let common = u32::from(bits.min(PREFIX).min(32));
    let mask = u32::MAX.checked_shl(32 - common).unwrap_or(0);
    common > 0 && u32::from(net) & mask == u32::from(address(0)) & mask
}

/// The commands for `ip -batch` on this machine's side.
fn render_cable(id: &str, digits: &str) -> String {
    let cable = cable(digits);
    format!("link add {cable} type veth peer name eth0 netns {id}\nlink set {cable} master {BRIDGE} up\n")
}

/// The commands for `ip -batch` within the box's namespace.
fn render_inside(own: Ipv4Addr) -> String {
    let gateway = address(HOST);
    format!(
        "link set lo up\naddress add {own}/{PREFIX} dev eth0\nlink set eth0 up\nroute add default via {gateway}\n"
    )
}

async fn batch(within: &[&str], commands: String) -> Result<()> {
    Cmd::new("ip").args(within).args(["-batch", "-"]).input(commands).check().await.map(drop)
}

async fn ip(args: &[&str]) -> Result<String> {
    Ok(Cmd::new("ip").args(args).check().await?.text())
}

fn device_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

/// Holds everybody else on this machine off the bridge and the addresses.
async fn lock() -> Result<lock::Lock> {
    lock::take(&Path::new(RUN).join("lock"), || {}).await
}

/// Makes the network of the box `id` and returns its address.
pub(super) async fn attach(id: &str, digits: &str) -> Result<Ipv4Addr> {
    let _lock = lock().await?;
    let registry = Registry::open()?;
    let own = registry.claim(id, digits)?;
    raise_bridge().await?;
    ip(&["netns", "add", id]).await?;
    batch(&[], render_cable(id, digits)).await?;
    batch(&["-n", id], render_inside(own)).await?;
    Ok(own)
}

/// Ends the network of the box `id`, and the bridge after the last box. What is gone is fine.
pub(super) async fn detach(id: &str, digits: &str) -> Result<()> {
    let _lock = lock().await?;
    let cable = cable(digits);
    delete("link", &cable, || device_exists(&cable)).await?;
    delete("netns", id, || namespace(id).exists()).await?;
    let registry = Registry::open()?;
    registry.release(id)?;
    if registry.is_empty()? {
        delete("link", BRIDGE, || device_exists(BRIDGE)).await?;
    }
    Ok(())
}

/// Deletes the `kind` that is named `name`. The kernel ends a namespace and its cable in its own time
/// after the last process of a box: what goes by itself meanwhile is gone, too.
async fn delete(kind: &str, name: &str, exists: impl Fn() -> bool) -> Result<()> {
    if !exists() {
        return Ok(());
    }
    match ip(&[kind, "delete", name]).await {
        Err(_) if !exists() => Ok(()),
        deleted => deleted.map(drop),
    }
}

/// Brings the bridge up, unless our addresses already lead elsewhere.
async fn raise_bridge() -> Result<()> {
    let host = format!("{}/{PREFIX}", address(HOST));
    if let Some(theirs) = parse_conflict(&ip(&["-json", "-4", "route", "show"]).await?)? {
        return Err(Error::new(
            Kind::Provider,
            format!("local boxes need {}/{PREFIX}, which this machine already routes: {theirs}", address(0)),
        )
        .hint("end what made that route (a VPN, a container network) while you use local boxes"));
    }
    if !device_exists(BRIDGE) {
        ip(&["link", "add", BRIDGE, "type", "bridge"]).await?;
    }
    ip(&["address", "replace", &host, "dev", BRIDGE]).await?;
    ip(&["link", "set", BRIDGE, "up"]).await.map(drop)
}

/// Who has which address: a file for each, named by it, holding the box's id.
struct Registry(PathBuf);

impl Registry {
    fn open() -> Result<Self> {
        Self::at(&Path::new(RUN).join("addresses"))
    }

    fn at(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).or_fail(|| format!("can't make {}", tick(dir)))?;
        Ok(Self(dir.to_owned()))
    }

    fn claim(&self, id: &str, digits: &str) -> Result<Ipv4Addr> {
        use std::io::Write;
        let what = || format!("can't claim an address in {}", tick(&self.0));
        // Written first and linked then, so that no claim is ever without its owner.
        let mut draft = tempfile::Builder::new().prefix(".claim-").tempfile_in(&self.0).or_fail(what)?;
        draft.write_all(id.as_bytes()).or_fail(what)?;
        for own in plan_addresses(digits) {
            match std::fs::hard_link(draft.path(), self.0.join(own.to_string())) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                linked => return linked.or_fail(what).map(|()| own),
            }
        }
        Err(Error::new(Kind::Provider, "every address for local boxes is taken")
            .hint("`devbox list instances` shows boxes that can be ended"))
    }

    /// The claims there are, with their owners. Drafts of a process that was killed are among them.
    fn claims(&self) -> Result<Vec<(PathBuf, String)>> {
        let what = || format!("can't read {}", tick(&self.0));
        let mut claims = Vec::new();
        for entry in std::fs::read_dir(&self.0).or_fail(what)? {
            let path = entry.or_fail(what)?.path();
            claims.push((path.clone(), std::fs::read_to_string(&path).or_fail(what)?));
        }
        Ok(claims)
    }

    fn release(&self, id: &str) -> Result<()> {
        for (path, owner) in self.claims()? {
            // A draft without an owner was cut off; we hold the lock, so nobody is writing it.
            if owner == id || owner.is_empty() {
                std::fs::remove_file(&path).or_fail(|| format!("can't remove {}", tick(&path)))?;
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> Result<bool> {
        Ok(self.claims()?.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_address_but_ours_and_the_special_ones_is_planned_once() {
        let mut all: Vec<_> = plan_addresses("0123456789ab").collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 253);
        assert_eq!((all[0], all[252]), (Ipv4Addr::new(10, 77, 0, 2), Ipv4Addr::new(10, 77, 0, 254)));
    }

    #[test]
    fn claims_never_collide_and_are_released_by_owner() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::at(dir.path()).unwrap();
        let digits = "0123456789ab";
        let mut seen: Vec<_> =
            (0..253).map(|n| registry.claim(&format!("box-{n}"), digits).unwrap()).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 253);
        let error = registry.claim("one-more", digits).unwrap_err();
        assert_eq!(error.to_string(), "every address for local boxes is taken");
        registry.release("box-7").unwrap();
        assert_eq!(registry.claims().unwrap().len(), 252);
        assert!(registry.claim("one-more", digits).is_ok());
    }

    #[test]
    fn routes_of_others_to_our_addresses_are_seen() {
        for (dst, ours) in [
            ("default", false),
            ("0.0.0.0/0", false),
            ("10.77.0.0/24", true),
            ("10.77.0.9", true),
            ("10.0.0.0/8", true),
            ("10.78.0.0/16", false),
            ("10.77.1.0/24", false),
            ("fd00::/8", false),
        ] {
            assert_eq!(overlaps(dst), ours, "{dst}");
        }
        let own = r#"[{"dst":"default","dev":"eth0"},{"dst":"10.77.0.0/24","dev":"devbox0"}]"#;
        assert_eq!(parse_conflict(own).unwrap(), None);
        let theirs = r#"[{"dst":"10.77.0.0/16","dev":"tun0"}]"#;
        assert_eq!(parse_conflict(theirs).unwrap().as_deref(), Some("10.77.0.0/16 through `tun0`"));
    }

    #[test]
    fn the_name_of_a_cable_is_as_long_as_the_kernel_allows() {
        assert_eq!(cable("0123456789ab").len(), 15);
    }

    #[test]
    fn the_commands_of_a_box() {
        assert_eq!(
            render_cable("local-0123456789ab", "0123456789ab"),
            "link add db-0123456789ab type veth peer name eth0 netns local-0123456789ab\n\
             link set db-0123456789ab master devbox0 up\n"
        );
        assert!(render_inside(address(9)).contains("address add 10.77.0.9/24 dev eth0\n"));
    }

    /// Of CI: `ip link delete` found no cable that was there a moment before.
    #[tokio::test]
    async fn what_goes_by_itself_while_it_is_deleted_is_gone() {
        let looked = std::cell::Cell::new(0);
        let goes = || looked.replace(looked.get() + 1) == 0;
        delete("link", "db-nothere", goes).await.unwrap();
        assert_eq!(looked.get(), 2);
        let error = delete("link", "db-nothere", || true).await.unwrap_err();
        assert!(format!("{error:?}").contains("db-nothere"), "{error:?}");
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(text in "\\PC{0,60}", dst in "[0-9./]{0,24}") {
            drop(parse_conflict(&text));
            overlaps(&dst);
        }
    }
}
