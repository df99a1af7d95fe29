//! The line in the audit log of a client on which no hook has reported: git itself refused it, the
//! client went away, or the hook was killed.

use std::process::ExitStatus;

use super::git_request::{Request, Service};
use super::relay::{End, Passed};
use crate::audit::Kind;
use crate::text;

/// What is known of how a client was served.
#[derive(Debug)]
pub struct Finished<'a> {
    /// What it asked for.
    pub request: &'a Request,
    /// What passed; none where the connection broke.
    pub passed: Option<&'a Passed>,
    /// How git daemon ended; none where it had to be ended.
    pub status: Option<ExitStatus>,
    /// What git daemon said, safe to show.
    pub said: Vec<String>,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it was done or refused.
    pub kind: Kind,
    /// Why, or what is not known.
    pub reason: Option<String>,
    /// Whether a hook's own line must have been lost.
    pub is_lost: bool,
}

impl Outcome {
    fn done(kind: Kind) -> Self {
        Self {
            kind,
            reason: None,
            is_lost: false,
        }
    }

    pub fn lost(kind: Kind) -> Self {
        let reason = "done; the hook's own line was lost";
        Self {
            kind,
            reason: Some(reason.to_owned()),
            is_lost: true,
        }
    }

    fn refused(reason: String) -> Self {
        Self {
            kind: Kind::Refusal,
            reason: Some(reason),
            is_lost: false,
        }
    }
}

/// What became of a request that no hook has reported on.
pub fn outcome(served: &Finished<'_>) -> Outcome {
    let is_well = served.status.is_some_and(|status| status.success());
    let is_whole = is_well && served.passed.is_some_and(|passed| passed.end == End::Done);
    let has_asked = served.passed.is_some_and(|passed| passed.has_asked);
    let answer = Answer::read(served.passed.map_or(&[], |passed| &passed.answer));
    match served.request.service {
        Service::Fetch if is_whole => Outcome::lost(Kind::Fetch),
        // The client found everything up to date.
        Service::Push if is_whole && !has_asked => Outcome::done(Kind::Push),
        Service::Push if answer.is_ok => Outcome::lost(Kind::Push),
        _ => Outcome::refused(reason(served, &answer)),
    }
}

fn reason(served: &Finished<'_>, answer: &Answer) -> String {
    let mut parts = Vec::new();
    if answer.hook_failed {
        parts.push(
            "the pre-receive hook ended without a word: it was killed, or had no memory".to_owned(),
        );
    } else if let Some(words) = &answer.error {
        parts.push(format!("git refused it before the gate's hook: {words}"));
    }
    if served
        .passed
        .is_some_and(|passed| passed.end == End::ClientGone)
    {
        parts.push("the client went away".to_owned());
    }
    if parts.is_empty() {
        parts.extend(served.said.iter().take(2).cloned());
    }
    if parts.is_empty() {
        parts.push(match served.status {
            Some(status) => format!("git ended without a word ({status})"),
            None => "git did not end and was ended".to_owned(),
        });
    }
    parts.join("; ")
}

/// What receive-pack answered to ref updates (gitprotocol-pack(5), "Reporting Status").
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    /// Every ref was updated.
    is_ok: bool,
    hook_failed: bool,
    /// The first thing that git said went wrong, safe to show.
    error: Option<String>,
}

impl Answer {
    /// Reads it without minding where packets begin: their headers are four digits and a control
    /// character, and what they hold are lines.
    fn read(bytes: &[u8]) -> Self {
        let mut answer = Self::default();
        let mut is_refused = false;
        for line in bytes.split(u8::is_ascii_control) {
            let line = match line.split_first_chunk::<4>() {
                Some((digits, rest)) if digits.iter().all(u8::is_ascii_hexdigit) => rest,
                _ => line,
            };
            if line == b"unpack ok" {
                answer.is_ok = true;
            } else if line.starts_with(b"ng ") {
                is_refused = true;
                answer.hook_failed |= line.ends_with(b" pre-receive hook declined");
            }
            let is_error = [&b"unpack "[..], b"fatal: ", b"error: "]
                .iter()
                .any(|start| line.starts_with(start) && line != b"unpack ok");
            if is_error && answer.error.is_none() {
                answer.error = Some(text::gits_words(line).0);
            }
        }
        answer.is_ok &= !is_refused;
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_receive_pack_is_read_with_and_without_side_band() {
        let ok = Answer::read(b"0030\x01000eunpack ok\n0019ok refs/heads/new\n00000000");
        assert!(ok.is_ok && ok.error.is_none());
        let killed =
            Answer::read(b"000eunpack ok\n002ang refs/heads/new pre-receive hook declined\n0000");
        assert!(killed.hook_failed && !killed.is_ok);
        let full = Answer::read(
            b"0041\x02fatal: write error: No space left on device\n0030\x010024unpack index-pack abnormal exit\n",
        );
        let words = "fatal: write error: No space left on device";
        assert_eq!(full.error.as_deref(), Some(words));
    }
}
