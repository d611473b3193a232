//! Locks between processes: a `flock` that ends with its holder, however that ends.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{OrFail, Result, tick};

/// A lock held until dropped.
pub(super) struct Lock(#[expect(dead_code, reason = "held, not read")] File);

/// Waits for the lock on `path`, which is made if need be. `waiting` is called once, when somebody
/// else has it.
pub(super) async fn take(path: &Path, waiting: impl FnOnce()) -> Result<Lock> {
    let mut waiting = Some(waiting);
    loop {
        if let Some(lock) = try_take(path, FlockOperation::NonBlockingLockExclusive)? {
            return Ok(lock);
        }
        if let Some(say) = waiting.take() {
            say();
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Whether somebody has the lock on `path` now.
pub(super) fn is_held(path: &Path) -> Result<bool> {
    // Shared, so that two who ask don't see each other.
    Ok(path.exists() && try_take(path, FlockOperation::NonBlockingLockShared)?.is_none())
}

fn try_take(path: &Path, operation: FlockOperation) -> Result<Option<Lock>> {
    let what = || format!("can't lock {}", tick(path));
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).or_fail(what)?;
    }
    let file = OpenOptions::new().create(true).append(true).open(path).or_fail(what)?;
    match flock(&file, operation) {
        Ok(()) => Ok(Some(Lock(file))),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(e).or_fail(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_excludes_and_ends_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(!is_held(&path).unwrap());
        let held = try_take(&path, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(held.is_some() && is_held(&path).unwrap());
        assert!(try_take(&path, FlockOperation::NonBlockingLockExclusive).unwrap().is_none());
        drop(held);
        assert!(!is_held(&path).unwrap());
    }
}
