//! The commands that work on the store of a box.

use clap::{Args, Subcommand};

/// Look at the store of a box, and look after it.
///
/// The store is an image on the volume: sparse, so that it takes what is in it, with a single writer, and one for
/// each architecture. These commands work through a box that is up.
#[derive(Args, Debug)]
pub struct Store {
    /// What to do
    #[command(subcommand)]
    pub what: StoreWork,
    /// The box; without it, the one of the project
    #[arg(long = "box", value_name = "NAME", global = true)]
    pub name: Option<String>,
}

/// What can be done with a store.
#[derive(Debug, Subcommand)]
pub enum StoreWork {
    /// Show size, use, holder, last check, generations and snapshots
    Status,
    /// Throw away what no kept generation refers to, and give the room back to the volume
    ///
    /// Of each project the newest generations stay, and the current one. Everything else that nothing refers to goes:
    /// also what was built on the box without a GC root, such as the results of `nix build --no-link`. Then the
    /// filesystem is trimmed, so that the image really takes less on the volume.
    Gc {
        /// How many generations of each project stay
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
        keep: u32,
        /// Show what would go, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Make the store larger while it is in use
    ///
    /// It is sparse: on the volume it takes what is in it, not what it promises. It can't be made smaller.
    Grow {
        /// How large it is to be, such as `200GiB`
        size: String,
    },
    /// Look at every store path, or at the filesystem of a store that can't be mounted
    ///
    /// Exit code 7 when something is wrong.
    Check {
        /// Fetch anew what is damaged, and throw away what can't be; an image that can't be mounted is copied first,
        /// then repaired, mounted and looked at
        #[arg(long)]
        repair: bool,
    },
    /// Keep a copy of the store on the volume
    ///
    /// A clone where the volume's filesystem can, else a sparse copy. While it is made, whoever writes into the store
    /// waits.
    Snapshot {
        /// What to call it; without it, by the time
        snapshot: Option<String>,
        /// Delete this snapshot instead
        #[arg(long, value_name = "SNAPSHOT", conflicts_with = "snapshot")]
        delete: Option<String>,
    },
    /// Go back to a snapshot
    ///
    /// Refuses while the store is in use. The store of now becomes a snapshot itself; when the old one does not come
    /// up, it is back in its place.
    Restore {
        /// The snapshot
        snapshot: String,
        /// Keep nothing of the store of now
        #[arg(long)]
        discard_current: bool,
        /// Answer every question with yes
        #[arg(short, long)]
        yes: bool,
    },
    /// List the snapshots
    List,
    /// Say who has the store that a box waits for, or let it have it
    ///
    /// A box takes over the lease of one that is gone as soon as `up` has asked the provider. This is for what it
    /// can't tell.
    Unlock {
        /// Take the lease of a holder that is certainly gone; refused while the provider says that it lives
        #[arg(long)]
        force: bool,
    },
}

/// Make an earlier environment current.
///
/// Takes seconds, and no network: the generations of a project stay in the store until `devbox store gc` rolls them
/// off. The next `devbox up` makes the environment of the flake current again.
#[derive(Args, Debug)]
pub struct Rollback {
    /// The generation, as `devbox store status` numbers them; without it, the one before the current
    #[arg(value_name = "N")]
    pub generation: Option<u64>,
    /// The box; without it, the one of the project
    #[arg(long = "box", value_name = "NAME")]
    pub name: Option<String>,
}
