//! What is needed to scan one push, and the interface of a scanner.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::launch::Recipe;
use super::parallel::Fan;
use super::path_rules::PathRules;
use super::supply::Supply;

use crate::deadline::{Deadline, Missed};
use crate::settings::Settings;
use crate::unix_socket;

/// The most bytes of one fragment.
pub const FRAGMENT_LIMIT: usize = 96 << 10;

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
        "the scanner's rules in {} cannot be used: {problem}; the operator mends git-gate.gitleaksConfig",
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
    TimedOut(#[from] Missed),
    /// It ended otherwise than a complete scan ends.
    #[error("gitleaks failed ({how}){said}; push again, and tell the operator if it stays so")]
    Failed {
        /// How it ended.
        how: String,
        /// What it said, safe to show; starts with `: ` where there is something.
        said: String,
    },
    /// Its report is not one, or proves that something was not read.
    #[error(
        "gitleaks' report cannot be trusted: {problem}; push again, and tell the operator if it stays so"
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

impl EngineError {
    pub(crate) fn system(action: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { action, source }
    }
}

/// A finding as gitleaks reports it. It holds the secret in clear: it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct RawFinding {
    /// The rule's id.
    pub rule: String,
    /// What the rule finds, in words.
    pub description: String,
    /// The first line of the match, counted from 1 over all that was fed.
    pub start_line: u64,
    /// The last line of the match.
    pub end_line: u64,
    /// Where on its first line the match begins, in bytes from 1. gitleaks counts one too many on
    /// all but a fragment's first line.
    pub start_column: u64,
    /// The whole match, decoded where `decoded` says so. What is not UTF-8 is U+FFFD here.
    pub matched: String,
    /// The secret in it.
    pub secret: String,
    /// Whether gitleaks found it in a value that it decoded (base64, hex, percent).
    pub decoded: bool,
}

/// Shows all but the secret, so that no log line can hold it.
impl std::fmt::Debug for RawFinding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RawFinding")
            .field("rule", &self.rule)
            .field("start_line", &self.start_line)
            .field("end_line", &self.end_line)
            .field("decoded", &self.decoded)
            .finish_non_exhaustive()
    }
}

/// A scanner that reads fragments. Dropped before its end, it ends its process.
pub trait Scanner {
    /// Gives it one fragment of at most [`FRAGMENT_LIMIT`] bytes. No match spans two fragments.
    /// Returns the number of lines fed so far, those that end the fragment included: the next
    /// fragment's first line is one more. It never waits beyond `git-gate.scanTimeout`.
    fn feed(&mut self, fragment: &[u8]) -> Result<u64, EngineError>;

    /// Ends the input and returns what was found.
    fn finish(self: Box<Self>) -> Result<Vec<RawFinding>, EngineError>;
}

/// Reads `report` as that of a scan of `lines` lines whose canaries nobody knows: for the fuzz target.
#[cfg(fuzzing)]
pub fn parse_report(report: &[u8], lines: u64) -> Result<Vec<RawFinding>, EngineError> {
    super::report::parse(report, ["head", "tail"], lines)
}

/// What is needed to scan one push.
#[derive(Debug)]
pub struct Engine {
    supply: Arc<Supply>,
    deadline: Deadline,
}

impl Engine {
    /// Finds gitleaks and reads the operator's rules, for scans that all end by `deadline`.
    pub fn open(settings: &Settings, deadline: Deadline) -> Result<Self, EngineError> {
        Self::new(
            super::launch::locate()?,
            unix_socket::run_dir(),
            settings,
            deadline,
        )
    }

    /// As [`Engine::open`], with the gitleaks at `program` and `git-gate.scanTimeout` from now.
    pub fn with_program(program: PathBuf, settings: &Settings) -> Result<Self, EngineError> {
        let deadline = Deadline::of("scanTimeout", settings.limits.scan);
        Self::new(program, unix_socket::run_dir(), settings, deadline)
    }

    /// As [`Engine::with_program`], beside the gate-init whose run folder is `run_dir`.
    pub fn new(
        program: PathBuf,
        run_dir: PathBuf,
        settings: &Settings,
        deadline: Deadline,
    ) -> Result<Self, EngineError> {
        let recipe = Recipe::read(program, settings.gitleaks_config.as_deref(), run_dir)?;
        Ok(Self {
            supply: Arc::new(Supply::new(recipe, deadline)),
            deadline,
        })
    }

    /// The rules that hold for some paths only: the gate applies them, since gitleaks sees no path.
    pub fn path_rules(&self) -> &PathRules {
        self.supply.path_rules()
    }

    /// When all scans have to be done.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Starts a scan.
    ///
    /// gate-init lends a gitleaks that waits already, once it is this push's turn; where there is no
    /// gate-init, or it has none with these rules, a new one is started, which finds the same.
    pub fn start(&self) -> Result<Box<dyn Scanner>, EngineError> {
        Ok(Box::new(Fan::start(Arc::clone(&self.supply))?))
    }
}
