//! What the agent is told.

use super::judge::short;
use super::{Finding, Place, Remedy};

/// How many findings are told one by one.
const MOST: usize = 20;

/// The lines of a refusal.
pub fn explain(findings: &[Finding]) -> Vec<String> {
    let mut lines = Vec::new();
    for finding in findings.iter().take(MOST) {
        lines.push(headline(finding));
        lines.extend(details(finding));
    }
    if findings.len() > MOST {
        lines.push(format!("… and {} more", findings.len() - MOST));
    }
    lines.extend(advice(findings));
    lines
}

fn headline(finding: &Finding) -> String {
    let line = finding
        .line
        .map_or_else(String::new, |line| format!(":{line}"));
    format!("{}{line}: {}", finding.shown_place(), finding.description)
}

impl Finding {
    /// Where it stands, in words, safe to show.
    pub fn shown_place(&self) -> String {
        let place = match &self.place {
            Place::File { path } => path.clone(),
            Place::FileName { path } => format!("the name of {path}"),
            Place::Blob { id } => format!("blob {} (no commit holds it under a path)", short(id)),
            Place::CommitMessage => "the commit's message".to_owned(),
            Place::CommitHeader => "the commit's header (names, addresses, signature)".to_owned(),
            Place::TagMessage { tag } => format!("the message of tag {tag}"),
            Place::TagHeader { tag } => format!("the header of tag {tag}"),
            Place::RefName { name } => format!("the ref name {name}"),
            Place::PushOption => "a push option".to_owned(),
        };
        if self.member.is_empty() {
            place
        } else {
            format!("{place} > {}", self.member)
        }
    }
}

fn details(finding: &Finding) -> Vec<String> {
    let mut lines = vec![format!(
        "    rule {}, secret {}",
        finding.rule, finding.redacted
    )];
    if let Some(commit) = &finding.commit {
        lines.push(format!(
            "    commit {} \"{}\"",
            short(&commit.id),
            commit.subject
        ));
    }
    if let Some((until, line)) = &finding.expired {
        lines.push(format!(
            "    its exception (line {line}) ended with {until}"
        ));
    }
    lines
}

/// What to do, each thing once.
fn advice(findings: &[Finding]) -> Vec<String> {
    let mut lines = vec!["What to do:".to_owned()];
    let mut add = |line: String| {
        if !lines.contains(&line) {
            lines.push(line);
        }
    };
    for finding in findings.iter().take(MOST) {
        add(format!("  - {}", remedy(&finding.remedy)));
    }
    add("  - treat each secret as known to others: rotate it where it was issued".to_owned());
    add(
        "  - if one is no secret, ask the operator to add its line to git-gate.exceptions:"
            .to_owned(),
    );
    for finding in findings.iter().take(MOST) {
        add(format!("      {} <reason>", finding.exception));
    }
    lines
}

fn remedy(remedy: &Remedy) -> String {
    match remedy {
        Remedy::Amend => {
            "take it out of the last commit: edit, `git add`, `git commit --amend`, push again"
                .to_owned()
        }
        Remedy::Rebase { onto } => format!(
            "take it out of the commit that brought it: `git rebase -i {onto}`, mark it `edit`, \
             amend it, `git rebase --continue`; deleting it in a later commit does not help"
        ),
        Remedy::RenameRef => {
            "push to a ref with another name: `git branch -m <new name>`".to_owned()
        }
        Remedy::Retag => {
            "make the tag again without it: `git tag -d <tag>`, `git tag -a <tag>`".to_owned()
        }
        Remedy::DropOption => "push without that option (`-o`)".to_owned(),
        Remedy::DropObject => {
            "leave that object out: remove the tag or ref that holds it, or push from a fresh clone"
                .to_owned()
        }
    }
}
