//! Why the rules cannot be held against a push.

use std::path::PathBuf;

use thiserror::Error;

use crate::deadline::Missed;
use crate::scan::objects::parse;

/// Why the rules cannot be held against a push: it is refused.
#[derive(Debug, Error)]
pub enum RuleError {
    /// An object cannot be read.
    #[error("cannot read the pushed objects; check the clone with `git fsck`")]
    Objects(#[from] git2::Error),
    /// An object is not what its kind says.
    #[error(transparent)]
    Malformed(#[from] parse::Malformed),
    /// git's own output cannot be had.
    #[error("cannot compare the pushed commits with their parents through git")]
    Git(#[from] std::io::Error),
    /// The time is over.
    #[error(
        "the comparison of the pushed commits with their parents was ended, since {0}; push fewer commits at once"
    )]
    TimedOut(Missed),
    /// There is no end of directories.
    #[error(
        "the pushed commits differ from their parents in too many directories, or too deep ones, to be compared; push fewer commits at once"
    )]
    TooManyFolders,
    /// The operator's exceptions.
    #[error(transparent)]
    Exceptions(#[from] crate::scan::exceptions::ExceptionsError),
    /// The keys that count cannot be read.
    #[error("cannot read {} (git-gate.requireSignature)", file.display())]
    Signers {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

// By hand: the words hold the cause already, and `#[from]` would have it told twice.
impl From<Missed> for RuleError {
    fn from(missed: Missed) -> Self {
        Self::TimedOut(missed)
    }
}
