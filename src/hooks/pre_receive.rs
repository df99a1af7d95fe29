//! The pre-receive hook: a push is held against the rules, scanned and forwarded.

use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::told::{finish, say};
use crate::agent::Asking;
use crate::audit::{self, Kind, Recorder};
use crate::deadline::Deadline;
use crate::push::{self, Push, Received, RefUpdate};
use crate::refusals::{About, Outcome, Question, Store};
use crate::scan::{self, Request};
use crate::settings::{Mode, Settings};
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
    let pushed = Pushed {
        repository: &repository,
        refs: &refs,
        settings: &settings,
        of_agent: of_agent.as_ref().map(|(settings, _)| settings),
        received: &received,
        options: &push_options,
    };
    let once = pushed.pass(updates, deadline, terminal, recorder)?;
    // What was accepted for one push is used by this one, whoever else tries it meanwhile.
    let store = Store::of(git_dir);
    let taken = store.spend(&once)?;
    let forwarded = forward(git_dir, &pushed, updates, terminal, recorder);
    if forwarded.is_err()
        && let Err(error) = store.put_back(taken)
    {
        let error = text::chain(&error);
        say(
            terminal,
            &format!("what was accepted once has to be accepted again: {error}"),
        );
    }
    forwarded
}

fn forward(
    git_dir: &Path,
    pushed: &Pushed<'_>,
    updates: &[RefUpdate],
    terminal: &mut impl Write,
    recorder: &mut Recorder,
) -> Result<()> {
    let mut heard = Vec::new();
    let mut hear = |line: String| {
        say(terminal, &format!("upstream: {line}"));
        heard.push(line);
    };
    let (settings, refs, options) = (pushed.settings, pushed.refs, pushed.options);
    let forwarded = upstream::forward(git_dir, settings, refs, updates, options, &mut hear);
    recorder.phase("forward");
    recorder.upstream(&heard);
    forwarded?;
    let count = text::plural(updates.len(), "ref");
    say(terminal, &format!("forwarded {count} to the upstream"));
    Ok(())
}

/// A push that the ref policy lets through, and what it is held against.
struct Pushed<'a> {
    repository: &'a git2::Repository,
    refs: &'a git::Refs,
    settings: &'a Settings,
    /// The agent's own rules, where the gate tells agents apart.
    of_agent: Option<&'a Settings>,
    received: &'a Received,
    options: &'a [Vec<u8>],
}

