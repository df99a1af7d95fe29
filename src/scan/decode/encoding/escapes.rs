//! Single characters written as escapes, and lines that are broken softly.
//!
//! Known are `\x41`, `\101`, `\u0041`, `\u{41}`, `\U00000041`, `\/`, `&#65;`, `&#x41;`, `%41`,
//! quoted-printable (RFC 2045), and a backslash or an equals sign that joins two lines; `\_` of Markdown
//! and TeX, named entities, `^` of batch files, UTF-7; and figures behind a backslash as Lua, CSS and
//! `echo` read them ([`Notation`]). gitleaks
//! resolves `%41` and `\u0041` where all on a line is printable, so these alone do not count.

use super::utf7;

/// Bytes that can begin an escape.
const FIRST: [u8; 5] = [b'\\', b'&', b'%', b'=', b'^'];

/// Names of entities for what tokens and addresses consist of, and whether they count: the last ones
/// stand in every file of HTML.
const ENTITIES: &[(&[u8], char, bool)] = &[
    (b"lowbar;", '_', true),
    (b"UnderBar;", '_', true),
    (b"period;", '.', true),
    (b"equals;", '=', true),
    (b"plus;", '+', true),
    (b"sol;", '/', true),
    (b"colon;", ':', true),
    (b"commat;", '@', true),
    (b"dollar;", '$', true),
    (b"percnt;", '%', true),
    (b"excl;", '!', true),
    (b"quot;", '"', false),
    (b"apos;", '\'', false),
    (b"amp;", '&', false),
    (b"lt;", '<', false),
    (b"gt;", '>', false),
];

/// How figures behind a backslash are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notation {
    /// As in C and what followed it.
    Usual,
    /// Up to three decimal figures.
    Lua,
    /// Up to six hexadecimal ones, and a blank.
    Css,
    /// A zero and up to three octal ones.
    Echo,
}

impl Notation {
    const OTHERS: [Self; 3] = [Self::Lua, Self::Css, Self::Echo];

    /// The escape at `at`, which is a backslash, in a notation that is not the usual one. It counts
    /// where it makes a long word: any of them may stand for something else.
    fn escape(self, text: &[u8], at: usize, before: &[u8]) -> Option<Escape> {
        let digits = &text[at + 1..];
        let (value, length) = match self {
            Self::Usual => return None,
            Self::Lua => number(digits, 1, 3, 10)?,
            Self::Css => {
                let (value, length) = number(digits, 1, 6, 16)?;
                let blank = digits.get(length).is_some_and(u8::is_ascii_whitespace);
                (value, length + usize::from(blank))
            }
            Self::Echo => {
                let (value, length) = number(digits.strip_prefix(b"0")?, 1, 3, 8)?;
                (value, length + 1)
            }
        };
        let value = u8::try_from(value).ok()?;
        Some(Escape {
            length: length + 1,
            value: Some(value.into()),
            byte: true,
            counts: is_part(value) && word(before, &digits[length..]).2 >= TOKEN,
        })
    }
}

/// Letters and figures of the shortest token that has a shape of its own.
const TOKEN: usize = 20;

/// One resolved escape.
struct Escape {
    /// How many bytes it takes.
    length: usize,
    /// What it stands for; nothing where it joins lines.
    value: Option<char>,
    /// Whether the value is a byte rather than a character.
    byte: bool,
    /// Whether gitleaks does not resolve it.
    counts: bool,
}

/// The lines of `text` in which an escape was resolved, or None when there are none.
pub(crate) fn resolve(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    if may_hold(text) {
        resolve_as(Notation::Usual, text, &mut out);
    }
    let has_figure = |at: usize| text.get(at + 1).is_some_and(u8::is_ascii_hexdigit);
    if memchr::memchr_iter(b'\\', text).any(has_figure) {
        for notation in Notation::OTHERS {
            resolve_as(notation, text, &mut out);
        }
    }
    (!out.is_empty()).then_some(out)
}

