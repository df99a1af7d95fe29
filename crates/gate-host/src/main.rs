//! The operator's tool: prepares what a gate mounts, and takes it back.

use std::io::{self, BufRead, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use gate_host::command_line::{
    Command, Format, GateHost, Gitconfig, Prepare, Revoke, ScanHostKey, Token, Up,
};
use gate_host::forge::{self, AccessToken, App, Deleted, Issuer, TokenFile};
use gate_host::gitconfig;
use gate_host::host_key::{self, HostKey};
use gate_host::interrupt::Interrupt;
use gate_host::manifest::{Manifest, ManifestError};
use gate_host::plan::Plan;
use gate_host::prepare;
use gate_host::prepare_error::PrepareError;
use gate_host::revoke::{self, Revocation};
use gate_host::stage::Stage;
use gate_host::up::{self, Down};
use tempfile::TempDir;

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
    let ran = match GateHost::parse().command {
        Command::Prepare(options) => prepare(&options),
        Command::Revoke(options) => revoke(&options),
        Command::Gitconfig(options) => gitconfig(&options),
        Command::Up(options) => up(&options),
        Command::Token(options) => token(options),
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
    let revoked = revoke::revoke(&manifest, &stage, &options.forge.patience())?;
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

/// The directory of `up`: the one that was named, made where there is none, or a temporary one.
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

fn token(options: Token) -> Result<Outcome> {
    let interrupt = Interrupt::on_signals()?;
    let api_url = options.api_url;
    let issuer: Box<dyn Issuer> = match (options.app, options.access) {
        (_, Some(access)) => Box::new(AccessToken::new(
            access.provider,
            &access.upstream,
            api_url.as_deref(),
            forge::Token::from_env(&access.token_env)?,
        )?),
        (Some(app), None) => Box::new(App {
            id: app.id,
            key: app.key,
            installation: app.installation,
            repositories: app.repositories,
            api_url,
        }),
        (None, None) => bail!("name who asks: --app, or --provider; see gate-host token --help"),
    };
    let file = TokenFile {
        issuer: &*issuer,
        path: &options.file,
        patience: &options.forge.patience(),
    };
    file.keep(options.watch, &interrupt, &mut say)?;
    Ok(Outcome::Done)
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
