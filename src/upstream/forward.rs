//! The forward: one `git push` for all ref updates, whole or not at all.
//!
//! Each ref has a lease on the value that the client saw (git-push(1), `--force-with-lease`), so
//! nobody's work is overwritten. The push goes to the URL: a push to the remote's name would also
//! change the mirror's refs, which receive-pack is about to do.

mod messages;
mod mirror;
mod results;

use std::path::Path;
use std::process::Command;

use git2::{ObjectFormat, Repository};

use self::messages::Messages;
use self::mirror::check_mirror;
pub use self::mirror::has_room;
use self::results::{Results, reason_for};
use super::helper_role::OPENED_FOR;
use super::listing::Listing;
use super::lock_holder::Holder;
use super::remote::Remote;
use super::{Budget, UpstreamError, lock, ls_remote};
use crate::git::{self, Refs};
use crate::process::{Output, Reading};
use crate::push::{self, RefUpdate};
use crate::settings::{Atomic, Settings};
use crate::text;

/// How many refs an error names.
const NAMED_REFS: usize = 10;

/// Sends all ref updates to the upstream, whole or not at all, and keeps refreshes away until
/// receive-pack, the parent of this process, has updated the mirror's own refs. `refs` are those
/// that the mirror had when the push began. `hear` gets each line of the upstream's as it comes, safe
/// to show.
pub fn forward(
    git_dir: &Path,
    settings: &Settings,
    refs: &Refs,
    updates: &[RefUpdate],
    push_options: &[Vec<u8>],
    hear: &mut dyn FnMut(String),
) -> Result<(), UpstreamError> {
    let git_dir = git_dir.canonicalize().unwrap_or(git_dir.to_owned());
    let repository = git::open(&git_dir)?;
    let remote = Remote::new(settings, &git_dir)?;
    let remote = remote.for_format(repository.object_format().str());
    remote.open()?;
    let lock = lock(&git_dir, settings, "a push")?;
    check_mirror(&repository, refs, updates)?;
    let holder =
        Holder::start(&lock, &git_dir, updates).map_err(|source| UpstreamError::System {
            what: "keep the mirror's lock",
            source,
        })?;
    let push = Push {
        repository: &repository,
        remote: &remote,
        updates,
        options: push_options,
        silence: settings.limits.silence,
        budget: Budget::new(
            "forwardTimeout",
            settings.limits.forward,
            format!("the push to {}", remote.context().upstream),
        ),
    };
    match push.run(settings.policy.atomic, &mut Messages::new(hear)) {
        Ok(()) => {
            lock.hand_over();
            Ok(())
        }
        Err(error) => {
            holder.cancel();
            Err(error)
        }
    }
}

const MOVED: &str = "is not what you last saw; run git fetch, rebase or merge, and push again";

struct Push<'a> {
    repository: &'a Repository,
    remote: &'a Remote,
    updates: &'a [RefUpdate],
    options: &'a [Vec<u8>],
    budget: Budget,
    /// Seconds that the upstream may take over a question.
    silence: u64,
}

