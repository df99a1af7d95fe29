//! What may be shown: untrusted text made safe for a terminal, a log line, an error.

use std::fmt::Write;

/// How long a line of untrusted text may be, in characters.
pub const LINE_LIMIT: usize = 400;

/// How much of a ref's name is shown.
const NAME_LIMIT: usize = 200;

/// `bytes` as one printable line: invalid UTF-8 and every character that is not seen in its place
/// (control characters, line separators, bidirectional overrides, what has no width) become `?`, and
/// what is over [`LINE_LIMIT`] becomes `…`.
pub fn line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len().min(LINE_LIMIT + 4));
    for (count, c) in text.chars().enumerate() {
        if count == LINE_LIMIT {
            out.push('…');
            break;
        }
        out.push(if is_unsafe(c) { '?' } else { c });
    }
    out
}

/// The lines of untrusted `bytes` that have something to show, each made safe by [`line()`].
/// A carriage return starts a line too: git's progress is written so.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = String> + '_ {
    bytes
        .split(|&b| b == b'\n' || b == b'\r')
        .map(strip_escapes)
        .map(|part| line(&part).trim_end().to_owned())
        .filter(|line| !line.trim().is_empty())
}

/// What [`lines`] gives, behind each other.
pub fn joined(bytes: &[u8]) -> String {
    lines(bytes).collect::<Vec<_>>().join("; ")
}

/// What git says in one line of its standard error, up to where it may repeat what a client sent:
/// the first quotation mark, or the third colon. Behind a quotation mark the client may have put a
/// line break, so that the lines that follow may be the client's too: the second value says so.
pub fn gits_words(said: &[u8]) -> (String, bool) {
    let quote = said.iter().position(|byte| b"'\"`".contains(byte));
    let colons = said.windows(2).enumerate().filter(|(_, two)| two == b": ");
    let third = colons.map(|(at, _)| at).nth(2);
    let end = [quote, third].into_iter().flatten().min();
    match end {
        Some(end) => (
            format!("{} …", line(&said[..end]).trim_end()),
            quote.is_some(),
        ),
        None => (line(said), false),
    }
}

/// A name that a scan has found nothing in: its first [`NAME_LIMIT`] characters, made safe by [`line()`],
/// so that there is room for what is said of it.
pub fn name(name: &str) -> String {
    match name.char_indices().nth(NAME_LIMIT) {
        Some((end, _)) => line(&name.as_bytes()[..end]) + "…",
        None => line(name.as_bytes()),
    }
}

/// As [`name`], for a name that only stands near what was found: a part that looks like a token (a
/// long run of letters and digits together) is cut to its first four characters.
pub fn ref_name(name: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '=');
    let mut shown = String::new();
    let mut rest = name;
    while !rest.is_empty() {
        let word = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
        let token = word.len() >= 16
            && word.contains(|c: char| c.is_ascii_digit())
            && word.contains(|c: char| c.is_ascii_alphabetic());
        shown.push_str(if token { &word[..4] } else { word });
        shown.push_str(if token { "…" } else { "" });
        rest = &rest[word.len()..];
        let other = &rest[..rest.find(is_word).unwrap_or(rest.len())];
        shown.push_str(other);
        rest = &rest[other.len()..];
    }
    self::name(&shown)
}

/// `error` and its causes as one line, made safe by [`line()`].
pub fn chain(error: &dyn std::error::Error) -> String {
    line(causes(error).as_bytes())
}

/// `error` and its causes, whole and as they are: for an operator's own machine.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut shown = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(shown, ": {error}");
        cause = error.source();
    }
    shown
}

/// The one of `known` that is spelt most like `name`, where one is near.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&known.to_lowercase(), &name);
    known
        .map(|known| (distance(known), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= 2.max(known.len() / 3))
        .map(|(_, known)| known)
}

/// `bytes` as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// `count` and `noun`, with an `s` where there is not exactly one.
pub fn plural(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

/// `bytes` as a size that people read: `512 bytes`, `1.50 KiB`, in git's units.
pub fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
    let value = bytes as f64;
    match bytes {
        0..1024 => plural(usize::try_from(bytes).unwrap_or(usize::MAX), "byte"),
        1024..1_048_576 => format!("{:.2} KiB", value / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.2} MiB", value / 1_048_576.0),
        _ => format!("{:.2} GiB", value / 1_073_741_824.0),
    }
}

/// Whether `c` may do something else than be seen in its place: move the cursor, end a line, turn the
/// direction of what follows, or stand there unseen. Honest text loses by it what joins its letters
/// (U+200C, U+200D) and what picks a glyph (variation selectors): a `?` in a log line is better than
/// two names that look the same. Private use and noncharacters mean nothing to a reader.
fn is_unsafe(c: char) -> bool {
    c.is_control() || is_invisible(c) || u32::from(c) & 0xfffe == 0xfffe
}

/// What Unicode calls a format character (general category Cf), a line or paragraph separator (Zl,
/// Zp), ignorable by default (the property of that name), or private use (Co).
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{e000}'..='\u{f8ff}'
            | '\u{fdd0}'..='\u{fdef}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{fffd}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{10ffff}'
    )
}

/// Drops ANSI escape sequences whole (ECMA-48: CSI `ESC [ … final`, and two-byte escapes), so that
/// `ESC [31m` does not leave `[31m` behind.
fn strip_escapes(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != 0x1b {
            out.push(byte);
        } else if rest.next() == Some(b'[') {
            while rest.next_if(|b| (0x20..=0x3f).contains(b)).is_some() {}
            rest.next_if(|b| (0x40..=0x7e).contains(b));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_a_terminal() {
        assert_eq!(line(b"a\x07b\x9bc\xe2\x80\xaed"), "a?b?c?d");
        let class = "\u{2028}\u{2029}\u{61c}\u{200b}\u{200d}\u{feff}\u{ad}\u{e0041}\u{fe0f}\u{e000}\u{2066}\u{3164}\u{1d173}\u{fffe}";
        assert_eq!(line(class.as_bytes()), "?".repeat(class.chars().count()));
        let honest = "Grüße, 日本語, שלום, हिन्दी, 🙂";
        assert_eq!(line(honest.as_bytes()), honest);
        assert_eq!(
            line("x".repeat(500).as_bytes()).chars().count(),
            LINE_LIMIT + 1
        );
    }

    #[test]
    fn a_ref_name_that_looks_like_a_token_is_not_shown() {
        assert_eq!(
            ref_name("refs/heads/agent/fix-login-2"),
            "refs/heads/agent/fix-login-2"
        );
        assert_eq!(
            ref_name("refs/heads/ghp_0123456789abcdefghij"),
            "refs/heads/ghp_…"
        );
    }

    #[test]
    fn git_is_heard_without_what_it_repeats() {
        let shown = |said: &str| gits_words(said.as_bytes());
        assert_eq!(
            shown("[7] fatal: protocol error: expected old/new/ref, got 'x"),
            (
                "[7] fatal: protocol error: expected old/new/ref, got …".to_owned(),
                true
            )
        );
        assert_eq!(
            shown("[7] error: object 12: gitmodulesName: no: x"),
            ("[7] error: object 12: gitmodulesName …".to_owned(), false)
        );
        assert_eq!(
            shown("[7] fatal: early EOF"),
            ("[7] fatal: early EOF".to_owned(), false)
        );
    }

    #[test]
    fn lines_lose_colours_and_progress() {
        let shown: Vec<_> = lines(b"\x1b[31mred\x1b[0m\nCounting 1%\rCounting 2%\n\n").collect();
        assert_eq!(shown, ["red", "Counting 1%", "Counting 2%"]);
    }
}
