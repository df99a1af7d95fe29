//! git's pre-receive hook (githooks(5)): scan, then forward.

use std::io::{self, Write};
use std::process::ExitCode;

use git_gate::command_line::{PRE_RECEIVE, PRE_RECEIVE_EXIT_CODES};
use git_gate::upstream::helper_role;
use git_gate::{git, hooks};

fn main() -> ExitCode {
    helper_role::play_if_asked();
    match std::env::args().nth(1).as_deref() {
        Some("--help" | "-h") => return show(&help()),
        Some("--version" | "-V") => {
            return show(concat!(
                "gate-pre-receive ",
                env!("CARGO_PKG_VERSION"),
                "\n"
            ));
        }
        _ => {}
    }
    let mut terminal = io::stderr();
    match hooks::pre_receive(&git::hook_git_dir(), io::stdin().lock(), &mut terminal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            hooks::refuse(&mut terminal, &error);
            ExitCode::FAILURE
        }
    }
}

fn help() -> String {
    let usage = "Usage: gate-pre-receive [--help | --version]";
    format!("{PRE_RECEIVE}\n\n{PRE_RECEIVE_EXIT_CODES}\n\n{usage}\n")
}

fn show(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
