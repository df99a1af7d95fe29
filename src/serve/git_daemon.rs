//! git's own git-daemon program.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ServeError;
use crate::{git, process, text};

/// How long git may take to say where its programs are.
const GIT_LIMIT: Duration = Duration::from_secs(10);

/// `git daemon` is a wrapper: this finds what it starts.
pub fn find_daemon() -> Result<PathBuf, ServeError> {
    let output = process::run(git::bare_command().arg("--exec-path"), GIT_LIMIT)
        .map_err(|error| ServeError::NoDaemon(text::chain(&error)))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let directory = Path::new(printed.trim_end());
    if !output.status.success() || !directory.is_absolute() {
        return Err(ServeError::NoDaemon(format!(
            "git --exec-path named no directory ({}): {}",
            output.status,
            text::joined(&output.stderr)
        )));
    }
    let daemon = directory.join("git-daemon");
    match rustix::fs::access(&daemon, rustix::fs::Access::EXEC_OK) {
        Ok(()) => Ok(daemon),
        Err(errno) => Err(ServeError::NoDaemon(format!(
            "{} cannot be run: {errno}",
            daemon.display()
        ))),
    }
}
