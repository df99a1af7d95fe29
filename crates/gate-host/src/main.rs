//! The operator's tool: prepares what a gate mounts, and takes it back.

use std::io::{self, BufRead, IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use gate_host::forge::{Deleted, Patience};
use gate_host::gitconfig;
use gate_host::host_key::{self, HostKey};
use gate_host::interrupt::Interrupt;
use gate_host::manifest::{Manifest, ManifestError};
use gate_host::plan::Plan;
use gate_host::prepare::{self, PrepareError, Revocation};
use gate_host::stage::Stage;
use gate_host::up::{self, Down};
use tempfile::TempDir;

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
#[command(version, verbatim_doc_comment, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fill a folder with all that a gate mounts, and register its deploy keys.
    ///
    /// Writes gate.json, known hosts and keys, each 0600, into a folder of 0700. Over a folder that
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
    /// Fetch a host's keys, show their fingerprints, and print them once you have compared.
    ///
    /// The network may lie, and a key that is pinned without a look trusts whoever answered first.
    /// Compare each fingerprint with what the host's operator publishes (GitHub and GitLab have a
    /// page of them; on a machine of your own: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub).
    ScanHostKey(ScanHostKey),
}

#[derive(Args)]
struct Prepare {
    /// The manifest, .json or .toml.
    manifest: PathBuf,
    /// The bottle's name: deploy keys are titled bot-bottle:SLUG:NAME.
    #[arg(long)]
    slug: String,
    /// The folder to fill; made where there is none.
    #[arg(long, value_name = "DIR")]
    stage: PathBuf,
    /// Show the plan and touch nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the plan as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    forge: Forge,
}

#[derive(Args)]
struct Revoke {
    /// The manifest by which the keys were made.
    manifest: PathBuf,
    /// The folder that `prepare` filled.
    #[arg(long, value_name = "DIR")]
    stage: PathBuf,
    #[command(flatten)]
    forge: Forge,
}

#[derive(Args)]
struct Gitconfig {
    /// The manifest, .json or .toml.
    manifest: PathBuf,
    /// The gate as the agent reaches it: HOST or HOST:PORT.
    #[arg(long, value_name = "HOST")]
    gate_host: String,
    /// The scheme of the gate's URLs.
    #[arg(long, default_value = "git")]
    scheme: String,
    /// The file with the agent's token, where the gate knows agents by their tokens (with --scheme http).
    #[arg(long, value_name = "FILE", requires = "credentials")]
    token_file: Option<PathBuf>,
    /// The file to write for the agent's git, 0600: git-credential-store(1) reads it.
    #[arg(long, value_name = "FILE", requires = "token_file")]
    credentials: Option<PathBuf>,
    /// Where the agent finds that file; without it, where it is written.
    #[arg(long, value_name = "PATH", requires = "credentials")]
    credentials_at: Option<PathBuf>,
}

#[derive(Args)]
struct Up {
    /// The manifest, .json or .toml.
    manifest: PathBuf,
    /// The bottle's name: deploy keys are titled bot-bottle:SLUG:NAME [default: up-PID]
    #[arg(long)]
    slug: Option<String>,
    /// The folder of the stage and the mirrors, kept for the next time [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Run the gate's container image with docker or podman, not the gate-init of this machine.
    #[arg(long)]
    image: Option<String>,
    /// The container's network: host, or one of the engine's.
    #[arg(long, requires = "image")]
    network: Option<String>,
    /// The address to serve on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    listen: IpAddr,
    /// The port to serve on.
    #[arg(long, value_name = "N", default_value_t = 9418)]
    port: u16,
    #[command(flatten)]
    forge: Forge,
}

#[derive(Args)]
struct ScanHostKey {
    /// HOST, HOST:PORT, [IPV6]:PORT or the URL of an upstream.
    host: String,
    /// Confirm without being asked: all keys of this scan, or with =FINGERPRINT (SHA256:…, may be
    /// repeated) only those that have it.
    #[arg(long, value_name = "FINGERPRINT", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    yes_i_compared: Vec<String>,
    /// What to print.
    #[arg(long, value_enum, default_value = "toml")]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A line for a manifest in TOML.
    Toml,
    /// A line for a manifest in JSON.
    Json,
    /// Lines of a known_hosts file.
    KnownHosts,
}

