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

/// Sends `signal` to `pid`, which may be gone already.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Ends every process whose command line names `path`, but not this one.
pub fn end_all_mentioning(path: &Path) {
    let needle = path.as_os_str().as_encoded_bytes();
    for pid in pids().filter(|&pid| pid != std::process::id()) {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if command.windows(needle.len()).any(|part| part == needle) {
            signal(pid, Signal::KILL);
        }
    }
}

/// Ends every ssh connection that is kept open below `path`.
pub fn end_ssh_masters(path: &Path) {
    for pid in pids() {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        if command.starts_with("ssh") && command.contains(path.to_str().unwrap()) {
            signal(pid, Signal::KILL);
        }
    }
}

/// Command lines of the running processes that name `path`, but not this one.
pub fn mentioning(path: &Path) -> Vec<String> {
    let needle = path.as_os_str().to_string_lossy().into_owned();
    pids()
        .filter(|&pid| pid != std::process::id())
        .filter_map(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok())
        .map(|command| String::from_utf8_lossy(&command).replace('\0', " "))
        .filter(|command| command.contains(&needle))
        .collect()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The fourth field of /proc/PID/stat (proc(5)), behind a name that may hold spaces and brackets.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// Processes whose command line has each of `parts` in it, but not this one.
pub fn processes_with(parts: &[&str]) -> Vec<u32> {
    pids()
        .filter(|&pid| pid != std::process::id())
        .filter(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            parts.iter().all(|part| command.contains(part))
        })
        .collect()
}
