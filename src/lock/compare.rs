//! Whether a project still evaluates to what its lock says.

use crate::error::{Error, Kind};
use crate::lock::{FILE, Lock, Section};
use crate::names::System;

/// What the project evaluates to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now<'a> {
    /// The dev shell, as the configuration names it.
    pub shell: &'a str,
    /// `sha256:` and the hash of `flake.lock`; nothing where there is none.
    pub flake_lock: Option<&'a str>,
    /// The dev shell's own derivation.
    pub derivation: &'a str,
    /// The box's Nix, where the project names one.
    pub nix: Option<&'a str>,
}

/// Something that is not as the lock has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deviation {
    /// Another dev shell is named.
    Shell {
        /// In the lock.
        was: String,
        /// Now.
        is: String,
    },
    /// `flake.lock` has changed, come or gone.
    FlakeLock,
    /// The dev shell has another derivation.
    Derivation {
        /// In the lock.
        was: String,
        /// Now.
        is: String,
    },
    /// The box gets another Nix.
    Nix {
        /// In the lock.
        was: Option<String>,
        /// Now.
        is: Option<String>,
    },
}

impl Deviation {
    /// Whether it means another environment. The others only say how one came to the same.
    pub fn is_of_the_environment(&self) -> bool {
        matches!(self, Self::Derivation { .. } | Self::Nix { .. })
    }

    /// As a person reads it: what, then what the lock has and what is now, a line each.
    pub fn render(&self) -> Vec<String> {
        let pair = |what: &str, was: &str, is: &str| {
            vec![format!("{what}"), format!("  lock  {was}"), format!("  now   {is}")]
        };
        let none = "that of the box's image";
        match self {
            Self::Shell { was, is } => vec![format!("`environment.shell` is `{is}`, in the lock `{was}`")],
            Self::FlakeLock => vec!["`flake.lock` has changed".to_owned()],
            Self::Derivation { was, is } => pair("the dev shell has another derivation", was, is),
            Self::Nix { was, is } => pair(
                "the box's Nix is another",
                was.as_deref().unwrap_or(none),
                is.as_deref().unwrap_or(none),
            ),
        }
    }
}

impl Section {
    /// What is not as this says, the environment last.
    pub fn deviations(&self, now: &Now<'_>) -> Vec<Deviation> {
        let mut all = Vec::new();
        if self.shell != now.shell {
            all.push(Deviation::Shell { was: self.shell.clone(), is: now.shell.to_owned() });
        }
        if self.flake_lock.as_deref() != now.flake_lock {
            all.push(Deviation::FlakeLock);
        }
        if self.nix.as_deref() != now.nix {
            all.push(Deviation::Nix { was: self.nix.clone(), is: now.nix.map(str::to_owned) });
        }
        if self.derivation != now.derivation {
            all.push(Deviation::Derivation { was: self.derivation.clone(), is: now.derivation.to_owned() });
        }
        all
    }
}

/// What a `devbox lock` for `system` needs behind it to mean that one: nothing where the lock has no other.
pub fn system_option(lock: Option<&Lock>, system: System) -> String {
    match lock {
        Some(lock) if lock.sections.len() > 1 || !lock.sections.contains_key(&system) => {
            format!(" --system {system}")
        }
        _ => String::new(),
    }
}

/// The error where a project has changed since its lock was written. `diff` says what is different of its packages, where
/// anything is known of that; `update` is the command that accepts it.
pub fn edited(system: System, deviations: &[Deviation], diff: &[String], update: &str) -> Error {
    let of_environment = deviations.iter().any(Deviation::is_of_the_environment);
    let what = match of_environment {
        true => format!("the environment for {system} is not the one in `{FILE}`: the project was edited"),
        false => format!(
            "`{FILE}` does not say what the project says now; its environment for {system} is the same"
        ),
    };
    // Two hashes say less than the packages behind them.
    let is_told = |d: &&Deviation| diff.is_empty() || !matches!(d, Deviation::Derivation { .. });
    Error::new(Kind::Differs, what)
        .details(deviations.iter().filter(is_told).flat_map(Deviation::render))
        .details(diff.iter().cloned())
        .hint(format!("`{update}` takes the environment of now into the lock"))
}

/// The error where a lock says nothing of a system. `write` is the command that makes it.
pub fn not_locked(system: System, has_file: bool, write: &str) -> Error {
    let what = match has_file {
        true => format!("`{FILE}` has no section for {system}"),
        false => format!("there is no `{FILE}`"),
    };
    Error::new(Kind::Differs, what).hint(format!("`{write}` writes it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::tests::section;

    #[test]
    fn only_derivation_and_nix_are_another_environment() {
        let section = section();
        let same = Now {
            shell: &section.shell,
            flake_lock: section.flake_lock.as_deref(),
            derivation: &section.derivation,
            nix: None,
        };
        assert!(section.deviations(&same).is_empty());
        let talk = section.deviations(&Now { shell: ".#x", flake_lock: None, ..same });
        assert_eq!(talk.iter().filter(|d| d.is_of_the_environment()).count(), 0);
        assert_eq!(talk.len(), 2);
        let drv = "/nix/store/4x1kkg1q61mvzx0z5hv15px24pv0axln-shell.drv";
        let other = section.deviations(&Now { derivation: drv, nix: Some("/nix/store/x"), ..same });
        assert!(other.iter().all(Deviation::is_of_the_environment));
        let all = section.deviations(&Now {
            shell: ".#x",
            flake_lock: None,
            derivation: drv,
            nix: Some("/nix/store/x"),
        });
        let shown = [
            edited(System::X86_64Linux, &all, &[], "devbox lock --update"),
            edited(System::X86_64Linux, &all, &["torch 1 2".to_owned()], "devbox lock --update"),
            edited(System::X86_64Linux, &talk, &[], "devbox lock --update"),
            not_locked(System::X86_64Linux, false, "devbox lock"),
            not_locked(System::Aarch64Linux, true, "devbox lock --system aarch64-linux"),
        ];
        insta::assert_snapshot!(shown.iter().map(|e| crate::ui::render_error(e, false)).collect::<String>());
    }
}
