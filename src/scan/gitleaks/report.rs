//! gitleaks' JSON report. Every string in it may have been chosen by the agent.

use serde::Deserialize;

use super::launch::Canary;
use super::rules::{BOUND, CANARY_RULE};
use super::session::HEAD_LINES;
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
pub(crate) fn parse(
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn entry(rule: &str, line: u64, secret: &str) -> Value {
        json!({
            "RuleID": rule, "Description": "d", "StartLine": line, "EndLine": line,
            "StartColumn": 1, "EndColumn": 2, "Match": secret, "Secret": secret, "Tags": [],
        })
    }

    /// A good report of a scan of `lines` lines, with `more` in it.
    fn report(canary: &Canary, lines: u64, more: &[Value]) -> Vec<u8> {
        let mut entries = more.to_vec();
        entries.push(entry(CANARY_RULE, HEAD_LINES + lines + 1, &canary.tail()));
        entries.push(entry(CANARY_RULE, 1, &canary.head()));
        serde_json::to_vec(&entries).unwrap()
    }

    #[test]
    fn only_a_report_with_both_canaries_counts() {
        let canary = Canary::new().unwrap();
        assert_eq!(parse(&report(&canary, 5, &[]), &canary, 5).unwrap(), []);
        let finding = entry("rule", HEAD_LINES + 5, "s");
        let found = parse(
            &report(&canary, 5, std::slice::from_ref(&finding)),
            &canary,
            5,
        )
        .unwrap();
        assert_eq!((found[0].start_line, found[0].rule.as_str()), (5, "rule"));

        // Another scan's canaries, a line more than was fed, one of them alone.
        assert!(parse(&report(&canary, 5, &[]), &Canary::new().unwrap(), 5).is_err());
        assert!(parse(&report(&canary, 5, &[]), &canary, 6).is_err());
        for lost in 0..2 {
            let mut entries: Vec<Value> = serde_json::from_slice(&report(&canary, 5, &[])).unwrap();
            entries.remove(lost);
            assert!(parse(&serde_json::to_vec(&entries).unwrap(), &canary, 5).is_err());
        }
        for garbage in ["", "[]", "null", "{}", "[1]", "gitleaks 9.0"] {
            assert!(parse(garbage.as_bytes(), &canary, 5).is_err(), "{garbage}");
        }
    }

    #[test]
    fn what_lies_outside_of_the_content_is_no_finding() {
        let canary = Canary::new().unwrap();
        let at = |line| {
            parse(
                &report(&canary, 5, &[entry("house", line, "s")]),
                &canary,
                5,
            )
        };
        assert!(at(1).unwrap().is_empty());
        assert!(at(HEAD_LINES + 6).unwrap().is_empty());
        assert!(at(HEAD_LINES + 7).is_err());
        assert!(at(0).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(bytes: Vec<u8>, lines: u64) {
            let canary = Canary::new().unwrap();
            prop_assert!(parse(&bytes, &canary, lines).is_err());
        }

        #[test]
        fn no_finding_is_lost(
            found in prop::collection::vec((".*", 0..9u64, ".*"), 0..9)
        ) {
            let canary = Canary::new().unwrap();
            let entries: Vec<Value> = found
                .iter()
                .map(|(rule, line, secret)| entry(rule, HEAD_LINES + 1 + line, secret))
                .collect();
            let parsed = parse(&report(&canary, 9, &entries), &canary, 9).unwrap();
            prop_assert_eq!(parsed.len(), found.len());
            for (parsed, (rule, line, secret)) in parsed.iter().zip(&found) {
                let rule = rule.strip_prefix(BOUND).unwrap_or(rule);
                prop_assert_eq!((&*parsed.rule, parsed.start_line), (rule, line + 1));
                prop_assert_eq!(&parsed.secret, secret);
            }
        }
    }
}
