//! The forward: one `git push` for all ref updates, whole or not at all.
//!
//! Each ref has a lease on the value that the client saw (git-push(1), `--force-with-lease`), so
//! nobody's work is overwritten. The push goes to the URL: a push to the remote's name would also
//! change the mirror's refs, which receive-pack is about to do.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use git2::{Config, ErrorCode, Repository};

use super::listing::Listing;
use super::lock_holder::Holder;
use super::remote::Remote;
use super::{Budget, UpstreamError, lock, ls_remote};
use crate::git::{self, Refs};
use crate::process::{Output, Reading};
use crate::push::{self, RefUpdate};
use crate::settings::{Atomic, Settings};
use crate::text;

/// How many lines of the upstream's are shown to the agent.
const MESSAGE_LINES: usize = 40;

/// How much of one is kept until its end has come.
const LINE_BYTES: usize = 4096;

/// How many refs an error names.
const NAMED_REFS: usize = 10;

/// Bytes that must be free for the mirror to take the refs of a push, apart from a block for each.
const ROOM: u64 = 1 << 20;

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

/// Finds out whether receive-pack will be able to update the mirror's refs: it does that when the
/// upstream has the push already.
fn check_mirror(
    repository: &Repository,
    refs: &Refs,
    updates: &[RefUpdate],
) -> Result<(), UpstreamError> {
    let created = updates.iter().filter(|update| update.creates());
    let created: Refs = created
        .map(|update| (update.name.as_bytes(), update.new))
        .collect();
    let config = repository.config()?;
    let head = repository.find_reference("HEAD").ok();
    let head = head
        .as_ref()
        .and_then(|head| head.symbolic_target().ok().flatten());
    let reasons = updates.iter().filter_map(|update| {
        let problem = ref_problem(repository, [refs, &created], update)
            .or_else(|| delete_problem(&config, head, update))?;
        Some(format!("{} {problem}", update.shown()))
    });
    let reasons = joined(reasons);
    if !reasons.is_empty() {
        return Err(UpstreamError::Rejected { reasons });
    }
    if !has_room(repository.path(), updates.len() as u64) {
        return Err(UpstreamError::DiskFull);
    }
    Ok(())
}

/// `refs` are those of the mirror and those that the push makes. A refresh may have come in between;
/// what it brought is upstream and keeps the push away there, so only values are looked at again.
fn ref_problem(
    repository: &Repository,
    refs: [&Refs; 2],
    update: &RefUpdate,
) -> Option<&'static str> {
    if update.creates() && update.deletes() {
        return Some("cannot be deleted, since it does not exist; name a ref that exists");
    }
    if update.creates() && refs.iter().any(|refs| refs.exclude(&update.name)) {
        return Some(
            "conflicts with a ref whose name is a directory of this one's, or the other way round; run git fetch --prune, and push again or take another name",
        );
    }
    (!is_as_seen(repository, update)).then_some(MOVED)
}

/// Whether the mirror's ref has the value that the client saw.
fn is_as_seen(repository: &Repository, update: &RefUpdate) -> bool {
    match repository.find_reference(&update.name) {
        Ok(reference) => reference.target() == Some(update.old),
        Err(error) => error.code() == ErrorCode::NotFound && update.creates(),
    }
}

/// git-config(1): receive.denyDeletes, and receive.denyDeleteCurrent, which is on by default.
fn delete_problem(config: &Config, head: Option<&str>, update: &RefUpdate) -> Option<&'static str> {
    if !update.deletes() {
        return None;
    }
    if config.get_bool("receive.denyDeletes").unwrap_or(false) {
        return Some("may not be deleted (receive.denyDeletes)");
    }
    let allowed = config
        .get_string("receive.denyDeleteCurrent")
        .is_ok_and(|value| {
            matches!(
                value.as_str(),
                "ignore" | "warn" | "false" | "no" | "off" | "0"
            )
        });
    (head == Some(&update.name) && !allowed)
        .then_some("is the upstream's default branch, which is not deleted; make another one the default first")
}

