//! The stage: the directory that a gate mounts, 0700, with files of 0600 that are whole or not there.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use git_gate::replace_file::replace_file;
use thiserror::Error;

/// The gate's configuration in the stage.
pub const GATE_JSON: &str = "gate.json";

/// What `prepare` planned, kept so that `revoke` can tell whether the manifest has changed since.
pub const PLAN_JSON: &str = "plan.json";

/// The passwd(5) of the gate's container: ssh wants its user to have a name.
pub const PASSWD: &str = "passwd";

/// The end of the name of a file that holds a deploy key's id.
const ID_SUFFIX: &str = "-deploy-key-id";

/// The name of the private key of upstream `name`.
pub fn key_file(name: &str) -> String {
    format!("{name}-key")
}

/// The name of the token of upstream `name`.
pub fn token_file(name: &str) -> String {
    format!("{name}-token")
}

/// The name of the pinned authority of upstream `name`.
pub fn ca_file(name: &str) -> String {
    format!("{name}-ca.pem")
}

/// The name of the pinned host keys of upstream `name`.
pub fn known_hosts_file(name: &str) -> String {
    format!("{name}-known_hosts")
}

/// The name of the operator's gitleaks rules for upstream `name`.
pub fn gitleaks_file(name: &str) -> String {
    format!("{name}-gitleaks.toml")
}

/// The name of the operator's accepted findings of upstream `name`.
pub fn exceptions_file(name: &str) -> String {
    format!("{name}-exceptions")
}

/// The name of the file that holds the id of the deploy key of upstream `name`.
pub fn id_file(name: &str) -> String {
    format!("{name}{ID_SUFFIX}")
}

/// Why the stage cannot be used.
#[derive(Debug, Error)]
pub enum StageError {
    /// The directory's path cannot be made absolute, or the directory cannot be made or read.
    #[error("cannot use the stage {}", path.display())]
    Folder {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The directory is not private.
    #[error("the stage {} {problem}", path.display())]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// A second gate-host works on the same directory.
    #[error(
        "another gate-host is at work in the stage {}, or serves a gate from it; wait for it or \
         end it (Ctrl-C). Nothing was changed", .0.display()
    )]
    Busy(PathBuf),
    /// A file could not be read, written or removed.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// The directory, open for one gate-host at a time.
#[derive(Debug)]
pub struct Stage {
    path: PathBuf,
    /// Whether this program made it.
    made: bool,
    /// Holds the lock (flock(2)) for as long as the stage is in use.
    _lock: File,
}

impl Stage {
    /// Opens the directory at `path`, an absolute path, and makes it where there is none.
    pub fn make(path: &Path) -> Result<Self, StageError> {
        let made = match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(source) => return Err(folder_error(path, source)),
        };
        if !made {
            make_private(path)?;
        }
        Self::lock(path, made)
    }

    /// Opens the directory at `path`, which must be there.
    pub fn open(path: &Path) -> Result<Self, StageError> {
        Self::lock(path, false)
    }

    fn lock(path: &Path, made: bool) -> Result<Self, StageError> {
        let lock = File::open(path).map_err(|source| folder_error(path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                made,
                _lock: lock,
            }),
            Err(fs::TryLockError::WouldBlock) => Err(StageError::Busy(path.to_owned())),
            Err(fs::TryLockError::Error(source)) => Err(folder_error(path, source)),
        }
    }

    /// Writes the file `name`: 0600, in place of an older one, and never seen half.
    pub fn put(&self, name: &str, content: &[u8]) -> Result<(), StageError> {
        let path = self.path.join(name);
        replace_file(&path, content).map_err(|source| StageError::File {
            action: "write",
            path: path.clone(),
            source,
        })
    }

    /// The content of the file `name`, if it is there.
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StageError> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StageError::File {
                action: "read",
                path,
                source,
            }),
        }
    }

    /// Removes the file `name`, which may be gone already.
    pub fn remove(&self, name: &str) -> Result<(), StageError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StageError::File {
                action: "remove",
                path,
                source,
            }),
            _ => Ok(()),
        }
    }

    /// The upstreams whose deploy key's id stands here.
    pub fn deploy_keys(&self) -> Result<Vec<String>, StageError> {
        let mut names = Vec::new();
        let entries = fs::read_dir(&self.path).map_err(|e| folder_error(&self.path, e))?;
        for entry in entries {
            let name = entry.map_err(|e| folder_error(&self.path, e))?.file_name();
            let name = name.to_string_lossy();
            names.extend(name.strip_suffix(ID_SUFFIX).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// Removes the directory again if this program made it and nothing is in it.
    pub fn leave(self) {
        if self.made {
            // It stays when it holds something, which is right.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Refuses a directory that others may read or change; an empty one is made private.
fn make_private(path: &Path) -> Result<(), StageError> {
    let refuse = |problem| {
        Err(StageError::NotPrivate {
            path: path.to_owned(),
            problem,
        })
    };
    let failed = |source| folder_error(path, source);
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_dir() {
        return refuse("is not a directory");
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return refuse("belongs to another user; name a directory of your own");
    }
    if metadata.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    if fs::read_dir(path).map_err(failed)?.next().is_some() {
        return refuse("is open to other users and not empty; chmod 700 it or name another");
    }
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed)
}

fn folder_error(path: &Path, source: io::Error) -> StageError {
    StageError::Folder {
        path: path.to_owned(),
        source,
    }
}
