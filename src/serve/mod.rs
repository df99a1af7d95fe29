//! gate-init: mirrors, connections, child processes.
//!
//! | module         | what it does                                                             |
//! |----------------|--------------------------------------------------------------------------|
//! | `options`      | command line and environment                                             |
//! | `supervisor`   | the first process: reaps orphans, passes signals on, restarts the server |
//! | `server`       | the second one: prepares the mirrors, serves, reloads, drains            |
//! | `mirrors`      | one mirror: made once, its settings written on every start               |
//! | `listener`     | accepts clients and reads their requests; answers the health check       |
//! | `agents`       | who may use the gate, by their tokens                                    |
//! | `git_request`  | the first packet of a connection                                         |
//! | `hook_stderr`  | why the hook refused, for a client that cannot be shown what it says     |
//! | `clients`      | who is being served, and the limits on that                              |
//! | `connection`   | one client: git daemon is started for it                                 |
//! | `relay`        | bytes between the two, and the end of a client that stalls               |
//! | `answer`       | what git answers to a push, with the gate's own words in it              |
//! | `http`         | the same over HTTP                                                       |
//! | `hook_reports` | the hooks' events, and who has none                                      |
//! | `unreported`   | the event of a client that no hook reported on                           |
//! | `metrics`      | counters, as Prometheus reads them                                       |
//! | `scanner_pool` | scanners that are started ahead and lent to the hooks                    |
//! | `sessions`     | sessions with the upstreams that are opened ahead and lent to the hooks    |
//! | `maintenance`  | repacks the mirrors, when no client waits for it                         |
//! | `conditions`   | what must hold: for the check, the start, a reload and the health check  |
//! | `policy`       | what a push is held against, for who asks ahead                          |
//! | `check`        | `gate-init check` and `gate-init health`                                 |
//!
//! There are two processes so that neither can confuse the other's children: orphans (ssh masters,
//! what a killed hook left) fall to the first, which waits for anything; the second only waits for
//! what it has started itself.

mod agents;
mod answer;
mod check;
mod clients;
mod conditions;
mod connection;
mod git_request;
mod hook_reports;
mod hook_stderr;
mod http;
mod listener;
mod maintenance;
mod metrics;
mod mirrors;
mod options;
mod policy;
mod relay;
pub mod scanner_pool;
mod server;
mod sessions;
mod supervisor;
mod unreported;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

pub use crate::serve::mirrors::MirrorError;
pub use check::{check, health};
pub use conditions::servers_of;
pub use options::Options;
pub use policy::policy;

use crate::config::ConfigError;

/// The names of the sockets in the run directory.
const SOCKETS: [&str; 4] = [
    crate::audit::SOCKET,
    server::HEALTH_SOCKET,
    crate::upstream::ls_refs::SOCKET,
    crate::scan::gitleaks::pool_client::SOCKET,
];

/// Why gate-init cannot start or go on.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The command line or `gate.json`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A hook is not there.
    #[error("{} is not a program that may be run (see --hooks-dir)", path.display())]
    Hook {
        /// The hook.
        path: PathBuf,
    },
    /// This program's own path is not known.
    #[error("cannot find this program's own file")]
    Itself(#[source] io::Error),
    /// git is not there, or has no git-daemon.
    #[error("git daemon is not installed: {0}")]
    NoDaemon(String),
    /// A folder or file that is needed.
    #[error("cannot use {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another gate-init has the same base path or run directory.
    #[error("another gate-init serves {}; stop it first", path.display())]
    Taken {
        /// The directory.
        path: PathBuf,
    },
    /// The run directory's sockets would have paths that the system does not take.
    #[error("{0}")]
    LongRunDir(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// A thread, signal handler or socket that the system refused.
    #[error("the system refused a thread, a signal handler or a socket")]
    System(#[source] io::Error),
    /// No gate-init answers.
    #[error("no gate-init serves at {}", path.display())]
    NotServing {
        /// Its socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The gate-init that answers cannot take pushes.
    #[error("it serves, but pushes are refused: {0}")]
    Unhealthy(String),
    /// The server was killed again and again.
    #[error("the server was killed {0} times within a minute; given up")]
    GivenUp(usize),
}

/// gate-init's exit codes.
pub mod exit {
    /// Ended as asked, or all is well.
    pub const DONE: u8 = 0;
    /// Cannot start, or `check` or `health` found something wrong.
    pub const FAILED: u8 = 1;
    /// Wrong usage, or a `gate.json` that cannot be used.
    pub const USAGE: u8 = 2;
    /// The server was killed again and again, and given up.
    pub const GIVEN_UP: u8 = 3;
    /// Ended as asked, but clients that were still served at the drain limit were cut.
    pub const CUT: u8 = 4;
    /// `scan` found something that would refuse a push.
    pub const FOUND: u8 = 5;
}

impl ServeError {
    /// The exit code for this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => exit::USAGE,
            Self::GivenUp(_) => exit::GIVEN_UP,
            _ => exit::FAILED,
        }
    }
}

/// Serves until a signal ends it; returns the exit code.
pub fn run(options: &Options) -> Result<u8, ServeError> {
    if supervisor::is_supervised() {
        server::run(options)
    } else {
        supervisor::run(options)
    }
}
