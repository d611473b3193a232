//! What to do, decided from what is known. PURE: no I/O, no async, no clock.

pub mod build;
pub mod cost;
pub mod pause;
pub mod placement;
pub mod show;
pub mod spend;
pub mod up;

pub use placement::{Placements, Wish, plan_placements};
pub use up::{Seen, Source, UpPlan, Wanted, plan_up};
