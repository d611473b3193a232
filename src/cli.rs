//! The command line. The doc comments are the manual.

mod store;

use std::path::PathBuf;

use crate::config::duration::Timespan;
use clap::{Args, Parser, Subcommand};

use crate::config::layer::Assignment;
use crate::plan::cost::Usd;
use crate::plan::spend::{By, Since};
use crate::templates;
use crate::ui::ColorChoice;

pub use store::{Rollback, Store, StoreWork};

/// Rent a GPU box that feels like your own laptop.
///
/// In a project with a Nix flake, `devbox up` gives you a box whose /nix and /home outlive it, and
/// whose dev shell is the one of your flake. `devbox ssh` takes you into it, `devbox down` ends it;
/// environment and data stay on the volume, and the next `devbox up` finds them there.
#[derive(Debug, Parser)]
#[command(
    name = "devbox",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
#[command(after_help = "Exit codes:
  0    done
  1    failed
  2    the command line or the configuration is wrong; nothing was touched
  3    the environment could not be evaluated or built
  4    the provider refused, or can't work on this machine
  5    the box can't be reached or set up
  6    the environment differs from what it must be
  7    the volume is held by another box, missing or damaged
  130  interrupted
`devbox ssh` and `devbox run` end with the exit code of what they run, or ssh's 255.")]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print data as one JSON document; long work prints one event a line
    #[arg(long, global = true)]
    pub json: bool,
    /// Say only warnings and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more; twice: every event
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: ColorChoice,
    /// Print plain lines instead of moving ones
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Read this file instead of the user's configuration
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Run as if started in this folder
    #[arg(short = 'C', global = true, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Set a configuration key for this run, over files and environment
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// What to do. The documentation of a verb is that of its arguments.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "clap would show a comment here instead of the longer one at the arguments")]
pub enum Command {
    Init(Init),
    Up(Up),
    Down(Down),
    Ssh(Ssh),
    Run(Run),
    Status(Status),
    List(List),
    Wait(Wait),
    Cost(Cost),
    Lock(Lock),
    Verify(Verify),
    Diff(Diff),
    Rollback(Rollback),
    Store(Store),
    Config(Config),
    Doctor(Doctor),
    Completions(Completions),
}

/// Write `devbox.toml`, and a flake where there is none.
///
/// A template is what `nix flake init -t github:OWNER/devbox#TEMPLATE` writes too. Nothing that exists is overwritten.
#[derive(Args, Debug)]
pub struct Init {
    /// What to start from; where there is no flake, `minimal`
    #[arg(short, long, value_name = "TEMPLATE", value_parser = templates::Names)]
    pub template: Option<String>,
    /// What the project is called; without it, as its folder
    #[arg(long)]
    pub name: Option<String>,
}

/// Bring up a box with the project's dev shell.
///
/// Builds the dev shell here while the box is launched, moves what the box lacks, makes it current
/// there, and writes the ssh configuration. On a box that is up and current nothing changes. After
/// any interruption `devbox up` continues, and never launches a second box.
#[derive(Args, Debug)]
pub struct Up {
    /// The box; without it, the one of the project
    pub name: Option<String>,
    /// Which machines would do: a preset, such as `gh200`
    #[arg(long, value_name = "PRESET")]
    pub preset: Option<String>,
    /// How long to wait for a machine to become free, such as `30min`, `2h`
    #[arg(long, value_name = "TIME")]
    pub wait_capacity: Option<String>,
    /// Run the project's checks again, though they have passed
    #[arg(long)]
    pub check: bool,
    /// Bring what the box built into this machine's store too
    #[arg(long)]
    pub fetch: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Fail with exit code 6 unless `devbox.lock` has just this environment; without a lock, too
    #[arg(long)]
    pub locked: bool,
    /// Answer every question with yes
    #[arg(short, long)]
    pub yes: bool,
}

