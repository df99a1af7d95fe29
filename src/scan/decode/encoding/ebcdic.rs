//! Text in EBCDIC, as the code pages 037 and 1047 have it.

use crate::scan::decode::input::{BLOCK, Source, Spool};
use crate::scan::decode::{DecodeError, Depth, Member, Walk};

/// Where rows of letters begin in EBCDIC, and what they are.
const ROWS: &[(u8, &[u8])] = &[
    (0x81, b"abcdefghi"),
    (0x91, b"jklmnopqr"),
    (0xa2, b"stuvwxyz"),
    (0xc1, b"ABCDEFGHI"),
    (0xd1, b"JKLMNOPQR"),
    (0xe2, b"STUVWXYZ"),
    (0xf0, b"0123456789"),
    (0x4b, b".<(+|&"),
    (0x5a, b"!$*);"),
    (0x60, b"-/"),
    (0x6b, b",%_>?"),
    (0x79, b"`:#@'=\""),
    (0xa1, b"~"),
    (0xc0, b"{"),
    (0xd0, b"}"),
    (0xe0, b"\\"),
    (0xad, b"["),
    (0xbd, b"]"),
    (0xba, b"[]"),
    (0x40, b" "),
    (0x15, b"\n"),
    (0x25, b"\n"),
    (0x0d, b"\n"),
];

/// What each byte stands for; 0 for what is no text.
const TABLE: [u8; 256] = {
    let mut table = [0; 256];
    let mut row = 0;
    while row < ROWS.len() {
        let (first, letters) = ROWS[row];
        let mut at = 0;
        while at < letters.len() {
            table[first as usize + at] = letters[at];
            at += 1;
        }
        row += 1;
    }
    table
};

/// Whether nearly all of `text` is text in EBCDIC: letters of it are none in ASCII, and hardly any of
/// UTF-8's bytes stand alone.
fn is_text(text: &[u8]) -> bool {
    let known = text.iter().filter(|&&byte| TABLE[usize::from(byte)] != 0);
    let high = text.iter().filter(|&&byte| byte >= 0x80);
    known.count() * 20 >= text.len() * 19 && high.count() * 2 >= text.len()
}

impl Walk<'_> {
    /// Hands over `source`, in which there is no NUL byte, as text in EBCDIC if it is one.
    pub(crate) fn ebcdic(
        &mut self,
        source: &Source<'_>,
        place: &Member,
        depth: Depth,
    ) -> Result<(), DecodeError> {
        if !source.with_bytes(BLOCK, is_text)? {
            return Ok(());
        }
        let dir = self.budget.spool.clone();
        let mut out = Spool::new(&dir);
        source.blocks(BLOCK, self.budget.deadline, |block| {
            let text: Vec<u8> = block.iter().map(|&byte| TABLE[usize::from(byte)]).collect();
            out.write(&text)
        })?;
        self.decoded(&out.finish(), "EBCDIC", place, 1, depth)
    }
}
