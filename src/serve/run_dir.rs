//! The run directory, with its sockets, and the locks that keep a second gate-init away.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::ServeError;
use crate::scan::gitleaks::launch::SCANNER_DIRECTORY;
use crate::scan::gitleaks::pool_client;
use crate::upstream::waiting_session;
use crate::{audit, serving_lock};

/// The health check's socket in the run directory.
pub const HEALTH_SOCKET: &str = "health";

/// The socket of those who watch what happens.
pub const WATCH_SOCKET: &str = "watch";

/// The names of the sockets in the run directory.
const SOCKETS: [&str; 5] = [
    audit::SOCKET,
    HEALTH_SOCKET,
    waiting_session::SOCKET,
    pool_client::SOCKET,
    WATCH_SOCKET,
];

/// The longest path of a socket, its final NUL not counted (unix(7)).
const SOCKET_PATH: usize = 107;

/// Whether the sockets in `directory` would have paths that the system takes.
pub fn fit_sockets(directory: &Path) -> Result<(), String> {
    let longest = SOCKETS
        .iter()
        .map(|name| directory.join(name).as_os_str().len())
        .max();
    if longest.is_some_and(|longest| longest > SOCKET_PATH) {
        return Err(format!(
            "the path of a socket in {} is longer than {SOCKET_PATH} bytes; take a shorter --run-dir",
            directory.display()
        ));
    }
    Ok(())
}

/// Makes `directory` and keeps a second gate-init away from it, for as long as the file is held.
pub fn lock(directory: &Path) -> Result<File, ServeError> {
    let path = directory.to_owned();
    let locked = fs::create_dir_all(directory)
        .and_then(|()| File::create(serving_lock::path_in(directory)))
        .and_then(|file| match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        });
    match locked {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(ServeError::Taken { path }),
        Err(source) => Err(ServeError::Directory { path, source }),
    }
}

/// The directory of the sockets, which only this user may enter and only one gate-init uses: a second
/// one would take the sockets over from the hooks of the first.
pub fn make_run_dir(run_dir: &Path) -> Result<File, ServeError> {
    fit_sockets(run_dir).map_err(ServeError::LongRunDir)?;
    let lock = lock(run_dir)?;
    fs::set_permissions(run_dir, Permissions::from_mode(0o700)).map_err(|source| {
        ServeError::Directory {
            path: run_dir.to_owned(),
            source,
        }
    })?;
    // What scanners of a gate that was killed have left.
    for entry in fs::read_dir(run_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name
            .as_encoded_bytes()
            .starts_with(SCANNER_DIRECTORY.as_bytes())
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(lock)
}
