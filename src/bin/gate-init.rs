//! The entrypoint of the gate's image: one bare mirror per upstream, served over git:// and HTTP.

use std::fs::{self, File};
use std::io::{self, BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use git_gate::refusals::Record;
use git_gate::refusals::desk::{self, Decision};
use git_gate::serve::{self, Options, ServeError, exit};
use git_gate::settings::{Limits, Policy};
use git_gate::upstream::ssh;
use git_gate::{audit, hooks, local_scan, scan};

/// Serves mirrors of upstreams over git:// and HTTP, so that an agent can fetch and push without holding
/// a credential. A fetch refreshes the mirror first; a push is scanned for secrets and forwarded,
/// or refused.
///
/// Upstreams are named in gate.json, or as NAME=URL. For each, --creds-dir holds NAME-key (an ssh
/// private key) and NAME-known_hosts (the pinned host key).
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Further upstreams, or other URLs for those of gate.json: app=ssh://git@host:22/o/app.git
    #[arg(value_name = "NAME=URL")]
    upstreams: Vec<String>,
    #[command(subcommand)]
    command: Option<Do>,
}

#[derive(Subcommand)]
enum Do {
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
    /// Let what was refused pass: the next such push, or the one that waits for the answer
    Accept {
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
        #[command(flatten)]
        decision: Said,
    },
    /// Scan a local repository as a push of it would be, and change nothing
    Scan {
        /// The repository
        repository: PathBuf,
        /// Revisions (gitrevisions(7)) [default: what HEAD has and no remote-tracking branch]
        range: Option<String>,
        /// Print what is found in SARIF 2.1.0
        #[arg(long)]
        sarif: bool,
        /// With the rules, the exceptions and the limits of this upstream of gate.json
        #[arg(long, value_name = "NAME")]
        upstream: Option<String>,
        /// With this file of gitleaks rules
        #[arg(long, value_name = "FILE")]
        gitleaks_config: Option<PathBuf>,
        /// With this file of accepted findings
        #[arg(long, value_name = "FILE")]
        exceptions: Option<PathBuf>,
    },
    /// Print an audit log as a table
    Report {
        /// The log; - reads standard input
        file: PathBuf,
    },
}

/// An answer to a refusal.
#[derive(clap::Args)]
struct Said {
    /// The refusal's id
    id: String,
    /// Why: it stands beside the exception, and the agent reads it
    #[arg(long)]
    reason: String,
    /// Who says so
    #[arg(long, env = "USER", default_value = "the operator")]
    by: String,
    /// The refusal with its answer as JSON
    #[arg(long)]
    json: bool,
}

impl Said {
    fn decision(&self, accepted: bool) -> Decision {
        Decision {
            accepted,
            by: self.by.clone(),
            reason: self.reason.clone(),
            until: None,
            once: false,
        }
    }
}

const AFTER_HELP: &str = "\
Signals: TERM and INT end it once the pushes in flight are done (limits.drainTimeout), a second one
at once; HUP reads gate.json again and reopens the audit log, without dropping a connection.

GIT_GATE_GITLEAKS names the scanner; otherwise it is gitleaks on PATH.

Exit codes: 0 ended as asked, or all is well; 1 cannot start, or check or health found something
wrong; 2 wrong usage or gate.json; 3 the server was killed again and again; 4 ended as asked, but
clients were cut off at the drain limit; 5 scan found something that would refuse a push.

Example:
  gate-init --creds-dir ./creds --base-path ./mirrors --run-dir ./run --port 9418 \\
      app=ssh://git@git.example.com:22/o/app.git
  git clone git://127.0.0.1/app.git";

fn main() -> ExitCode {
    ssh::exec_if_transport();
    let mut arguments = Arguments::parse();
    arguments.options.upstreams = std::mem::take(&mut arguments.upstreams);
    match run(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            hooks::refuse(&mut io::stderr(), &error);
            let code = error.downcast_ref().map(ServeError::exit_code);
            ExitCode::from(code.unwrap_or(exit::FAILED))
        }
    }
}

