//! The NFS server of the filesystems: nfs-ganesha, on this machine's own address, for guests that know it as 10.0.2.2.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use devbox::error::{Error, Kind, OrFail, Result, tick};

use super::process;
use super::tools::{Tools, inside};

/// What guests know this machine as.
const SERVER: &str = "10.0.2.2";
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long until its process id is written down.
const A_MOMENT: Duration = Duration::from_secs(5);

/// A server and its folder: `volumes/NAME` is what guests get, `nfs` is its own. Whoever makes one stops it.
#[derive(Debug)]
pub(crate) struct Share {
    dir: PathBuf,
    tools: Tools,
    port: u16,
    /// One at a time starts it.
    starting: tokio::sync::Mutex<()>,
}

impl Share {
    pub(super) fn new(dir: &Path, tools: Tools) -> Result<Self> {
        for folder in ["nfs/recovery", "volumes"] {
            let folder = dir.join(folder);
            std::fs::create_dir_all(&folder).or_fail(|| format!("can't make {}", tick(&folder)))?;
        }
        let port = port(&dir.join("nfs/port"))?;
        Ok(Self { dir: dir.to_owned(), tools, port, starting: tokio::sync::Mutex::new(()) })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The folder of a filesystem.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.dir.join("volumes").join(name)
    }

    /// Another name for a filesystem that is there.
    pub(crate) fn twin(&self, of: &str, name: &str) -> Result<()> {
        let link = self.volume(name);
        std::os::unix::fs::symlink(of, &link).or_fail(|| format!("can't make {}", tick(&link)))
    }

    /// What guests mount for a filesystem, whose folder is made if it is not there.
    pub(super) fn source(&self, name: &str) -> Result<String> {
        let folder = self.volume(name);
        let what = || format!("can't make {}", tick(&folder));
        std::fs::create_dir_all(&folder).or_fail(what)?;
        // Guests don't follow links.
        let folder = folder.canonicalize().or_fail(what)?;
        let name = folder.file_name().unwrap_or_default().display();
        Ok(format!("{SERVER}:/volumes/{name}"))
    }

    /// Whether it answers.
    pub(crate) fn is_up(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
    }

    /// Starts the server where it does not run; it answers when this returns. What clients held before it stopped
    /// they may claim again, as with any server.
    pub(crate) async fn start(&self) -> Result<()> {
        let _one = self.starting.lock().await;
        let (pid, mark) = self.process();
        if process::running(&pid, &mark).is_none() {
            let nfs = self.dir.join("nfs");
            let config = nfs.join("ganesha.conf");
            std::fs::write(&config, self.config()).or_fail(|| format!("can't write {}", tick(&config)))?;
            let log = nfs.join("said");
            let said = std::fs::File::options().create(true).append(true).open(&log);
            let said = said.or_fail(|| format!("can't write {}", tick(&log)))?;
            let server = self.tools.cmd(&[&self.dir], "ganesha.nfsd").args(["-F", "-N", "EVENT"]);
            let server = server.arg("-f").arg(inside(&config)).arg("-L").arg(inside(&nfs.join("log")));
            server.arg("-p").arg(&mark).detach(&said)?;
        }
        let began = Instant::now();
        while !self.is_up() {
            let ended = || began.elapsed() > A_MOMENT && process::running(&pid, &mark).is_none();
            if began.elapsed() > PATIENCE || ended() {
                let log = std::fs::read_to_string(self.dir.join("nfs/log")).unwrap_or_default();
                let grave = log.lines().filter(|l| l.contains(":CRIT :") || l.contains(":FATAL :"));
                return Err(Error::new(Kind::Failed, "the NFS server does not answer").details(grave));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Kills it: its clients are told nothing.
    pub(crate) fn stop(&self) -> Result<()> {
        let (pid, mark) = self.process();
        process::kill(&pid, &mark)
    }

    /// The file with the server's process id, and what tells the process from others.
    fn process(&self) -> (PathBuf, String) {
        let pid = self.dir.join("nfs/pid");
        let mark = inside(&pid);
        (pid, mark)
    }

    /// NFSv4 alone, which needs no other services. The lease is short, so that a lock of a guest that is gone is soon
    /// free; real servers take a minute or two.
    fn config(&self) -> String {
        let (recovery, volumes) = (inside(&self.dir.join("nfs/recovery")), inside(&self.dir.join("volumes")));
        format!(
            "NFS_CORE_PARAM {{
                Protocols = 4; NFS_Port = {}; Bind_addr = 127.0.0.1;
                Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false; allow_set_io_flusher_fail = true;
            }}
            NFSv4 {{
                Minor_Versions = 1, 2; Lease_Lifetime = 10; Grace_Period = 15; Graceless = false;
                RecoveryBackend = fs; RecoveryRoot = \"{recovery}\"; Only_Numeric_Owners = true;
            }}
            EXPORT_DEFAULTS {{
                Access_Type = RW; Squash = No_Root_Squash; SecType = sys; Protocols = 4; Transports = TCP;
            }}
            EXPORT {{ Export_Id = 1; Path = \"{volumes}\"; Pseudo = /volumes; FSAL {{ Name = VFS; }} }}\n",
            self.port
        )
    }
}

/// The port of `file`; one that is free where there is none yet. It stays the same, as guests keep it.
fn port(file: &Path) -> Result<u16> {
    let what = || format!("can't keep a port in {}", tick(file));
    if let Ok(text) = std::fs::read_to_string(file) {
        return text.trim().parse().or_fail(what);
    }
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).or_fail(what)?.port();
    std::fs::write(file, free.to_string()).or_fail(what)?;
    Ok(free)
}