/// Adds the lines of `text` to `out` in which an escape of `notation` was resolved.
fn resolve_as(notation: Notation, text: &[u8], out: &mut Vec<u8>) {
    let (mut line_start, mut counts, mut at) = (out.len(), false, 0);
    while let Some(&byte) = text.get(at) {
        let before = &out[line_start..];
        let escape = match (notation, byte) {
            (Notation::Usual, _) if FIRST.contains(&byte) => escape(text, at, before),
            (Notation::Usual, _) => None,
            (_, b'\\') => notation.escape(text, at, before),
            _ => None,
        };
        let shifted = || (byte == b'+').then(|| utf7::run(&text[at..])).flatten();
        let length = if let Some(escape) = escape {
            counts |= escape.counts;
            push(out, &escape);
            escape.length
        } else if let Some((run, length)) = shifted() {
            counts = true;
            out.extend(run);
            length
        } else {
            out.push(byte);
            1
        };
        at += length;
        if length == 1 && byte == b'\n' || at == text.len() {
            if !counts {
                out.truncate(line_start);
            }
            line_start = out.len();
            counts = false;
        }
    }
}

fn push(out: &mut Vec<u8>, escape: &Escape) {
    match escape.value {
        Some(c) if escape.byte => out.push(u32::from(c).to_le_bytes()[0]),
        Some(c) => out.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => {}
    }
}

/// Whether `line` holds an escape or is broken softly.
pub(crate) fn may_go_on(line: &[u8]) -> bool {
    may_hold(line) || matches!(line.trim_ascii_end(), [.., b'\\' | b'='])
}

/// Whether there is an escape that counts, found quickly.
fn may_hold(text: &[u8]) -> bool {
    let at = |at: usize| escape(text, at, &text[..at]).is_some_and(|escape| escape.counts);
    memchr::memchr3_iter(b'\\', b'&', b'%', text).any(at)
        || memchr::memchr_iter(b'=', text).any(at)
        || memchr::memchr_iter(b'^', text)
            .any(|caret| at(caret) || text.get(caret + 2) == Some(&b'^'))
        || memchr::memchr_iter(b'+', text).any(|at| utf7::run(&text[at..]).is_some())
}

/// The escape at `at` in `text`; `before` is what stands in front of it, resolved or not.
fn escape(text: &[u8], at: usize, before: &[u8]) -> Option<Escape> {
    let follows_backslash = at > 0 && text[at - 1] == b'\\';
    match &text[at..] {
        // All backslashes in a row belong to one escape, and the first of them has told that they
        // begin none.
        [b'\\', ..] if follows_backslash => None,
        text @ [b'\\', ..] => backslash(text, before),
        [b'&', b'#', b'x' | b'X', digits @ ..] => entity(digits, 16, 3),
        [b'&', b'#', digits @ ..] => entity(digits, 10, 2),
        [b'&', name @ ..] => {
            let known = ENTITIES.iter().find(|(known, ..)| name.starts_with(known));
            known.map(|&(name, value, counts)| Escape {
                length: name.len() + 1,
                value: Some(value),
                byte: false,
                counts,
            })
        }
        [b'^', behind @ ..] if behind.first().is_some_and(|&byte| is_part(byte)) => {
            let (head, _, length) = word(before, behind);
            (head > 0).then_some(Escape {
                length: 1,
                value: None,
                byte: false,
                counts: length > TOKEN,
            })
        }
        [b'%', digits @ ..] => {
            let value = number(digits, 2, 2, 16)?.0;
            Some(Escape {
                length: 3,
                value: char::from_u32(value),
                byte: true,
                counts: !(0x20..0x7f).contains(&value),
            })
        }
        text @ ([b'=', b'\n', ..] | [b'=', b'\r', b'\n', ..]) => joined(text, 1, before),
        [b'=', digits @ ..] => {
            let value = number(digits, 2, 2, 16)?.0;
            let next =
                matches!(digits, [_, _, b'=', rest @ ..] if number(rest, 2, 2, 16).is_some());
            // One alone is more often a comparison or a setting than quoted-printable, unless it
            // stands in a word as long as a token.
            let counts = next
                || before.last().is_some_and(|&b| b != b' ') && digits.starts_with(b"3D")
                || is_in_token(value, before, &digits[2..]);
            Some(Escape {
                length: 3,
                value: char::from_u32(value),
                byte: true,
                counts,
            })
        }
        _ => None,
    }
}

