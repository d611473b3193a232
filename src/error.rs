//! The one error type: what went wrong, where, what still runs, and the way out.
//!
//! A kind picks the exit code; hints are printed one a line behind `hint:`. The
//! cause is kept in `source` and never repeated in the message.

use std::fmt;
use std::path::Path;

/// What failed, as far as the exit code cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything without a code of its own. Exit code 1.
    Failed,
    /// The command line or the configuration is wrong; nothing was touched. Exit code 2.
    Usage,
    /// The environment could not be evaluated or built. Exit code 3.
    Environment,
    /// The provider refused, or can't work on this machine. Exit code 4.
    Provider,
    /// The box can't be reached or set up. Exit code 5.
    Guest,
    /// The environment differs from what it must be. Exit code 6.
    Differs,
    /// The volume is held by another box, missing, or damaged. Exit code 7.
    Volume,
    /// Ctrl-C. Exit code 130.
    Interrupted,
}

impl Kind {
    /// The documented exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Environment => 3,
            Self::Provider => 4,
            Self::Guest => 5,
            Self::Differs => 6,
            Self::Volume => 7,
            Self::Interrupted => 130,
        }
    }
}

/// A failure a person can act on.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    details: Vec<String>,
    hints: Vec<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// `Result` with the crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`. `message` is one line, without a full stop, names the thing and
    /// puts names, paths and commands in backticks.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), details: Vec::new(), hints: Vec::new(), source: None }
    }

    /// Adds a way out. Several are printed in the order given.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        // Lambda's own suggestion may be ours.
        if !self
            .hints
            .iter()
            .any(|known| known.trim_end_matches('.').eq_ignore_ascii_case(hint.trim_end_matches('.')))
        {
            self.hints.push(hint);
        }
        self
    }

    /// Adds a line of evidence (a log line, a path) printed indented under the message.
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    /// Adds several lines of evidence.
    #[must_use]
    pub fn details<S: Into<String>>(mut self, lines: impl IntoIterator<Item = S>) -> Self {
        self.details.extend(lines.into_iter().map(Into::into));
        self
    }

    /// Keeps the cause, printed behind `caused by:`.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// This error behind what may well be its cause, where something is wrong: its message and ways out come after that.
    #[must_use]
    pub fn behind(self, wrong: Result<()>) -> Self {
        match wrong {
            Err(why) if why.message != self.message => {
                self.hints.iter().fold(why.detail(&self.message), |why, hint| why.hint(hint))
            }
            _ => self,
        }
    }

    /// The same error under another kind, for a caller that knows better what failed.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// What failed, as far as the exit code cares.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it came of a disk that is full, or can only be read.
    pub fn is_of_an_unwritable_disk(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let cause = self.source.as_ref().and_then(|e| e.downcast_ref::<std::io::Error>());
        cause.is_some_and(|e| matches!(e.kind(), ReadOnlyFilesystem | StorageFull | QuotaExceeded))
    }

    /// The message alone.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Lines of evidence.
    pub fn detail_lines(&self) -> &[String] {
        &self.details
    }

    /// Ways out.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The causes, outermost first, each as its own text.
    pub fn causes(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            out.push(cause.to_string());
            next = cause.source();
        }
        out
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// Turns a foreign error into ours with a sentence about what was being done.
pub trait OrFail<T> {
    /// `can't VERB` as a [`Kind::Failed`] error that keeps the cause.
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T>;
    /// The same with the kind chosen.
    fn or_kind(self, kind: Kind, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> OrFail<T> for Result<T, E> {
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T> {
        self.or_kind(Kind::Failed, what)
    }

    fn or_kind(self, kind: Kind, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::new(kind, what()).caused_by(e))
    }
}

/// A path as messages show it: in backticks.
pub fn tick(path: impl AsRef<Path>) -> String {
    format!("`{}`", path.as_ref().display())
}

/// For the few failures that change nothing for anybody. The caller's comment says why.
pub fn ignore<T, E>(_: Result<T, E>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_listed_once_and_not_in_the_message() {
        let e: Error = Err::<(), _>(std::io::Error::other("disk on fire"))
            .or_fail(|| "can't read `x`".into())
            .unwrap_err();
        assert_eq!(e.to_string(), "can't read `x`");
        assert_eq!(e.causes(), ["disk on fire"]);
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let codes = [
            (Kind::Failed, 1),
            (Kind::Usage, 2),
            (Kind::Environment, 3),
            (Kind::Provider, 4),
            (Kind::Guest, 5),
            (Kind::Differs, 6),
            (Kind::Volume, 7),
            (Kind::Interrupted, 130),
        ];
        for (kind, code) in codes {
            assert_eq!(kind.exit_code(), code, "{kind:?}");
        }
    }
}
