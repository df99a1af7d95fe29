//! Credentials in files that exist to hold them: what counts there is the file and the form
//! ([`Form`]), however weak the value.

use memchr::memchr_iter;

use crate::scan::Hit;
use crate::scan::decode::{Member, ViewKind};
use crate::scan::fragments::Location;
use crate::scan::gitleaks::{Form, PathRules, RawFinding};
use crate::scan::source::Source;

/// What is found in `text`, a part of `member` that begins on `line`. `forms` are those for the paths of
/// its object.
pub fn hits(
    rules: &PathRules,
    forms: &[&Form],
    source: Source,
    member: &Member,
    line: u64,
    text: &[u8],
) -> Vec<Hit> {
    if member.kind == ViewKind::Names {
        return Vec::new();
    }
    let inside = match member.name() {
        Some(name) => rules.forms(&[name.to_owned()]),
        None => forms.to_vec(),
    };
    if inside.is_empty() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(text);
    let hit = |form: &Form, (matched, secret, at): (&str, &str, usize)| {
        let line = line + memchr_iter(b'\n', &text.as_bytes()[..at]).count() as u64;
        let raw = RawFinding {
            rule: form.rule.clone(),
            description: form.description.clone(),
            start_line: line,
            end_line: line,
            start_column: 1,
            matched: matched.to_owned(),
            secret: secret.to_owned(),
            decoded: false,
        };
        let member = member.clone();
        let at = Location {
            source,
            member,
            line,
        };
        Hit::new(at, raw)
    };
    let found = inside.iter().flat_map(|form| {
        let found = form.find(&text).into_iter();
        found.map(|one| hit(form, one))
    });
    found.collect()
}
