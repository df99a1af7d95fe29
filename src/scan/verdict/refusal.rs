//! What the agent is told: for people in lines, for machines as one line of JSON.
//!
//! Nobody may be reading: a client that is gone leaves the hook to write into a full pipe. So all of
//! it stays below [`BUDGET`] bytes and some.

use serde::Serialize;

use super::finding::{Finding, Place, Remedy, short};
use super::push_verdict::Verdict;
use crate::scan::exceptions::UNSCANNABLE;
use crate::text;

/// How many findings are told one by one.
const MOST: usize = 20;

/// Bytes of findings that are told one by one; what comes after is counted.
const BUDGET: usize = 20 << 10;

/// The push option that asks for JSON.
const JSON: &[u8] = b"git-gate.format=json";

/// How many suspects are told one by one.
const MOST_SUSPECTS: usize = 5;

/// A refusal, or a push with suspects, for machines: what follows `git-gate: ` on one line of standard
/// error, when the client pushes with `-o git-gate.format=json`.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    /// `refused`, or `observed` where it is forwarded all the same; or `passed` with suspects.
    pub verdict: &'static str,
    /// The id by which the operator answers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    /// How many findings there are.
    pub count: usize,
    /// The first of them, at most 20.
    pub findings: &'a [Finding],
}

/// The lines of a refusal, in the form that the client's `push_options` ask for.
pub fn explain(verdict: &Verdict, push_options: &[Vec<u8>]) -> Vec<String> {
    let told = told(&verdict.findings);
    if push_options.iter().any(|option| option == JSON) {
        let report = Report {
            verdict: match verdict.is_observed {
                true => "observed",
                false => "refused",
            },
            id: verdict.id.as_deref(),
            count: verdict.count(),
            findings: told,
        };
        return vec![serde_json::to_string(&report).unwrap_or_default()];
    }
    let mut lines: Vec<_> = told.iter().flat_map(describe).collect();
    if told.len() < verdict.count() {
        lines.push(format!("… and {} more", verdict.count() - told.len()));
    }
    lines.extend(advice(told));
    if verdict.search_ended {
        lines.push(
            "  (only part of the upstream's long history was searched: some of these may be there already)"
                .to_owned(),
        );
    }
    lines
}

/// The lines about the suspects of a push that goes on, in the form that `push_options` ask for.
pub fn mention(verdict: &Verdict, push_options: &[Vec<u8>]) -> Vec<String> {
    let suspects = &verdict.suspects;
    let told = told(&suspects[..suspects.len().min(MOST_SUSPECTS)]);
    if suspects.is_empty() {
        return Vec::new();
    }
    if push_options.iter().any(|option| option == JSON) {
        let report = Report {
            verdict: "passed",
            id: None,
            count: suspects.len(),
            findings: told,
        };
        return vec![serde_json::to_string(&report).unwrap_or_default()];
    }
    let mut lines = vec!["this may be a secret, and does not hold the push back:".to_owned()];
    lines.extend(told.iter().flat_map(describe));
    if told.len() < suspects.len() {
        lines.push(format!("… and {} more", suspects.len() - told.len()));
    }
    lines.push(
        "  if it is one, revoke it where it was issued: it is on its way upstream".to_owned(),
    );
    lines
}

/// The findings that are told one by one.
fn told(findings: &[Finding]) -> &[Finding] {
    let mut left = BUDGET;
    let fits = |finding: &&Finding| {
        let size = serde_json::to_string(finding).map_or(BUDGET, |json| json.len());
        left = left.saturating_sub(size);
        left > 0
    };
    &findings[..findings.iter().take(MOST).take_while(fits).count()]
}

fn describe(finding: &Finding) -> Vec<String> {
    let line = finding
        .line
        .map_or_else(String::new, |line| format!(":{line}"));
    let place = finding.shown_place();
    let mut about = format!("    rule {}", finding.rule);
    if !finding.redacted.is_empty() {
        about += &format!(", {}", finding.redacted);
    }
    let mut lines = vec![format!("{place}{line}: {}", finding.description), about];
    if let Some(commit) = &finding.commit {
        lines[1] += &format!(", in commit {} \"{}\"", short(&commit.id), commit.subject);
    }
    if let Some(expired) = &finding.expired {
        let (until, line) = (&expired.until, expired.line);
        lines.push(format!(
            "    the exception on line {line} of the file expired after {until}"
        ));
    }
    lines
}

impl Verdict {
    /// What refuses the push, in words.
    pub fn summary(&self) -> String {
        let count = |of: fn(&Finding) -> bool| self.findings.iter().filter(|one| of(one)).count();
        let (rules, unread) = (count(Finding::is_of_rules), count(Finding::is_unread));
        // The rules are held against a push before its scan, so that all that is left is of one kind.
        let (rules, secrets) = match rules {
            0 => (0, self.count() - unread),
            _ => (self.count(), 0),
        };
        let parts = [
            (secrets, text::plural(secrets, "secret")),
            (unread, text::plural(unread, "unscannable object")),
            (rules, text::plural(rules, "change") + " against the rules"),
        ];
        let parts = parts.into_iter().filter(|(count, _)| *count > 0);
        let parts: Vec<_> = parts.map(|(_, words)| words).collect();
        parts.join(" and ")
    }
}

