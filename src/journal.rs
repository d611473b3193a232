//! What this machine has asked for and may be paying for.
//!
//! One file for each launch, written whole and synced: the intent before anything billable is asked
//! for, the id right after the answer. A file that can't be read is an error, never "no instance".

use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, OrFail, Result, ignore, tick};
use crate::events::Events;
use crate::guest::machine::Machine;
use crate::names::{BoxName, InstanceId, LaunchId, ProjectName, System, VolumeName};
use crate::nix::Fingerprint;
use crate::paths::{Paths, cant, make_private, write_atomic};
use crate::plan::cost::cents_of;
use crate::provider::Account;

/// How long to wait for another devbox that works on the same box.
const LOCK_PATIENCE: Duration = Duration::from_secs(600);

/// One launch, from the intent to the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Our id of it, which the instance carries as a tag.
    pub launch: LaunchId,
    /// The name of the box.
    pub name: BoxName,
    /// The project it was launched for.
    pub project: ProjectName,
    /// The folder of that project.
    pub root: PathBuf,
    /// The provider, as the configuration names it.
    pub provider: String,
    /// What the box runs.
    pub system: System,
    /// The volume attached to it.
    pub volume: VolumeName,
    /// The public half of its ssh host key, as in a known_hosts file.
    pub host_key: String,
    /// When it was asked for.
    pub asked: Timestamp,
    /// The provider's id, once it answered.
    pub instance: Option<InstanceId>,
    /// Where ssh answers, once known.
    pub address: Option<IpAddr>,
    /// What an hour costs, in US cents, as it was at launch.
    pub cents_per_hour: Option<u32>,
    /// What kind of machine it is, in the provider's words.
    #[serde(default)]
    pub instance_type: Option<String>,
    /// Where it is, in the provider's words.
    #[serde(default)]
    pub region: Option<String>,
    /// The preset that it was launched by.
    #[serde(default)]
    pub preset: Option<String>,
    /// Whose account it was launched in.
    #[serde(default)]
    pub account: Option<Account>,
    /// The private key to log in with, as it was at launch.
    #[serde(default)]
    pub login_key: Option<PathBuf>,
    /// Whether it ever took ssh: from then on there may be work on it.
    #[serde(default)]
    pub reached: bool,
    /// When it was first ready.
    pub ready: Option<Timestamp>,
    /// The environment last made current on it.
    pub fingerprint: Option<Fingerprint>,
    /// What Nix does not pin of it, as it was then.
    #[serde(default)]
    pub machine: Option<Machine>,
    /// Whether it was brought to rest before its end: nothing of it writes to the volume any more.
    #[serde(default)]
    pub rested: bool,
    /// When it was ended, or found to be gone.
    pub ended: Option<Timestamp>,
}

impl Entry {
    /// Whether it may still be billed.
    pub fn is_open(&self) -> bool {
        self.ended.is_none()
    }

    /// What it has cost until `now`, in US cents. What was asked for and never came costs nothing.
    pub fn cents_until(&self, now: Timestamp) -> Option<u64> {
        if self.instance.is_none() && !self.is_open() {
            return Some(0);
        }
        let until = self.ended.unwrap_or(now);
        Some(cents_of(until.as_second() - self.asked.as_second(), self.cents_per_hour?))
    }
}

/// A file of the journal that can't be read: it may stand for a box that bills.
#[derive(Debug)]
pub struct Damaged {
    /// The launch that it is named after.
    pub launch: Option<LaunchId>,
    /// What is wrong with it.
    pub error: Error,
}

/// The journal of this machine.
#[derive(Clone, Debug)]
pub struct Journal {
    folder: PathBuf,
    locks: PathBuf,
}

impl Journal {
    /// The journal in the state folder. Nothing is made until something is written.
    pub fn new(paths: &Paths) -> Self {
        Self { folder: paths.state.join("journal"), locks: paths.state.join("locks") }
    }

    fn file(&self, launch: LaunchId) -> PathBuf {
        self.folder.join(format!("{launch}.json"))
    }

    /// Writes an entry. Afterwards it is on disk, whole.
    ///
    /// # Errors
    /// When the disk refuses; the entry as it was before is still there then.
    pub fn write(&self, entry: &Entry) -> Result<()> {
        make_private(&self.folder)?;
        let file = self.file(entry.launch);
        let mut text = serde_json::to_vec_pretty(entry).or_fail(|| format!("can't write {}", tick(&file)))?;
        text.push(b'\n');
        write_atomic(&file, &text, 0o600).map_err(|e| {
            e.hint("the journal is how devbox knows what you pay for: free some space, then run the command again")
        })
    }

