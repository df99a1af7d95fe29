//! A configuration that cannot be used.

use std::path::PathBuf;

use thiserror::Error;

use super::UnknownKey;

/// A configuration that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not JSON, or a value has the wrong type.
    #[error("{} is not a usable gate.json", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong and on which line.
        source: serde_json::Error,
    },
    /// A key that nobody reads, perhaps a misspelt one.
    #[error("{}: {key}", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The first such key.
        key: UnknownKey,
    },
    /// A command line argument that is not `NAME=URL`.
    #[error("{shown:?} is not NAME=URL, such as app=ssh://git@example.com/o/app.git")]
    Argument {
        /// The argument, as it may be shown.
        shown: String,
    },
    /// An upstream's name cannot be used.
    #[error("upstream {shown:?}: the name {problem}")]
    Name {
        /// The name, as it may be shown.
        shown: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Nothing is to be served.
    #[error(
        "no upstreams: name them in gate.json or as NAME=URL, such as app=ssh://git@example.com/o/app.git"
    )]
    Empty,
    /// A name that git's check of objects cannot have.
    #[error(
        "upstream {name:?}: fsck.{shown:?} is no message id of git fsck, such as zeroPaddedFilemode"
    )]
    Fsck {
        /// The upstream's name.
        name: String,
        /// The id, as it may be shown.
        shown: String,
    },
    /// A limit is out of its range.
    #[error("limits.{name} {problem}")]
    Limit {
        /// The limit.
        name: &'static str,
        /// What it may be.
        problem: String,
    },
    /// An agent, or what is said of those without a token, cannot be used.
    #[error("{subject}: {problem}")]
    Agent {
        /// Which, as it may be shown.
        subject: String,
        /// What is wrong and what is expected.
        problem: String,
    },
    /// The login of an upstream cannot be used.
    #[error("upstream {name:?}: {problem}")]
    Login {
        /// The upstream's name.
        name: String,
        /// What is wrong and what is expected.
        problem: String,
    },
    /// An upstream's URL cannot be used.
    #[error("upstream {name:?}: the URL {problem}")]
    Url {
        /// The upstream's name.
        name: String,
        /// What is wrong and what is expected.
        problem: String,
    },
}