impl Up {
    /// What its own options set of the configuration.
    pub fn assignments(&self) -> Vec<Assignment> {
        let set = |key: &str, flag, value: &Option<String>| {
            value.clone().map(|value| Assignment { key: key.to_owned(), value, flag })
        };
        [
            set("box.preset", "--preset", &self.preset),
            set("capacity.wait", "--wait-capacity", &self.wait_capacity),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Bring a box to rest and end it.
///
/// Stops the Nix daemon, unmounts home and store, syncs the volume, and then terminates. Refuses
/// while somebody works on the box. What is on the volume stays.
#[derive(Args, Debug)]
pub struct Down {
    /// The box, or the provider's id of an instance; without it, the box of the project
    #[arg(conflicts_with = "all")]
    pub name: Option<String>,
    /// Every box that this machine launched
    #[arg(long)]
    pub all: bool,
    /// End what is busy, and end the box even when it can't be brought to rest: what is not saved is lost
    #[arg(long)]
    pub force: bool,
    /// How long what is busy may take to end after it was told
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub grace: Timespan,
    /// End nothing, only take a box off the books of which you are certain that it is gone
    #[arg(long, conflicts_with_all = ["all", "force"])]
    pub forget: bool,
    /// Answer every question with yes
    #[arg(short, long)]
    pub yes: bool,
}

/// Open the dev shell on a box.
///
/// With a command, its words are joined by blanks and run by the dev shell's bash, as ssh does it;
/// `devbox run` takes the words as they are.
#[derive(Args, Debug)]
pub struct Ssh {
    /// The box; without it, the one of the project
    pub name: Option<String>,
    /// The login shell instead of the dev shell
    #[arg(long)]
    pub plain: bool,
    /// What to run instead of a shell
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Run a command in the dev shell on a box.
///
/// The words arrive as they are. Standard input, exit code and signals pass as with ssh.
#[derive(Args, Debug)]
pub struct Run {
    /// The box; without it, the one of the project
    #[arg(long = "box", value_name = "NAME")]
    pub name: Option<String>,
    /// What to run
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Show every box of the account that carries our tag, with state, age and cost.
///
/// Asks the provider and each box. Boxes that other machines launched are shown too, and what is not ours is told apart.
/// What only the journal knows is shown too: a provider that can't
/// be reached does not mean that nothing runs.
#[derive(Args, Debug)]
pub struct Status {
    /// Only this box
    pub name: Option<String>,
}

/// List what there is to rent, and what the account has.
///
/// Each thing is a card of two columns; `--table` prints a line each. Nothing is left out because it is sold
/// out, and what this version of devbox does not know is shown as it comes.
#[derive(Args, Debug)]
pub struct List {
    /// What to list
    #[command(subcommand)]
    pub what: Listed,
    /// A line for each, instead of a card; columns that do not fit are left out, first what matters least
    #[arg(long, global = true)]
    pub table: bool,
}

/// What can be listed.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Listed {
    /// Instances, ours or not, of every provider in use
    Instances,
    /// Kinds of machine: what they have, what they cost, where they are free
    InstanceTypes,
    /// Operating system images
    Images,
    /// Persistent filesystems: the volumes
    Filesystems,
    /// Public keys that the account has
    SshKeys,
    /// What the firewall lets in
    FirewallRulesets,
    /// Presets: what `up --preset` takes
    Presets,
}

/// Wait until a box is ready, or gone.
#[derive(Args, Debug)]
pub struct Wait {
    /// The box; without it, the one of the project
    pub name: Option<String>,
    /// What to wait for
    #[arg(long = "for", value_enum, default_value_t, value_name = "STATE")]
    pub state: Awaited,
    /// How long, such as `30s`, `10min`
    #[arg(long, default_value = "10min", value_name = "TIME")]
    pub timeout: String,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Awaited {
    /// ssh answers and the set-up is done
    #[default]
    Ready,
    /// Nothing is billed any more
    Gone,
}

/// Show what boxes have cost: hours, prices, sums, and what each day cost.
///
/// Told from this machine's journal, by the prices at launch, billed by the begun minute; nothing is asked but, for
/// the volumes, how much they hold. What other machines launched is not in it, nor is tax.
#[derive(Args, Debug)]
pub struct Cost {
    /// Count what was billed since then: a day such as `2026-11-01`, or `30d`, `2w`, `12h` ago
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Since>,
    /// What gets a row
    #[arg(long, value_enum, default_value_t)]
    pub by: By,
    /// When a box of this price in USD, bought, would have been cheaper
    #[arg(long, value_name = "USD")]
    pub versus: Option<Usd>,
}

/// Write down exactly what the project's environment is, in `devbox.lock`.
///
/// One section for each system: derivation, fingerprint, and the packages that people care about, with version, store
/// path and NAR hash. Where it is there already, the environment is built and held against it, and nothing is written:
/// exit code 6 when it differs. `devbox up` does the same, and writes the section that is missing.
#[derive(Args, Debug)]
pub struct Lock {
    /// Take what the project evaluates to now into the lock
    #[arg(long, conflicts_with = "check")]
    pub update: bool,
    /// Write nothing and build nothing: fail when there is no lock, or the project evaluates to something else
    #[arg(long)]
    pub check: bool,
    /// For this system; without it, for the one that the box would run
    #[arg(long, value_name = "SYSTEM")]
    pub system: Option<crate::names::System>,
}

/// Prove that a box has just the environment of `devbox.lock`.
///
/// Compares what is registered there, path for path, sees that all of it is there and that the lock's environment is the
/// one in use: about a round trip. Exit code 6 when anything differs, with the store path and the way out.
///
/// `--json` prints a report to file with an experiment.
#[derive(Args, Debug)]
pub struct Verify {
    /// The box; without it, the one of the project
    pub name: Option<String>,
    /// Read every file, and hash it anew
    #[arg(long)]
    pub deep: bool,
}

/// Show what is different between two environments.
///
/// Packages added, removed and changed, with versions and sizes, the size of the closure, and how many other store paths
/// differ. Nothing is built for it: of what is not built yet the packages are told from the derivations.
#[derive(Args, Debug)]
pub struct Diff {
    /// `lock`, a lock file, the number of a generation on the box, or `flake`: what the project says now
    #[arg(default_value = "lock")]
    pub from: String,
    /// The same
    #[arg(default_value = "flake")]
    pub to: String,
    /// For this system; without it, for the one that the box runs, or would run
    #[arg(long, value_name = "SYSTEM")]
    pub system: Option<crate::names::System>,
    /// The box whose generations are meant; without it, the one of the project
    #[arg(long = "box", value_name = "NAME")]
    pub name: Option<String>,
}

/// Print each setting and where it comes from.
#[derive(Args, Debug)]
pub struct Config {}

/// Check what devbox needs on this machine.
///
/// Each line names what is needed, what was found, and the command that fixes it. Exit code 1 when
/// something needed is missing.
#[derive(Args, Debug)]
pub struct Doctor {}

/// Print the completion script of a shell.
///
/// For example: `devbox completions bash > ~/.local/share/bash-completion/completions/devbox`
#[derive(Args, Debug)]
pub struct Completions {
    /// Which shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}