    /// Every launch that can be read, oldest first, and what can't be.
    pub fn read_in_part(&self) -> (Vec<Entry>, Vec<Damaged>) {
        let (mut entries, mut damaged) = (Vec::new(), Vec::new());
        let files = match std::fs::read_dir(&self.folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return (entries, damaged),
            other => other.and_then(Iterator::collect::<std::io::Result<Vec<_>>>),
        };
        let files = files.unwrap_or_else(|e| {
            damaged.push(Damaged { launch: None, error: unreadable(&self.folder, e) });
            Vec::new()
        });
        for path in files.into_iter().map(|file| file.path()) {
            if path.extension().is_some_and(|e| e == "json") {
                let text = std::fs::read(&path).map_err(|e| unreadable(&path, e));
                match text.and_then(|text| parse_entry(&text, &path)) {
                    Ok(entry) => entries.push(entry),
                    Err(error) => damaged.push(Damaged { launch: launch_of(&path), error }),
                }
            }
        }
        entries.sort_by_key(|e: &Entry| (e.asked, e.launch));
        damaged.sort_by_key(|d| d.launch);
        (entries, damaged)
    }

    /// Every launch, oldest first.
    ///
    /// # Errors
    /// When the folder or one of its files can't be read. A launch that can't be read may be one
    /// that bills.
    pub fn read(&self) -> Result<Vec<Entry>> {
        let (entries, damaged) = self.read_in_part();
        damaged.into_iter().next().map_or(Ok(entries), |damaged| Err(damaged.error))
    }

    /// The launches that may still be billed, oldest first.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn open(&self) -> Result<Vec<Entry>> {
        Ok(self.read()?.into_iter().filter(Entry::is_open).collect())
    }

    /// The open launch of a box.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn of_box(&self, name: &BoxName) -> Result<Option<Entry>> {
        Ok(self.open()?.into_iter().rfind(|e| e.name == *name))
    }

    /// Marks a launch as ended now.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn end(&self, entry: &Entry) -> Result<()> {
        self.write(&Entry { ended: Some(Timestamp::now()), ..entry.clone() })
    }

    /// The right to change a box: one devbox at a time. Waits for the other one, saying so.
    ///
    /// # Errors
    /// When the other one is not done in ten minutes.
    pub async fn lock(&self, name: &BoxName, verb: &str, events: &Events) -> Result<Lock> {
        let path = self.locks.join(format!("{name}.lock"));
        let what = || format!("can't lock {}", tick(&path));
        let holder = format!("`devbox {verb}` (process {})", std::process::id());
        let file = self.open_lock(&path)?;
        let began = Instant::now();
        let mut said = false;
        let mut tries = 0;
        loop {
            tries += 1;
            match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(e) => return Err(Error::new(Kind::Failed, what()).caused_by(e)),
            }
            let other = std::fs::read_to_string(&path).or_fail(what)?;
            let other = if other.trim().is_empty() { "another devbox" } else { other.trim() };
            // Whoever only looks who works here is gone at once.
            if !said && tries > 2 {
                events.info(format!("waiting for {other}, which is working on `{name}`"));
                said = true;
            }
            if began.elapsed() > LOCK_PATIENCE {
                return Err(Error::new(
                    Kind::Failed,
                    format!("{other} has been working on `{name}` for ten minutes"),
                )
                .hint("end it, then run the command again: it continues where that one stopped"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let lock = Lock { _file: file, path, holder };
        lock.write(&lock.holder);
        Ok(lock)
    }

    /// The same for who ends a box: where nothing can be written down nobody launches anything, and what is there can
    /// be ended all the same.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub async fn lock_or_go_on(&self, name: &BoxName, verb: &str, events: &Events) -> Result<Option<Lock>> {
        match self.lock(name, verb, events).await {
            Err(e) if e.is_of_an_unwritable_disk() => {
                events.warn(format!("going on without a lock: {e}"));
                Ok(None)
            }
            locked => locked.map(Some),
        }
    }

    fn open_lock(&self, path: &Path) -> Result<File> {
        make_private(&self.locks)?;
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
        file.map_err(|e| cant("write", path, e))
    }

    /// Which devbox works on which box right now, and what it says of that.
    ///
    /// # Errors
    /// When the locks can't be read.
    pub fn working(&self) -> Result<Vec<Working>> {
        let what = || format!("can't read the locks in {}", tick(&self.locks));
        let listing = match std::fs::read_dir(&self.locks) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.or_fail(what)?,
        };
        let mut working = Vec::new();
        for file in listing {
            let path = file.or_fail(what)?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            let (Some(name), Some("lock")) = (name, path.extension().and_then(|e| e.to_str())) else {
                continue;
            };
            let file = File::open(&path).or_fail(what)?;
            let free = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared);
            if free == Err(rustix::io::Errno::WOULDBLOCK) {
                working.push(Working { name, who: std::fs::read_to_string(&path).or_fail(what)? });
            }
        }
        working.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
        Ok(working)
    }
}

/// A devbox that works on a box.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Working {
    /// The box.
    pub name: BoxName,
    /// Which one, and what it says of that: `` `devbox up` (process 7): waiting for capacity ``.
    pub who: String,
}

impl Working {
    /// Whether that is the box of this name, in any case.
    pub fn is_of(&self, name: &str) -> bool {
        self.name.as_str().eq_ignore_ascii_case(name)
    }

    /// The number of its process.
    pub fn process(&self) -> Option<u32> {
        self.who.split_once("(process ")?.1.split_once(')')?.0.parse().ok()
    }
}

