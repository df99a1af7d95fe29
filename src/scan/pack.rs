//! Many texts in few fragments, and the way back from a line of the input to the text.
//!
//! Small texts share a fragment, with blank lines between them. gitleaks may then report a match
//! that begins in one text and ends in the next: [`Packed::spans`] tells, and the caller scans the
//! texts concerned again, each alone. No text is hidden by its neighbour: what may swallow more than
//! a separator, the beginning of a private key, gets a fragment of its own.

use memchr::{memchr_iter, memmem};

use super::Source;
use super::decode::Member;
use super::engine::{EngineError, FRAGMENT_LIMIT, RawFinding, Scanner};

/// More line ends than the white space that a rule allows inside a match, such as between a key and
/// its value.
const SEPARATOR: &[u8] = b"\n\n\n\n\n\n\n\n";

/// Feeds texts to a scanner.
pub struct Packer {
    scanner: Box<dyn Scanner>,
    fragment: Vec<u8>,
    /// Line ends in `fragment`.
    lines: u64,
    /// Lines of the fragments before.
    fed: u64,
    /// Whether each text gets a fragment of its own.
    alone: bool,
    map: Packed,
}

/// Which text each line of a scanner's input came from. It takes 32 bytes a text.
#[derive(Default)]
pub struct Packed {
    pieces: Vec<Piece>,
    members: Vec<Member>,
    /// Bytes of all texts.
    pub bytes: u64,
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
pub struct Location {
    /// In which text.
    pub source: Source,
    /// In which part of it.
    pub member: Member,
    /// On which line of the view that the member is, from 1.
    pub line: u64,
}

impl Packer {
    /// Packs texts together.
    pub fn new(scanner: Box<dyn Scanner>) -> Self {
        Self {
            scanner,
            fragment: Vec::with_capacity(FRAGMENT_LIMIT),
            lines: 0,
            fed: 0,
            alone: false,
            map: Packed::default(),
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
        let alone = self.alone || begins_key(text);
        if alone || self.fragment.len() + SEPARATOR.len() + text.len() > FRAGMENT_LIMIT {
            self.flush()?;
        }
        if !self.fragment.is_empty() {
            self.fragment.extend_from_slice(SEPARATOR);
            self.lines += SEPARATOR.len() as u64;
        }
        let member = self.map.member(member);
        self.map.pieces.push(Piece {
            line: self.fed + self.lines + 1,
            first_line,
            source,
            member,
        });
        self.map.bytes += text.len() as u64;
        self.fragment.extend_from_slice(text);
        self.lines += memchr_iter(b'\n', text).count() as u64;
        if alone { self.flush() } else { Ok(()) }
    }

    /// Bytes given so far.
    pub fn bytes(&self) -> u64 {
        self.map.bytes
    }

    /// Ends the input: what was found, and where.
    pub fn finish(mut self) -> Result<(Vec<RawFinding>, Packed), EngineError> {
        self.flush()?;
        Ok((self.scanner.finish()?, self.map))
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        if !self.fragment.is_empty() {
            self.fed = self.scanner.feed(&self.fragment)?;
            self.fragment.clear();
            self.lines = 0;
        }
        Ok(())
    }
}

impl Packed {
    fn member(&mut self, member: &Member) -> u32 {
        if *member == Member::default() {
            return 0;
        }
        if self.members.last() != Some(member) {
            self.members.push(member.clone());
        }
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    /// Where `finding` begins; none when it is in front of everything.
    pub fn locate(&self, finding: &RawFinding) -> Option<Location> {
        let piece = self.pieces.get(self.index(finding.start_line)?)?;
        let member = (piece.member as usize).checked_sub(1);
        Some(Location {
            source: piece.source,
            member: member
                .and_then(|index| self.members.get(index))
                .cloned()
                .unwrap_or_default(),
            line: piece.first_line + (finding.start_line - piece.line),
        })
    }

    /// The sources of all texts that `finding` touches, where they are more than one text.
    pub fn spans(&self, finding: &RawFinding) -> Option<impl Iterator<Item = Source> + '_> {
        let last = self.index(finding.end_line)?;
        let first = self.index(finding.start_line).unwrap_or(0);
        let pieces = self
            .pieces
            .get(first..=last)
            .filter(|pieces| pieces.len() > 1)?;
        Some(pieces.iter().map(|piece| piece.source))
    }

    fn index(&self, line: u64) -> Option<usize> {
        self.pieces
            .partition_point(|piece| piece.line <= line)
            .checked_sub(1)
    }
}

/// Whether the text may begin a private key (RFC 7468), the one match that may be of any length.
fn begins_key(text: &[u8]) -> bool {
    const DASHES: &[u8] = b"-----";
    memmem::find_iter(text, DASHES).any(|at| {
        let next = text.get(at + DASHES.len()..at + DASHES.len() + 5);
        next.is_some_and(|next| next.eq_ignore_ascii_case(b"BEGIN"))
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// Keeps what it is fed; finds nothing.
    struct Recorder(Rc<RefCell<Vec<Vec<u8>>>>);

    impl Scanner for Recorder {
        fn feed(&mut self, fragment: &[u8]) -> Result<u64, EngineError> {
            self.0.borrow_mut().push(fragment.to_vec());
            let lines = |fragment: &Vec<u8>| memchr_iter(b'\n', fragment).count() as u64 + 3;
            Ok(self.0.borrow().iter().map(lines).sum())
        }

        fn finish(self: Box<Self>) -> Result<Vec<RawFinding>, EngineError> {
            Ok(Vec::new())
        }
    }

    fn pack(texts: &[&[u8]]) -> (Vec<Vec<u8>>, Packed) {
        let fragments = Rc::new(RefCell::new(Vec::new()));
        let mut packer = Packer::new(Box::new(Recorder(Rc::clone(&fragments))));
        for (index, text) in (0..).zip(texts) {
            packer
                .add(Source::Object(index), &Member::default(), 10, text)
                .unwrap();
        }
        let (_, map) = packer.finish().unwrap();
        (fragments.take(), map)
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
        let (fragments, map) = pack(&[b"a\nb\nc", b"d\ne", &large, b"f"]);
        assert_eq!(fragments.len(), 3);
        // The first fragment's lines 1 to 3 are the first text; 11 and 12 the second.
        let found = |line| map.locate(&at(line, line)).map(|at| (at.source, at.line));
        assert_eq!(found(1), Some((Source::Object(0), 10)));
        assert_eq!(found(3), Some((Source::Object(0), 12)));
        assert_eq!(found(12), Some((Source::Object(1), 11)));
        // Eleven line ends and the recorder's three lines came before.
        assert_eq!(found(15), Some((Source::Object(2), 10)));
        assert_eq!(found(18), Some((Source::Object(3), 10)));
        assert!(map.spans(&at(11, 12)).is_none());
        let both: Vec<_> = map.spans(&at(3, 11)).unwrap().collect();
        assert_eq!(both, [Source::Object(0), Source::Object(1)]);
    }

    #[test]
    fn a_private_key_shares_its_fragment_with_nothing() {
        let key = ["-----", "begin PRIVATE KEY"].concat();
        let (fragments, _) = pack(&[b"a", key.as_bytes(), b"b", b"-----", b"c"]);
        assert_eq!(fragments.len(), 3);
        assert_eq!(fragments[1], key.as_bytes());
    }
}
