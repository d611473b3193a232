//! Named places where a test can end the process as `kill -9` would. Inert unless
//! [`crate::env::FAILPOINT`] names the place.

use crate::env;

/// Ends this process with SIGKILL when the environment names this `step`.
pub fn hit(step: &str) {
    if env::text(env::FAILPOINT).as_deref() == Some(step) {
        let me = rustix::process::getpid();
        // If the signal could not be sent the test that asked for it fails by itself.
        crate::error::ignore(rustix::process::kill_process(me, rustix::process::Signal::KILL));
    }
}
