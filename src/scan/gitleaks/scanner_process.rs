//! A gitleaks that runs, whoever started it.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tempfile::TempDir;

use super::EngineError;
use super::canary::Canary;
use super::lent::Borrowed;
use crate::debug_log::{self, Noted};
use crate::{process, processes};

/// Our ends of a gitleaks that waits for its input.
pub(crate) struct Ends {
    pub(crate) input: OwnedFd,
    /// Each finding as it is found.
    pub(crate) printed: OwnedFd,
    /// What it says besides, and its report in the end.
    pub(crate) report: OwnedFd,
    pub(crate) canary: Canary,
}

/// A gitleaks, to be used for scans.
pub(crate) struct Process {
    pub(crate) handle: ProcessHandle,
    pub(crate) ends: Ends,
}

/// Who started it. Dropped, each ends it.
pub(crate) enum ProcessHandle {
    /// This process.
    Local(LocalProcess),
    /// gate-init.
    Borrowed(Borrowed),
}

impl ProcessHandle {
    /// How it ended; `None` when it still runs after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>, EngineError> {
        let status = match self {
            Self::Local(own) => own.wait(limit),
            Self::Borrowed(lent) => lent.wait(limit),
        };
        status.map_err(EngineError::system("wait for gitleaks"))
    }

    /// Whether its owner needs it for others.
    pub(crate) fn is_wanted_back(&self) -> bool {
        match self {
            Self::Local(_) => false,
            Self::Borrowed(lent) => lent.is_wanted_back(),
        }
    }
}

/// A child of ours.
pub(crate) struct LocalProcess {
    /// Until it is reaped: its number may then be another process's.
    pub(super) child: Option<Child>,
    /// The same, for the debug log.
    pub(super) noted: Option<Noted>,
    /// Its working directory, with its configuration and nothing else, so that it finds no
    /// `.gitleaksignore`.
    pub(super) _directory: TempDir,
}

impl LocalProcess {
    /// How it ended; `None` when it still runs after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let child = self.child.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let status = process::wait(child, limit)?;
        if let Some(status) = status {
            self.child = None;
            debug_log::ended(&mut self.noted, status);
        }
        Ok(status)
    }

    /// Whether it runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.wait(Duration::ZERO), Ok(None))
    }

    /// The memory that it has, in bytes.
    pub(crate) fn memory(&self) -> Option<u64> {
        processes::memory(self.child.as_ref()?.id())
    }

    /// Ready to read when it has ended (pidfd_open(2)).
    pub(crate) fn pidfd(&self) -> io::Result<OwnedFd> {
        let child = self.child.as_ref().ok_or(io::ErrorKind::NotFound)?;
        Ok(pidfd_open(Pid::from_child(child), PidfdFlags::empty())?)
    }
}

impl Drop for LocalProcess {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            process::end_group(child);
        }
    }
}
