//! Why gitleaks gave no answer.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::FRAGMENT_LIMIT;
use crate::deadline::Missed;

/// Names the gitleaks to run; without it, the one on PATH.
pub const PROGRAM_VARIABLE: &str = "GIT_GATE_GITLEAKS";

/// Why gitleaks gave no answer. Each of these refuses the push.
#[derive(Debug, Error)]
pub enum EngineError {
    /// It is not installed.
    #[error(
        "gitleaks was not found, so nothing can be scanned; the operator sets {PROGRAM_VARIABLE} or puts it on PATH"
    )]
    Missing,
    /// It does not hold its own rules, or not so that they can be read.
    #[error(
        "{} is no gitleaks whose own rules can be read, so nothing can be scanned; the operator lets {PROGRAM_VARIABLE} name the program of gitleaks itself, as its releases hold it and not packed",
        _0.display()
    )]
    Foreign(PathBuf),
    /// The operator's rules cannot be used.
    #[error(
        "the scanner's rules in {} cannot be used: {problem}; the operator has to fix git-gate.gitleaksConfig",
        file.display()
    )]
    Config {
        /// The file of `git-gate.gitleaksConfig`.
        file: PathBuf,
        /// What is wrong with it, safe to show.
        problem: String,
    },
    /// It could not be started, or the system refused something on the way.
    #[error("the scanner did not work: cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The scan was not done within `git-gate.scanTimeout`.
    #[error("the scan was ended, since {0}; push fewer commits at once")]
    TimedOut(Missed),
    /// It ended otherwise than a complete scan ends.
    #[error("gitleaks failed ({how}){said}; push again; if it keeps failing, tell the operator")]
    Failed {
        /// How it ended.
        how: String,
        /// What it said, safe to show; starts with `: ` where there is something.
        said: String,
    },
    /// Its report is not one, or proves that something was not read.
    #[error(
        "gitleaks' report cannot be trusted: {problem}; push again; if it keeps failing, tell the operator"
    )]
    Report {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is more to report than the gate reads.
    #[error(
        "gitleaks reports more than {} MiB of matches; push fewer commits at once",
        limit >> 20
    )]
    TooMany {
        /// The limit in bytes.
        limit: usize,
    },
    /// The caller's mistake.
    #[error("a fragment of {0} bytes is over the limit of {FRAGMENT_LIMIT}")]
    Fragment(usize),
}

// By hand: the words hold the cause already, and `#[from]` would have it told twice.
impl From<Missed> for EngineError {
    fn from(missed: Missed) -> Self {
        Self::TimedOut(missed)
    }
}

impl EngineError {
    pub(crate) fn system(action: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { action, source }
    }
}
