//! How the end of a child is seen while something else is waited for.

use std::io;
use std::os::fd::BorrowedFd;
use std::process::Child;
use std::time::Duration;

/// What tells that a child has ended: a descriptor of its own (pidfd_open(2)).
#[cfg(target_os = "linux")]
pub(super) struct ChildEnd(std::os::fd::OwnedFd);

#[cfg(target_os = "linux")]
impl ChildEnd {
    pub(super) fn of(child: &Child) -> io::Result<Self> {
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        Ok(Self(pidfd_open(
            Pid::from_child(child),
            PidfdFlags::empty(),
        )?))
    }

    /// Adds to `watched` what ends a wait when the child ends; how long that wait may take.
    pub(super) fn watch<'a>(
        &'a self,
        watched: &mut Vec<BorrowedFd<'a>>,
        limit: Duration,
    ) -> Duration {
        use std::os::fd::AsFd;
        watched.push(self.0.as_fd());
        limit
    }
}

/// Where nothing tells it (macOS), each wait is short, and the child is looked at after it.
#[cfg(not(target_os = "linux"))]
pub(super) struct ChildEnd;

#[cfg(not(target_os = "linux"))]
impl ChildEnd {
    const STEP: Duration = Duration::from_millis(20);

    pub(super) fn of(_: &Child) -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) fn watch<'a>(&'a self, _: &mut Vec<BorrowedFd<'a>>, limit: Duration) -> Duration {
        limit.min(Self::STEP)
    }
}
