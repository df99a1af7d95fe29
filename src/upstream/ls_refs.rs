//! An upstream's refs as git's own upload-pack tells them: unasked, to who does not ask for version 2 of
//! the protocol (gitprotocol-pack(5), "Reference Discovery"), or in answer to a question
//! (gitprotocol-v2(5), `ls-refs`).
//!
//! The question goes out before the server has said what it can do, so it asks for what every server
//! of version 2 knows.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use git2::ObjectFormat;

use super::Budget;
use super::listing::{LISTING_LIMIT, Lines, Listing};
use crate::git::pkt_line::{self, packet};
use crate::process;
use crate::ref_pattern::RefPattern;

/// Bytes of the patterns that go into a question: a pipe takes it whole, however slow the reader is.
const PATTERNS_LIMIT: usize = 32 << 10;

/// How long a server may be silent in a session, before it is asked in a new one.
const SILENCE: Duration = Duration::from_secs(5);

/// What a server said.
pub(super) struct Answer {
    pub listing: Listing,
    /// It answers a question; else these are the refs of the time when the session began.
    pub is_asked: bool,
}

/// The question for the refs that begin as `patterns` do, of a repository with object ids of this format. What
/// that lets through too much is left out when the answer is read.
pub(super) fn question(format: ObjectFormat, patterns: &[RefPattern]) -> Vec<u8> {
    let mut question = packet("command=ls-refs\n");
    // Servers that do not know the word have the other format.
    if format == ObjectFormat::Sha256 {
        question.extend(packet("object-format=sha256\n"));
    }
    // The delimiter stands alone.
    question.extend_from_slice(b"0001");
    question.extend(packet("symrefs\n"));
    let wanted: Vec<_> = patterns.iter().filter(|one| !one.is_negative()).collect();
    let length: usize = wanted.iter().map(|one| one.prefix().len() + 20).sum();
    if !wanted.is_empty() && length < PATTERNS_LIMIT {
        question.extend(packet("ref-prefix HEAD\n"));
        for pattern in wanted {
            question.extend(packet(&format!("ref-prefix {}\n", pattern.prefix())));
        }
    }
    // The end of the question, and of the session.
    question.extend_from_slice(b"00000000");
    question
}

/// Looks for the end of what is listed unasked, the first flush packet, as the bytes come.
#[derive(Default)]
pub(super) struct End {
    /// Where the first packet begins that was not looked at.
    at: usize,
}

impl End {
    /// Whether it is in all that was `said` so far.
    pub fn is_in(&mut self, said: &[u8]) -> bool {
        while let Some((length, _, rest)) = pkt_line::split(&said[self.at..]) {
            self.at = said.len() - rest.len();
            if length == 0 {
                return true;
            }
        }
        false
    }
}

/// Reads what the upstream says in a session until that `is_enough`, or to its end.
pub(super) fn hear(
    mut output: impl Read + AsFd,
    budget: &Budget,
    mut is_enough: impl FnMut(&[u8]) -> bool,
) -> io::Result<Vec<u8>> {
    let mut said = Vec::new();
    let mut part = vec![0; 64 << 10];
    while said.len() < LISTING_LIMIT && !is_enough(&said) {
        let limit = SILENCE.min(budget.deadline.left());
        if !process::wait_for_any(&[output.as_fd()], limit)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match output.read(&mut part)? {
            0 => break,
            read => said.extend_from_slice(&part[..read]),
        }
    }
    Ok(said)
}

/// Reads all that a server said in a session; `None` where it is not whole or not understood.
pub(super) fn read(said: &[u8], format: ObjectFormat, patterns: &[RefPattern]) -> Option<Answer> {
    let mut packets = Packets(said);
    let mut lines = Lines::new(format, patterns);
    let first = packets.next()?;
    let is_asked = first == Some(b"version 2");
    if is_asked {
        while packets.next()?.is_some() {}
        while let Some(line) = packets.next()? {
            add_answered(&mut lines, line)?;
        }
    } else {
        let mut line = match first {
            Some(b"version 1") => packets.next()?,
            first => first,
        };
        while let Some(advertised) = line {
            add_advertised(&mut lines, advertised)?;
            line = packets.next()?;
        }
    }
    let listing = lines.complete.then(|| lines.listing())?;
    Some(Answer { listing, is_asked })
}

/// A line `OID NAME [ATTRIBUTE …]`.
fn add_answered(lines: &mut Lines<'_>, line: &[u8]) -> Option<()> {
    let mut words = line.split(|&b| b == b' ');
    let (value, name) = (words.next()?, words.next()?);
    for word in words {
        if let Some(target) = word.strip_prefix(b"symref-target:") {
            lines.symref(name, target);
        }
    }
    lines.add(value, name);
    Some(())
}

