//! gitleaks' JSON report. Every string in it may have been chosen by the agent.

use serde::Deserialize;

use super::canary::{CANARY_RULE, HEAD_LINES};
use super::rules::BOUND;
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

/// Reads what the report says of the last scan: one of `lines` lines between its canaries `head` and
/// `tail`. It counts only with both of them, each once and on its line. What scans before it found
/// can be nothing but their own canaries, or the process would have ended with them.
pub(crate) fn parse(
    report: &[u8],
    [head, tail]: [&str; 2],
    lines: u64,
) -> Result<Vec<RawFinding>, EngineError> {
    let broken = |problem| EngineError::Report { problem };
    let mut entries: Vec<Entry> =
        serde_json::from_slice(report).map_err(|_| broken("it is not a list of findings"))?;
    let line_of = |canary: &str| {
        let is_it = |entry: &&Entry| entry.rule == CANARY_RULE && entry.secret == canary;
        let mut found = entries.iter().filter(is_it).map(|entry| entry.start_line);
        found.next().filter(|_| found.next().is_none())
    };
    let Some(first) = line_of(head) else {
        return Err(broken("the beginning of what was sent is not in it"));
    };
    let last = first.saturating_add(HEAD_LINES).saturating_add(lines);
    if line_of(tail) != Some(last) {
        return Err(broken("the end of what was sent is not in it"));
    }
    entries.retain(|entry| entry.start_line >= first || entry.rule != CANARY_RULE);
    let before = first.saturating_sub(1);
    let content = HEAD_LINES + 1..last - before;
    let mut found = Vec::new();
    for mut entry in entries {
        let line = entry.start_line.saturating_sub(before);
        entry.end_line = entry.end_line.saturating_sub(before).max(line);
        entry.start_line = line;
        match line {
            _ if content.contains(&line) => found.push(finding(entry)),
            // Another rule may match the canaries' lines, but nothing lies beyond them.
            _ if (1..=HEAD_LINES).contains(&line) || line == content.end => {}
            _ => return Err(broken("it names a line that was not sent")),
        }
    }
    Ok(found)
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
        end_line: entry.end_line - HEAD_LINES,
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

    const CANARIES: [&str; 2] = ["head-canary-1", "tail-canary-1"];

    /// The entries of a scan's canaries, behind `before` lines and around `lines`.
    fn around(before: u64, lines: u64, [head, tail]: [&str; 2]) -> [Value; 2] {
        let last = before + HEAD_LINES + lines + 1;
        [
            entry(CANARY_RULE, last, tail),
            entry(CANARY_RULE, before + 1, head),
        ]
    }

    /// What is read of a report of a scan of five lines, which has `more` in it.
    fn read(more: &[Value]) -> Result<Vec<RawFinding>, EngineError> {
        let entries = [&around(0, 5, CANARIES), more].concat();
        parse(&serde_json::to_vec(&entries).unwrap(), CANARIES, 5)
    }

    #[test]
    fn only_a_report_with_both_canaries_counts() {
        assert_eq!(read(&[]).unwrap(), []);
        let found = read(&[entry("rule", HEAD_LINES + 5, "s")]).unwrap();
        assert_eq!((found[0].start_line, found[0].rule.as_str()), (5, "rule"));

        let good = serde_json::to_vec(&around(0, 5, CANARIES)).unwrap();
        // Another scan's canaries, the other end's, a line more than was fed.
        for other in [
            ["head-canary-2", CANARIES[1]],
            [CANARIES[0], "tail-canary-2"],
        ] {
            assert!(parse(&good, other, 5).is_err());
        }
        assert!(parse(&good, [CANARIES[1], CANARIES[0]], 5).is_err());
        assert!(parse(&good, CANARIES, 6).is_err());
        for only in around(0, 5, CANARIES) {
            assert!(parse(&serde_json::to_vec(&[only]).unwrap(), CANARIES, 5).is_err());
        }
        for twice in around(0, 5, CANARIES) {
            assert!(read(&[twice]).is_err());
        }
        for garbage in [
            "",
            "[]",
            "null",
            "{}",
            "[1]",
            "gitleaks 9.0",
            "9:46AM ERR x\n[]",
        ] {
            assert!(parse(garbage.as_bytes(), CANARIES, 5).is_err(), "{garbage}");
        }
    }

    #[test]
    fn what_gitleaks_writes_is_read() {
        let report = include_bytes!("../../../fixtures/gitleaks/report-8.30.1.json");
        let found = parse(report, CANARIES, 6).unwrap();
        assert_eq!(found.len(), 1);
        let house = &found[0];
        assert_eq!((house.rule.as_str(), house.start_line), ("house", 2));
        assert_eq!((house.start_column, house.decoded), (6, false));
        assert_eq!(house.secret, "house-aaaabbbb");
    }

    #[test]
    fn what_lies_outside_of_the_content_is_no_finding() {
        let at = |line| read(&[entry("house", line, "s")]);
        assert!(at(1).unwrap().is_empty());
        assert!(at(HEAD_LINES + 6).unwrap().is_empty());
        assert!(at(HEAD_LINES + 7).is_err());
        assert!(at(0).is_err());
    }

    #[test]
    fn canaries_of_earlier_scans_are_no_findings_and_hide_none() {
        let earlier = ["head-canary-0", "tail-canary-0"];
        let read = |more: &[Value]| {
            let entries = [&around(0, 7, earlier), &around(11, 5, CANARIES), more].concat();
            parse(&serde_json::to_vec(&entries).unwrap(), CANARIES, 5)
        };
        assert!(read(&[]).unwrap().is_empty());
        let found = read(&[entry("house", 11 + HEAD_LINES + 5, "s")]).unwrap();
        assert_eq!((found[0].start_line, found[0].end_line), (5, 5));
        // Whoever writes one among what is scanned has a finding.
        let inside = entry(CANARY_RULE, 11 + HEAD_LINES + 1, earlier[0]);
        assert_eq!(read(&[inside]).unwrap()[0].start_line, 1);
        for line in [0, 5, 11] {
            assert!(read(&[entry("house", line, "s")]).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(bytes: Vec<u8>, lines: u64) {
            prop_assert!(parse(&bytes, CANARIES, lines).is_err());
        }

        #[test]
        fn no_line_is_too_much(lines: [u64; 4], fed: u64) {
            let [head, tail, one, end] = lines;
            let mut entries = [(head, CANARIES[0]), (tail, CANARIES[1]), (one, "s")]
                .map(|(line, secret)| entry(CANARY_RULE, line, secret));
            entries[2]["EndLine"] = end.into();
            let _ = parse(&serde_json::to_vec(&entries).unwrap(), CANARIES, fed);
        }

        #[test]
        fn no_finding_is_lost(
            before in 0..99u64,
            found in prop::collection::vec((".*", 0..9u64, ".*"), 0..9)
        ) {
            let found_entries = found
                .iter()
                .map(|(rule, line, secret)| entry(rule, before + HEAD_LINES + 1 + line, secret));
            let entries: Vec<_> = found_entries.chain(around(before, 9, CANARIES)).collect();
            let parsed = parse(&serde_json::to_vec(&entries).unwrap(), CANARIES, 9).unwrap();
            prop_assert_eq!(parsed.len(), found.len());
            for (parsed, (rule, line, secret)) in parsed.iter().zip(&found) {
                let rule = rule.strip_prefix(BOUND).unwrap_or(rule);
                prop_assert_eq!((&*parsed.rule, parsed.start_line), (rule, line + 1));
                prop_assert_eq!(&parsed.secret, secret);
            }
        }
    }
}
