//! What stands between a BEGIN and an END line (RFC 7468, RFC 9580), such as a private key. It is of
//! any length, and the one thing that a rule of gitleaks finds only whole.

use memchr::{memmem, memrchr};

const DASHES: &[u8] = b"-----";

/// Whether a block begins in `text`.
pub fn begins(text: &[u8]) -> bool {
    marks(text).any(|mark| mark.begins)
}

/// Where the line starts in which the last block begins that `text` does not end.
pub fn open(text: &[u8]) -> Option<usize> {
    let last = marks(text).last()?;
    last.begins.then(|| line_start(text, last.at))
}

/// How much of a block that is longer than a piece stands for it.
const HEAD: usize = 4 << 10;

/// The first lines of the block that begins `text` and that it does not end, with an end to them: a block
/// longer than a piece would be found in none. Nothing where it is no block, since some line holds neither
/// digits nor a header.
pub fn head(text: &[u8]) -> Option<Vec<u8>> {
    if open(text) != Some(0) {
        return None;
    }
    let is_inside = |line: &[u8]| {
        let line = line.trim_ascii();
        memmem::find(line, b": ").is_some() || !line.iter().any(u8::is_ascii_whitespace)
    };
    // The last line may be cut.
    let end = memchr::memrchr(b'\n', text).unwrap_or(text.len());
    let mut lines = text[..end].split(|&b| b == b'\n').skip(1);
    let head = &text[..text.len().min(HEAD)];
    let ended = || [head, b"\n-----END PRIVATE KEY-----\n"].concat();
    lines.all(is_inside).then(ended)
}

/// Whether `text` ends a block that it does not begin.
pub fn ends_another(text: &[u8]) -> bool {
    marks(text).next().is_some_and(|mark| !mark.begins)
}

/// Where the first line that ends a block has its dashes.
pub fn end(text: &[u8]) -> Option<usize> {
    marks(text).find(|mark| !mark.begins).map(|mark| mark.at)
}

/// The start of the line that `offset` lies in.
pub(crate) fn line_start(text: &[u8], offset: usize) -> usize {
    memrchr(b'\n', &text[..offset]).map_or(0, |end| end + 1)
}

struct Mark {
    at: usize,
    /// It is BEGIN, not END.
    begins: bool,
}

/// Upper or lower case, as for the rules.
fn marks(text: &[u8]) -> impl Iterator<Item = Mark> {
    let dashes = memmem::Finder::new(DASHES);
    let mut at = 0;
    let rows = std::iter::from_fn(move || {
        let start = at + dashes.find(&text[at..])?;
        let end = text[start..].iter().position(|&b| b != b'-');
        at = end.map_or(text.len(), |length| start + length);
        Some(start..at)
    });
    rows.filter_map(|row| {
        let is = |word: &[u8]| {
            let next = text.get(row.end..row.end + word.len());
            next.is_some_and(|next| next.eq_ignore_ascii_case(word))
        };
        let begins = is(b"BEGIN");
        (begins || is(b"END")).then_some(Mark {
            at: row.start,
            begins,
        })
    })
}