impl Push<'_> {
    fn run(&self, atomic: Atomic, messages: &mut Messages<'_>) -> Result<(), UpstreamError> {
        let several = self.updates.len() > 1;
        let first = self.settle(several, messages);
        match first {
            Err(UpstreamError::Unsupported {
                feature: ATOMIC, ..
            }) if atomic == Atomic::Prefer => self.settle(false, messages),
            result => result,
        }
    }

    /// One push, and what came of it when the connection broke: its leases make it safe to be sent
    /// twice, since a ref that has its new value already is up to date.
    fn settle(&self, atomic: bool, messages: &mut Messages<'_>) -> Result<(), UpstreamError> {
        let error = match self.send(atomic, messages) {
            Err(error) if error.leaves_doubt() => error,
            result => return result,
        };
        let unconfirmed = |why: Option<&UpstreamError>| UpstreamError::Unconfirmed {
            cause: match why {
                Some(why) => format!("{}, then {}", error.brief(), why.brief()),
                None => error.brief(),
            },
        };
        // The forward's own time may be over.
        let question = Budget::new(
            "silenceTimeout",
            self.silence,
            format!("asking {} what came of it", self.remote.context().upstream),
        );
        let listed = self
            .remote
            .open()
            .and_then(|()| ls_remote::fetch(self.remote, self.repository, &[], &question))
            .map_err(|why| unconfirmed(Some(&why)))?;
        if self.has_arrived(&listed) {
            return Ok(());
        }
        if !error.is_broken_connection() {
            return Err(unconfirmed(None));
        }
        self.send(atomic, messages).map_err(|again| {
            if again.leaves_doubt() {
                unconfirmed(Some(&again))
            } else {
                again
            }
        })
    }

    fn has_arrived(&self, listed: &Listing) -> bool {
        self.updates.iter().all(|update| {
            let value = listed.refs.get(&update.name);
            value == Some(update.new).filter(|new| !new.is_zero())
        })
    }

    fn send(&self, atomic: bool, messages: &mut Messages<'_>) -> Result<(), UpstreamError> {
        let mut run = |command: &mut Command| {
            let hear = |bytes: &[u8]| messages.take(bytes);
            self.budget.run_read(command, Reading::heard_by(hear))
        };
        let mut command = self.command(atomic);
        let mut output = run(command.env(OPENED_FOR, self.repository.path()))?;
        // Where a session was opened as the push came, the upstream listed its refs some time ago.
        if !output.status.success() && is_behind(&output) {
            output = run(&mut self.command(atomic))?;
        }
        match output.status.success() {
            true => Ok(()),
            false => Err(self.explain(&output)),
        }
    }

    fn command(&self, atomic: bool) -> Command {
        use std::os::unix::ffi::OsStrExt;

        let mut command = self.remote.git(self.repository.path());
        // Else git looks for a short name of what each ref of the upstream names, to print one of them.
        let whole = match self.repository.object_format() {
            ObjectFormat::Sha256 => "core.abbrev=64",
            ObjectFormat::Sha1 => "core.abbrev=40",
        };
        command.args(["-c", whole]);
        command
            .args(["push", "--porcelain", "--no-progress", "--no-verify"])
            .args(["--no-follow-tags", "--no-signed", "--recurse-submodules=no"]);
        if atomic {
            command.arg("--atomic");
        }
        for option in push::push_options::forwarded(self.options) {
            let option = [b"--push-option=", option].concat();
            command.arg(std::ffi::OsStr::from_bytes(&option));
        }
        // git also takes a lease for a longer name that ends like it: the longer ones go first.
        let mut leases: Vec<&RefUpdate> = self.updates.iter().collect();
        leases.sort_by_key(|update| std::cmp::Reverse(update.name.len()));
        for RefUpdate { old, name, .. } in leases {
            let old = if old.is_zero() {
                String::new()
            } else {
                old.to_string()
            };
            command.arg(format!("--force-with-lease={name}:{old}"));
        }
        command.args(["--", self.remote.url()]);
        for update in self.updates {
            let new = if update.deletes() {
                String::new()
            } else {
                update.new.to_string()
            };
            command.arg(format!("{new}:{}", update.name));
        }
        command
    }

    /// Why a push failed: what is said of each ref (git-push(1), OUTPUT), else what git printed.
    fn explain(&self, output: &Output) -> UpstreamError {
        let results = Results::read(&output.stdout);
        if results.is_unknown() {
            return UpstreamError::Lost {
                upstream: self.remote.context().upstream.clone(),
            };
        }
        if !results.rejected.is_empty() {
            return self.rejection(&results);
        }
        let has = |words: &str| text::lines(&output.stderr).any(|line| line.contains(words));
        let upstream = self.remote.context().upstream.clone();
        if has("does not support --atomic push") {
            return UpstreamError::Unsupported {
                upstream,
                feature: ATOMIC,
                advice: "nothing was pushed; push one ref at a time, or ask the operator for git-gate.atomic=prefer",
            };
        }
        if has("does not support push options") {
            return UpstreamError::Unsupported {
                upstream,
                feature: "push options",
                advice: "nothing was pushed; push without -o",
            };
        }
        self.remote.explain(output)
    }

    fn rejection(&self, results: &Results) -> UpstreamError {
        let reasons = self.updates.iter().filter_map(|update| {
            let reason = results.rejected.get(&update.name)?;
            Some(format!(
                "{} {}",
                update.shown(),
                reason_for(update, reason)?
            ))
        });
        let mut reasons = joined(reasons);
        if reasons.is_empty() {
            reasons = "the upstream gave no reason".to_owned();
        }
        if results.made.is_empty() {
            return UpstreamError::Rejected { reasons };
        }
        let is_made = |update: &&RefUpdate| results.made.contains(&update.name);
        let pushed = self.updates.iter().filter(is_made).map(RefUpdate::shown);
        UpstreamError::Partial {
            reasons,
            pushed: joined(pushed),
        }
    }
}

const ATOMIC: &str = "atomic push";

/// Whether nothing was pushed, and the refs that the upstream listed may be the cause: they were not those
/// that the client saw, or have moved since.
fn is_behind(output: &Output) -> bool {
    const WORDS: [&str; 2] = ["remote ref does not exist", "cannot lock ref"];
    let results = Results::read(&output.stdout);
    let is_told = |line: String| WORDS.iter().any(|words| line.contains(words));
    results.made.is_empty() && (results.is_stale() || text::lines(&output.stderr).any(is_told))
}

/// The first sentences, and how many more there are.
fn joined(sentences: impl Iterator<Item = String>) -> String {
    let mut sentences: Vec<String> = sentences.collect();
    let more = sentences.len().saturating_sub(NAMED_REFS);
    sentences.truncate(NAMED_REFS);
    if more > 0 {
        sentences.push(format!("{more} more"));
    }
    sentences.join("; ")
}

#[cfg(test)]
mod tests;