impl Pushed<'_> {
    /// Holds the push against the rules on content, then scans it, until nothing refuses it: each time
    /// that the operator accepts what does, it is judged anew. Returns the refusals whose answer, for one
    /// push alone, let something through.
    fn pass(
        &self,
        updates: &mut [RefUpdate],
        mut deadline: Deadline,
        terminal: &mut impl Write,
        recorder: &mut Recorder,
    ) -> Result<BTreeSet<String>> {
        loop {
            let (mut verdict, is_scanned) = self.judge(updates, deadline, terminal, recorder)?;
            // Only `gate-init check` wants to know.
            let _ = Store::of(self.repository.path()).note_uses(&verdict.excepted);
            recorder.findings(verdict.findings.iter().map(noted));
            if verdict.findings.is_empty() {
                say(terminal, &scanned(verdict.tally));
                for line in scan::mention(&verdict, self.options) {
                    say(terminal, &line);
                }
                return Ok(verdict.once);
            }
            if !is_scanned {
                // The operator is to know which refs it is about.
                let _ = scan::show_clean_names(self.repository.path(), self.settings, updates);
            }
            if self.settings.policy.mode == Mode::Observe {
                verdict.is_observed = true;
                self.explain(&verdict, terminal);
                say(terminal, "forwarded all the same: git-gate.mode is observe");
                return match is_scanned {
                    true => Ok(verdict.once),
                    false => self.observe(updates, deadline, terminal, recorder),
                };
            }
            self.ask(&mut verdict, updates, terminal, recorder)?;
            recorder.phase("hold");
            deadline = Deadline::of("scanTimeout", self.settings.limits.scan);
        }
    }

    /// What refuses the push, and whether that comes from its scan.
    fn judge(
        &self,
        updates: &mut [RefUpdate],
        deadline: Deadline,
        terminal: &mut impl Write,
        recorder: &mut Recorder,
    ) -> Result<(scan::Verdict, bool)> {
        let mut against_rules = rules::check(&self.request(self.settings, updates), deadline)?;
        if let Some(settings) = self.of_agent {
            against_rules.add(rules::check(&self.request(settings, updates), deadline)?);
        }
        recorder.phase("policy");
        if !against_rules.findings.is_empty() {
            return Ok((against_rules, false));
        }
        let mut verdict = self.scan(updates, deadline, terminal, recorder)?;
        verdict.once.extend(against_rules.once);
        verdict.excepted.extend(against_rules.excepted);
        Ok((verdict, true))
    }

    fn scan(
        &self,
        updates: &mut [RefUpdate],
        deadline: Deadline,
        terminal: &mut impl Write,
        recorder: &mut Recorder,
    ) -> Result<scan::Verdict> {
        ssh::open_early(self.settings);
        let verdict = scan::scan(&self.request(self.settings, updates), deadline, terminal)?;
        scan::show_all_but(&verdict.names, updates);
        recorder.phase("scan");
        recorder.scanned(verdict.tally.objects, verdict.tally.bytes);
        recorder.suspects(verdict.suspects.iter().map(noted));
        Ok(verdict)
    }

    /// Scans a push that is against the rules already, and tells what else would refuse it.
    fn observe(
        &self,
        updates: &mut [RefUpdate],
        deadline: Deadline,
        terminal: &mut impl Write,
        recorder: &mut Recorder,
    ) -> Result<BTreeSet<String>> {
        let mut verdict = self.scan(updates, deadline, terminal, recorder)?;
        verdict.is_observed = true;
        if !verdict.findings.is_empty() {
            recorder.findings(verdict.findings.iter().map(noted));
            self.explain(&verdict, terminal);
        }
        Ok(verdict.once)
    }

    fn request<'b>(&'b self, settings: &'b Settings, updates: &'b [RefUpdate]) -> Request<'b> {
        Request {
            repository: self.repository,
            refs: self.refs,
            settings,
            updates,
            received: self.received,
            push_options: self.options,
        }
    }

    fn explain(&self, verdict: &scan::Verdict, terminal: &mut impl Write) {
        for line in scan::explain(verdict, self.options) {
            say(terminal, &line);
        }
    }

    /// Keeps the refusal and asks the operator; an error where the push stays refused.
    fn ask(
        &self,
        verdict: &mut scan::Verdict,
        updates: &[RefUpdate],
        terminal: &mut impl Write,
        recorder: &mut Recorder,
    ) -> Result<()> {
        let store = Store::of(self.repository.path());
        let (agent, peer) = recorder.who();
        let refs = audit::RefChange::first(updates);
        let kept = store.note(verdict, About { agent, peer, refs });
        if let Ok(record) = &kept {
            verdict.id = Some(record.id.clone());
            recorder.refusal(&record.id);
        }
        self.explain(verdict, terminal);
        let refused = format!("push refused: {} found", verdict.summary());
        let record = match kept {
            Ok(record) => record,
            Err(error) => {
                let error = text::chain(&error);
                say(
                    terminal,
                    &format!("the refusal cannot be kept for the operator: {error}"),
                );
                bail!(refused);
            }
        };
        let policy = &self.settings.policy;
        let question = Question {
            store: &store,
            record: &record,
            policy,
        };
        match question.ask(&mut |line| say(terminal, line)) {
            Outcome::Accepted => {
                say(terminal, "the operator accepts it");
                Ok(())
            }
            Outcome::Refused(None) => bail!(refused),
            Outcome::Refused(Some(why)) => bail!("{refused}; {why}"),
        }
    }
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
