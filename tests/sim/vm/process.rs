//! Processes that outlive who started them, known by a file with their id.

use std::path::Path;
use std::time::{Duration, Instant};

use devbox::error::{Error, Kind, OrFail, Result, tick};
use rustix::process::{Pid, Signal, kill_process};

/// How long one may take to go.
const PATIENCE: Duration = Duration::from_secs(20);

/// The process of `file`, if it runs: `mark` must be among its words, since its number may be somebody else's by now.
pub(super) fn running(file: &Path, mark: &str) -> Option<Pid> {
    let id: i32 = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
    // Empty for one that has ended and was not waited for.
    let words = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
    String::from_utf8_lossy(&words).contains(mark).then(|| Pid::from_raw(id)).flatten()
}

/// Kills it, and waits until it is gone.
pub(super) fn kill(file: &Path, mark: &str) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while let Some(pid) = running(file, mark) {
        match kill_process(pid, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) | Ok(()) => {}
            Err(e) => return Err(e).or_fail(|| format!("can't kill the process of {}", tick(file))),
        }
        if Instant::now() > until {
            return Err(Error::new(Kind::Failed, format!("the process of {} does not end", tick(file))));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