fn run(arguments: Arguments) -> Result<u8> {
    let mut options = arguments
        .options
        .with_absolute_paths()
        .context("cannot find the current folder")?;
    match arguments.command {
        None => Ok(serve::run(&options)?),
        Some(Do::Check { upstreams }) => {
            options.upstreams.extend(upstreams);
            let mut out = io::stdout();
            let colours = out.is_terminal();
            let well = serve::check(&options, &mut out, colours)?;
            Ok(if well { exit::DONE } else { exit::FAILED })
        }
        Some(Do::Health { metrics }) => {
            let answer = serve::health(&options)?;
            if metrics {
                io::Write::write_all(&mut io::stdout(), answer.as_bytes())?;
            }
            Ok(exit::DONE)
        }
        Some(Do::Policy { name, agent }) => {
            serve::policy(&options, &name, agent.as_deref(), &mut io::stdout())?;
            Ok(exit::DONE)
        }
        Some(Do::Refusals { name, json }) => {
            let records = desk::list(&options.base_path, name.as_deref())?;
            let mut out = io::stdout().lock();
            match json {
                true => write_json(&records, &mut out)?,
                false => desk::write_table(&records, &mut out)?,
            }
            Ok(exit::DONE)
        }
        Some(Do::Show { id, json }) => show(&desk::find(&options.base_path, &id)?, json),
        Some(Do::Accept {
            decision: said,
            until,
            once,
        }) => {
            let decision = Decision {
                until,
                once,
                ..said.decision(true)
            };
            answer(&options, &said, decision)
        }
        Some(Do::Deny { decision: said }) => answer(&options, &said, said.decision(false)),
        Some(Do::Scan {
            repository,
            range,
            sarif,
            upstream,
            gitleaks_config,
            exceptions,
        }) => {
            let mut look = local_scan::Options {
                repository,
                range,
                gitleaks_config: None,
                exceptions: None,
                policy: Policy::default(),
                limits: Limits::default(),
            };
            if let Some(name) = upstream {
                let config = options.load_config()?;
                let named = config.upstreams.into_iter().find(|one| one.name == name);
                let of = named.with_context(|| format!("gate.json names no upstream {name:?}"))?;
                (look.policy, look.limits) = (of.policy, config.limits);
                (look.gitleaks_config, look.exceptions) = (of.gitleaks_config, of.exceptions);
            }
            look.gitleaks_config = gitleaks_config.or(look.gitleaks_config);
            look.exceptions = exceptions.or(look.exceptions);
            local(&look, sarif)
        }
        Some(Do::Report { file }) => report(&file),
    }
}

fn answer(options: &Options, said: &Said, decision: Decision) -> Result<u8> {
    let (record, event) = desk::answer(&options.base_path, &said.id, decision)?;
    if !audit::record_for(&options.run_dir, options.audit_log.as_deref(), &event) {
        let line = "the answer holds, and the audit log has no line of it: no gate-init serves with this \
                    --run-dir, and no --audit-log can be written";
        hooks::refuse(&mut io::stderr(), &anyhow::anyhow!(line));
    }
    show(&record, said.json)
}

fn show(record: &Record, json: bool) -> Result<u8> {
    let mut out = io::stdout().lock();
    match json {
        true => write_json(record, &mut out)?,
        false => desk::write_one(record, &mut out)?,
    }
    Ok(exit::DONE)
}

fn local(options: &local_scan::Options, sarif: bool) -> Result<u8> {
    let verdict = local_scan::scan(options, &mut io::stderr())?;
    let mut out = io::stdout().lock();
    if sarif {
        write_json(&local_scan::sarif(&verdict), &mut out)?;
    } else if !verdict.findings.is_empty() {
        for line in scan::explain(&verdict, &[]) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(match verdict.findings.is_empty() {
        true => exit::DONE,
        false => exit::FOUND,
    })
}

fn write_json(value: &impl serde::Serialize, out: &mut impl io::Write) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(writeln!(out)?)
}

fn report(file: &PathBuf) -> Result<u8> {
    let mut out = io::stdout().lock();
    if file.as_os_str() == "-" {
        audit::report(io::stdin().lock(), 0, &mut out)?;
    } else {
        let log = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut lost = file.as_os_str().to_owned();
        lost.push(audit::LOST);
        let lost = fs::metadata(lost).map_or(0, |counted| counted.len());
        audit::report(BufReader::new(log), lost, &mut out)?;
    }
    Ok(exit::DONE)
}
