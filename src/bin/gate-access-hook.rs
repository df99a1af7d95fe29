//! git daemon's access hook (git-daemon(1), `--access-hook`): refresh, then serve.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use git_gate::hooks;
use git_gate::upstream::ssh;

/// Refreshes a mirror from its upstream before git daemon serves a fetch from it.
///
/// git daemon runs it before each request. For upload-pack (fetch, clone, ls-remote) the mirror is
/// brought up to date first; when that fails the request is refused, so that no client ever reads
/// stale refs. Other services pass through: a push is gated by the pre-receive hook.
///
/// The reason of a refusal is the first line of standard output, which git daemon sends to the
/// client when it runs with --informative-errors.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 serve the request, 1 refuse it, 2 wrong usage."
)]
struct Arguments {
    /// The service that was asked for: upload-pack, receive-pack or upload-archive.
    service: String,
    /// The path of the bare repository.
    repository: PathBuf,
    /// The host name that the client asked for. Unused.
    host: Option<String>,
    /// The address of the client. Unused.
    peer: Option<String>,
    /// The canonical host name, the address and the port that git daemon adds. Unused.
    #[arg(hide = true)]
    more: Vec<String>,
}

fn main() -> ExitCode {
    ssh::exec_if_transport();
    let arguments = Arguments::parse();
    match hooks::access(&arguments.service, &arguments.repository) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            hooks::refuse(&mut io::stdout(), &error);
            ExitCode::FAILURE
        }
    }
}
