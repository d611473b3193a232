//! Everything tested from the outside, in one binary so that it links once.

// `clippy.toml` lets tests panic, but knows a test by its attribute: helpers have none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::print_stdout)]

mod bad_environment;
mod bad_volume;
mod build_there;
mod checks;
mod cli;
mod cost;
mod crash;
mod cuda_template;
mod driver;
mod flake;
mod lambda;
mod lambda_answers;
mod lambda_books;
mod lambda_faults;
mod lambda_small;
mod lambda_stage;
mod lease;
mod local_provider;
mod lock;
mod other_bytes;
mod power_loss;
#[path = "../sim/mod.rs"]
mod sim;
mod sim_api;
mod sim_boxes;
mod sim_stage;
mod ssh_keys;
mod store;
mod story;
mod support;

/// Far more than any step takes on a busy machine.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(180);
