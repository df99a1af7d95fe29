//! Why a mirror cannot be served.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::process;
use crate::settings::SettingsError;
use crate::upstream::UpstreamError;

/// Why a mirror cannot be served.
#[derive(Debug, Error)]
pub enum MirrorError {
    /// The disk said no.
    #[error("{action} {}", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// libgit2 said no.
    #[error("cannot use {}", path.display())]
    Git {
        /// The mirror.
        path: PathBuf,
        /// Its reason.
        source: git2::Error,
    },
    /// It is not ready yet.
    #[error(
        "it is being made ready, which takes as long as the upstream does; try again in a while"
    )]
    Preparing,
    /// The system does not let it be read now.
    #[error("cannot open {} now: {reason}; it is left as it is and tried again", path.display())]
    Unreadable {
        /// The mirror.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// There is no room for it.
    #[error("the disk of {} is full, so the mirror cannot be made or used; make room there", path.display())]
    DiskFull {
        /// The mirror.
        path: PathBuf,
    },
    /// A git command failed.
    #[error("git {what} failed in {}: {said}", path.display())]
    Command {
        /// The command.
        what: &'static str,
        /// The mirror.
        path: PathBuf,
        /// What git said.
        said: String,
    },
    /// git could not be run.
    #[error(transparent)]
    Process(#[from] process::ProcessError),
    /// The settings just written cannot be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The upstream was not reached, so that its object format is not known.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The hook would not run: git skips a hook that it may not execute, without a word.
    #[error("{} may not be executed: is {} mounted noexec?", hook.display(), base.display())]
    HookNotRunnable {
        /// The hook.
        hook: PathBuf,
        /// The directory of the mirrors.
        base: PathBuf,
    },
}

/// Says what failed on the disk.
pub fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MirrorError {
    let path = path.to_owned();
    move |source| MirrorError::Disk {
        action,
        path,
        source,
    }
}
