//! The proof on realistic boxes: QEMU guests with a kernel of their own, on the share of a real NFS server, with power
//! that goes at once. Slow, so opt-in: `make test-vm`.

// `clippy.toml` lets tests panic, but knows a test by its attribute: helpers have none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::print_stdout)]
// The stage is that of the other tests, which use more of it.
#![allow(dead_code)]

#[path = "../it/lambda_stage.rs"]
mod lambda_stage;
mod power;
mod room;
mod share;
#[path = "../sim/mod.rs"]
mod sim;
#[path = "../it/sim_stage.rs"]
mod sim_stage;
mod story;
#[path = "../it/support.rs"]
mod support;
mod synced;

/// Far more than any step takes on an emulated processor.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(600);
