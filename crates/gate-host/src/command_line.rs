//! What gate-host is told on its command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use git_gate::url::https_url::HttpsUrl;

use crate::forge::{Patience, Provider};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it failed, and nothing was left behind
  2  wrong usage
  3  the manifest is refused
  4  a deploy key is or may be registered still: the message says which
  5  scan-host-key: not confirmed, nothing was written
  6  up: the gate ended by itself";

/// Prepares the credentials of a git-gate on the operator's machine, and takes them back.
///
/// A manifest (JSON or TOML) names the upstreams:
///
///   [git-gate.repos.app]
///   upstream = "ssh://git@forge.example:22/team/app.git"
///   known_host_key = "ssh-ed25519 AAAA…"        # gate-host scan-host-key forge.example
///   provisioned_key = { provider = "gitea", token_env = "FORGE_TOKEN" }
///   # or: identity_file = "~/.ssh/app"
///
/// Results go to standard output, everything else to standard error.
#[derive(Parser)]
#[command(name = "gate-host", version, verbatim_doc_comment, after_help = EXIT_CODES)]
pub struct GateHost {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What gate-host does.
#[derive(Subcommand)]
pub enum Command {
    /// Fill a directory with all that a gate mounts, and register its deploy keys.
    ///
    /// Writes gate.json, known hosts and keys, each 0600, into a directory of 0700. Over a directory that
    /// was prepared before, the deploy keys of then are replaced. When anything fails, every key
    /// that was registered is deleted again.
    Prepare(Prepare),
    /// Delete the deploy keys that `prepare` registered.
    ///
    /// All are tried, whatever happens to one of them. A key that is gone already is no error.
    Revoke(Revoke),
    /// Print the git config by which an agent's usual remotes lead to the gate.
    ///
    /// Append it to the agent's ~/.gitconfig: `gate-host gitconfig bottle.toml --gate-host git-gate`.
    /// For a gate that knows agents by their tokens: `--gate-host git-gate:9420 --scheme http --token-file
    /// agent-7.token --credentials FILE`.
    Gitconfig(Gitconfig),
    /// Prepare, run a gate, and take everything back when it ends.
    ///
    /// Prints the agent's git config when the gate serves, and runs until Ctrl-C or SIGTERM; a
    /// second one does not wait for pushes in flight. The deploy keys are revoked however it ends.
    Up(Up),
    /// Write a token that the forge issues to a file, for an upstream over https; --watch keeps it fresh.
    ///
    /// The file is the upstream's NAME-token in the gate's credentials directory, which the gate reads
    /// at each use.
    ///
    /// GitHub issues tokens to an app, for an hour: --app, --key, --installation. GitLab issues them for a
    /// project, for one to two days, Gitea and Forgejo for an account, until they are deleted: --provider,
    /// --upstream, --token-env. With --watch, these are deleted when they were replaced and when the watch
    /// ends.
    Token(Token),
    /// Fetch a host's keys, show their fingerprints, and print them once you have compared.
    ///
    /// The network may lie, and a key that is pinned without a look trusts whoever answered first.
    /// Compare each fingerprint with what the host's operator publishes (GitHub and GitLab have a
    /// page of them; on a machine of your own: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub).
    ScanHostKey(ScanHostKey),
}

/// Of `gate-host prepare`.
#[derive(Args)]
pub struct Prepare {
    /// The manifest, .json or .toml.
    pub manifest: PathBuf,
    /// The bottle's name: deploy keys are titled bot-bottle:SLUG:NAME.
    #[arg(long)]
    pub slug: String,
    /// The directory to fill; made where there is none.
    #[arg(long, value_name = "DIR")]
    pub stage: PathBuf,
    /// Show the plan and touch nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the plan as JSON.
    #[arg(long)]
    pub json: bool,
    /// How to talk to the forge.
    #[command(flatten)]
    pub forge: Forge,
}

/// Of `gate-host revoke`.
#[derive(Args)]
pub struct Revoke {
    /// The manifest by which the keys were made.
    pub manifest: PathBuf,
    /// The directory that `prepare` filled.
    #[arg(long, value_name = "DIR")]
    pub stage: PathBuf,
    /// How to talk to the forge.
    #[command(flatten)]
    pub forge: Forge,
}

/// Of `gate-host gitconfig`.
#[derive(Args)]
pub struct Gitconfig {
    /// The manifest, .json or .toml.
    pub manifest: PathBuf,
    /// The gate as the agent reaches it: HOST or HOST:PORT.
    #[arg(long, value_name = "HOST")]
    pub gate_host: String,
    /// The scheme of the gate's URLs.
    #[arg(long, default_value = "git")]
    pub scheme: String,
    /// The file with the agent's token, where the gate knows agents by their tokens (with --scheme http).
    #[arg(long, value_name = "FILE", requires = "credentials")]
    pub token_file: Option<PathBuf>,
    /// The file to write for the agent's git, 0600: git-credential-store(1) reads it.
    #[arg(long, value_name = "FILE", requires = "token_file")]
    pub credentials: Option<PathBuf>,
    /// Where the agent finds that file; without it, where it is written.
    #[arg(long, value_name = "PATH", requires = "credentials")]
    pub credentials_at: Option<PathBuf>,
}

/// Of `gate-host up`.
#[derive(Args)]
pub struct Up {
    /// The manifest, .json or .toml.
    pub manifest: PathBuf,
    /// The bottle's name: deploy keys are titled bot-bottle:SLUG:NAME [default: up-PID]
    #[arg(long)]
    pub slug: Option<String>,
    /// The directory of the stage and the mirrors, kept for the next time [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Run the gate's container image with docker or podman, not the gate-init of this machine.
    #[arg(long)]
    pub image: Option<String>,
    /// The container's network: host, or one of the engine's.
    #[arg(long, requires = "image")]
    pub network: Option<String>,
    /// The address to serve on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    pub listen: IpAddr,
    /// The port to serve on.
    #[arg(long, value_name = "N", default_value_t = 9418)]
    pub port: u16,
    /// How to talk to the forge.
    #[command(flatten)]
    pub forge: Forge,
}

/// Of `gate-host token`.
#[derive(Args)]
pub struct Token {
    /// The file to write, 0600.
    pub file: PathBuf,
    /// As a GitHub App.
    #[command(flatten)]
    pub app: Option<AppLogin>,
    /// As somebody who may make access tokens.
    #[command(flatten)]
    pub access: Option<AccessLogin>,
    /// The API's base URL [default: GitHub's own, or that of the upstream's host]
    #[arg(long, value_name = "URL")]
    pub api_url: Option<String>,
    /// Renew it when half of its time is over, until Ctrl-C or SIGTERM.
    #[arg(long)]
    pub watch: bool,
    /// How to talk to the forge.
    #[command(flatten)]
    pub forge: Forge,
}

/// How gate-host shows that it is a GitHub App.
#[derive(Args)]
#[group(multiple = true, conflicts_with = "AccessLogin")]
pub struct AppLogin {
    /// The app's id or client id.
    #[arg(long = "app", value_name = "ID", required = false, requires_all = ["key", "installation"], required_unless_present = "provider")]
    pub id: String,
    /// The app's private key (PEM), read for each token.
    #[arg(long, value_name = "FILE", required = false)]
    pub key: PathBuf,
    /// The id of the app's installation.
    #[arg(long, value_name = "ID", required = false)]
    pub installation: u64,
    /// A repository that the token is for; may be repeated [default: all of the installation]
    #[arg(long = "repository", value_name = "NAME", requires = "id")]
    pub repositories: Vec<String>,
}

/// How gate-host shows that it may make access tokens.
#[derive(Args)]
#[group(multiple = true)]
pub struct AccessLogin {
    /// The kind of forge.
    #[arg(long, value_enum, required = false, requires_all = ["upstream", "token_env"])]
    pub provider: Provider,
    /// The upstream's URL.
    #[arg(long, value_name = "URL", required = false)]
    pub upstream: HttpsUrl,
    /// The environment variable with a token that may make others (GitLab), or with USER:PASSWORD (Gitea,
    /// Forgejo).
    #[arg(long, value_name = "NAME", required = false)]
    pub token_env: String,
}

/// Of `gate-host scan-host-key`.
#[derive(Args)]
pub struct ScanHostKey {
    /// HOST, HOST:PORT, [IPV6]:PORT or the URL of an upstream.
    #[allow(
        rustdoc::broken_intra_doc_links,
        reason = "square brackets of an address, as clap shows them"
    )]
    pub host: String,
    /// Confirm without being asked: all keys of this scan, or with =FINGERPRINT (SHA256:…, may be
    /// repeated) only those that have it.
    #[arg(long, value_name = "FINGERPRINT", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub yes_i_compared: Vec<String>,
    /// What to print.
    #[arg(long, value_enum, default_value = "toml")]
    pub format: Format,
}

/// What `gate-host scan-host-key` prints.
#[derive(Clone, Copy, ValueEnum)]
pub enum Format {
    /// A line for a manifest in TOML.
    Toml,
    /// A line for a manifest in JSON.
    Json,
    /// Lines of a known_hosts file.
    KnownHosts,
}

/// How to talk to a forge.
#[derive(Args)]
pub struct Forge {
    /// Seconds that a forge gets for one answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout: u64,
}

impl Forge {
    /// How long to wait for it.
    pub fn patience(&self) -> Patience {
        Patience {
            request: Duration::from_secs(self.timeout),
            ..Patience::default()
        }
    }
}
