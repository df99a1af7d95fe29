//! The refresh before a fetch: the mirror gets the upstream's refs, objects and HEAD.
//!
//! Fetches that come while a refresh runs share the next one. What makes that safe is the time:
//! a fetch only takes the outcome of a refresh that asked the upstream after the fetch had come.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use git2::{Oid, Repository};
use serde::{Deserialize, Serialize};

use super::listing::{Changes, Head};
use super::remote::Remote;
use super::{Budget, OTHER_FORMAT, UpstreamError, lock, ls_remote};
use crate::git::Refs;
use crate::mirror::lock::{Moment, now};
use crate::mirror::stale_files;
use crate::process::Output;
use crate::ref_pattern::{self, RefPattern};
use crate::settings::Settings;
use crate::{git, process, text};

/// How many refs are fetched by their names; where more have changed, all are asked for.
const FEW: usize = 1000;

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
    let format = repository.object_format().str();
    let remote = Remote::new(settings, &git_dir)?.for_format(format);
    let mut lock = lock(&git_dir, settings, "a fetch")?;
    if let Some(last) = lock.state::<Outcome>().filter(|last| last.serves(arrived)) {
        return match last.failure {
            None => Ok(()),
            Some(text) if text.contains(OTHER_FORMAT) => {
                Err(UpstreamError::ObjectFormat { mirror: format })
            }
            Some(text) => Err(UpstreamError::Shared(text)),
        };
    }
    stale_files::remove_stale_quarantines(&git_dir);
    stale_files::remove_half_packs(&git_dir);
    let mut asked = now();
    let result = run(&repository, &remote, settings, &mut asked);
    if result.is_err() {
        stale_files::remove_stale_locks(&git_dir);
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
    remote: &Remote,
    settings: &Settings,
    asked: &mut Moment,
) -> Result<(), UpstreamError> {
    let what = format!("the refresh from {}", remote.context().upstream);
    let budget = Budget::new("refreshTimeout", settings.limits.refresh, what);
    remote.open()?;
    *asked = now();
    match update(repository, remote, settings, &budget) {
        Err(error) if error.is_broken_connection() && remote.is_shared() => {
            let again = remote
                .open()
                .and_then(|()| update(repository, remote, settings, &budget));
            again.map_err(|again| UpstreamError::Twice {
                first: error.brief(),
                again: Box::new(again),
            })
        }
        result => result,
    }
}

fn update(
    repository: &Repository,
    remote: &Remote,
    settings: &Settings,
    budget: &Budget,
) -> Result<(), UpstreamError> {
    let refs = git::Listing::start(repository, budget.deadline)?;
    let listing = ls_remote::fetch(remote, repository, &settings.fetch_ref, budget)?;
    let mirror = refs.read()?;
    let refresh = Refresh {
        repository,
        remote,
        patterns: &settings.fetch_ref,
        budget,
    };
    match listing.changes(&mirror) {
        Some(changes) => refresh.make(&changes, &mirror)?,
        None => refresh.replace(&mirror)?,
    }
    set_head(repository, &listing.head)
}

/// One change of a mirror.
struct Refresh<'a> {
    repository: &'a Repository,
    remote: &'a Remote,
    patterns: &'a [RefPattern],
    budget: &'a Budget,
}

