//! What /proc tells of processes (proc(5)): who runs, whose child it is, what it holds.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, getpid};

/// A running process.
pub(crate) struct Running {
    pub pid: i32,
    /// Its command line.
    pub arguments: Vec<Vec<u8>>,
    /// Its current directory, where we may know it.
    pub directory: Option<PathBuf>,
}

/// All processes that this one may see.
pub(crate) fn all() -> impl Iterator<Item = Running> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        Some(Running {
            pid,
            arguments: line.split(|&b| b == 0).map(<[u8]>::to_vec).collect(),
            directory: fs::read_link(entry.path().join("cwd")).ok(),
        })
    })
}

/// Whether a process at work in `git_dir` has one of `commands` among its arguments.
pub(crate) fn in_repository(git_dir: &Path, commands: &[&str]) -> bool {
    let named = git_dir.as_os_str().as_encoded_bytes();
    all().any(|process| {
        let is_there = process.directory.as_deref() == Some(git_dir)
            || process.arguments.iter().any(|argument| argument == named);
        // `git gc` and `git-gc` are the same.
        let is_one = |argument: &[u8]| {
            let name = argument.rsplit(|&b| b == b'/').next().unwrap_or(argument);
            let name = name.strip_prefix(b"git-").unwrap_or(name);
            commands.iter().any(|command| name == command.as_bytes())
        };
        is_there && process.arguments.iter().any(|argument| is_one(argument))
    })
}

/// The processes whose parent is this one: the second field behind the name in /proc/PID/stat
/// (proc_pid_stat(5)); the name may hold spaces and brackets.
pub(crate) fn children() -> Vec<Pid> {
    let this = getpid().as_raw_nonzero().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            (parent == this).then(|| Pid::from_raw(pid))?
        })
        .collect()
}

/// The memory that the process `pid` has, in bytes (proc_pid_status(5), `VmRSS`).
pub(crate) fn memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes << 10)
}
