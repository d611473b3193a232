//! What to do, decided from what is known. PURE: no I/O, no async, no clock.

pub mod up;

pub use up::{Seen, UpPlan, Wanted, plan_up};