#[derive(Args)]
struct Forge {
    /// Seconds that a forge gets for one answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

impl Forge {
    fn patience(&self) -> Patience {
        Patience {
            request: Duration::from_secs(self.timeout),
            ..Patience::default()
        }
    }
}

/// How a run ended, as its exit code.
#[derive(Clone, Copy)]
enum Outcome {
    Done = 0,
    Failed = 1,
    Manifest = 3,
    KeysLeft = 4,
    NotConfirmed = 5,
    GateEnded = 6,
}

fn main() -> ExitCode {
    let ran = match Arguments::parse().command {
        Command::Prepare(options) => prepare(&options),
        Command::Revoke(options) => revoke(&options),
        Command::Gitconfig(options) => gitconfig(&options),
        Command::Up(options) => up(&options),
        Command::ScanHostKey(options) => scan_host_key(&options),
    };
    let outcome = ran.unwrap_or_else(|error| {
        say(&format!("{error:#}"));
        outcome_of(&error)
    });
    ExitCode::from(outcome as u8)
}

/// The outcome that an error means.
fn outcome_of(error: &anyhow::Error) -> Outcome {
    let manifest = error.chain().find_map(|cause| cause.downcast_ref());
    let prepare = error.chain().find_map(|cause| cause.downcast_ref());
    match (manifest, prepare) {
        (Some(ManifestError::Document { .. } | ManifestError::Entry { .. }), _) => {
            Outcome::Manifest
        }
        (_, Some(error)) if PrepareError::leaves_keys(error) => Outcome::KeysLeft,
        _ => Outcome::Failed,
    }
}

fn prepare(options: &Prepare) -> Result<Outcome> {
    let interrupt = Interrupt::on_signals()?;
    let manifest = Manifest::read(&options.manifest)?;
    let (slug, stage) = (&options.slug, &options.stage);
    let plan = if options.dry_run {
        prepare::plan(&manifest, slug, stage)
    } else {
        let patience = options.forge.patience();
        prepare::prepare(&manifest, slug, stage, &patience, &interrupt, &mut say)
            .map(|(plan, _)| plan)
    };
    let plan = plan.context("nothing was prepared")?;
    let shown = match options.json {
        true => as_json(&plan).and_then(|text| show(&text)),
        false => show(&plan.table()),
    };
    let registered = plan.upstreams.iter().any(|one| one.deploy_key.is_some());
    let ended_early = shown.is_err() || interrupt.is_raised();
    if options.dry_run || !registered || !ended_early {
        return shown;
    }
    // Whoever called may have gone, and believe that nothing was done.
    say(&format!(
        "{}: all was prepared already, and deploy keys are registered; take them back: gate-host \
         revoke {} --stage {}",
        shown.map_or_else(|error| format!("{error:#}"), |_| "interrupted".to_owned()),
        options.manifest.display(),
        options.stage.display()
    ));
    Ok(Outcome::KeysLeft)
}

fn as_json(plan: &Plan) -> Result<String> {
    Ok(serde_json::to_string_pretty(plan)? + "\n")
}

fn revoke(options: &Revoke) -> Result<Outcome> {
    let manifest = Manifest::read(&options.manifest)?;
    let stage = Stage::open(&options.stage)?;
    let revoked = prepare::revoke(&manifest, &stage, &options.forge.patience())?;
    Ok(report(revoked))
}

/// Tells what became of each key.
fn report(revoked: Vec<Revocation>) -> Outcome {
    let mut outcome = Outcome::Done;
    for one in revoked {
        let key = format!("deploy key {} of {} ({})", one.id, one.name, one.url);
        match one.outcome {
            Ok(Deleted::Now) => say(&format!("deleted {key}")),
            Ok(Deleted::Before) => say(&format!("{key} was gone already")),
            Err(error) => {
                outcome = Outcome::KeysLeft;
                let error = anyhow::Error::from(error);
                say(&format!("could not delete {key}: {error:#}"));
            }
        }
    }
    outcome
}

fn up(options: &Up) -> Result<Outcome> {
    let interrupt = Interrupt::on_signals()?;
    let manifest = Manifest::read(&options.manifest)?;
    let address = SocketAddr::new(options.listen, options.port);
    let rules = gitconfig::gitconfig(&manifest, &address.to_string(), "git")?;
    let (folder, temporary) = folder(options.folder.as_deref())?;
    let slug = options.slug.clone();
    let settings = up::Options {
        slug: slug.unwrap_or_else(|| format!("up-{}", std::process::id())),
        folder: folder.clone(),
        image: options.image.clone(),
        network: options.network.clone(),
        address,
        patience: options.forge.patience(),
    };
    let mut serving = || {
        say("the gate serves; Ctrl-C ends it. The agent's git config:");
        let _ = show(&rules);
    };
    let outcome = match up::up(&manifest, &settings, &interrupt, &mut say, &mut serving) {
        Ok(down) => after(down),
        Err(error) => {
            let error = anyhow::Error::from(error);
            say(&format!("{error:#}"));
            outcome_of(&error)
        }
    };
    if let (Some(temporary), Outcome::KeysLeft) = (temporary, outcome) {
        let stage = temporary.keep().join("stage");
        let manifest = options.manifest.display();
        let stage = stage.display();
        say(&format!(
            "try again: gate-host revoke {manifest} --stage {stage}"
        ));
    }
    Ok(outcome)
}

/// Tells how the gate and its keys ended.
fn after(down: Down) -> Outcome {
    if let Err(error) = &down.gate {
        say(&format!("{error:#}"));
    }
    match (down.revoked.map(report), down.gate) {
        (Ok(Outcome::Done), Err(_)) => Outcome::GateEnded,
        (Ok(outcome), _) => outcome,
        (Err(error), _) => {
            say(&format!(
                "no deploy key was revoked: {:#}",
                anyhow::Error::from(error)
            ));
            Outcome::KeysLeft
        }
    }
}

/// The folder of `up`: the one that was named, made where there is none, or a temporary one.
fn folder(named: Option<&Path>) -> Result<(PathBuf, Option<TempDir>)> {
    let Some(path) = named else {
        let temporary = tempfile::Builder::new().prefix("gate-host-").tempdir()?;
        return Ok((temporary.path().to_owned(), Some(temporary)));
    };
    let path = std::path::absolute(path)?;
    std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok((path, None))
}

fn gitconfig(options: &Gitconfig) -> Result<Outcome> {
    let manifest = Manifest::read(&options.manifest)?;
    let (host, scheme) = (options.gate_host.as_str(), options.scheme.as_str());
    let mut rules = gitconfig::gitconfig(&manifest, host, scheme)?;
    if let (Some(token_file), Some(file)) = (&options.token_file, &options.credentials) {
        let credentials = std::path::absolute(file)?;
        let login = gitconfig::Login {
            token_file,
            credentials: &credentials,
            at: options.credentials_at.as_ref().unwrap_or(&credentials),
        };
        rules += &login.write(host, scheme)?;
    }
    show(&rules)
}

fn scan_host_key(options: &ScanHostKey) -> Result<Outcome> {
    let target = host_key::target(&options.host)?;
    let keys = host_key::scan(&target)?;
    say(&format!("{} port {} sent:", target.host(), target.port()));
    for key in &keys {
        say(&format!("  {} ({})", key.fingerprint(), key.algorithm()));
    }
    let keys = confirmed(keys, &options.yes_i_compared)?;
    if keys.is_empty() {
        say(
            "not confirmed: nothing is printed. Compare the fingerprints with what the host's \
             operator publishes, then run this again with --yes-i-compared=FINGERPRINT",
        );
        return Ok(Outcome::NotConfirmed);
    }
    let lines: Vec<String> = keys.iter().map(HostKey::to_string).collect();
    let list = serde_json::to_string(&lines)?;
    show(&match options.format {
        Format::Toml => format!("known_host_key = {list}\n"),
        Format::Json => format!("\"known_host_key\": {list}\n"),
        Format::KnownHosts => keys
            .iter()
            .map(|key| key.known_hosts_line(&target))
            .collect(),
    })
}

/// The keys that a person vouches for: by option, or when asked on a terminal.
fn confirmed(mut keys: Vec<HostKey>, compared: &[String]) -> Result<Vec<HostKey>> {
    if compared.is_empty() {
        let terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
        if !terminal || !ask("Did you compare them with what the host's operator publishes?")? {
            keys.clear();
        }
    } else if !compared.iter().any(String::is_empty) {
        keys.retain(|key| compared.contains(&key.fingerprint()));
    }
    Ok(keys)
}

fn ask(question: &str) -> Result<bool> {
    let mut terminal = io::stderr();
    write!(terminal, "gate-host: {question} [y/N] ")?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Prints a result.
fn show(text: &str) -> Result<Outcome> {
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write the result")?;
    Ok(Outcome::Done)
}

/// Talks to the person; a closed standard error stops nothing.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "gate-host: {line}");
}