/// Whether the character `value` joins what is `before` and `behind` it into one long word.
fn is_in_token(value: u32, before: &[u8], behind: &[u8]) -> bool {
    let (head, tail, length) = word(before, behind);
    u8::try_from(value).is_ok_and(is_part) && head > 0 && tail > 0 && length >= TOKEN
}

/// Whether words that may be tokens consist of such bytes.
fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'=')
}

/// How much of a word stands before and behind a letter of it, and how long it is; up to a token.
fn word(before: &[u8], behind: &[u8]) -> (usize, usize, usize) {
    let parts = |bytes: &mut dyn Iterator<Item = &u8>| {
        let bytes = bytes.take(TOKEN);
        bytes.take_while(|&&byte| is_part(byte)).count()
    };
    let head = parts(&mut before.iter().rev());
    let tail = parts(&mut behind.iter());
    (head, tail, head + 1 + tail)
}

fn backslash(text: &[u8], before: &[u8]) -> Option<Escape> {
    let slashes = text.iter().take_while(|&&b| b == b'\\').count();
    let found = |length, value, byte, counts| {
        Some(Escape {
            length: slashes + length,
            value: Some(value),
            byte,
            counts,
        })
    };
    match &text[slashes..] {
        [b'x' | b'u', b'{', digits @ ..] => {
            let (value, length) = number(digits, 1, 6, 16)?;
            (digits.get(length) == Some(&b'}')).then_some(())?;
            found(length + 3, char::from_u32(value)?, false, true)
        }
        [b'x' | b'X', digits @ ..] => {
            let (value, _) = number(digits, 2, 2, 16)?;
            found(3, char::from_u32(value)?, true, true)
        }
        [b'u', digits @ ..] => {
            let (value, _) = number(digits, 4, 4, 16)?;
            let counts = !(0x20..0x7f).contains(&value);
            found(5, char::from_u32(value)?, false, counts)
        }
        [b'U', digits @ ..] => {
            let (value, _) = number(digits, 8, 8, 16)?;
            found(9, char::from_u32(value)?, false, true)
        }
        [b'/', ..] => found(1, '/', false, true),
        [sign @ (b'_' | b'-' | b'='), behind @ ..] => {
            let counts = is_in_token(u32::from(*sign), before, behind);
            found(1, char::from(*sign), false, counts)
        }
        [b'\n', ..] | [b'\r', b'\n', ..] => joined(text, slashes, before),
        digits @ [b'0'..=b'3', ..] => {
            let (value, _) = number(digits, 3, 3, 8)?;
            found(3, char::from_u32(value)?, true, true)
        }
        _ => None,
    }
}

/// `sign` bytes and a line end that join two words, with the indentation behind them.
fn joined(text: &[u8], sign: usize, before: &[u8]) -> Option<Escape> {
    let is_word = |b: &u8| b.is_ascii_graphic() && *b != b'=';
    let line_end = if text.get(sign) == Some(&b'\r') { 2 } else { 1 };
    let rest = &text[sign + line_end..];
    let indentation = rest
        .iter()
        .position(|b| !matches!(b, b' ' | b'\t'))
        .unwrap_or(rest.len());
    let joins = before.last().is_some_and(is_word) && rest.get(indentation).is_some_and(is_word);
    joins.then_some(Escape {
        length: sign + line_end + indentation,
        value: None,
        byte: false,
        counts: true,
    })
}

fn entity(digits: &[u8], radix: u32, before: usize) -> Option<Escape> {
    let (value, length) = number(digits, 1, 7, radix)?;
    let semicolon = usize::from(digits.get(length) == Some(&b';'));
    Some(Escape {
        length: before + length + semicolon,
        value: Some(char::from_u32(value)?),
        byte: false,
        counts: true,
    })
}

/// A number of `least` to `most` digits that `text` starts with, and how many it has.
fn number(text: &[u8], least: usize, most: usize, radix: u32) -> Option<(u32, usize)> {
    let length = text
        .iter()
        .take(most)
        .take_while(|&&b| char::from(b).is_digit(radix))
        .count();
    if length < least {
        return None;
    }
    let digits = std::str::from_utf8(&text[..length]).ok()?;
    Some((u32::from_str_radix(digits, radix).ok()?, length))
}
