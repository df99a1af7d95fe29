//! What is needed to scan one push.

use std::path::PathBuf;
use std::sync::Arc;

use super::launch::{Launcher, locate};
use super::parallel::ParallelScanner;
use super::path_rules::PathRules;
use super::supply::Supply;
use super::{EngineError, Scanner};
use crate::deadline::Deadline;
use crate::settings::Settings;

/// Reads `report` as that of a scan of `lines` lines whose canaries nobody knows: for the fuzz target.
#[cfg(fuzzing)]
pub fn parse_report(report: &[u8], lines: u64) -> Result<Vec<super::RawFinding>, EngineError> {
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
        Self::new(locate()?, settings, deadline)
    }

    /// As [`Engine::open`], with the gitleaks at `program` and `git-gate.scanTimeout` from now.
    pub fn with_program(program: PathBuf, settings: &Settings) -> Result<Self, EngineError> {
        let deadline = Deadline::of("scanTimeout", settings.limits.scan);
        Self::new(program, settings, deadline)
    }

    /// As [`Engine::open`], with the gitleaks at `program`.
    pub fn new(
        program: PathBuf,
        settings: &Settings,
        deadline: Deadline,
    ) -> Result<Self, EngineError> {
        let rules = settings.gitleaks_config.as_deref();
        let launcher = Launcher::known(program, rules, settings.run_dir.clone())?;
        Ok(Self {
            supply: Arc::new(Supply::new(launcher, deadline)),
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
        Ok(Box::new(ParallelScanner::start(Arc::clone(&self.supply))?))
    }
}
