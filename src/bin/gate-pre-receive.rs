//! git's pre-receive hook (githooks(5)): scan, then forward.

use std::io::{self, Write};
use std::process::ExitCode;

use git_gate::upstream::ssh;
use git_gate::{git, hooks};

const HELP: &str = "\
Scans a push for secrets and forwards it to the upstream, all refs together or none.

git receive-pack runs it as the hook pre-receive of a bare repository (githooks(5)): without
arguments, in the repository, with `<old id> <new id> <ref name>` lines on standard input. What it
says on standard error reaches the client. gate-init installs it; by hand, copy it to
REPOSITORY/hooks/pre-receive and set remote.origin.url, git-gate.identityFile and
git-gate.knownHosts in the repository's git config.

Exit codes: 0 all of the push is upstream, 1 it is refused and nothing of it is.

Usage: gate-pre-receive [--help | --version]
";

fn main() -> ExitCode {
    ssh::exec_if_transport();
    match std::env::args().nth(1).as_deref() {
        Some("--help" | "-h") => return show(HELP),
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

fn show(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
