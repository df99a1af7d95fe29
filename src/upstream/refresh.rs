//! The refresh before a fetch: the mirror gets the upstream's refs, objects and HEAD.
//!
//! Fetches that come while a refresh runs share the next one. What makes that safe is the time:
//! a fetch only takes the outcome of a refresh that asked the upstream after the fetch had come.

use std::path::Path;

use git2::Repository;
use serde::{Deserialize, Serialize};

use super::ls_remote::{Head, Listing};
use super::ssh::Ssh;
use super::{Budget, OTHER_FORMAT, UpstreamError, lock};
use crate::mirror::lock::{Moment, now};
use crate::mirror::stale_files;
use crate::settings::Settings;
use crate::{git, text};

/// What the last refresh did, kept in the lock's note.
#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    /// The boot that `asked` belongs to.
    boot: String,
    /// When the upstream was asked, at the earliest.
    asked: Moment,
    /// Why it failed.
    failure: Option<String>,
}

/// Brings the mirror in `git_dir` up to date: refs, objects, HEAD. An error means that it may be
/// stale and must not be served.
pub fn refresh(git_dir: &Path, settings: &Settings) -> Result<(), UpstreamError> {
    let arrived = now();
    let git_dir = git_dir.canonicalize().unwrap_or(git_dir.to_owned());
    let repository = git::open(&git_dir)?;
    let mut ssh = Ssh::new(settings, &git_dir)?;
    ssh.context.format = repository.object_format().str();
    let mut lock = lock(&git_dir, settings, "a fetch")?;
    if let Some(last) = lock.state::<Outcome>().filter(|last| last.serves(arrived)) {
        return match last.failure {
            None => Ok(()),
            Some(text) if text.contains(OTHER_FORMAT) => Err(UpstreamError::ObjectFormat {
                mirror: ssh.context.format,
            }),
            Some(text) => Err(UpstreamError::Shared(text)),
        };
    }
    stale_files::after_receive_packs(&git_dir);
    let mut asked = now();
    let result = run(&repository, &ssh, settings, &mut asked);
    if result.is_err() {
        stale_files::after_a_failure(&git_dir);
    }
    lock.set_state(&Outcome {
        boot: boot_id(),
        asked,
        failure: result.as_ref().err().map(|error| text::chain(error)),
    });
    result
}

impl Outcome {
    fn serves(&self, arrived: Moment) -> bool {
        self.asked > arrived && self.asked <= now() && self.boot == boot_id()
    }
}

/// random(4), "boot_id".
fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    text.unwrap_or_default().trim().to_owned()
}

/// One refresh, and a second try when a shared connection broke under the first.
fn run(
    repository: &Repository,
    ssh: &Ssh,
    settings: &Settings,
    asked: &mut Moment,
) -> Result<(), UpstreamError> {
    let what = format!("the refresh from {}", ssh.context.upstream);
    let budget = Budget::new("refreshTimeout", settings.limits.refresh, what);
    ssh.open()?;
    *asked = now();
    match update(repository, ssh, &budget) {
        Err(error) if error.is_broken_connection() && ssh.is_shared() => {
            let again = ssh.open().and_then(|()| update(repository, ssh, &budget));
            again.map_err(|again| UpstreamError::Twice {
                first: error.brief(),
                again: Box::new(again),
            })
        }
        result => result,
    }
}

fn update(repository: &Repository, ssh: &Ssh, budget: &Budget) -> Result<(), UpstreamError> {
    let refs = git::Listing::start(repository, budget.deadline)?;
    let listing = Listing::fetch(ssh, repository, budget)?;
    if !listing.matches(&refs.read()?) {
        fetch(repository, ssh, budget)?;
    }
    set_head(repository, &listing.head)
}

fn fetch(repository: &Repository, ssh: &Ssh, budget: &Budget) -> Result<(), UpstreamError> {
    let output = budget.run(&mut fetch_command(repository, ssh))?;
    if output.status.success() {
        return Ok(());
    }
    // A lock file that nobody told us of: left by an operator's command, or by a machine that died.
    let is_locked = output.stderr.windows(7).any(|part| part == b".lock':");
    if is_locked && stale_files::after_a_failure(repository.path()) {
        let again = budget.run(&mut fetch_command(repository, ssh))?;
        if again.status.success() {
            return Ok(());
        }
    }
    Err(ssh.explain(&output))
}

fn fetch_command(repository: &Repository, ssh: &Ssh) -> std::process::Command {
    let mut command = ssh.git(repository.path());
    command
        // `transfer.fsckObjects` guards pushes. What the upstream has, it has: an old commit with a
        // flaw must not make it unreadable.
        .args(["-c", "fetch.fsckObjects=false"])
        // Pruning comes first, so that `a` makes room for `a/b`; that rules `--atomic` out.
        .args(["fetch", "--quiet", "--prune", "--force", "--no-tags"])
        .args(["--no-write-fetch-head", "--no-auto-maintenance"])
        .args(["--no-recurse-submodules", "--no-show-forced-updates"])
        .args(["--", ssh.url.as_str(), "+refs/*:refs/*"]);
    command
}

/// Makes the mirror's HEAD what the upstream's is.
fn set_head(repository: &Repository, head: &Head) -> Result<(), UpstreamError> {
    let current = repository.find_reference("HEAD").ok();
    match head {
        Head::Unknown => {}
        Head::Ref(target) => {
            let current = current
                .as_ref()
                .and_then(|head| head.symbolic_target().ok().flatten());
            if current != Some(target) {
                repository.reference_symbolic("HEAD", target, true, "")?;
            }
        }
        Head::Detached(id) => {
            if current.and_then(|head| head.target()) != Some(*id) {
                repository.set_head_detached(*id)?;
            }
        }
    }
    Ok(())
}
