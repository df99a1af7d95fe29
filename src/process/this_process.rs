//! What this process does for itself, and hands to its children, with what only Linux has.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A file in memory that holds `bytes`, to be read from its start: a child's input that needs nobody
/// to feed it (memfd_create(2)).
pub fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("git-gate", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// The running program, as a path that this process and its children can run while it runs. Its own
/// path may name another program by now, or none: an operator replaces it, and a reload does.
pub fn own_program() -> PathBuf {
    format!("/proc/{}/exe", std::process::id()).into()
}

/// A command that runs this program again, under its own name: a list of processes shows which it is.
pub fn own_command() -> Command {
    let name = std::env::args_os().next();
    let mut command = Command::new(own_program());
    command.arg0(name.unwrap_or_else(|| "git-gate".into()));
    command
}

/// Lifts the bound on processor time that gate-init puts on git while it takes a push in: what a hook
/// does has time limits of its own.
pub fn lift_work_limit() {
    let maximum = getrlimit(Resource::Cpu).maximum;
    let current = maximum;
    // Where it is refused, the bound stays, which ends a push early and lets nothing through.
    let _ = setrlimit(Resource::Cpu, Rlimit { current, maximum });
}
