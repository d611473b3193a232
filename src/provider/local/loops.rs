//! Loop devices: the machine's, not the box's. So a box needs their nodes, and what it leaves
//! attached has to be detached for it.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::error::{OrFail, Result, tick};
use crate::process::Cmd;

use super::kernel::{device_number, make_block_node};

/// How many nodes a box sees. The kernel hands out the lowest free number of the whole machine.
pub(super) const COUNT: u32 = 64;
/// The kernel's major number for loop devices.
const MAJOR: u32 = 7;
/// How long the kernel may take to let go of a device after its last user died.
const PATIENCE: Duration = Duration::from_secs(5);

/// The node of the `n`th loop device.
pub(super) fn node(n: u32) -> PathBuf {
    format!("/dev/loop{n}").into()
}

/// Makes the nodes that are missing on this machine, so that a box can have them bound: the kernel
/// would make them in our `/dev`, where the box does not look.
pub(super) fn make_nodes() -> Result<()> {
    for n in 0..COUNT {
        let node = node(n);
        if !node.exists() {
            match make_block_node(&node, MAJOR, n) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                made => made.or_fail(|| format!("can't make {}", tick(&node)))?,
            }
        }
    }
    Ok(())
}

/// One attached loop device.
#[derive(Debug, PartialEq, Eq)]
struct Loop {
    node: PathBuf,
    /// Device and inode of the file behind it: what identifies the file, whatever it is called.
    file: (u64, u64),
    /// What the file was called where it was attached, so far as the kernel still knows.
    shown: PathBuf,
}

/// Reads `losetup --list --json`.
fn parse_loops(text: &str) -> Result<Vec<Loop>> {
    #[derive(Deserialize)]
    struct Answer {
        loopdevices: Vec<Line>,
    }
    #[derive(Deserialize)]
    struct Line {
        name: PathBuf,
        #[serde(rename = "back-ino")]
        inode: Option<serde_json::Value>,
        #[serde(rename = "back-maj:min")]
        device: Option<String>,
        #[serde(rename = "back-file")]
        file: Option<PathBuf>,
    }
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let answer: Answer =
        serde_json::from_str(text).or_fail(|| "`losetup --json` answered something unknown".into())?;
    let known = |line: Line| {
        let inode = match line.inode? {
            // Older versions quote their numbers.
            serde_json::Value::String(digits) => digits.trim().parse().ok()?,
            number => number.as_u64()?,
        };
        let device = line.device?;
        let (major, minor) = device.trim().split_once(':')?;
        let device = device_number(major.parse().ok()?, minor.parse().ok()?);
        Some(Loop { node: line.name, file: (device, inode), shown: line.file.unwrap_or_default() })
    };
    Ok(answer.loopdevices.into_iter().filter_map(known).collect())
}

/// Where on this machine the file of a loop device may be, when the box attached it from `folder`,
/// which it sees at `mount_point`. The mount may be gone, and the kernel then tells the rest alone.
fn plan_candidates(shown: &Path, folder: &Path, mount_point: &Path) -> Vec<PathBuf> {
    let inside = [mount_point, folder, Path::new("/")];
    let rest = inside.iter().filter_map(|top| shown.strip_prefix(top).ok());
    rest.filter(|rest| rest.components().next().is_some()).map(|rest| folder.join(rest)).collect()
}

/// What a box may have attached loop devices to.
pub(super) struct Backing<'a> {
    /// Its root.
    pub(super) root: &'a Path,
    /// Its volume's folder, and where it sees that.
    pub(super) volume: Option<(&'a Path, PathBuf)>,
}

impl Backing<'_> {
    fn has(&self, device: &Loop) -> bool {
        let same = |path: &Path| std::fs::metadata(path).is_ok_and(|m| (m.dev(), m.ino()) == device.file);
        // A mounted overlay is a device of its own; an unmounted one is just a folder.
        let mounted = |path: &Path| {
            let dev = |path: &Path| std::fs::metadata(path).ok().map(|m| m.dev());
            let own = dev(path)?;
            (path.parent().and_then(dev) != Some(own)).then_some(own)
        };
        mounted(self.root) == Some(device.file.0)
            || self.volume.as_ref().is_some_and(|(folder, mount_point)| {
                plan_candidates(&device.shown, folder, mount_point).iter().any(|path| same(path))
            })
    }

    async fn attached(&self) -> Result<Vec<Loop>> {
        const COLUMNS: &str = "NAME,BACK-INO,BACK-MAJ:MIN,BACK-FILE";
        let all = Cmd::new("losetup").args(["--list", "--json", "--output", COLUMNS]).check().await?.text();
        Ok(parse_loops(&all)?.into_iter().filter(|device| self.has(device)).collect())
    }

    /// Detaches what the box left attached. A device that another box has mounted only lets go when
    /// that box does, so there is no harm to it.
    pub(super) async fn detach(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = self.attached().await?;
            if left.is_empty() || Instant::now() > until {
                return Ok(());
            }
            for device in &left {
                let done = Cmd::new("losetup").arg("--detach").arg(&device.node).run().await?;
                // It may have gone by itself between our looking and our asking.
                let gone = || std::fs::metadata(backing_file(&device.node)).is_err_and(not_found);
                if !done.status.success() && !gone() {
                    return Err(Cmd::new("losetup").arg("--detach").arg(&device.node).failed(&done));
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape `is_err_and` wants")]
fn not_found(e: std::io::Error) -> bool {
    e.kind() == ErrorKind::NotFound
}

/// Exists while something is attached to `node`.
fn backing_file(node: &Path) -> PathBuf {
    Path::new("/sys/block").join(node.file_name().unwrap_or_default()).join("loop/backing_file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_ways_of_writing_numbers_are_read() {
        let text = r#"{"loopdevices": [
            {"name":"/dev/loop0","back-ino":10117138,"back-maj:min":"     254:0  ","back-file":"/x/l.img"},
            {"name":"/dev/loop1","back-ino":"12","back-maj:min":"0:41","back-file":"/y"},
            {"name":"/dev/loop2","back-ino":null,"back-maj:min":null,"back-file":null}]}"#;
        let loops = parse_loops(text).unwrap();
        assert_eq!(loops.len(), 2);
        assert_eq!(loops[0].file, (device_number(254, 0), 10_117_138));
        assert_eq!(loops[1].file, (device_number(0, 41), 12));
        assert!(parse_loops("").unwrap().is_empty());
    }

    #[test]
    fn a_file_is_looked_for_under_each_name_it_may_have() {
        let plan = |shown: &str| plan_candidates(shown.as_ref(), "/v".as_ref(), "/lambda/nfs/v".as_ref());
        assert!(plan("/lambda/nfs/v/a.img").contains(&"/v/a.img".into()));
        assert!(plan("/a.img").contains(&"/v/a.img".into()));
        assert!(plan("/v/a.img").contains(&"/v/a.img".into()));
        assert!(plan("/").is_empty());
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(text in "\\PC{0,60}", device in "[0-9: ]{0,12}", shown in "\\PC{0,20}") {
            drop(parse_loops(&text));
            let line = serde_json::json!({"loopdevices": [
                {"name": "/dev/loop0", "back-ino": device, "back-maj:min": device, "back-file": shown}]});
            drop(parse_loops(&line.to_string()));
            plan_candidates(shown.as_ref(), "/v".as_ref(), "/m".as_ref());
        }
    }
}
