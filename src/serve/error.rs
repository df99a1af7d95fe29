//! Why gate-init cannot start or go on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use super::exit;
use crate::config::ConfigError;

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
    /// A directory or file that is needed.
    #[error("cannot use {}", path.display())]
    Directory {
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
    #[error("the server was killed {0} times within a minute; giving up")]
    GivenUp(usize),
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
