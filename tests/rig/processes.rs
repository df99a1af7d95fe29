//! Finding and stopping processes: what a server forked, and what mentions the rig's folder.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// `pid` and everything below it, parents first.
pub fn descendants(pid: u32) -> Vec<u32> {
    let table: Vec<(u32, u32)> = pids()
        .filter_map(|child| Some((child, parent(child)?)))
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        let of = found[next];
        found.extend(
            table
                .iter()
                .filter(|(_, parent)| *parent == of)
                .map(|(child, _)| *child),
        );
        next += 1;
    }
    found
}

/// Whether `pid` holds nothing any more: it is gone, or waits to be reaped. The first thread of a
/// process may have ended before its others.
pub fn has_ended(pid: u32) -> bool {
    let is_left = |stat: String| !stat.starts_with(['Z', 'X']);
    !stat(pid).is_some_and(is_left) && count(pid, "task") <= 1
}

/// Whether `pid` waits to be reaped.
pub fn is_zombie(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.starts_with('Z'))
}

/// Whether `pid` runs `program`.
pub fn runs(pid: u32, program: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program)
}

/// How many of `what` a process has: `fd`, `task` (proc(5)).
pub fn count(pid: u32, what: &str) -> usize {
    fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count)
}

/// A line of a process's status in KiB, as `VmHWM` (proc(5)).
pub fn memory(pid: u32, line: &str) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))?;
    value.trim().trim_end_matches(" kB").parse().ok()
}

/// Sends `signal` to `pid`, which may be gone already.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Ends every process that belongs to `path`: by its command line, its current folder or its log.
pub fn end_all_mentioning(path: &Path) {
    for pid in pids().filter(|&pid| pid != std::process::id()) {
        let is_below = |link: &str| {
            fs::read_link(format!("/proc/{pid}/{link}"))
                .is_ok_and(|target| target.starts_with(path))
        };
        if names(pid, path) || is_below("cwd") || is_below("fd/2") {
            signal(pid, Signal::KILL);
        }
    }
}

/// The ssh processes that keep a connection open and name `path`.
pub fn ssh_masters(path: &Path) -> Vec<u32> {
    // With the spaces, since a temporary directory's name may hold the letters.
    processes_with(&[" -M ", path.to_str().unwrap()])
}

/// Ends every ssh connection that is kept open below `path`.
pub fn end_ssh_masters(path: &Path) {
    for pid in ssh_masters(path) {
        signal(pid, Signal::KILL);
    }
}

/// Command lines of the running processes that name `path`, but not this one.
pub fn mentioning(path: &Path) -> Vec<String> {
    let others = pids().filter(|&pid| pid != std::process::id() && names(pid, path));
    others.map(command_line).collect()
}

/// Processes whose command line has each of `parts` in it, but not this one.
pub fn processes_with(parts: &[&str]) -> Vec<u32> {
    pids()
        .filter(|&pid| pid != std::process::id())
        .filter(|&pid| parts.iter().all(|part| command_line(pid).contains(part)))
        .collect()
}

/// Whether the command line of `pid` names `path`.
fn names(pid: u32, path: &Path) -> bool {
    command_line(pid).contains(path.to_str().unwrap())
}

/// The words of a process's command line, with spaces between them; empty when it is gone.
fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The process that started `pid`.
fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.split_whitespace().nth(1)?.parse().ok()
}

/// The third and later fields of /proc/PID/stat (proc(5)): the state and so on, behind a name that
/// may hold spaces and brackets.
fn stat(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ").map(|(_, fields)| fields.to_owned())
}
