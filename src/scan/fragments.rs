//! Many texts in few fragments, and the way back from a line of the input to the text.
//!
//! Small texts share a fragment, with blank lines between them. gitleaks may then report a match
//! that begins in one text and ends in the next ([`Whereabouts::Across`]): the caller scans the texts
//! concerned again, each alone. No text is hidden by its neighbour: what may swallow more than a
//! separator, the beginning of a private key, gets a fragment of its own.

use memchr::memchr_iter;

use super::decode::Member;
use super::decode::pem;
use super::gitleaks::{EngineError, FRAGMENT_LIMIT, RawFinding, Scanner};
use super::source::Source;

/// More line ends than the white space that a rule allows inside a match, such as between a key and
/// its value.
const SEPARATOR: &[u8] = b"\n\n\n\n\n\n\n\n";

/// Bytes of small texts that share a fragment. gitleaks looks at a fragment with every rule of which
/// some keyword is in there: the fewer texts, the fewer rules. Of 30 MB of Rust, 21 MB pass in a
/// second like this, and 16 MB with fragments of 96 KiB. Two regions of a changed file fit in.
const SHARED: usize = 20 << 10;

/// Feeds texts to a scanner.
pub struct Packer {
    scanner: Box<dyn Scanner>,
    /// Whether each text gets a fragment of its own.
    alone: bool,
    /// Lines fed.
    fed: u64,
    /// What was fed. A piece takes 32 bytes.
    pieces: Vec<Piece>,
    fragment: Vec<u8>,
    /// What is in `fragment`, with lines counted in there.
    open: Vec<Piece>,
    /// Line ends in `fragment`.
    lines: u64,
    members: Vec<Member>,
    bytes: u64,
}

struct Piece {
    /// Its first line in the input, from 1.
    line: u64,
    /// Its first line in its source, from 1.
    first_line: u64,
    source: Source,
    /// Counted from 1 in `members`; 0 is the source itself, as it is.
    member: u32,
}

/// Where a finding is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// In one text.
    In(Location),
    /// From one text into others: in these.
    Across(Vec<Source>),
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// In which text.
    pub source: Source,
    /// In which part of it.
    pub member: Member,
    /// On which line of the view that the member is, from 1.
    pub line: u64,
}

impl Packer {
    /// Packs small texts together.
    pub fn new(scanner: Box<dyn Scanner>) -> Self {
        Self {
            scanner,
            alone: false,
            fed: 0,
            pieces: Vec::new(),
            fragment: Vec::with_capacity(FRAGMENT_LIMIT),
            open: Vec::new(),
            lines: 0,
            members: Vec::new(),
            bytes: 0,
        }
    }

    /// Gives each text a fragment of its own.
    pub fn alone(scanner: Box<dyn Scanner>) -> Self {
        Self {
            alone: true,
            ..Self::new(scanner)
        }
    }

    /// Adds a text, or a piece of one, of at most [`FRAGMENT_LIMIT`] bytes.
    pub fn add(
        &mut self,
        source: Source,
        member: &Member,
        first_line: u64,
        text: &[u8],
    ) -> Result<(), EngineError> {
        let alone = self.alone || pem::begins(text);
        if alone || self.fragment.len() + SEPARATOR.len() + text.len() > SHARED {
            self.flush()?;
        }
        if !self.fragment.is_empty() {
            self.fragment.extend_from_slice(SEPARATOR);
            self.lines += SEPARATOR.len() as u64;
        }
        let member = self.member(member);
        self.open.push(Piece {
            line: self.lines + 1,
            first_line,
            source,
            member,
        });
        self.bytes += text.len() as u64;
        self.fragment.extend_from_slice(text);
        self.lines += memchr_iter(b'\n', text).count() as u64;
        if alone { self.flush() } else { Ok(()) }
    }

    /// As [`Scanner::rest`].
    pub fn rest(&mut self) -> Result<(), EngineError> {
        self.scanner.rest()
    }

    /// Bytes given so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the input: what was found, and where.
    pub fn finish(mut self) -> Result<Vec<(RawFinding, Whereabouts)>, EngineError> {
        self.flush()?;
        let mut all = Vec::new();
        for finding in self.scanner.finish()? {
            if let Some(place) = find(&self.pieces, &self.members, &finding) {
                all.push((finding, place));
            }
        }
        Ok(all)
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        if self.fragment.is_empty() {
            return Ok(());
        }
        let before = self.fed;
        self.fed = self.scanner.feed(&self.fragment)?;
        self.pieces.extend(self.open.drain(..).map(|piece| Piece {
            line: before + piece.line,
            ..piece
        }));
        self.fragment.clear();
        self.lines = 0;
        Ok(())
    }

