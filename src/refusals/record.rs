//! What is kept of a refusal. Nothing of a secret is in it.

use serde::{Deserialize, Serialize};

use crate::audit::RefChange;
use crate::scan::{Finding, Verdict};
use crate::text;

/// The most findings that are kept of one refusal.
const MOST: usize = 100;

/// A refusal, and its answer where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Eight characters, made by chance: a client cannot choose it.
    pub id: String,
    /// The repository's name at the gate.
    pub repository: String,
    /// The same for each push that is refused for the same.
    pub key: String,
    /// When it was refused first.
    pub first: String,
    /// When it was refused last.
    pub last: String,
    /// How often it was.
    pub count: u64,
    /// Whose push it was.
    #[serde(flatten)]
    pub about: About,
    /// What was found, in words.
    pub summary: String,
    /// What was found, the first 100.
    pub items: Vec<Item>,
    /// How much was found besides.
    pub more: usize,
    /// The operator's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// Whose push it was, and what it was to change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The agent, where the gate tells agents apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The client's address and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The ref updates, the first 50; a name that nobody has scanned is not shown.
    pub refs: Vec<RefChange>,
}

impl Record {
    /// What it is, on one line that is safe to show.
    pub fn what(&self) -> String {
        let first = self.items.first();
        let first = first.map_or_else(String::new, |item| {
            format!(": {} in {}", item.rule, item.place)
        });
        text::line(format!("{}{first}", self.summary).as_bytes())
    }

    /// The operator's answer in a word; `-` where there is none.
    pub fn answered(&self) -> &'static str {
        match &self.answer {
            None => "-",
            Some(answer) if answer.accepted => "accepted",
            Some(_) => "denied",
        }
    }
}

impl About {
    /// The agent, or else the client's address.
    pub fn who(&self) -> &str {
        let who = self.agent.as_ref().or(self.peer.as_ref());
        who.map_or("-", String::as_str)
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// gitleaks' rule, `unscannable`, or the setting that it is against.
    pub rule: String,
    /// Where, as it may be shown.
    pub place: String,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The first line of its message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What the rule finds.
    pub description: String,
    /// How long the secret is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub redacted: String,
    /// The line of an exception for it, without its reason.
    pub exception: String,
}

/// What the operator said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it may pass.
    pub accepted: bool,
    /// Who said so.
    pub by: String,
    /// When.
    pub at: String,
    /// Why.
    pub reason: String,
    /// The last day on which it may pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Whether it may pass once alone.
    #[serde(default)]
    pub once: bool,
}

impl Item {
    fn of(finding: &Finding) -> Self {
        let commit = finding.commit.as_ref();
        Self {
            rule: finding.rule.clone(),
            place: finding.shown_place(),
            line: finding.line,
            commit: commit.map(|commit| commit.id.clone()),
            subject: commit.map(|commit| commit.subject.clone()),
            description: finding.description.clone(),
            redacted: finding.redacted.clone(),
            exception: finding.exception.clone(),
        }
    }

    /// All that `verdict` found, as far as it is kept, and how much there is besides.
    pub(super) fn all_of(verdict: &Verdict) -> (Vec<Self>, usize) {
        let items: Vec<_> = verdict.findings.iter().take(MOST).map(Self::of).collect();
        let more = verdict.count() - items.len();
        (items, more)
    }
}
