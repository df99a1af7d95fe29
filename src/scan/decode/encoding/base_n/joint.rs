//! Pieces of a run that a program joins: literals with something between them.

use super::{Code, JOINT, MARK, is_line_escape, prefix};

/// What stands between two parts of a run.
pub(super) struct Joint {
    pub(super) length: usize,
    /// There is padding: what follows was encoded on its own.
    pub(super) padded: bool,
    /// How many of the digits behind it are punctuation, [`MARK`] at most.
    pub(super) mark: usize,
}

/// The joint that `text`, which begins after a digit, starts with, if the run goes on: it holds a
/// line end, real or written as `\n`.
pub(super) fn joint(text: &[u8], code: Code) -> Option<Joint> {
    let text = &text[..text.len().min(JOINT)];
    let (mut at, mut after_line_end, mut padded) = (0, None, false);
    while let Some(&byte) = text.get(at) {
        let next = text.get(at + 1).copied().unwrap_or(0);
        if is_line_escape(byte, next) {
            at += 2;
            after_line_end = Some(at);
        } else if matches!(byte, b'\n' | b'\r') {
            at += 1;
            after_line_end = Some(at);
        } else if byte == b'=' && after_line_end.is_none() {
            at += 1;
            padded = true;
        } else if byte == b'=' || byte.is_ascii_alphanumeric() {
            break;
        } else {
            at += 1;
        }
    }
    let line = after_line_end?;
    let length = line + prefix(&text[line..], code);
    let digits = &text[length..];
    let is_mark = |b: &&u8| !b.is_ascii_alphanumeric() && code.is_digit(**b);
    digits
        .first()
        .is_some_and(|&b| code.is_digit(b))
        .then(|| Joint {
            length,
            padded,
            mark: digits.iter().take(MARK).take_while(is_mark).count(),
        })
}
