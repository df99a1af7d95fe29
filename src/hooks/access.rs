//! git daemon's access hook: the mirror is refreshed before it is read or pushed to.

use std::path::Path;

use anyhow::{Context, Result};

use super::told::finish;
use crate::agent::Asking;
use crate::audit::{Kind, Recorder};
use crate::push::PolicyError;
use crate::settings::Settings;
use crate::{git, process, upstream};

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
