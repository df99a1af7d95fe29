//! The ref policy: decided before any scan, and before receive-pack's own `receive.deny*` rules,
//! which act only after the forward.

use git2::{ConfigLevel, ErrorCode, ObjectType, Oid, Reference, Repository};
use thiserror::Error;
use wildmatch::WildMatch;

use super::{Received, RefUpdate, deleted_refs, push_options, shallow};
use crate::deadline::Deadline;
use crate::git::{self, Refs};
use crate::settings::{self, Deletes, ForcePush, Settings, SettingsError};
use crate::text;

/// Refs that no push may touch: git itself reads them as something other than a branch or a tag.
const RESERVED: [(&str, &str); 2] = [
    (
        "refs/replace/",
        "replace refs change what other objects mean (git-replace(1))",
    ),
    (
        "refs/original/",
        "git-filter-branch(1) keeps its backups there",
    ),
];

/// How long a ref's name may be, and a part of it, and how many parts it may have. receive-pack finds
/// out only when it writes the ref that a file name has 255 bytes at most and takes `.lock` behind
/// it; libgit2 leaves out refs that lie about a hundred directories deep, and knows none of 1,024 bytes.
const LONGEST_NAME: usize = 1000;
const LONGEST_PART: usize = 250;
const MOST_PARTS: usize = 50;

/// How long the names of all refs of a push may be together. The gate's git push gets each of them twice
/// on its command line, which the kernel bounds (execve(2), 2 MiB with the usual stack).
const MOST_NAME_BYTES: usize = 512 << 10;

/// Why a push is refused before it is scanned. Ref names are shown by [`RefUpdate::shown`].
#[derive(Debug, Error)]
pub enum PolicyError {
    /// A ref update against a rule.
    #[error("{name} is refused by {rule}: {allowed}")]
    Refused {
        /// The ref, as it may be shown.
        name: String,
        /// The rule's name, a git config key where there is one.
        rule: String,
        /// What is allowed instead, or what to do.
        allowed: String,
    },
    /// The whole push is over a limit.
    #[error("the push is over git-gate.{limit}: {problem}")]
    TooLarge {
        /// The limit's name.
        limit: &'static str,
        /// What was counted and what is allowed.
        problem: String,
    },
    /// The names of its refs are too long for the gate to pass on.
    #[error("the push is too large for the gate: {problem}")]
    LongNames {
        /// What was counted and what is allowed.
        problem: String,
    },
    /// receive-pack has refused it: the clone is shallow, and ends at what no ref here reaches.
    #[error(
        "the clone is shallow and ends at {end}, which no branch of the upstream reaches; run git fetch, put your commits on top of a branch that is there (git rebase --onto), and push again"
    )]
    Shallow {
        /// The commit.
        end: Oid,
    },
    /// What receive-pack says of a shallow clone cannot be learnt.
    #[error("cannot find out whether the shallow clone ends at a commit that is here")]
    UnknownEnds {
        /// The system's reason.
        source: std::io::Error,
    },
    /// No push is taken at all.
    #[error(
        "the repository is read-only here (readOnly), so no push is taken; ask the operator if you need to push"
    )]
    ReadOnly,
    /// A push option that may not go on.
    #[error(
        "{option} is refused by git-gate.allowPushOption, which lets {allowed} go on to the upstream; push without it, or ask the operator to allow it"
    )]
    PushOption {
        /// Which it is; its text is shown only where the gate knows it, since nothing has scanned it.
        option: String,
        /// What may go on.
        allowed: String,
    },
    /// What the other refs keep cannot be found out.
    #[error("cannot find out which commits the deleted refs alone keep")]
    UnknownKept {
        /// The system's reason.
        source: std::io::Error,
    },
    /// The rules themselves cannot be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The history cannot be read.
    #[error("cannot compare {name} with its old value")]
    History {
        /// The ref, as it may be shown.
        name: String,
        /// git's reason.
        source: std::io::Error,
    },
}

/// A push, and what it is held against.
pub struct Push<'a> {
    /// The mirror, with the quarantine readable ([`Received::list`]).
    pub repository: &'a Repository,
    /// Its settings.
    pub settings: &'a Settings,
    /// Its refs.
    pub refs: &'a Refs,
    /// The ref updates that the client asks for.
    pub updates: &'a [RefUpdate],
    /// The push options that it sent.
    pub options: &'a [Vec<u8>],
    /// The objects that it sent.
    pub received: &'a Received,
    /// When the push has to be judged.
    pub deadline: Deadline,
}

