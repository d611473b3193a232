//! What is written down about a box, and where its things are.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, OrFail, Result, tick};
use crate::names::{BoxName, InstanceId, LaunchId, System, VolumeName};
use crate::paths::write_atomic;

use super::volumes;

const PREFIX: &str = "local-";
const DIGITS: usize = 12;

/// The id of the box that `launch` makes: the same launch, the same box.
pub(super) fn id_of(launch: &LaunchId) -> InstanceId {
    let digits: String = launch.to_string().chars().take(DIGITS).collect();
    InstanceId(format!("{PREFIX}{digits}"))
}

/// The part of `id` that tells boxes apart, when it is an id of ours. What passes is a plain file
/// name.
pub(super) fn digits_of(id: &str) -> Option<&str> {
    let digits = id.strip_prefix(PREFIX)?;
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    (digits.len() == DIGITS && digits.chars().all(hex)).then_some(digits)
}

/// `box.json`: written before anything else of the box is made, removed after everything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Who asked for it.
    pub(super) launch: LaunchId,
    /// Name and host name.
    pub(super) name: BoxName,
    /// What it runs.
    pub(super) system: System,
    /// The volume's name.
    pub(super) volume: VolumeName,
    /// The volume's folder.
    pub(super) folder: PathBuf,
    /// Where the box sees it. Nothing in older records: where the volume says.
    #[serde(default)]
    pub(super) mount_point: Option<String>,
    /// Whether the box sees it only once it is attached.
    #[serde(default)]
    pub(super) late: bool,
    /// Whether the box has its distribution's Nix.
    #[serde(default = "yes")]
    pub(super) nix: bool,
    /// When it was asked for.
    pub(super) since: Timestamp,
    /// Where ssh will answer, once it has an address.
    pub(super) address: Option<Ipv4Addr>,
    /// Whether it was seen running. Without that it is a launch under way, or one cut off.
    pub(super) started: bool,
}

fn yes() -> bool {
    true
}

impl Record {
    /// Where the box sees its volume.
    pub(super) fn mount_point(&self) -> String {
        self.mount_point.clone().unwrap_or_else(|| volumes::mount_point(&self.volume))
    }
}

/// Reads a record.
///
/// # Errors
/// When it is none.
pub(super) fn parse_record(text: &str) -> Result<Record, serde_json::Error> {
    serde_json::from_str(text)
}

/// The folder of one box. It may not exist.
#[derive(Clone, Debug)]
pub(super) struct Place {
    id: String,
    dir: PathBuf,
}

impl Place {
    /// That of the box `id` among `boxes`.
    ///
    /// # Errors
    /// When `id` is none of ours.
    pub(super) fn of(boxes: &Path, id: &InstanceId) -> Result<Self> {
        let digits = digits_of(&id.0)
            .ok_or_else(|| Error::new(Kind::Provider, format!("`{}` is no local box", id.0.escape_debug())));
        digits.map(|_| Self { id: id.0.clone(), dir: boxes.join(&id.0) })
    }

    /// Every box folder among `boxes`, by id. What others put there is left out.
    pub(super) fn all(boxes: &Path) -> Result<Vec<Self>> {
        let what = || format!("can't read {}", tick(boxes));
        let entries = match std::fs::read_dir(boxes) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.or_kind(Kind::Provider, what)?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.or_kind(Kind::Provider, what)?;
            if let Ok(id) = entry.file_name().into_string()
                && digits_of(&id).is_some()
                && entry.file_type().is_ok_and(|t| t.is_dir())
            {
                all.push(Self { id, dir: entry.path() });
            }
        }
        all.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(all)
    }

    /// The box's id, also the name of its network namespace and its machine name.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The folder itself.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The record.
    pub(super) fn record_file(&self) -> PathBuf {
        self.dir.join("box.json")
    }

    /// Where the box's root is mounted.
    pub(super) fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// What the box writes over the shared root filesystem.
    pub(super) fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }

    /// What the launcher and the box's console say.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    /// The launcher's script.
    pub(super) fn script(&self) -> PathBuf {
        self.dir.join("launch.sh")
    }

    /// What is written down. None when nothing is; what can't be read counts as nothing, since such
    /// a box can only be ended.
    pub(super) fn record(&self) -> Option<Record> {
        parse_record(&std::fs::read_to_string(self.record_file()).ok()?).ok()
    }

    /// Writes it down.
    pub(super) fn write(&self, record: &Record) -> Result<()> {
        let text = serde_json::to_vec_pretty(record)
            .or_fail(|| format!("can't write down the box `{}`", self.id))?;
        crate::paths::make_private(&self.dir)?;
        write_atomic(&self.record_file(), &text, 0o600)
    }

    /// The last lines the box said on its console, without terminal colours.
    pub(super) fn last_words(&self, count: usize) -> Vec<String> {
        let text = std::fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().map(plain).filter(|l| !l.is_empty()).collect();
        lines[lines.len().saturating_sub(count)..].to_vec()
    }
}

