//! Programs that a test makes for itself.

use std::io::{Seek, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Copies a program. Not by this process: while it holds the copy open for writing, another test's
/// child may inherit that between fork(2) and execve(2), and the copy could not be run meanwhile
/// (`ETXTBSY`).
pub fn copy_program(from: &Path, to: &Path) {
    install(from, Stdio::null(), to);
}

/// Writes a script that can be run; see [`copy_program`].
pub fn write_program(path: &Path, script: &str) {
    let mut text = tempfile::tempfile().unwrap();
    text.write_all(script.as_bytes()).unwrap();
    text.rewind().unwrap();
    install(Path::new("/dev/stdin"), text.into(), path);
}

fn install(from: &Path, input: Stdio, to: &Path) {
    let installed = Command::new("install")
        .args(["--mode=755", "--no-target-directory", "--"])
        .args([from, to])
        .stdin(input)
        .status();
    assert!(installed.unwrap().success(), "install {}", to.display());
}
