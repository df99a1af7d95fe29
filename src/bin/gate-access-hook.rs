//! git daemon's access hook (git-daemon(1), `--access-hook`): refresh, then serve.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use git_gate::command_line::AccessHook;
use git_gate::hooks;
use git_gate::upstream::helper_role;

fn main() -> ExitCode {
    helper_role::play_if_asked();
    let arguments = AccessHook::parse();
    match hooks::access(&arguments.service, &arguments.repository) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            hooks::refuse(&mut io::stdout(), &error);
            ExitCode::FAILURE
        }
    }
}