/// Whether the disk of `directory` has room for `refs` more refs of a mirror. A disk that does not say
/// is taken to have it: what is written next finds out.
pub fn has_room(directory: &Path, refs: u64) -> bool {
    let Ok(disk) = rustix::fs::statvfs(directory) else {
        return true;
    };
    let needed = ROOM + refs * disk.f_frsize;
    // Some file systems count no files.
    let files = disk.f_files == 0 || disk.f_favail > refs;
    disk.f_bavail * disk.f_frsize >= needed && files
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
        let hear = |bytes: &[u8]| messages.take(bytes);
        let output = self
            .budget
            .run_read(&mut self.command(atomic), Reading::heard_by(hear))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(self.explain(&output)),
        }
    }

    fn command(&self, atomic: bool) -> Command {
        use std::os::unix::ffi::OsStrExt;

        let mut command = self.remote.git(self.repository.path());
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

/// git's reason for a ref in words that an agent can act on; none where another ref is the cause.
fn reason_for(update: &RefUpdate, reason: &str) -> Option<String> {
    const RACES: [&str; 6] = [
        "stale info",
        "fetch first",
        "non-fast-forward",
        "failed to update ref",
        "lock ref",
        "reference already exists",
    ];
    let of_another = [
        "atomic push failed",
        "atomic push failure",
        "atomic transaction failed",
    ];
    if of_another.iter().any(|words| reason.contains(words)) {
        return None;
    }
    // git's own check says "[rejected]" of a ref that has moved.
    if reason.contains("[remote rejected]") && reason.contains("non-fast-forward") {
        return Some(
            "was refused by the upstream, which forbids rewriting (receive.denyNonFastForwards); put your commits on top of what is there, or push to a new ref"
                .to_owned(),
        );
    }
    if RACES.iter().any(|race| reason.contains(race)) {
        return Some(match (update.creates(), update.deletes()) {
            (true, _) => {
                "is on the upstream already; run git fetch, and push again or take another name"
                    .to_owned()
            }
            (_, true) => {
                "moved on the upstream or is gone from it; run git fetch --prune first".to_owned()
            }
            _ => format!("moved on the upstream and {MOVED}"),
        });
    }
    Some(format!("was refused by the upstream: {reason}"))
}

/// What `git push --porcelain` says of each ref.
#[derive(Debug, Default)]
struct Results {
    made: Vec<String>,
    rejected: BTreeMap<String, String>,
}

impl Results {
    /// Reads `<flag>\t<from>:<to>\t<summary> (<reason>)` lines.
    fn read(stdout: &[u8]) -> Self {
        let mut results = Self::default();
        for line in stdout.split(|&b| b == b'\n') {
            let line = String::from_utf8_lossy(line);
            let mut fields = line.splitn(3, '\t');
            let (Some(flag), Some(refs), Some(summary)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let Some((_, name)) = refs.split_once(':') else {
                continue;
            };
            if flag == "!" {
                let reason = text::line(summary.trim().as_bytes());
                results.rejected.insert(name.to_owned(), reason);
            } else {
                results.made.push(name.to_owned());
            }
        }
        results
    }

    /// Whether the upstream was gone before it said what came of the push.
    fn is_unknown(&self) -> bool {
        self.rejected
            .values()
            .any(|reason| reason.contains("[remote failure]"))
    }
}

/// What the upstream says: git's `remote: ` lines, as they come.
struct Messages<'a> {
    hear: &'a mut dyn FnMut(String),
    /// A line that is not whole yet.
    line: Vec<u8>,
    /// How many more are passed on. Nobody may be reading, and a full pipe would stop the push.
    left: usize,
}

impl<'a> Messages<'a> {
    fn new(hear: &'a mut dyn FnMut(String)) -> Self {
        Self {
            hear,
            line: Vec::new(),
            left: MESSAGE_LINES,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n' || byte == b'\r') {
            let room = LINE_BYTES.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") || part.ends_with(b"\r") {
                self.pass_on();
            }
        }
    }

    fn pass_on(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = text::lines(&line).next().unwrap_or_default();
        let said = line.strip_prefix("remote:").map(str::trim);
        if let Some(said) = said.filter(|said| !said.is_empty() && self.left > 0) {
            self.left -= 1;
            (self.hear)(said.to_owned());
        }
    }
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
