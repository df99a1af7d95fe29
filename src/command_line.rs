//! What the image's binaries are told on their command lines. It stands apart from them so that the
//! manual is made of it too (`crates/manual`).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::refusals::desk::Decision;
use crate::serve::Options;

/// What gate-pre-receive is for. That hook reads no arguments: clap would only make it larger.
pub const PRE_RECEIVE: &str = "\
Scans a push for secrets and forwards it to the upstream, all refs together or none.

git receive-pack runs it as the hook pre-receive of a bare repository (githooks(5)): without
arguments, in the repository, with `<old id> <new id> <ref name>` lines on standard input. What it
says on standard error reaches the client. gate-init installs it; by hand, copy it to
REPOSITORY/hooks/pre-receive and set remote.origin.url, git-gate.identityFile and
git-gate.knownHosts in the repository's git config.";

/// The end of gate-pre-receive's help.
pub const PRE_RECEIVE_EXIT_CODES: &str = "\
GIT_GATE_LOG names a file to which a line is added for each phase, command and decision; it holds no
secret.

Exit codes: 0 all of the push is upstream, 1 it is refused and nothing of it is.";

const AFTER_HELP: &str = "\
Signals: TERM and INT end it once the pushes in flight are done (limits.drainTimeout), a second one
at once; HUP reads gate.json again and reopens the audit log, without dropping a connection.

GIT_GATE_GITLEAKS names the scanner; otherwise it is gitleaks on PATH. GIT_GATE_LOG names a file to
which a line is added for each phase, command and decision; it holds no secret.

Exit codes: 0 ended as asked, or all is well; 1 cannot start, or check or health found something
wrong; 2 wrong usage or gate.json; 3 the server was killed again and again; 4 ended as asked, but
clients were cut off at the drain limit; 5 scan found something that would refuse a push.

Example:
  gate-init --creds-dir ./creds --base-path ./mirrors --run-dir ./run --port 9418 \\
      app=ssh://git@git.example.com:22/o/app.git
  git clone git://127.0.0.1/app.git";

/// Serves mirrors of upstreams over git:// and HTTP, so that an agent can fetch and push without holding
/// a credential. A fetch refreshes the mirror first; a push is scanned for secrets and forwarded,
/// or refused.
///
/// Upstreams are named in gate.json, or as NAME=URL. For each, --creds-dir holds NAME-key (an ssh
/// private key) and NAME-known_hosts (the pinned host key).
#[derive(Parser)]
#[command(name = "gate-init", version, after_help = AFTER_HELP)]
pub struct GateInit {
    /// Where things are.
    #[command(flatten)]
    pub options: Options,
    /// Further upstreams, or other URLs for those of gate.json: app=ssh://git@host:22/o/app.git
    #[arg(value_name = "NAME=URL")]
    pub upstreams: Vec<String>,
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Do>,
}

/// What gate-init does besides serving.
#[derive(Subcommand)]
pub enum Do {
    /// Look at all that a start needs, change nothing, and print what works and what does not
    Check {
        /// As without `check`
        #[arg(value_name = "NAME=URL")]
        upstreams: Vec<String>,
    },
    /// Ask the running gate-init whether it serves and can take pushes: the container's health check
    Health {
        /// Print its counters in the text format of Prometheus
        #[arg(long)]
        metrics: bool,
    },
    /// Print what a push is held against, as JSON: what an agent reads at http://GATE/NAME.git/-/policy
    Policy {
        /// The repository
        name: String,
        /// For the agent of this name
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
    },
    /// List what was refused for its content, the last first
    Refusals {
        /// Of this repository alone
        name: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show all that is needed to decide on one refusal
    Show {
        /// The refusal's id
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show in the terminal what happens now, and answer refusals there
    Watch {
        /// Who answers
        #[arg(long, env = "USER", default_value = "the operator")]
        by: String,
    },
    /// Let what was refused pass: the next such push, or the one that waits for the answer
    Accept {
        /// What is said to it
        #[command(flatten)]
        decision: Said,
        /// The last day on which it may pass, in UTC
        #[arg(long, value_name = "YYYY-MM-DD")]
        until: Option<String>,
        /// Let it pass once alone
        #[arg(long)]
        once: bool,
    },
    /// Say that what was refused stays so; the next such push is told
    Deny {
        /// What is said to it
        #[command(flatten)]
        decision: Said,
    },
    /// Scan a local repository as a push of it would be, and change nothing
    Scan(Scan),
    /// Print an audit log as a table
    Report {
        /// The log; - reads standard input
        file: PathBuf,
    },
}

/// A scan without a push.
#[derive(Args)]
pub struct Scan {
    /// The repository
    pub repository: PathBuf,
    /// Revisions (gitrevisions(7)) [default: what HEAD has and no remote-tracking branch]
    pub range: Option<String>,
    /// Print what is found in SARIF 2.1.0
    #[arg(long)]
    pub sarif: bool,
    /// With the rules, the exceptions and the limits of this upstream of gate.json
    #[arg(long, value_name = "NAME")]
    pub upstream: Option<String>,
    /// With this file of gitleaks rules
    #[arg(long, value_name = "FILE")]
    pub gitleaks_config: Option<PathBuf>,
    /// With this file of accepted findings
    #[arg(long, value_name = "FILE")]
    pub exceptions: Option<PathBuf>,
}

/// An answer to a refusal.
#[derive(Args)]
pub struct Said {
    /// The refusal's id
    pub id: String,
    /// Why: it stands beside the exception, and the agent reads it
    #[arg(long)]
    pub reason: String,
    /// Who says so
    #[arg(long, env = "USER", default_value = "the operator")]
    pub by: String,
    /// The refusal with its answer as JSON
    #[arg(long)]
    pub json: bool,
}

impl Said {
    /// The answer as the desk takes it.
    pub fn decision(&self, accepted: bool) -> Decision {
        Decision {
            accepted,
            by: self.by.clone(),
            reason: self.reason.clone(),
            until: None,
            once: false,
        }
    }
}

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
    name = "gate-access-hook",
    version,
    after_help = "GIT_GATE_LOG names a file to which a line is added for each command and decision; it holds no secret.\n\n\
                  Exit codes: 0 serve the request, 1 refuse it, 2 wrong usage."
)]
pub struct AccessHook {
    /// The service that was asked for: upload-pack, receive-pack or upload-archive.
    pub service: String,
    /// The path of the bare repository.
    pub repository: PathBuf,
    /// The host name that the client asked for. Unused.
    pub host: Option<String>,
    /// The address of the client. Unused.
    pub peer: Option<String>,
    /// The canonical host name, the address and the port that git daemon adds. Unused.
    #[arg(hide = true)]
    pub more: Vec<String>,
}
