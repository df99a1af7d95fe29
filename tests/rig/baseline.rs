//! The shell gate that this project replaces, for side-by-side tests and benchmarks. Its scripts
//! are not part of this repository: they are looked for in `GIT_GATE_BASELINE`, or in
//! `../shared/baseline` beside the checkout.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Rig, Upstream, gitleaks, write_program};

/// The folder of the shell gate's scripts, where there is one.
pub fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("GIT_GATE_BASELINE").map(PathBuf::from);
    let beside = super::repository().join("../shared/baseline");
    named
        .or(Some(beside))
        .filter(|folder| folder.join("pre-receive").exists())
}

/// The shell gate, with its fixed paths moved below `gate`.
pub fn command(rig: &Rig, gate: &Path, port: u16, upstreams: &[Upstream]) -> Command {
    let scripts = folder().expect("the shell gate's scripts (set GIT_GATE_BASELINE)");
    let etc = gate.join("etc");
    let bin = gate.join("bin");
    fs::create_dir(&etc).unwrap();
    fs::create_dir(&bin).unwrap();
    symlink(gitleaks(), bin.join("gitleaks")).unwrap();
    for name in ["entrypoint", "pre-receive", "access-hook"] {
        let script = fs::read_to_string(scripts.join(name))
            .unwrap()
            .replace(
                "/git-gate/creds",
                rig.path().join("creds").to_str().unwrap(),
            )
            .replace("/etc/git-gate", etc.to_str().unwrap())
            .replace(
                "--base-path=/git",
                &format!("--base-path={}", gate.join("git").display()),
            )
            .replace(
                "repo=/git/",
                &format!("repo={}/", gate.join("git").display()),
            )
            .replace(
                "mkdir -p /git",
                &format!("mkdir -p {}", gate.join("git").display()),
            );
        write_program(&etc.join(name), &script);
    }
    let list: String = upstreams
        .iter()
        .map(|up| format!("{} {}\n", up.name, up.url))
        .collect();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(etc.join("entrypoint"));
    command.env_clear().env("PATH", path).env("HOME", gate);
    command
        .env("UPSTREAMS", list)
        .env("GATE_PORT", port.to_string());
    command
}
