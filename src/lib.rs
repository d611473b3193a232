//! Rent a GPU box that feels like your own laptop.
//!
//! The map. **Pure** (no I/O, no clock): [`names`], [`plan`], [`lock`], [`error`], [`templates`], and everything called
//! `parse_*`, `argv_*`, `plan_*` or `render_*` anywhere. **Touches the world**: [`process`] (the only
//! file that spawns), [`paths`], [`journal`], [`provider`], [`ssh`], [`guest`], [`transfer`].
//! **Talks to people**: [`ui`], fed by [`events`]. [`commands`] tells the stories.

pub mod cli;
pub mod commands;
pub mod config;
pub mod env;
pub mod error;
pub mod events;
pub mod failpoint;
pub mod guest;
pub mod journal;
pub mod lock;
pub mod names;
pub mod nix;
pub mod paths;
pub mod plan;
pub mod process;
pub mod provider;
pub mod ssh;
pub mod templates;
pub mod transfer;
pub mod ui;
