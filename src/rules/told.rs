//! What is against a rule, as the agent and the operator are told: each a finding like a secret's, with
//! the line of an exception.

use git2::{Odb, Oid};

use super::changes::Did;
use super::paths::PathRules;
use super::{Broken, RuleError, people};
use crate::scan::exceptions::{Exceptions, Ruling};
use crate::scan::objects::parse;
use crate::scan::verdict::finding::{CommitName, expired};
use crate::scan::{self, Finding, Place, Remedy, Request, Verdict};
use crate::settings::Policy;
use crate::text;

/// How many are told apart; the push is refused anyway.
const TOLD: usize = 1000;

/// What stands for a name that was not scanned, or in which something was found.
const HIDDEN: &str = "…";

/// What of `broken` no exception accepts.
pub fn verdict(
    request: &Request<'_>,
    odb: &Odb<'_>,
    rules: &PathRules,
    exceptions: &Exceptions,
    broken: Vec<Broken>,
) -> Result<Verdict, RuleError> {
    let mut refused = Vec::new();
    for one in broken {
        let (setting, subject) = (one.setting(rules), one.subject());
        match exceptions.ruling_on_subject(setting, &subject) {
            Ruling::Accepted => {}
            ruling => refused.push((one, ruling)),
        }
    }
    let more = refused.len().saturating_sub(TOLD);
    refused.truncate(TOLD);
    let shown = shown(request, odb, &refused);
    let policy = &request.settings.policy;
    let findings = refused
        .iter()
        .zip(shown)
        .map(|((one, ruling), (path, subject))| Finding {
            place: one.place(path),
            member: String::new(),
            line: None,
            commit: one.commit().map(|id| CommitName {
                id: id.to_string(),
                subject,
            }),
            rule: format!("git-gate.{}", one.setting(rules)),
            description: one.description(rules, policy),
            redacted: String::new(),
            remedy: one.remedy(),
            exception: format!("{} git-gate.{}", one.subject(), one.setting(rules)),
            expired: expired(ruling.clone()),
        });
    Ok(Verdict {
        findings: findings.collect(),
        more,
        once: exceptions.used(),
        excepted: exceptions.matched(),
        ..Verdict::default()
    })
}

/// The path of each, and the subject of its commit, as they may be shown: a client chose them, and the
/// push is refused before its scan.
fn shown(
    request: &Request<'_>,
    odb: &Odb<'_>,
    refused: &[(Broken, Ruling)],
) -> Vec<(String, String)> {
    let subject = |id: Oid| odb.read(id).map(|raw| parse::subject(raw.data()).to_vec());
    let texts = refused.iter().flat_map(|(one, _)| {
        let path = one.path().map(<[u8]>::to_vec).unwrap_or_default();
        let subject = one.commit().and_then(|id| subject(id).ok());
        [path, subject.unwrap_or_default()]
    });
    let texts: Vec<_> = texts.collect();
    let clean = match texts.is_empty() {
        true => Ok(Vec::new()),
        false => scan::are_clean(request.repository.path(), request.settings, &texts),
    };
    let clean = clean.unwrap_or_else(|_| vec![false; texts.len()]);
    let shown = texts
        .iter()
        .zip(clean)
        .map(|(text, is_clean)| match is_clean {
            true => text::ref_name(&String::from_utf8_lossy(text)),
            false => HIDDEN.to_owned(),
        });
    let shown: Vec<_> = shown.collect();
    let pairs = shown
        .chunks(2)
        .map(|pair| (pair[0].clone(), pair[1].clone()));
    pairs.collect()
}

impl Broken {
    /// The setting, without `git-gate.` in front.
    fn setting(&self, rules: &PathRules) -> &'static str {
        match self {
            Self::Path(change) => rules.rule(change.glob).0,
            Self::Author(..) => "allowAuthor",
            Self::Unsigned(..) => "requireSignature",
            Self::FileSize(..) => "maxFileSize",
            Self::Count(setting, ..) => setting,
        }
    }

    /// What an exception is about.
    fn subject(&self) -> String {
        match self {
            Self::Path(change) => format!("change:{}", change.id),
            Self::FileSize(id, ..) => format!("blob:{id}"),
            Self::Author(id, _) | Self::Unsigned(id, _) | Self::Count(_, _, id) => {
                format!("commit:{id}")
            }
        }
    }

    fn path(&self) -> Option<&[u8]> {
        match self {
            Self::Path(change) => Some(&change.path),
            Self::FileSize(_, _, path) if !path.is_empty() => Some(path),
            _ => None,
        }
    }

    fn commit(&self) -> Option<Oid> {
        match self {
            Self::Path(change) => Some(change.commit),
            Self::Author(id, _) | Self::Unsigned(id, _) => Some(*id),
            Self::FileSize(..) | Self::Count(..) => None,
        }
    }

    fn place(&self, path: String) -> Place {
        match self {
            Self::Path(_) => Place::File { path },
            Self::FileSize(_, _, name) if !name.is_empty() => Place::File { path },
            Self::FileSize(id, ..) => Place::Blob { id: id.to_string() },
            Self::Author(..) | Self::Unsigned(..) => Place::CommitHeader,
            Self::Count(..) => Place::Push,
        }
    }

    fn description(&self, rules: &PathRules, policy: &Policy) -> String {
        let limit = |limit: Option<u64>| limit.unwrap_or_default();
        match self {
            Self::Path(change) => {
                let did = match change.did {
                    Did::Added => "it was added",
                    Did::Changed => "it was changed",
                    Did::Deleted => "it was deleted",
                    Did::LeftOut => "a merge left out what one side had changed",
                };
                let (setting, glob) = rules.rule(change.glob);
                format!("{did}, and git-gate.{setting} ({glob}) lets nobody change it")
            }
            Self::Author(_, role) => {
                let allowed = policy.allow_author.join(" or ");
                format!("the {role}'s address is not {allowed} (git-gate.allowAuthor)")
            }
            Self::Unsigned(_, letter) => {
                format!("{} (git-gate.requireSignature)", people::why(*letter))
            }
            Self::FileSize(_, size, _) => {
                let (size, most) = (text::size(*size), text::size(limit(policy.max_file_size)));
                format!("a file of {size}, at most {most} (git-gate.maxFileSize)")
            }
            Self::Count("maxFiles", _, _) => {
                let most = limit(policy.max_files);
                format!("more than {most} changed files (git-gate.maxFiles)")
            }
            Self::Count(_, count, _) => {
                let most = limit(policy.max_commits);
                format!("{count} new commits, at most {most} (git-gate.maxCommits)")
            }
        }
    }

    fn remedy(&self) -> Remedy {
        match self {
            Self::Path(_) => Remedy::Restore,
            Self::Author(..) => Remedy::Reauthor,
            Self::Unsigned(..) => Remedy::Sign,
            Self::FileSize(..) => Remedy::DropFile,
            Self::Count(..) => Remedy::PushLess,
        }
    }
}
