//! How a git command is built, and how a repository is opened.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use git2::{ObjectFormat, Repository, RepositoryOpenFlags};

/// The gate's own directory in a mirror.
pub const STATE_DIR: &str = "git-gate";

/// A git command in `git_dir` that no configuration but the repository's own can change.
///
/// The C locale keeps messages in the words that this project knows; a null stdin and
/// `GIT_TERMINAL_PROMPT=0` keep git from asking anybody; nobody sees its messages unless the caller
/// asks for them; hooks of the repository do not run for the gate's own commands. The quarantine's
/// variables, where there are any, are passed on.
pub fn command(git_dir: &Path) -> Command {
    let mut command = bare_command();
    command.arg("--git-dir").arg(git_dir);
    command
}

/// As [`command`], for the few uses that have no repository yet.
pub fn bare_command() -> Command {
    let mut command = Command::new("git");
    command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env_remove("GIT_DIR")
        .env_remove("GIT_CONFIG_PARAMETERS")
        .env_remove("GIT_CONFIG_COUNT")
        // gate-init's bound on what a client packs.
        .env_remove("GIT_ALLOC_LIMIT")
        // An ssh of ours is named where one is needed (`upstream::ssh`).
        .env_remove("GIT_SSH_COMMAND")
        .env_remove("GIT_SSH")
        // A client can set this one over git://; receive-pack's own children need none of it.
        .env_remove("GIT_PROTOCOL")
        .args(["-c", "core.hooksPath=/dev/null"])
        .args(["-c", "core.logAllRefUpdates=false"])
        .args(["-c", "advice.defaultBranchName=false"])
        .args(["-c", "gc.auto=0"])
        .args(["-c", "maintenance.auto=false"]);
    command
}

/// The command that makes an empty bare repository at `path` (git-init(1)).
pub fn init(path: &Path, format: ObjectFormat) -> Command {
    let format = match format {
        ObjectFormat::Sha256 => "sha256",
        ObjectFormat::Sha1 => "sha1",
    };
    let mut command = bare_command();
    command
        .args([
            "init",
            "--quiet",
            "--bare",
            "--template=",
            "--initial-branch=main",
        ])
        .arg(format!("--object-format={format}"))
        .arg("--")
        .arg(path);
    command
}

/// Opens the bare repository at `path` itself: no search upwards, no environment.
pub fn open(path: &Path) -> Result<Repository, git2::Error> {
    Repository::open_ext(
        path,
        RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::BARE | RepositoryOpenFlags::NO_DOTGIT,
        std::iter::empty::<&std::ffi::OsStr>(),
    )
}

/// The repository that a hook runs in: `GIT_DIR`, which receive-pack sets (githooks(5)), or the
/// current directory.
pub fn hook_git_dir() -> PathBuf {
    let dir = std::env::var_os("GIT_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    dir.canonicalize().unwrap_or(dir)
}