/// The right to change a box, until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Lock {
    _file: File,
    path: PathBuf,
    holder: String,
}

impl Lock {
    /// Tells whoever looks what is being done. Not being able to is no reason to stop doing it.
    pub fn say(&self, doing: &str) {
        self.write(&format!("{}: {doing}", self.holder));
    }

    fn write(&self, text: &str) {
        ignore(std::fs::write(&self.path, text));
    }
}

fn unreadable(path: &Path, e: std::io::Error) -> Error {
    let what = if path.extension().is_some_and(|e| e == "json") { "file" } else { "folder" };
    Error::new(Kind::Failed, format!("the journal's {what} can't be read"))
        .caused_by(cant("read", path, e))
        .hint("it may tell of boxes that bill: `devbox status` shows all that run")
}

fn launch_of(path: &Path) -> Option<LaunchId> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn parse_entry(text: &[u8], path: &Path) -> Result<Entry> {
    serde_json::from_slice(text).map_err(|e| {
        Error::new(Kind::Failed, format!("the journal file {} is damaged", tick(path)))
            .hint("it may stand for a box that bills: `devbox status` shows all that run; end it, then move the file away")
            .caused_by(e)
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A launch that was asked for.
    pub(crate) fn entry() -> Entry {
        Entry {
            launch: LaunchId::random(),
            name: "hello".parse().unwrap(),
            project: "hello".parse().unwrap(),
            root: "/p".into(),
            provider: "local".into(),
            system: System::X86_64Linux,
            volume: "devbox".parse().unwrap(),
            host_key: "ssh-ed25519 AAAA".into(),
            asked: Timestamp::from_second(1_800_000_000).unwrap(),
            instance: None,
            address: None,
            cents_per_hour: Some(149),
            instance_type: None,
            region: None,
            preset: None,
            account: None,
            login_key: None,
            reached: false,
            ready: None,
            fingerprint: None,
            machine: None,
            rested: false,
            ended: None,
        }
    }

    fn journal(dir: &Path) -> Journal {
        Journal { folder: dir.join("journal"), locks: dir.join("locks") }
    }

    #[test]
    fn an_open_launch_is_found_and_an_ended_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal(dir.path());
        let entry = entry();
        assert!(journal.open().unwrap().is_empty());
        journal.write(&entry).unwrap();
        assert_eq!(journal.of_box(&entry.name).unwrap(), Some(entry.clone()));
        journal.end(&entry).unwrap();
        assert_eq!(journal.of_box(&entry.name).unwrap(), None);
        assert_eq!(journal.read().unwrap().len(), 1);
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal(dir.path());
        journal.write(&entry()).unwrap();
        std::fs::write(journal.folder.join("x.json"), "{").unwrap();
        let error = journal.open().unwrap_err();
        assert!(error.to_string().contains("x.json"), "{error}");
        assert!(!error.hints().is_empty());
        let (entries, damaged) = journal.read_in_part();
        assert_eq!((entries.len(), damaged.len(), damaged[0].launch), (1, 1, None));
        let launch = entries[0].launch;
        std::fs::write(journal.file(launch), b"\xff").unwrap();
        assert!(journal.read_in_part().1.iter().any(|d| d.launch == Some(launch)));
    }

    #[test]
    fn what_never_came_costs_nothing() {
        let now = Timestamp::from_second(1_800_003_600).unwrap();
        let entry = entry();
        assert_eq!(entry.cents_until(now), Some(149));
        assert_eq!(Entry { ended: Some(now), ..entry.clone() }.cents_until(now), Some(0));
        let came = Entry { instance: Some(InstanceId("i".into())), ended: Some(now), ..entry };
        assert_eq!(came.cents_until(now), Some(149));
    }

    #[test]
    fn what_an_older_devbox_wrote_is_read() {
        let mut old = serde_json::to_value(entry()).unwrap();
        for new in ["instance_type", "region", "account", "login_key"] {
            old.as_object_mut().unwrap().remove(new);
        }
        assert_eq!(parse_entry(old.to_string().as_bytes(), Path::new("x")).unwrap().region, None);
    }

    #[test]
    fn two_locks_on_one_box_wait_for_one_another() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal(dir.path());
        let name: BoxName = "hello".parse().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let first = journal.lock(&name, "up", &Events::silent()).await.unwrap();
            let silent = Events::silent();
            let second = journal.lock(&name, "up", &silent);
            let second = tokio::time::timeout(Duration::from_millis(300), second);
            assert!(second.await.is_err(), "the second lock was given while the first was held");
            first.say("waiting for capacity");
            let working = journal.working().unwrap();
            assert_eq!(working.len(), 1);
            assert!(working[0].is_of("Hello") && working[0].process() == Some(std::process::id()));
            assert!(working[0].who.ends_with("): waiting for capacity"), "{}", working[0].who);
            drop(first);
            assert!(journal.working().unwrap().is_empty());
            let third = journal.lock(&name, "down", &Events::silent()).await.unwrap();
            drop(third);
        });
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(.|\n){0,200}") {
            drop(parse_entry(text.as_bytes(), Path::new("x")));
        }
    }
}
