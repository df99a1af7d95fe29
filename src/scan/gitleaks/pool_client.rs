//! How gate-init lends a gitleaks that is started already: starting one takes 60 times as long as
//! the scan of a small push. The other side is `serve::scanner_pool`.
//!
//! Over a unix socket in the run folder the hook sends a [`Request`] as one line of JSON. The answer
//! is the token of its canaries, one line of JSON too, with three descriptors (unix(7), SCM_RIGHTS):
//! the input, the report, what gitleaks says besides. When it has ended, its wait status follows on a line of
//! its own. A hook that hangs up ends its scanner. gate-init hangs up when it has none to lend.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::launch::{Keeper, Process, Recipe};
use crate::unix_socket;

/// The socket's name in the run folder.
pub(crate) const SOCKET: &str = "scanner";

/// Which gitleaks a hook needs.
#[derive(Serialize, Deserialize)]
pub(crate) struct Request {
    /// Its program.
    pub(crate) program: PathBuf,
    /// The operator's rules.
    pub(crate) rules: Option<PathBuf>,
    /// What both are, as the hook sees them.
    pub(crate) fingerprint: String,
}

/// A gitleaks that gate-init started: the line to gate-init.
pub(crate) struct Lent(UnixStream);

impl Lent {
    /// How it ended; `None` when it still runs after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        self.0.set_read_timeout(Some(limit))?;
        let mut line = String::new();
        match BufReader::new((&self.0).take(unix_socket::LINE_LIMIT)).read_line(&mut line) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        let status = line.trim_end().parse();
        let status = status.map_err(|_| io::Error::other("gate-init hung up during the scan"))?;
        Ok(Some(ExitStatus::from_raw(status)))
    }
}

/// A gitleaks from gate-init, when it has one for `recipe` at once.
pub(crate) fn borrow(recipe: &Recipe) -> Option<Process> {
    try_borrow(recipe).ok().flatten()
}

fn try_borrow(recipe: &Recipe) -> io::Result<Option<Process>> {
    let stream = unix_socket::ask(&recipe.run_dir.join(SOCKET), || {
        Ok(Request {
            program: recipe.program.clone(),
            rules: recipe.rules.file.clone(),
            fingerprint: recipe.fingerprint().map_err(io::Error::other)?,
        })
    })?;
    let (answer, descriptors) = unix_socket::receive(&stream)?;
    let Ok([input, report, errors]) = <[OwnedFd; 3]>::try_from(descriptors) else {
        return Ok(None);
    };
    Ok(Some(Process {
        keeper: Keeper::Lent(Lent(stream)),
        input,
        report,
        errors,
        canary: serde_json::from_slice(&answer)?,
    }))
}