/// Checks every update of a push, and the push as a whole.
pub fn check(push: &Push<'_>) -> Result<(), PolicyError> {
    if push.settings.read_only {
        return Err(PolicyError::ReadOnly);
    }
    check_size(push)?;
    push_options::check(push.options, &push.settings.policy.allow_push_option)?;
    let hidden = hidden_refs(push.repository)?;
    let rewrites = rewrite_rule(push.repository, push.settings);
    for update in push.updates {
        check_update(push, &hidden, rewrites, update)?;
    }
    if let Some(rule) = rewrites {
        deleted_refs::check(push, rule)?;
    }
    shallow::check(push.repository, push.deadline, push.updates, push.received)
}

fn check_size(push: &Push<'_>) -> Result<(), PolicyError> {
    let Push {
        updates, received, ..
    } = push;
    let (limits, policy) = (&push.settings.limits, &push.settings.policy);
    let too_large = |limit, problem| Err(PolicyError::TooLarge { limit, problem });
    if updates.len() as u64 > limits.max_refs {
        let (count, most) = (updates.len(), limits.max_refs);
        return too_large(
            "maxRefs",
            format!("{count} ref updates, at most {most} at once"),
        );
    }
    let names: usize = updates.iter().map(|update| update.name.len()).sum();
    if names > MOST_NAME_BYTES {
        let problem = format!(
            "{names} bytes of ref names, at most {MOST_NAME_BYTES} at once; push fewer refs at once"
        );
        return Err(PolicyError::LongNames { problem });
    }
    let deletes = updates.iter().filter(|update| update.deletes()).count();
    if deletes as u64 > policy.max_deletes {
        let most = policy.max_deletes;
        let advice = "name the refs to delete in several pushes; git push --mirror and --prune delete what others made";
        return too_large(
            "maxDeletes",
            format!("{deletes} refs to delete, at most {most} at once; {advice}"),
        );
    }
    if received.disk_size > limits.max_push_size {
        let (sent, most) = (
            text::size(received.disk_size),
            text::size(limits.max_push_size),
        );
        return too_large(
            "maxPushSize",
            format!("{sent} sent, at most {most}; push fewer commits at once"),
        );
    }
    Ok(())
}

fn check_update(
    push: &Push<'_>,
    hidden: &[String],
    rewrites: Option<&str>,
    update: &RefUpdate,
) -> Result<(), PolicyError> {
    let refuse = |(rule, allowed)| {
        Err(PolicyError::Refused {
            name: update.shown(),
            rule,
            allowed,
        })
    };
    if let Some(problem) = name_problem(push.settings, hidden, &update.name) {
        return refuse(problem);
    }
    if update.deletes() {
        return match push.settings.policy.deletes {
            Deletes::Allow => Ok(()),
            Deletes::Refuse => refuse(problem("git-gate.deletes", "refs may not be deleted here")),
        };
    }
    if let Some(problem) = value_problem(push.repository, update) {
        return refuse(problem);
    }
    match rewrites {
        Some(rule)
            if !update.creates() && !is_fast_forward(push.repository, update, push.deadline)? =>
        {
            let allowed = "only fast-forwards; fetch and merge or rebase, or push to a new ref";
            refuse(problem(rule, allowed))
        }
        _ => Ok(()),
    }
}

/// The rule that an update is against, and what may be pushed instead.
type Problem = (String, String);

fn problem(rule: &str, allowed: &str) -> Problem {
    (rule.to_owned(), allowed.to_owned())
}

/// What is wrong with the name of a ref, whatever it is to hold.
fn name_problem(settings: &Settings, hidden: &[String], name: &str) -> Option<Problem> {
    if !is_well_formed(name) {
        let allowed = "push to a well-formed name, such as refs/heads/NAME";
        return Some(problem("git check-ref-format", allowed));
    }
    if let Some((prefix, reason)) = RESERVED.iter().find(|(prefix, _)| name.starts_with(prefix)) {
        return Some(problem(&format!("the gate, like all of {prefix}"), reason));
    }
    if is_hidden(hidden, name) {
        return Some(problem("transfer.hideRefs", "the operator hides this ref"));
    }
    let allowed = &settings.policy.allow_ref;
    let fits = |glob: &String| WildMatch::new(glob).matches(name);
    if !allowed.is_empty() && !allowed.iter().any(fits) {
        let allowed = format!("push to {}", allowed.join(" or "));
        return Some(problem("git-gate.allowRef", &allowed));
    }
    None
}

