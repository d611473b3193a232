//! Nix on this machine: what we ask it, what it answers, what is different between its versions.

pub mod builders;
pub mod closure;
pub mod command;
pub mod environment;
pub mod graph;
pub mod listing;
pub mod log;
pub mod missing;
pub mod source;
pub mod version;

pub use closure::{Closure, Fingerprint, PathInfo};
pub use environment::Environment;
pub use listing::{Listing, Nar};
