//! The time that a refresh or a forward has, and the lock that both take.

use std::path::Path;
use std::time::Duration;

use super::UpstreamError;
use crate::deadline::Deadline;
use crate::mirror::lock::Lock;
use crate::mirror::{stale_files, state_dir};
use crate::process::{self, Output, ProcessError, Reading};
use crate::settings::Settings;

/// Takes the mirror's lock for `what`, and tidies up when its last holder was killed.
pub(crate) fn lock(git_dir: &Path, settings: &Settings, what: &str) -> Result<Lock, UpstreamError> {
    let dir = state_dir(git_dir).map_err(|source| UpstreamError::System {
        what: "make the gate's directory in its mirror",
        source,
    })?;
    let limit = Duration::from_secs(settings.limits.lock);
    let mut lock = Lock::acquire(&dir.join("lock"), what, limit)?;
    if lock.was_abandoned() && !stale_files::remove_stale_locks(git_dir) {
        lock.leave_untidy();
    }
    Ok(lock)
}

/// The time that a whole refresh or a whole forward may take, all its commands together.
pub(super) struct Budget {
    pub(super) deadline: Deadline,
    pub(super) what: String,
}

impl Budget {
    pub(super) fn new(setting: &'static str, seconds: u64, what: String) -> Self {
        Self {
            deadline: Deadline::of(setting, seconds),
            what,
        }
    }

    /// Runs `command` to its end, or to the end of the budget.
    pub(super) fn run(&self, command: &mut std::process::Command) -> Result<Output, UpstreamError> {
        self.run_read(command, Reading::default())
    }

    /// As [`Budget::run`], with its output as `reading` says.
    pub(super) fn run_read(
        &self,
        command: &mut std::process::Command,
        reading: Reading<'_>,
    ) -> Result<Output, UpstreamError> {
        let left = self.deadline.left();
        process::run_read(command, left, reading).map_err(|error| match error {
            ProcessError::TimedOut { .. } => {
                let missed = self.deadline.missed();
                UpstreamError::Limit {
                    limit: missed.setting,
                    seconds: missed.seconds,
                    what: self.what.clone(),
                }
            }
            error => error.into(),
        })
    }
}
