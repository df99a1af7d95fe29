//! How gate-init lends a gitleaks that is started already: starting one takes 60 times as long as
//! the scan of a small push. The other side is `serve::scanner_pool`.
//!
//! Over a unix socket in the run folder the hook sends a [`Request`] as one line of JSON, and gets an
//! empty line at once. When it is its turn, the beginning of the canaries follows, one line of JSON
//! too, with three descriptors (unix(7), SCM_RIGHTS): [`Ends`]. A hook whose scan was clean gives the
//! scanner back with a [`Returned`] on a line; one that hangs up ends it. Where others wait, an empty
//! line asks for it. When it has ended, its wait status follows on a line of its own. gate-init hangs
//! up when it has none to lend.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::launch::{Ends, Keeper, Process, Recipe};
use crate::agent::Asking;
use crate::deadline::Deadline;
use crate::{process, unix_socket};

/// The socket's name in the run folder.
pub(crate) const SOCKET: &str = "scanner";

/// How long gate-init may take to say that it is there: it may have 50 hooks to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// The system takes no time limit of nothing.
const SHORTEST: Duration = Duration::from_millis(1);

/// Which gitleaks a hook needs.
#[derive(Serialize, Deserialize)]
pub(crate) struct Request {
    /// Its program.
    pub(crate) program: PathBuf,
    /// The operator's rules.
    pub(crate) rules: Option<PathBuf>,
    /// What both are, as the hook sees them.
    pub(crate) fingerprint: String,
    /// Whose push it is: an agent's name or a client's address.
    pub(crate) client: String,
    /// Whether the hook waits for its turn; else it wants one only if nobody else does.
    pub(crate) waits: bool,
}

/// What a hook says of a scanner that is fit for another scan.
#[derive(Serialize, Deserialize)]
pub(crate) struct Returned {
    /// How much it has read.
    pub(crate) bytes: u64,
}

/// How long a hook waits for a scanner.
pub(crate) enum Patience {
    UntilTurn(Deadline),
    /// It has one already.
    None,
}

/// A gitleaks that gate-init started: the line to gate-init.
pub(crate) struct Lent(UnixStream);

impl Lent {
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

/// Where gate-init listens for hooks that need what `recipe` is for.
pub(crate) fn socket(recipe: &Recipe) -> PathBuf {
    recipe.run_dir.join(SOCKET)
}

fn client() -> String {
    let agent = Asking::here().ok().flatten().and_then(|asking| asking.name);
    let address = || std::env::var("REMOTE_ADDR").ok();
    agent.or_else(address).unwrap_or_default()
}

/// A gitleaks from gate-init; none where it has none to lend. An error means that it is not there.
pub(crate) fn borrow(recipe: &Recipe, patience: Patience) -> io::Result<Option<Process>> {
    let mut stream = unix_socket::ask(&socket(recipe), || {
        Ok(Request {
            program: recipe.program.clone(),
            rules: recipe.rules.file.clone(),
            fingerprint: recipe.fingerprint().map_err(io::Error::other)?,
            client: client(),
            waits: matches!(patience, Patience::UntilTurn(_)),
        })
    })?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.read_exact(&mut [0])?;
    if let Patience::UntilTurn(deadline) = patience {
        stream.set_read_timeout(Some(deadline.left().max(SHORTEST)))?;
    }
    let (answer, descriptors) = unix_socket::receive(&stream)?;
    let Ok([input, printed, report]) = <[OwnedFd; 3]>::try_from(descriptors) else {
        return Ok(None);
    };
    Ok(Some(Process {
        keeper: Keeper::Lent(Lent(stream)),
        ends: Ends {
            input,
            printed,
            report,
            canary: serde_json::from_slice(&answer)?,
        },
    }))
}