impl Refresh<'_> {
    /// Deletes and fetches what has changed. What is gone goes first, so that `a` makes room for
    /// `a/b`.
    fn make(&self, changes: &Changes, mirror: &Refs) -> Result<(), UpstreamError> {
        self.delete(&changes.gone)?;
        match changes.moved.len() {
            0 => Ok(()),
            1..=FEW => self.fetch_few(&changes.moved, &tips(mirror, &changes.moved)),
            _ => {
                self.fetch_all()?;
                self.pack_refs();
                Ok(())
            }
        }
    }

    /// Puts all refs into one file: to read a hundred thousand of them, each in its own, takes git a second,
    /// and a push has five gits that do. Where it fails, the mirror's upkeep tries again.
    fn pack_refs(&self) {
        let mut command = git::command(self.repository.path());
        let _ = self.budget.run(command.args(["pack-refs", "--all"]));
    }

    /// Brings the mirror up to date where it is not known what has changed.
    fn replace(&self, mirror: &Refs) -> Result<(), UpstreamError> {
        let names = mirror.iter().map(|(name, _)| name);
        let left_out = names.filter(|name| !ref_pattern::take(self.patterns, name));
        self.delete(&left_out.map(<[u8]>::to_vec).collect::<Vec<_>>())?;
        self.fetch_all()
    }

    /// Fetches these refs by their names: git then looks at no others of the upstream's, and tells it of
    /// `tips` what is here.
    fn fetch_few(&self, names: &[String], tips: &BTreeSet<Oid>) -> Result<(), UpstreamError> {
        let refspecs = names.iter().map(|name| format!("+{name}:{name}\n"));
        let refspecs: String = refspecs.collect();
        let output = self.run(|| {
            let mut command = self.fetch_command();
            command.args(tips.iter().map(|id| format!("--negotiation-tip={id}")));
            command.args(["--stdin", "--", self.remote.url()]);
            command.stdin(in_memory(&refspecs)?);
            Ok(command)
        })?;
        // One of them went away a moment ago.
        let is_gone = contains(&output, b"couldn't find remote ref");
        match output.status.success() {
            true => Ok(()),
            false if is_gone => self.fetch_all(),
            false => Err(self.remote.explain(&output)),
        }
    }

    fn fetch_all(&self) -> Result<(), UpstreamError> {
        let output = self.run(|| {
            let mut command = self.fetch_command();
            // Pruning comes first, so that `a` makes room for `a/b`; that rules `--atomic` out.
            command.args(["--prune", "--", self.remote.url()]);
            if self.patterns.iter().all(RefPattern::is_negative) {
                command.arg("+refs/*:refs/*");
            }
            for pattern in self.patterns {
                let name = pattern.as_str();
                command.arg(match pattern.is_negative() {
                    true => name.to_owned(),
                    false => format!("+{name}:{name}"),
                });
            }
            Ok(command)
        })?;
        match output.status.success() {
            true => Ok(()),
            false => Err(self.remote.explain(&output)),
        }
    }

    fn delete(&self, names: &[Vec<u8>]) -> Result<(), UpstreamError> {
        if names.is_empty() {
            return Ok(());
        }
        // git-update-ref(1), `-z`: a name, and an old value that is not looked at.
        let lines = names.iter().flat_map(|name| [b"delete ", &**name, b"\0\0"]);
        let lines = lines.collect::<Vec<_>>().concat();
        let output = self.run(|| {
            let mut command = git::command(self.repository.path());
            command.args(["update-ref", "--no-deref", "--stdin", "-z"]);
            command.stdin(in_memory(&lines)?);
            Ok(command)
        })?;
        match output.status.success() {
            true => Ok(()),
            false => Err(self.remote.explain(&output)),
        }
    }

    /// Runs a command, and once more where a lock file was in its way that nobody told us of: left by
    /// an operator's command, or by a machine that died.
    fn run(
        &self,
        command: impl Fn() -> Result<Command, UpstreamError>,
    ) -> Result<Output, UpstreamError> {
        let output = self.budget.run(&mut command()?)?;
        let is_locked = !output.status.success() && contains(&output, b".lock':");
        if is_locked && stale_files::remove_stale_locks(self.repository.path()) {
            let again = self.budget.run(&mut command()?)?;
            if again.status.success() {
                return Ok(again);
            }
        }
        Ok(output)
    }

    fn fetch_command(&self) -> Command {
        let mut command = self.remote.git(self.repository.path());
        command
            // `transfer.fsckObjects` guards pushes. What the upstream has, it has: an old commit with
            // a flaw must not make it unreadable.
            .args(["-c", "fetch.fsckObjects=false"])
            .args(["fetch", "--quiet", "--force", "--no-tags"])
            .args(["--no-write-fetch-head", "--no-auto-maintenance"])
            .args(["--no-recurse-submodules", "--no-show-forced-updates"]);
        command
    }
}

/// What git tells an upstream that it has, where it would tell it of every ref, one by one: what the refs that
/// have `moved` were, and some of the others. Empty where there are few.
fn tips(mirror: &Refs, moved: &[String]) -> BTreeSet<Oid> {
    let step = mirror.count() / FEW;
    if step == 0 {
        return BTreeSet::new();
    }
    let before = moved.iter().filter_map(|name| mirror.get(name));
    before.chain(mirror.ids().step_by(step)).collect()
}

fn contains(output: &Output, words: &[u8]) -> bool {
    output.stderr.windows(words.len()).any(|part| part == words)
}

fn in_memory(text: &(impl AsRef<[u8]> + ?Sized)) -> Result<File, UpstreamError> {
    process::in_memory(text.as_ref()).map_err(|source| UpstreamError::System {
        what: "tell git which refs to change",
        source,
    })
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