    fn member(&mut self, member: &Member) -> u32 {
        if *member == Member::default() {
            return 0;
        }
        if self.members.last() != Some(member) {
            self.members.push(member.clone());
        }
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }
}

/// Where `finding` is; none when it is in front of everything.
fn find(pieces: &[Piece], members: &[Member], finding: &RawFinding) -> Option<Whereabouts> {
    let index = |line: u64| {
        pieces
            .partition_point(|piece| piece.line <= line)
            .checked_sub(1)
    };
    let last = index(finding.end_line)?;
    let first = index(finding.start_line).unwrap_or(0);
    let touched = pieces
        .get(first..=last)
        .filter(|pieces| !pieces.is_empty())?;
    if touched.len() > 1 {
        return Some(Whereabouts::Across(
            touched.iter().map(|piece| piece.source).collect(),
        ));
    }
    let piece = touched.first()?;
    let member = (piece.member as usize)
        .checked_sub(1)
        .and_then(|index| members.get(index));
    Some(Whereabouts::In(Location {
        source: piece.source,
        member: member.cloned().unwrap_or_default(),
        line: piece.first_line + finding.start_line.saturating_sub(piece.line),
    }))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// Keeps what it is fed, and reports what it was made with.
    struct Recorder(Rc<RefCell<Vec<Vec<u8>>>>, Vec<RawFinding>);

    impl Scanner for Recorder {
        fn feed(&mut self, fragment: &[u8]) -> Result<u64, EngineError> {
            self.0.borrow_mut().push(fragment.to_vec());
            let lines = |fragment: &Vec<u8>| memchr_iter(b'\n', fragment).count() as u64 + 3;
            Ok(self.0.borrow().iter().map(lines).sum())
        }

        fn rest(&mut self) -> Result<(), EngineError> {
            Ok(())
        }

        fn finish(self: Box<Self>) -> Result<Vec<RawFinding>, EngineError> {
            Ok(self.1)
        }
    }

    fn pack(texts: &[&[u8]], finds: Vec<RawFinding>) -> (Vec<Vec<u8>>, Vec<Whereabouts>) {
        let fragments = Rc::new(RefCell::new(Vec::new()));
        let scanner = Box::new(Recorder(Rc::clone(&fragments), finds));
        let mut packer = Packer::new(scanner);
        for (index, text) in (0..).zip(texts) {
            packer
                .add(Source::Object(index), &Member::default(), 10, text)
                .unwrap();
        }
        let found = packer.finish().unwrap();
        (
            fragments.take(),
            found.into_iter().map(|(_, place)| place).collect(),
        )
    }

    fn at(start_line: u64, end_line: u64) -> RawFinding {
        RawFinding {
            rule: String::new(),
            description: String::new(),
            start_line,
            end_line,
            start_column: 1,
            matched: String::new(),
            secret: String::new(),
            decoded: false,
        }
    }

    #[test]
    fn a_line_of_the_input_leads_back_to_its_text() {
        let large = vec![b'x'; FRAGMENT_LIMIT];
        // The first fragment's lines 1 to 3 are the first text; 11 and 12 the second. Eleven line
        // ends and the recorder's three lines come before the third.
        let finds = [(1, 1), (3, 3), (12, 12), (15, 15), (18, 18), (3, 11)];
        let finds = finds.map(|(start, end)| at(start, end)).to_vec();
        let (fragments, found) = pack(&[b"a\nb\nc", b"d\ne", &large, b"f"], finds);
        assert_eq!(fragments.len(), 3);
        let within = |index, line| {
            Whereabouts::In(Location {
                source: Source::Object(index),
                member: Member::default(),
                line,
            })
        };
        let across = Whereabouts::Across(vec![Source::Object(0), Source::Object(1)]);
        let expected = [
            within(0, 10),
            within(0, 12),
            within(1, 11),
            within(2, 10),
            within(3, 10),
            across,
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_private_key_shares_its_fragment_with_nothing() {
        let key = ["-----", "begin PRIVATE KEY"].concat();
        let (fragments, _) = pack(&[b"a", key.as_bytes(), b"b", b"-----", b"c"], Vec::new());
        assert_eq!(fragments.len(), 3);
        assert_eq!(fragments[1], key.as_bytes());
    }
}
