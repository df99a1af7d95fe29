//! The two hooks: here, and only here, push, scan and upstream meet.

use std::io::{BufRead, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::agent::Asking;
use crate::audit::{self, Kind, Recorder};
use crate::deadline::Deadline;
use crate::push::{self, PolicyError, Push, Received, RefUpdate};
use crate::scan::{self, Request};
use crate::settings::Settings;
use crate::upstream::{self, ssh};
use crate::{git, process, rules, text};

/// `pre-receive`: scans everything that was pushed, then forwards all of it.
///
/// `input` is the hook's standard input, `terminal` its standard error, which the client sees.
/// An error means that the push is refused and nothing of it is upstream; its text is for the
/// agent.
pub fn pre_receive(git_dir: &Path, input: impl BufRead, terminal: &mut impl Write) -> Result<()> {
    process::lift_work_limit();
    let mut recorder = Recorder::start("push", git_dir);
    let mut updates = Vec::new();
    let result = push::read_updates(input)
        .map_err(Into::into)
        .and_then(|read| {
            updates = read;
            scan_and_forward(git_dir, &mut updates, terminal, &mut recorder)
        });
    // Now it is known which names may be shown.
    recorder.refs(&updates);
    finish(recorder, Kind::Push, &result);
    result
}

fn scan_and_forward(
    git_dir: &Path,
    updates: &mut [RefUpdate],
    terminal: &mut impl Write,
    recorder: &mut Recorder,
) -> Result<()> {
    if updates.is_empty() {
        return Ok(());
    }
    let push_options = push::push_options();
    let repository = git::open(git_dir).context("cannot open the gate's repository")?;
    let mut settings = Settings::read(&repository)?;
    let agent = Asking::here()?;
    let of_agent = agent
        .as_ref()
        .map(|agent| (agent.narrow(&mut settings), agent));
    let deadline = Deadline::of("scanTimeout", settings.limits.scan);
    let refs = git::Listing::start(&repository, deadline)?;
    let received = Received::list(&repository)?;
    let refs = refs.read()?;
    push::show_known(&refs, updates);
    let check = |settings: &Settings, updates: &[RefUpdate]| {
        push::check(&Push {
            repository: &repository,
            settings,
            refs: &refs,
            updates,
            options: &push_options,
            received: &received,
            deadline,
        })
    };
    // An agent's own rules stand beside the repository's: they can forbid and nothing else.
    let check = |updates: &[RefUpdate]| {
        check(&settings, updates)?;
        of_agent.as_ref().map_or(Ok(()), |(settings, agent)| {
            check(settings, updates).with_context(|| agent.shown())
        })
    };
    if let Err(error) = check(updates) {
        // It may name refs: once more, with the names that may be shown by then.
        let scanned = scan::show_clean_names(git_dir, &settings, updates).ok();
        return Err(scanned.and_then(|()| check(updates).err()).unwrap_or(error));
    }
    let request = Request {
        repository: &repository,
        refs: &refs,
        settings: &settings,
        updates,
        received: &received,
        push_options: &push_options,
    };
    let mut against_rules = rules::check(&request, deadline)?;
    if let Some((settings, _)) = &of_agent {
        let of_agent = rules::check(
            &Request {
                settings,
                ..request
            },
            deadline,
        )?;
        against_rules.add(of_agent);
    }
    recorder.phase("policy");
    refuse_findings(&against_rules, &push_options, terminal, recorder)?;

    ssh::open_early(&settings);
    let verdict = scan::scan(&request, deadline, terminal)?;
    scan::show_all_but(&verdict.names, updates);
    recorder.phase("scan");
    recorder.scanned(verdict.tally.objects, verdict.tally.bytes);
    refuse_findings(&verdict, &push_options, terminal, recorder)?;
    say(terminal, &scanned(verdict.tally));

    let mut heard = Vec::new();
    let mut hear = |line: String| {
        say(terminal, &format!("upstream: {line}"));
        heard.push(line);
    };
    let forwarded = upstream::forward(git_dir, &settings, &refs, updates, &push_options, &mut hear);
    recorder.phase("forward");
    recorder.upstream(&heard);
    forwarded?;
    say(
        terminal,
        &format!(
            "forwarded {} to the upstream",
            text::plural(updates.len(), "ref")
        ),
    );
    Ok(())
}

/// Notes what was found; the push is refused for it, and the client is told why.
fn refuse_findings(
    verdict: &scan::Verdict,
    push_options: &[Vec<u8>],
    terminal: &mut impl Write,
    recorder: &mut Recorder,
) -> Result<()> {
    recorder.findings(verdict.findings.iter().map(noted));
    if verdict.findings.is_empty() {
        return Ok(());
    }
    for line in scan::explain(verdict, push_options) {
        say(terminal, &line);
    }
    bail!("push refused: {} found", verdict.summary());
}

/// git daemon's `--access-hook` (git-daemon(1)): refreshes the mirror before it is read, and before
/// its refs are told to a client that pushes: a client that is told of a ref that is gone upstream
/// would find everything up to date.
///
/// An error's text goes to the client as the first line of standard output.
pub fn access(service: &str, git_dir: &Path) -> Result<()> {
    process::lift_work_limit();
    let name = match service {
        "upload-pack" => "fetch",
        "receive-pack" => "push",
        _ => return Ok(()),
    };
    let recorder = Recorder::start(name, git_dir);
    let result = refresh(git_dir, name == "push");
    // A push that goes on has its own event in the end.
    if name == "fetch" || result.is_err() {
        finish(recorder, Kind::Fetch, &result);
    }
    result
}

fn refresh(git_dir: &Path, for_push: bool) -> Result<()> {
    let repository = git::open(git_dir).context("cannot open the gate's repository")?;
    if for_push {
        check_runnable(&repository)?;
    }
    let settings = Settings::read(&repository)?;
    if for_push {
        check_writable(&settings)?;
    }
    upstream::refresh(git_dir, &settings)?;
    Ok(())
}

/// Refuses a push before its client has packed it, where none is taken.
fn check_writable(settings: &Settings) -> Result<()> {
    let agent = Asking::here()?.filter(|agent| agent.read_only);
    match agent {
        _ if settings.read_only => Err(PolicyError::ReadOnly.into()),
        Some(agent) => Err(PolicyError::ReadOnly).with_context(|| agent.shown()),
        None => Ok(()),
    }
}

/// Refuses a push that git would take without the pre-receive hook: it skips one that it may not
/// execute (a mount with noexec, a lost mode), so that nothing would be forwarded either.
fn check_runnable(repository: &git2::Repository) -> Result<()> {
    let directory = repository.config()?.get_path("core.hooksPath");
    let directory = directory.unwrap_or_else(|_| "hooks".into());
    let hook = repository.path().join(directory).join("pre-receive");
    rustix::fs::access(&hook, rustix::fs::Access::EXEC_OK).with_context(|| {
        format!(
            "no push is taken, since {} may not be executed (its mode, or a mount with noexec); tell \
             the operator",
            hook.display()
        )
    })
}

/// Records what was `done`, or why it was not.
fn finish(recorder: Recorder, done: Kind, result: &Result<()>) {
    let Err(error) = result else {
        return recorder.finish(done, None);
    };
    let kind = match error.is::<PolicyError>() {
        true => Kind::Policy,
        false => Kind::Refusal,
    };
    recorder.finish(kind, Some(text::line(format!("{error:#}").as_bytes())));
}

/// What was scanned, in words.
fn scanned(tally: scan::Tally) -> String {
    if tally == scan::Tally::default() {
        return "nothing to scan".to_owned();
    }
    let (objects, bytes) = (
        text::plural(tally.objects, "object"),
        text::size(tally.bytes),
    );
    format!("scanned {objects} ({bytes}), no secrets")
}

/// A finding as the audit log shows it.
fn noted(finding: &scan::Finding) -> audit::Finding {
    audit::Finding {
        rule: finding.rule.clone(),
        path: finding.shown_place(),
        line: finding.line.unwrap_or(0),
    }
}

/// Shows one line to the client. A client that is gone does not stop a push that is under way.
fn say(terminal: &mut impl Write, line: &str) {
    let _ = writeln!(terminal, "git-gate: {line}");
}

/// Shows why a push or a fetch is refused: one line, the chain of causes in it.
pub fn refuse(terminal: &mut impl Write, error: &anyhow::Error) {
    say(terminal, &text::line(format!("{error:#}").as_bytes()));
}
