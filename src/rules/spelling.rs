//! Which file a checkout writes for a name in a tree: on macOS, Windows and case-folding file systems
//! several names are one file. What git itself guards of this is `.git` and `.gitmodules` alone
//! (git-config(1), `core.protectHFS`, `core.protectNTFS`).
//!
//! Everything here errs to one side: two names may count as the same though no system says so.

use glob::Pattern;

use crate::text;

/// Stands for letters that have several spellings in Unicode (composed or not).
const LETTER: char = '\u{a4}';

/// `text` as a name that all spellings of one file share: without case, without characters that take no
/// room, without what NTFS drops, and with every letter that is not ASCII as one sign.
pub fn fold(text: &str) -> String {
    let mut folded = String::new();
    let visible = text.chars().filter(|&c| !text::is_invisible(c));
    // Up and down again: full case folding, in which the long s is an s and a ligature its letters.
    let letters = visible
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase);
    for c in letters {
        if c.is_ascii() {
            folded.push(c);
            continue;
        }
        if is_combining(c) && folded.ends_with(|c: char| c.is_ascii()) {
            folded.pop();
        }
        if !folded.ends_with(LETTER) {
            folded.push(LETTER);
        }
    }
    // The name of a stream begins with a colon; dots and spaces at the end are dropped.
    let name = folded.split(':').next().unwrap_or_default();
    name.trim_end_matches(['.', ' ']).to_owned()
}

/// The blocks of combining marks.
fn is_combining(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// The names of which the entry `name` of a tree makes a path: more than one where it holds a slash of
/// either kind.
pub fn names(name: &[u8]) -> Vec<String> {
    let name = String::from_utf8_lossy(name);
    name.split(['/', '\\']).map(str::to_owned).collect()
}

/// Whether `name` leads out of its directory.
pub fn leads_up(name: &str) -> bool {
    let visible: String = name.chars().filter(|&c| !text::is_invisible(c)).collect();
    let name = visible.split(':').next().unwrap_or_default();
    name.trim_end() == ".."
}

/// Whether every part of `path` can only be what it says, so that an exception may let it through.
pub fn is_plain(path: &str) -> bool {
    let is_plain = |part: &str| {
        !matches!(part, "" | "." | "..")
            && !part.contains(['\\', ':'])
            && !part.ends_with([' ', '.'])
    };
    path.split('/').all(is_plain)
}

/// A glob for one part of a path.
#[derive(Debug)]
pub struct NameGlob {
    exact: Pattern,
    folded: Pattern,
    /// How the short names of what it matches begin, and their extension where it is known.
    short: (String, Option<String>),
}

impl NameGlob {
    /// Reads `text`, a part of a [`crate::path_glob::PathGlob`].
    pub fn new(text: &str) -> Option<Self> {
        let mut text = text.to_owned();
        while text.contains("**") {
            text = text.replace("**", "*");
        }
        let (exact, folded) = (Pattern::new(&text).ok()?, fold(&text));
        Some(Self {
            short: short_form(&folded),
            folded: Pattern::new(&folded).unwrap_or_else(|_| exact.clone()),
            exact,
        })
    }

    /// Whether it matches `name`, letter by letter.
    pub fn matches_exactly(&self, name: &str) -> bool {
        self.exact.matches(name)
    }

    /// Whether it matches a file that some checkout writes for `name`.
    pub fn matches(&self, name: &str) -> bool {
        let folded = fold(name);
        self.exact.matches(name) || self.folded.matches(&folded) || self.matches_short(&folded)
    }

    /// Whether `name` may be a short name (8.3) that NTFS gives to what this matches: up to six of its
    /// characters, or two and four digits of a hash, then `~` and a number.
    fn matches_short(&self, name: &str) -> bool {
        let (base, extension) = name.split_once('.').unwrap_or((name, ""));
        let Some((base, number)) = base.split_once('~') else {
            return false;
        };
        let is_short = !base.is_empty()
            && base.len() <= 6
            && extension.len() <= 3
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit());
        let (head, known) = &self.short;
        let is_hash = base.len() == 6
            && base.is_char_boundary(2)
            && base[2..].bytes().all(|b| b.is_ascii_hexdigit());
        let begins = base.starts_with(&**head) || head.starts_with(base);
        let is_hashed = is_hash && (head.len() < 2 || head.starts_with(&base[..2]));
        is_short && (begins || is_hashed) && known.as_deref().is_none_or(|known| known == extension)
    }
}

/// What the short names of the folded glob `text` begin with, and their extension.
fn short_form(text: &str) -> (String, Option<String>) {
    const WILD: [char; 3] = ['*', '?', '['];
    let text = text.trim_start_matches(['.', ' ']);
    let (base, extension) = text.rsplit_once('.').unwrap_or((text, ""));
    let known = !extension.contains(WILD) && (text.contains('.') || !text.contains(WILD));
    let head = base.split(WILD).next().unwrap_or_default();
    let head = head.chars().filter(|c| !matches!(c, '.' | ' '));
    let underscored = head.map(|c| if "+,;=[]".contains(c) { '_' } else { c });
    (
        underscored.take(6).collect(),
        known.then(|| extension.chars().take(3).collect()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_file_are_one_name() {
        for (one, other) in [
            (".github", ".GitHub"),
            (".github", ".git\u{200c}hub"),
            (".github", ".github. ."),
            (".github", ".github::$INDEX_ALLOCATION"),
            ("workflows", "wor\u{212a}flow\u{17f}"),
            ("jenkinsfile", "Jen\u{212a}insfile"),
            ("file.yml", "\u{fb01}le.yml"),
            ("caf\u{e9}", "cafe\u{301}"),
            ("\u{c9}t\u{e9}", "e\u{301}te\u{301}"),
            ("stra\u{df}e", "STRASSE"),
        ] {
            assert_eq!(fold(one), fold(other), "{one:?} {other:?}");
        }
        assert_ne!(fold("a.yml"), fold("b.yml"));
        assert_ne!(fold(".git.hub"), fold(".github"));
    }

    #[test]
    fn short_names_count_as_what_they_are_short_for() {
        for (glob, name, taken) in [
            (".github", "GITHUB~1", true),
            ("workflows", "WORKFL~1", true),
            (".gitlab-ci.yml", "GITLAB~2.YML", true),
            (".gitlab-ci.yml", "GI7D29~1.YML", true),
            (".gitlab-ci.yml", "GITLAB~1.TXT", false),
            ("Jenkinsfile", "JENKIN~1", true),
            ("Jenkinsfile", "JEN~12", true),
            ("Jenkinsfile", "NOTES~1", false),
            ("*.lock", "CARGO~1.LOC", true),
            ("a*", "~1", false),
        ] {
            assert_eq!(
                NameGlob::new(glob).unwrap().matches(name),
                taken,
                "{glob} {name}"
            );
        }
    }
}
