//! The upstream: ssh or HTTPS, the refresh before a fetch, the forward after a clean scan. Nothing
//! here knows of findings.
//!
//! A fetch and a push of one mirror meet in one lock ([`crate::mirror::lock`], `git-gate/lock` in the
//! mirror): a refresh holds it while it changes refs, a push from its forward until receive-pack
//! has changed them. The connection to the upstream is shared by all of them and stays open.

mod askpass;
mod context;
mod control_master;
mod error;
mod forward;
mod https;
pub mod key_file;
mod listing;
mod lock_holder;
mod ls_refs;
mod ls_remote;
mod object_format;
mod refresh;
mod remote;
pub mod ssh;
pub mod waiting_session;

use std::path::Path;
use std::time::Duration;

pub use crate::upstream::object_format::{Seen, look, object_format};
pub use askpass::problem as token_problem;
pub use context::DISK_FULL;
pub use error::{OTHER_FORMAT, UpstreamError};
pub use forward::{forward, has_room};
pub use refresh::refresh;

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
struct Budget {
    deadline: Deadline,
    what: String,
}

impl Budget {
    fn new(setting: &'static str, seconds: u64, what: String) -> Self {
        Self {
            deadline: Deadline::of(setting, seconds),
            what,
        }
    }

    /// Runs `command` to its end, or to the end of the budget.
    fn run(&self, command: &mut std::process::Command) -> Result<Output, UpstreamError> {
        self.run_read(command, Reading::default())
    }

    /// As [`Budget::run`], with its output as `reading` says.
    fn run_read(
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
