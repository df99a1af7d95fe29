//! What became of each ref, and what the agent is told of it.

use std::collections::BTreeMap;

use super::MOVED;
use crate::push::RefUpdate;
use crate::text;

/// git's reason for a ref in words that an agent can act on; none where another ref is the cause.
pub(super) fn reason_for(update: &RefUpdate, reason: &str) -> Option<String> {
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
pub(super) struct Results {
    pub made: Vec<String>,
    pub rejected: BTreeMap<String, String>,
}

impl Results {
    /// Reads `<flag>\t<from>:<to>\t<summary> (<reason>)` lines.
    pub fn read(stdout: &[u8]) -> Self {
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

    /// Whether a lease did not hold when git compared it itself.
    pub fn is_stale(&self) -> bool {
        self.rejected
            .values()
            .any(|reason| reason.contains("[rejected]") && reason.contains("stale info"))
    }

    /// Whether the upstream was gone before it said what came of the push.
    pub fn is_unknown(&self) -> bool {
        self.rejected
            .values()
            .any(|reason| reason.contains("[remote failure]"))
    }
}
