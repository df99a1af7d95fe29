//! Where the scanners of a push come from: gate-init lends them, else they are started here. What a
//! scan leaves fit for another one goes back to where it came from.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::launch::Launcher;
use super::pool_client::{self, Patience};
use super::scanner_process::{Process, ProcessHandle};
use super::session::Gitleaks;
use super::{EngineError, PathRules};
use crate::deadline::Deadline;
use crate::unix_socket;

/// Scanners of one launcher, for scans that all end by one deadline.
pub(crate) struct Supply {
    launcher: Launcher,
    deadline: Deadline,
    /// Those that were started here, and wait for the next scan of this push.
    spare: Mutex<Vec<Process>>,
}

impl fmt::Debug for Supply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Supply");
        shown
            .field("launcher", &self.launcher)
            .finish_non_exhaustive()
    }
}

impl Supply {
    pub(crate) fn new(launcher: Launcher, deadline: Deadline) -> Self {
        Self {
            launcher,
            deadline,
            spare: Mutex::default(),
        }
    }

    pub(crate) fn path_rules(&self) -> &PathRules {
        &self.launcher.paths
    }

    /// Whether gate-init is there to lend scanners.
    pub(crate) fn is_shared(&self) -> bool {
        unix_socket::is_there(&pool_client::socket(&self.launcher))
    }

    /// A scanner, once it is this push's turn. Who waits must hold none.
    pub(crate) fn first(&self) -> Result<Gitleaks, EngineError> {
        let waiting = self.spare().pop().or_else(|| {
            let patience = Patience::UntilTurn(self.deadline);
            pool_client::borrow(&self.launcher, patience).ok().flatten()
        });
        // One that waited may have died on its way here.
        if let Some(scan) = waiting.and_then(|process| self.begin(process).ok()) {
            return Ok(scan);
        }
        self.deadline.check()?;
        self.own()
    }

    /// A further one, unless gate-init has none that nobody else needs.
    pub(crate) fn another(&self) -> Result<Option<Gitleaks>, EngineError> {
        let waiting = self.spare().pop().map(|process| Ok(Some(process)));
        let waiting =
            waiting.unwrap_or_else(|| pool_client::borrow(&self.launcher, Patience::None));
        match waiting {
            Ok(Some(process)) => Ok(self.begin(process).ok()),
            Ok(None) => Ok(None),
            Err(_) => self.own().map(Some),
        }
    }

    fn own(&self) -> Result<Gitleaks, EngineError> {
        let (own, ends) = self.launcher.start()?;
        let handle = ProcessHandle::Local(own);
        self.begin(Process { handle, ends })
    }

    fn begin(&self, process: Process) -> Result<Gitleaks, EngineError> {
        Gitleaks::begin(process, self.deadline, self.launcher.rules_file.clone())
    }

    /// Takes back one that has scanned `bytes`.
    pub(crate) fn give_back(&self, Process { handle, ends }: Process, bytes: u64) {
        match handle {
            ProcessHandle::Local(_) => self.spare().push(Process { handle, ends }),
            ProcessHandle::Borrowed(lent) => {
                drop(ends);
                lent.give_back(bytes);
            }
        }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Process>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
