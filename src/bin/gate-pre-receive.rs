//! git's pre-receive hook (githooks(5)): scan, then forward.

use std::io;
use std::process::ExitCode;

use git_gate::{git, hook, upstream::ssh};

fn main() -> ExitCode {
    ssh::exec_if_transport();
    let mut terminal = io::stderr();
    match hook::pre_receive(&git::hook_git_dir(), io::stdin().lock(), &mut terminal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            hook::refuse(&mut terminal, &error);
            ExitCode::FAILURE
        }
    }
}
