//! The entrypoint of the gate's image: one bare mirror per upstream, served over git:// and HTTP.

use std::fs::{self, File};
use std::io::{self, BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use git_gate::command_line::{Do, GateInit, Said, Scan};
use git_gate::refusals::Record;
use git_gate::refusals::desk::{self, Decision};
use git_gate::serve::{self, Options, ServeError, exit};
use git_gate::settings::{Limits, Policy};
use git_gate::upstream::helper_role;
use git_gate::{audit, hooks, local_scan, scan, watch};

fn main() -> ExitCode {
    helper_role::play_if_asked();
    let mut arguments = GateInit::parse();
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

fn run(arguments: GateInit) -> Result<u8> {
    let mut options = arguments
        .options
        .with_absolute_paths()
        .context("cannot find the current directory")?;
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
        Some(Do::Watch { by }) => watch_in_terminal(&options, &by),
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
        Some(Do::Scan(scan)) => local(&options, scan),
        Some(Do::Report { file }) => report(&file),
    }
}

fn watch_in_terminal(options: &Options, by: &str) -> Result<u8> {
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    ensure!(
        is_terminal,
        "watch needs a terminal; without one, `gate-init refusals` lists what is refused, and accept and deny answer it"
    );
    watch::run(options, by).context("cannot use the terminal")?;
    Ok(exit::DONE)
}

fn answer(options: &Options, said: &Said, decision: Decision) -> Result<u8> {
    let (base_path, run_dir) = (&options.base_path, &options.run_dir);
    let log = options.audit_log.as_deref();
    let (record, is_recorded) = desk::answer(base_path, run_dir, log, &said.id, decision)?;
    if !is_recorded {
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

fn local(options: &Options, asked: Scan) -> Result<u8> {
    let mut look = local_scan::Options {
        repository: asked.repository,
        range: asked.range,
        gitleaks_config: None,
        exceptions: None,
        policy: Policy::default(),
        limits: Limits::default(),
    };
    if let Some(name) = asked.upstream {
        let config = options.load_config()?;
        let named = config.upstreams.into_iter().find(|one| one.name == name);
        let of = named.with_context(|| format!("gate.json names no upstream {name:?}"))?;
        (look.policy, look.limits) = (of.policy, config.limits);
        (look.gitleaks_config, look.exceptions) = (of.gitleaks_config, of.exceptions);
    }
    look.gitleaks_config = asked.gitleaks_config.or(look.gitleaks_config);
    look.exceptions = asked.exceptions.or(look.exceptions);
    let verdict = local_scan::scan(&look, &mut io::stderr())?;
    let mut out = io::stdout().lock();
    if asked.sarif {
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
