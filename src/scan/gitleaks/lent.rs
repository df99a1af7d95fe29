//! A gitleaks that gate-init started and lends to a hook: the line to gate-init.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{process, unix_socket};

/// The system takes no time limit of nothing.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);

/// What a hook says of a scanner that is fit for another scan.
#[derive(Serialize, Deserialize)]
pub(crate) struct Returned {
    /// How much it has read.
    pub(crate) bytes: u64,
}

/// A gitleaks that gate-init started: the line to gate-init.
pub(crate) struct Borrowed(pub(super) UnixStream);

impl Borrowed {
    /// How it ended; `None` when it still runs after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        self.0.set_read_timeout(Some(limit.max(SHORTEST)))?;
        let mut lines = BufReader::new((&self.0).take(unix_socket::LINE_LIMIT)).lines();
        // An empty one asks for it, too late.
        let status = match lines.find(|line| !matches!(line, Ok(line) if line.is_empty())) {
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            line => line.transpose()?.and_then(|line| line.parse().ok()),
        };
        let status = status.ok_or_else(|| io::Error::other("gate-init hung up during the scan"))?;
        Ok(Some(ExitStatus::from_raw(status)))
    }

    /// Whether gate-init needs it for others. It has no other word before the end.
    pub(crate) fn is_wanted_back(&self) -> bool {
        process::wait_for_any(&[self.0.as_fd()], Duration::ZERO).unwrap_or(true)
    }

    /// Gives it back. A gate-init that is gone has ended it.
    pub(crate) fn give_back(mut self, bytes: u64) {
        let _ = unix_socket::say(&mut self.0, &Returned { bytes });
    }
}