/// A line without control characters and terminal escapes.
fn plain(line: &str) -> String {
    let text = console::strip_ansi_codes(line);
    text.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_same_launch_is_the_same_box_and_its_id_a_plain_file_name() {
        let launch = LaunchId::random();
        assert_eq!(id_of(&launch), id_of(&launch));
        assert!(digits_of(&id_of(&launch).0).is_some());
        for foreign in
            ["", "local-", "local-../../../..", "local-0123456789AB", "i-0123456789ab", "local-0123456789abc"]
        {
            assert_eq!(digits_of(foreign), None, "{foreign}");
            assert!(Place::of(Path::new("/x"), &InstanceId(foreign.into())).is_err());
        }
    }

    #[test]
    fn foreign_and_half_written_things_among_the_boxes_are_no_trouble() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("lost+found")).unwrap();
        std::fs::write(dir.path().join("local-0123456789ab"), "a file").unwrap();
        std::fs::create_dir(dir.path().join("local-00000000000f")).unwrap();
        std::fs::write(dir.path().join("local-00000000000f/box.json"), "{\"launch\":").unwrap();
        let all = Place::all(dir.path()).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].id(), all[0].record()), ("local-00000000000f", None));
        assert!(Place::all(&dir.path().join("absent")).unwrap().is_empty());
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let launch = LaunchId::random();
        let place = Place::of(dir.path(), &id_of(&launch)).unwrap();
        let record = Record {
            launch,
            name: "b".parse().unwrap(),
            system: System::X86_64Linux,
            volume: "v".parse().unwrap(),
            folder: "/v".into(),
            mount_point: Some("/data/v".into()),
            late: true,
            nix: false,
            since: Timestamp::UNIX_EPOCH,
            address: Some(Ipv4Addr::new(10, 77, 0, 2)),
            started: true,
        };
        place.write(&record).unwrap();
        assert_eq!(place.record(), Some(record));
    }

    #[test]
    fn an_older_record_is_read() {
        let record = parse_record(
            r#"{"launch": "67e55044-10b1-426f-9247-bb680e5fe0c8", "name": "b", "system": "x86_64-linux", "volume": "v",
            "folder": "/v", "since": "1970-01-01T00:00:00Z", "address": null, "started": true}"#,
        )
        .unwrap();
        assert_eq!(
            (record.mount_point(), record.late, record.nix),
            ("/lambda/nfs/v".to_owned(), false, true)
        );
    }

    #[test]
    fn last_words_are_plain() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(dir.path(), &id_of(&LaunchId::random())).unwrap();
        std::fs::create_dir(place.dir()).unwrap();
        std::fs::write(place.log(), "one\n\n\x1b[0;32m  OK\x1b[0m two\r\n").unwrap();
        assert_eq!(place.last_words(9), ["one", "OK two"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,100}", key in "(launch|name|since|address)", value in "\\PC{0,20}") {
            drop(parse_record(&text));
            drop(parse_record(&serde_json::json!({ key: value }).to_string()));
        }
    }
}
