//! A Lambda Cloud on this machine. `tests/sim/README.md` tells all about it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own, and it talks")]

#[path = "../tests/sim/mod.rs"]
mod sim;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use devbox::error::{OrFail, Result};

use sim::vm::Vms;
use sim::{Boxes, Options, Scenario, Sim, scenario};

/// A Lambda Cloud on this machine: its API, with boxes of the local provider for instances.
///
/// Prints `listening on URL` once it answers. Ctrl-C stops it; its boxes run on, and the next one on
/// the same state folder has them. With boxes it needs root.
#[derive(Parser)]
#[command(name = "lambda-sim")]
struct Cli {
    /// Where to listen; port 0 is any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The folder of its state; one that was used before is gone on with
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// What the cloud is like: TOML, see `tests/sim/README.md`
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Instances are words alone: for tests of the API
    #[arg(long)]
    no_boxes: bool,
    /// Times the documented rates; 0 is without limit. Over the scenario's
    #[arg(long, value_name = "FACTOR")]
    rate_scale: Option<f64>,
    /// The key that callers need [default: that of LAMBDA_API_KEY, else secret_sim_key]
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// Instances are QEMU guests with filesystems of an NFS server: slow, and close to the real thing
    #[arg(long, conflicts_with = "no_boxes")]
    vms: bool,
    /// Where the root filesystem of boxes is kept [default: devbox's own cache]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Also writes every call to this file: JSON, a line each, without secrets
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Ends all instances and their boxes before it exits
    #[arg(long)]
    end_everything: bool,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("lambda-sim: {e}");
            e.detail_lines().iter().for_each(|line| eprintln!("  {line}"));
            e.causes().iter().for_each(|cause| eprintln!("caused by: {cause}"));
            e.hints().iter().for_each(|hint| eprintln!("hint: {hint}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let mut scenario = cli.scenario.as_deref().map_or_else(|| Ok(Scenario::default()), scenario::load)?;
    if let Some(scale) = cli.rate_scale {
        scenario.rates.scale = scale;
    }
    #[expect(clippy::disallowed_methods, reason = "a test's program, not devbox")]
    let from_env = || std::env::var("LAMBDA_API_KEY").ok();
    let api_key = cli.api_key.or_else(from_env).unwrap_or_else(|| "secret_sim_key".to_owned());
    let state = std::path::absolute(&cli.state).or_fail(|| "where is the state folder?".to_owned())?;
    let mut vms = None;
    let boxes = if cli.no_boxes {
        None
    } else {
        let cache = cli.cache.map_or_else(|| devbox::paths::Paths::from_env().map(|p| p.cache), Ok)?;
        if cli.vms {
            devbox::paths::make_private(&state)?;
            vms = Some(Arc::new(Vms::new(&cache.join("vm"), &state)?));
        }
        Some(vms.clone().map_or(Boxes::Local { cache }, Boxes::Vms))
    };
    let mut sim = Sim::start(Options { listen: cli.listen, state, scenario, boxes, api_key })?;
    if let Some(file) = &cli.record {
        sim.record(file)?;
    }
    println!("listening on {}", sim.base());
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_fail(|| "can't make a runtime".to_owned())?
        .block_on(asked_to_stop())?;
    if cli.end_everything {
        sim.end_everything();
    }
    sim.stop();
    let left = sim.left();
    if let Some(vms) = vms.filter(|_| left.is_empty()) {
        vms.share.stop()?;
    }
    if !left.is_empty() {
        eprintln!(
            "boxes run on for {} (start it again, or with --end-everything to end them)",
            left.join(", ")
        );
    }
    Ok(())
}

async fn asked_to_stop() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let what = || "can't wait for signals".to_owned();
    let mut interrupt = signal(SignalKind::interrupt()).or_fail(what)?;
    let mut terminate = signal(SignalKind::terminate()).or_fail(what)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
