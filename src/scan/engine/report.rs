//! gitleaks' JSON report. Every string in it may have been chosen by the agent.

use serde::Deserialize;

use super::config::{BOUND, CANARY_RULE};
use super::gitleaks::{Canary, HEAD_LINES};
use super::{EngineError, RawFinding};

/// One entry of the report, as far as the gate reads it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "RuleID")]
    rule: String,
    description: String,
    start_line: u64,
    end_line: u64,
    start_column: u64,
    #[serde(rename = "Match")]
    matched: String,
    secret: String,
    tags: Option<Vec<String>>,
}

/// Reads the report of a scan of `lines` lines between its two canaries. It counts only with both
/// canaries, each once and on its own line.
pub(super) fn parse(
    report: &[u8],
    canary: &Canary,
    lines: u64,
) -> Result<Vec<RawFinding>, EngineError> {
    let broken = |problem| EngineError::Report { problem };
    let entries: Vec<Entry> =
        serde_json::from_slice(report).map_err(|_| broken("it is not a list of findings"))?;
    let tail_line = HEAD_LINES + lines + 1;
    let seen = |line, secret: &str| {
        let matches = |entry: &&Entry| {
            entry.rule == CANARY_RULE && entry.start_line == line && entry.secret == secret
        };
        entries.iter().filter(matches).count() == 1
    };
    if !seen(1, &canary.head()) {
        return Err(broken("the beginning of what was sent is not in it"));
    }
    if !seen(tail_line, &canary.tail()) {
        return Err(broken("the end of what was sent is not in it"));
    }
    let content = HEAD_LINES + 1..tail_line;
    let (inside, outside): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .partition(|entry| content.contains(&entry.start_line));
    // Another rule may match the canaries' lines, but nothing lies beyond them.
    let stray = |entry: &Entry| {
        !matches!(entry.start_line, 1..=HEAD_LINES) && entry.start_line != tail_line
    };
    if outside.iter().any(stray) {
        return Err(broken("it names a line that was not sent"));
    }
    Ok(inside.into_iter().map(finding).collect())
}

fn finding(entry: Entry) -> RawFinding {
    let tags = entry.tags.unwrap_or_default();
    RawFinding {
        rule: entry
            .rule
            .strip_prefix(BOUND)
            .unwrap_or(&entry.rule)
            .to_owned(),
        description: entry.description,
        start_line: entry.start_line - HEAD_LINES,
        end_line: entry.end_line.max(entry.start_line) - HEAD_LINES,
        start_column: entry.start_column,
        matched: entry.matched,
        secret: entry.secret,
        decoded: tags.iter().any(|tag| tag.starts_with("decoded:")),
    }
}