/// What is wrong with a ref that the upstream would get, whatever it holds now.
fn value_problem(repository: &Repository, update: &RefUpdate) -> Option<Problem> {
    if !is_short(&update.name) {
        let allowed = format!(
            "push to a name of at most {LONGEST_NAME} bytes, with at most {MOST_PARTS} parts of at most {LONGEST_PART} bytes"
        );
        return Some(problem("the gate, since its name is too long", &allowed));
    }
    if update.name.starts_with("refs/heads/") && commit(repository, update.new).is_none() {
        let rule = "git, since refs/heads/ may only hold commits";
        return Some(problem(rule, "push a commit, or push to refs/tags/NAME"));
    }
    None
}

/// What receive-pack takes as the name of a ref: `refs/`, and two parts at least behind it.
fn is_well_formed(name: &str) -> bool {
    let rest = name.strip_prefix("refs/");
    rest.is_some_and(|rest| rest.contains('/')) && Reference::is_valid_name(name)
}

fn is_short(name: &str) -> bool {
    let mut parts = name.split('/');
    name.len() <= LONGEST_NAME
        && name.split('/').count() <= MOST_PARTS
        && parts.all(|part| part.len() <= LONGEST_PART)
}

/// The setting that forbids to rewrite a ref, if one does. receive-pack's own would be looked at
/// when the upstream has the new value already (git-config(1), `receive.denyNonFastForwards`).
fn rewrite_rule(repository: &Repository, settings: &Settings) -> Option<&'static str> {
    const GITS_OWN: &str = "receive.denyNonFastForwards";
    if settings.policy.force_push == ForcePush::Refuse {
        return Some("git-gate.forcePush");
    }
    let config = repository.config().ok()?;
    let denied = config.get_bool(GITS_OWN).unwrap_or(false);
    denied.then_some(GITS_OWN)
}

/// Whether the old value is an ancestor of the new one. A tag never moves without force, as in
/// git-push(1), and what is not a commit has no ancestors.
fn is_fast_forward(
    repository: &Repository,
    update: &RefUpdate,
    deadline: Deadline,
) -> Result<bool, PolicyError> {
    if update.old == update.new {
        return Ok(true);
    }
    if update.name.starts_with("refs/tags/") {
        return Ok(false);
    }
    let history = |source| PolicyError::History {
        name: update.shown(),
        source,
    };
    let (Some(old), Some(new)) = (
        commit(repository, update.old),
        commit(repository, update.new),
    ) else {
        return Ok(false);
    };
    // libgit2 does not read every commit of an old history; git does.
    repository
        .graph_descendant_of(new, old)
        .or_else(|_| git::reach(repository, &[new], old, deadline))
        .map_err(history)
}

/// `id` when it names a commit that is here.
fn commit(repository: &Repository, id: Oid) -> Option<Oid> {
    let header = repository.odb().and_then(|odb| odb.read_header(id));
    matches!(header, Ok((_, ObjectType::Commit))).then_some(id)
}

/// The patterns of `transfer.hideRefs` and `receive.hideRefs` (git-config(1)). receive-pack has
/// refused such updates already, and still lists them to the hook.
fn hidden_refs(repository: &Repository) -> Result<Vec<String>, PolicyError> {
    let config = match repository
        .config()
        .and_then(|config| config.open_level(ConfigLevel::Local))
    {
        Err(error) if error.code() == ErrorCode::NotFound => return Ok(Vec::new()),
        config => config.map_err(SettingsError::Unreadable)?,
    };
    let mut patterns = settings::git_config::strings(&config, "transfer.hideRefs")?;
    patterns.extend(settings::git_config::strings(&config, "receive.hideRefs")?);
    Ok(patterns)
}

/// The last pattern that matches decides; `!` in front of one shows a ref again.
fn is_hidden(patterns: &[String], name: &str) -> bool {
    let matches = |pattern: &str| {
        let prefix = pattern.trim_start_matches('^').trim_end_matches('/');
        name.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    patterns
        .iter()
        .rev()
        .find_map(|pattern| match pattern.strip_prefix('!') {
            Some(shown) => matches(shown).then_some(false),
            None => matches(pattern).then_some(true),
        })
        == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_refs_follow_git_config() {
        let patterns = ["refs/hidden".to_owned(), "!refs/hidden/shown/".to_owned()];
        assert!(is_hidden(&patterns, "refs/hidden/x"));
        assert!(is_hidden(&patterns, "refs/hidden"));
        assert!(!is_hidden(&patterns, "refs/hidden/shown/x"));
        assert!(!is_hidden(&patterns, "refs/hidden-not"));
    }
}
