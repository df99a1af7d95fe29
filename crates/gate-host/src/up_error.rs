//! Why there is no gate.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::prepare_error::PrepareError;

/// How long the gate may take until it serves: its mirrors are made first.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(300);

/// Why there is no gate.
#[derive(Debug, Error)]
pub enum UpError {
    /// Nothing was prepared.
    #[error("nothing was prepared")]
    Prepare(#[from] PrepareError),
    /// A program is missing.
    #[error("{0}")]
    Missing(String),
    /// The directory of the mirrors cannot be made.
    #[error("cannot make {}", path.display())]
    Folder {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A program could not be started or watched.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A gate of another run still serves the directory.
    #[error(
        "a gate serves the mirrors in {} already (process {process}), with the deploy keys of this \
         folder; end it first, or name another --folder. Nothing was changed", path.display()
    )]
    Serving {
        /// The directory of the mirrors.
        path: PathBuf,
        /// The gate's process.
        process: i32,
    },
    /// A container of another run has the name.
    #[error(
        "there is a container {name} already ({status}): a gate of the same --slug; end it, remove what \
         is left of it ({engine} rm {name}), or take another --slug. Nothing was changed"
    )]
    Taken {
        /// The container's name.
        name: String,
        /// How it is, in the engine's words.
        status: String,
        /// The program that removes it.
        engine: String,
    },
    /// The container engine does not answer.
    #[error("{engine} does not work: {reason}")]
    Engine {
        /// The program.
        engine: String,
        /// Its words.
        reason: String,
    },
    /// The gate did not come to serve.
    #[error("the gate was still not serving after {} s: {reason}", START_LIMIT.as_secs())]
    NotServing {
        /// What its health check said last.
        reason: String,
    },
    /// The gate ended, and nobody had asked it to.
    #[error("the gate ended by itself, with exit code {0}; what it said stands above")]
    Ended(i32),
}
