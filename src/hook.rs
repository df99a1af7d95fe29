//! The two hooks: here, and only here, push, scan and upstream meet.

use std::io::{BufRead, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::push::{self, Received};
use crate::scan::{self, Request};
use crate::settings::Settings;
use crate::upstream::{self, ssh};
use crate::{git, text};

/// `pre-receive`: scans everything that was pushed, then forwards all of it.
///
/// `input` is the hook's standard input, `terminal` its standard error, which the client sees.
/// An error means that the push is refused and nothing of it is upstream; its text is for the
/// agent.
pub fn pre_receive(git_dir: &Path, input: impl BufRead, terminal: &mut impl Write) -> Result<()> {
    let updates = push::read_updates(input)?;
    if updates.is_empty() {
        return Ok(());
    }
    let push_options = push::push_options();
    let repository = git::open(git_dir).context("cannot open the gate's repository")?;
    let settings = Settings::read(&repository)?;
    let received = Received::list(&repository)?;
    push::check(&repository, &settings, &updates, &received)?;

    ssh::open_early(&settings);
    let verdict = scan::scan(&Request {
        repository: &repository,
        settings: &settings,
        updates: &updates,
        received: &received,
        push_options: &push_options,
    })?;
    if !verdict.findings.is_empty() {
        for line in scan::explain(&verdict.findings) {
            say(terminal, &line);
        }
        bail!(
            "push refused: {} found",
            text::plural(verdict.findings.len(), "secret")
        );
    }
    let (objects, bytes) = (
        text::plural(verdict.tally.objects, "object"),
        text::size(verdict.tally.bytes),
    );
    say(
        terminal,
        &format!("scanned {objects} ({bytes}), no secrets"),
    );

    let forwarded = upstream::forward(git_dir, &settings, &updates, &push_options)?;
    for line in &forwarded.messages {
        say(terminal, &format!("upstream: {line}"));
    }
    say(
        terminal,
        &format!(
            "forwarded {} to the upstream",
            text::plural(updates.len(), "ref")
        ),
    );
    Ok(())
}

/// git daemon's `--access-hook` (git-daemon(1)): refreshes the mirror before it is read.
///
/// An error's text goes to the client as the first line of standard output.
pub fn access(service: &str, git_dir: &Path) -> Result<()> {
    if service != "upload-pack" {
        return Ok(());
    }
    let repository = git::open(git_dir).context("cannot open the gate's repository")?;
    let settings = Settings::read(&repository)?;
    upstream::refresh(git_dir, &settings)?;
    Ok(())
}

/// Shows one line to the client. A client that is gone does not stop a push that is under way.
fn say(terminal: &mut impl Write, line: &str) {
    let _ = writeln!(terminal, "git-gate: {line}");
}

/// Shows why a push or a fetch is refused: one line, the chain of causes in it.
pub fn refuse(terminal: &mut impl Write, error: &anyhow::Error) {
    say(terminal, &text::line(format!("{error:#}").as_bytes()));
}
