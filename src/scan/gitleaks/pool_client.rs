//! How gate-init lends a gitleaks that is started already: starting one takes 60 times as long as
//! the scan of a small push. The other side is `serve::scanner_pool`.
//!
//! Over a unix socket in the run directory the hook sends a [`Request`] as one line of JSON, and gets an
//! empty line at once. When it is its turn, the beginning of the canaries follows, one line of JSON
//! too, with three descriptors (unix(7), SCM_RIGHTS): [`Ends`]. A hook whose scan was clean gives the
//! scanner back with a [`Returned`](super::lent::Returned) on a line; one that hangs up ends it. Where others wait, an empty
//! line asks for it. When it has ended, its wait status follows on a line of its own. gate-init hangs
//! up when it has none to lend.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::launch::Launcher;
use super::lent::{Borrowed, SHORTEST};
use super::scanner_process::{Ends, Process, ProcessHandle};
use crate::agent::Asking;
use crate::deadline::Deadline;
use crate::unix_socket;

/// The socket's name in the run directory.
pub(crate) const SOCKET: &str = "scanner";

/// How long gate-init may take to say that it is there: it may have 50 hooks to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

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

/// How long a hook waits for a scanner.
pub(crate) enum Patience {
    UntilTurn(Deadline),
    /// It has one already.
    None,
}

/// Where gate-init listens for hooks that need what `launcher` is for.
pub(crate) fn socket(launcher: &Launcher) -> PathBuf {
    launcher.run_dir.join(SOCKET)
}

fn client() -> String {
    let agent = Asking::here().ok().flatten().and_then(|asking| asking.name);
    let address = || std::env::var("REMOTE_ADDR").ok();
    agent.or_else(address).unwrap_or_default()
}

/// A gitleaks from gate-init; none where it has none to lend. An error means that it is not there.
pub(crate) fn borrow(launcher: &Launcher, patience: Patience) -> io::Result<Option<Process>> {
    let mut stream = unix_socket::ask(&socket(launcher), || {
        Ok(Request {
            program: launcher.program.clone(),
            rules: launcher.rules_file.clone(),
            fingerprint: launcher.fingerprint.clone(),
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
        handle: ProcessHandle::Borrowed(Borrowed(stream)),
        ends: Ends {
            input,
            printed,
            report,
            canary: serde_json::from_slice(&answer)?,
        },
    }))
}