/// A line `OID NAME`, the first one with `\0CAPABILITY …` behind it, or `shallow OID`.
fn add_advertised(lines: &mut Lines<'_>, line: &[u8]) -> Option<()> {
    let mut parts = line.splitn(2, |&b| b == b'\0');
    let of_ref = parts.next()?;
    for capability in parts.next().unwrap_or_default().split(|&b| b == b' ') {
        if let Some(target) = capability.strip_prefix(b"symref=HEAD:") {
            lines.symref(b"HEAD", target);
        }
    }
    let space = of_ref.iter().position(|&b| b == b' ')?;
    let (value, name) = (&of_ref[..space], &of_ref[space + 1..]);
    if value != b"shallow" {
        lines.add(value, name);
    }
    Some(())
}

/// The packets of what was said.
struct Packets<'a>(&'a [u8]);

impl<'a> Packets<'a> {
    /// The next packet without its newline, of a flush packet nothing; `None` where there is none, or
    /// where it says that something went wrong.
    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        let (length, packet, rest) = pkt_line::split(self.0)?;
        self.0 = rest;
        match length {
            0 => Some(None),
            5..=pkt_line::LONGEST if !packet.starts_with(b"ERR ") => {
                Some(Some(packet.strip_suffix(b"\n").unwrap_or(packet)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::listing::Head;
    use super::*;
    use crate::git::Refs;

    const ID: &str = "1111111111111111111111111111111111111111";

    /// Packets with these lines; an empty one is a flush packet.
    fn said(lines: &[&str]) -> Vec<u8> {
        let packets = lines.iter().map(|line| match line.is_empty() {
            true => b"0000".to_vec(),
            false => packet(line),
        });
        packets.collect::<Vec<_>>().concat()
    }

    fn of(bytes: &[u8]) -> Option<Answer> {
        read(bytes, ObjectFormat::Sha1, &[])
    }

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let head = format!("{ID} HEAD symref-target:refs/heads/main\n");
        let main = format!("{ID} refs/heads/main\n");
        let begin = ["version 2\n", "ls-refs=unborn\n", ""];
        let whole = said(&[&begin[..], &[&head, &main, ""]].concat());
        let answer = of(&whole).unwrap();
        assert!(answer.is_asked);
        assert_eq!(answer.listing.refs.count(), 1);
        assert_eq!(answer.listing.head, Head::Ref("refs/heads/main".to_owned()));
        for end in 0..whole.len() {
            assert!(of(&whole[..end]).is_none(), "{end}");
        }
        let lies = [
            &b"zzzz"[..],
            b"+0ff",
            b"0001",
            b"0002",
            b"0003",
            b"0004",
            b"fff1",
            b"0009ERR x",
            b"0006ab0000",
            b"0013nothex refs/a0000",
        ];
        for lie in lies {
            let bytes = [&said(&begin), lie, b"0000"].concat();
            assert!(of(&bytes).is_none(), "{}", String::from_utf8_lossy(lie));
        }
        let empty = of(&said(&[&begin[..], &[""]].concat())).unwrap().listing;
        assert_eq!(empty.head, Head::Unknown);
        assert_eq!(empty.changes(&Refs::default()), Some(Default::default()));
    }

    #[test]
    fn what_is_listed_unasked_is_read_too() {
        let capabilities = "multi_ack symref=HEAD:refs/heads/main object-format=sha1 agent=git/2";
        let first = format!("{ID} HEAD\0{capabilities}\n");
        let (main, peeled) = (
            format!("{ID} refs/heads/main\n"),
            format!("{ID} refs/tags/v1^{{}}\n"),
        );
        let shallow = format!("shallow {ID}\n");
        let listed = [&first[..], &main, &peeled, &shallow, ""];
        for lines in [&listed[..], &[&["version 1\n"][..], &listed].concat()] {
            let answer = of(&said(lines)).unwrap();
            assert!(!answer.is_asked);
            assert_eq!(answer.listing.head, Head::Ref("refs/heads/main".to_owned()));
            let changes = answer.listing.changes(&Refs::default()).unwrap();
            assert_eq!(changes.moved, ["refs/heads/main"]);
        }
        let (all, mut end) = (said(&listed), End::default());
        let found = (0..=all.len()).find(|&length| end.is_in(&all[..length]));
        assert_eq!(found, Some(all.len()));
        let nothing = format!("{} capabilities^{{}}\0agent=git/2\n", "0".repeat(40));
        let empty = of(&said(&[&nothing, ""])).unwrap().listing;
        assert_eq!(empty.changes(&Refs::default()), Some(Default::default()));
        assert!(of(&said(&[&first, &main])).is_none());
        let other = format!("{} HEAD\0agent=git/2\n", "1".repeat(64));
        assert!(of(&said(&[&other, ""])).is_none());
    }

    #[test]
    fn a_question_names_what_patterns_begin_with() {
        let patterns =
            ["refs/heads/*", "^refs/heads/wip/*"].map(|text| text.to_owned().try_into().unwrap());
        assert_eq!(
            String::from_utf8(question(ObjectFormat::Sha256, &patterns)).unwrap(),
            "0014command=ls-refs\n0019object-format=sha256\n0001000csymrefs\n0014ref-prefix HEAD\n001bref-prefix refs/heads/\n00000000"
        );
    }
}