impl Finding {
    /// Whether it is no secret, but something that cannot be scanned.
    fn is_unread(&self) -> bool {
        self.rule == UNSCANNABLE
    }

    /// Whether it is no secret, but something that a setting forbids.
    fn is_of_rules(&self) -> bool {
        self.rule.starts_with("git-gate.")
    }

    /// Where it stands, in words, safe to show.
    pub fn shown_place(&self) -> String {
        let place = match &self.place {
            Place::File { path } => path.clone(),
            Place::FileName { path } => format!("the name of {path}"),
            Place::Blob { id } => format!("blob {}, which no commit holds", short(id)),
            Place::CommitMessage => "a commit's message".to_owned(),
            Place::CommitHeader => "a commit's header (names, addresses, signature)".to_owned(),
            Place::TagMessage { tag } => format!("the message of tag {tag}"),
            Place::TagHeader { tag } => format!("the header of tag {tag}"),
            Place::RefName { name } => format!("the ref name {name}"),
            Place::PushOption => "a push option".to_owned(),
            Place::Push => "the push".to_owned(),
        };
        if self.member.is_empty() {
            place
        } else {
            format!("{place} > {}", self.member)
        }
    }
}

/// What to do, each thing once.
fn advice(findings: &[Finding]) -> Vec<String> {
    let mut lines = vec!["What to do:".to_owned()];
    let mut add = |line: String| {
        if !lines.contains(&line) {
            lines.push(line);
        }
    };
    let others = findings
        .iter()
        .filter_map(|finding| remedy(&finding.remedy))
        .map(str::to_owned);
    for remedy in rebase(findings).into_iter().chain(others) {
        add(format!("  - {remedy}"));
    }
    let (of_rules, scanned): (Vec<_>, Vec<_>) = findings.iter().partition(|one| one.is_of_rules());
    let (unread, secrets): (Vec<_>, Vec<_>) = scanned.into_iter().partition(|one| one.is_unread());
    if !secrets.is_empty() {
        add("  - treat each secret as compromised: revoke it where it was issued, and issue a new one".to_owned());
    }
    for (what, accepted) in [
        ("for what is no secret", secrets),
        ("for what has to be there though nobody can scan it", unread),
        ("for what has to be so all the same", of_rules),
    ] {
        if !accepted.is_empty() {
            add(format!(
                "  - {what}: ask the operator to add to the file of git-gate.exceptions"
            ));
        }
        for finding in accepted {
            add(format!("      {} <reason>", finding.exception));
        }
    }
    lines
}

/// One rebase for all commits that need it, from the oldest on.
fn rebase(findings: &[Finding]) -> Option<String> {
    let onto = findings.iter().find_map(|finding| match &finding.remedy {
        Remedy::Rebase { onto } => Some(onto),
        _ => None,
    })?;
    let mut commits = Vec::new();
    for finding in findings {
        if let (Some(commit), Remedy::Rebase { .. }) = (&finding.commit, &finding.remedy)
            && !commits.contains(&short(&commit.id))
        {
            commits.push(short(&commit.id));
        }
    }
    Some(format!(
        "remove it from the commit that introduced it (deleting it in a later commit is not enough): \
         `git rebase -i {onto}`, mark {} with `edit`, `git commit --amend`, `git rebase --continue`",
        commits.join(", ")
    ))
}

fn remedy(remedy: &Remedy) -> Option<&'static str> {
    match remedy {
        Remedy::Amend => {
            Some("remove it from the last commit: edit, `git commit --amend`, push again")
        }
        Remedy::Rebase { .. } => None,
        Remedy::RenameRef => {
            Some("push to a ref with another name; a local branch: `git branch -m <new name>`")
        }
        Remedy::Retag => {
            Some("make the tag again without it: `git tag -d <tag>`, `git tag -a <tag>`")
        }
        Remedy::DropOption => Some("push without that push option (`-o`)"),
        Remedy::DropObject => Some("leave that object out: drop the tag or ref that holds it"),
        Remedy::Restore => Some(
            "leave these paths as the upstream has them, in every commit: `git rebase -i` onto the upstream's branch, \
             mark the commit with `edit`, `git checkout HEAD~ -- <path>` (or `git rm`), `git commit --amend`",
        ),
        Remedy::Reauthor => Some(
            "commit under an address that is allowed: `git config user.email`, then `git commit --amend --reset-author` \
             in each such commit",
        ),
        Remedy::Sign => Some(
            "sign each commit with a key that the operator knows: `git rebase <upstream branch> --exec 'git commit --amend --no-edit -S'`",
        ),
        Remedy::DropFile => Some("leave the file out of every commit, or make it smaller"),
        Remedy::PushLess => {
            Some("push less at once: fewer commits, squashed ones, smaller changes")
        }
    }
}
