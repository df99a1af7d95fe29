//! Where a token ends, and what lets it through: gitleaks' own rules, made a little wider.
//!
//! Most of them end a token at a quote, a blank, a semicolon or a line end only. So one in XML, in a
//! list of values, in a URL, in a table or in JSON inside JSON is none, and in binary data it depends
//! on the next byte. Here a token ends where its own letters end: no second form of the text is to be
//! scanned for it.
//!
//! | a rule                                             | its tokens end                              |
//! |----------------------------------------------------|---------------------------------------------|
//! | knows a prefix, and how long its tokens are        | where they are long enough, begin anywhere  |
//! | knows a form that is a word                        | where their letters end                     |
//! | knows a form of its own                            | at all that no token consists of            |
//! | knows a name in front                              | at what ends a value in any notation        |
//! | rests on randomness ([`entropy_rules`])            | as before, and at what ends a text in a text |
//!
//! gitleaks' allow-lists are held against the secret alone, and whole: what stands beside one, or in
//! the same line, lets nothing through.

use toml::{Table, Value};

use super::entropy_rules;
use super::rule_table::id;

/// How most of gitleaks' rules end.
const END: &str = r#"(?:[\x60'"\s;]|\\[nr]|$)"#;

/// What stands in them between a name and its sign, and between the sign and the value.
const AROUND: [&str; 2] = [r#"[\s'"]{0,3}"#, r#"[\x60'"\s=]{0,5}"#];

/// The same, where the text stands in a string of another one.
const AROUND_QUOTED: [&str; 2] = [
    r#"(?:\\{0,7}[\s'"]){0,3}"#,
    r#"(?:\\{0,7}[\x60'"\s=]){0,5}"#,
];

/// Behind a token with a form of its own.
const FORMED_END: &str = r"(?:[^\w+/=-]|$)";

/// Behind a value with a name in front.
const NAMED_END: &str = r#"(?:[\x60'"\s;,<&|)}\]#*@\x1b\\]|$)"#;

/// Behind a value that only looks random. Names of programs stand before a comma as well.
const RANDOM_END: &str = r#"(?:[\x60'"\s;&|\x1b\\]|</|$)"#;

/// The shortest token with a prefix that is told by its length, without the prefix; and with one of
/// letters and figures only.
const TELLING: (usize, usize) = (16, 30);

/// The most letters beside a stop word that make it a placeholder; a secret has more.
const BESIDE: usize = 12;

/// Widens gitleaks' own `config`.
pub(crate) fn widen(config: &mut Table) {
    let allow = config.remove("allowlist").into_iter();
    let allow = allow.filter_map(|list| Some(whole(list.as_table()?)));
    let allow: Vec<Value> = allow.map(Value::from).collect();
    config.insert("allowlists".to_owned(), allow.into());
    let Some(Value::Array(rules)) = config.get_mut("rules") else {
        return;
    };
    for rule in rules.iter_mut().filter_map(Value::as_table_mut) {
        let rests_on_randomness = entropy_rules::rests_on_randomness(id(rule));
        if let Some(Value::String(pattern)) = rule.get_mut("regex") {
            *pattern = widened(pattern, rests_on_randomness);
        }
        // What this rule looks at is mostly the name of a variable.
        let keeps_match = id(rule) == entropy_rules::GENERIC;
        if let Some(Value::Array(lists)) = rule.get_mut("allowlists") {
            lists.retain(|list| match target(list) {
                "line" => false,
                "match" => keeps_match,
                _ => true,
            });
        }
    }
}

/// What an allow-list looks at.
fn target(list: &Value) -> &str {
    let target = list.as_table().and_then(|list| list.get("regextarget"));
    target.and_then(Value::as_str).unwrap_or("secret")
}

/// The allow-list for all rules so that it fits whole secrets only. Its paths are left out: the agent
/// chooses them.
fn whole(list: &Table) -> Table {
    let words = |key| list.get(key).and_then(Value::as_array);
    let words = |key| words(key).into_iter().flatten().filter_map(Value::as_str);
    let patterns = words("regexes").map(|pattern| format!("^(?:{pattern})$"));
    let stops = words("stopwords")
        .map(|word| format!("(?i)^.{{0,{BESIDE}}}{}.{{0,{BESIDE}}}$", literal(word)));
    let all: Vec<Value> = patterns.chain(stops).map(Value::from).collect();
    Table::from_iter([("regexes".to_owned(), all.into())])
}

/// A pattern for `word` alone.
fn literal(word: &str) -> String {
    let escaped = word.chars().map(|c| match c.is_ascii_punctuation() {
        true => format!("\\{c}"),
        false => c.to_string(),
    });
    escaped.collect()
}

fn widened(pattern: &str, rests_on_randomness: bool) -> String {
    let Some(body) = pattern.strip_suffix(END) else {
        let alone = pattern.strip_suffix(r"\b").and_then(alone);
        return alone.unwrap_or_else(|| pattern.to_owned());
    };
    if let Some(fixed) = fixed(body).filter(|_| !rests_on_randomness) {
        return fixed;
    }
    let is_named = body.contains(AROUND[1]);
    let mut body = body.to_owned();
    for (plain, quoted) in AROUND.iter().zip(AROUND_QUOTED) {
        body = body.replace(plain, quoted);
    }
    let end = match rests_on_randomness {
        true => RANDOM_END,
        false if is_named => NAMED_END,
        false => FORMED_END,
    };
    body + end
}

/// The pattern for tokens of one length behind a prefix that tells them: they may stand between any
/// others. None where `body` is for something else.
fn fixed(body: &str) -> Option<String> {
    let (flags, token) = match body.strip_prefix("(?i)") {
        Some(token) => ("(?i)", token),
        None => ("", body),
    };
    let token = token.strip_prefix(r"\b")?;
    let start = token.trim_start_matches(['(', '?', ':', 'i']);
    let is_literal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '\\');
    let end = start.find(|c| !is_literal(c)).unwrap_or(start.len());
    let prefix = start[..end].replace('\\', "");
    let (_, length) = repeated(token)?;
    let is_marked = prefix.contains(['_', '-', '.']) && prefix.len() >= 3;
    let tells = match is_marked {
        true => length >= TELLING.0,
        false => prefix.len() >= 4 && length >= TELLING.1,
    };
    tells.then(|| format!("{flags}{token}"))
}

/// The pattern for tokens of one length that end where a word does: now where their letters do.
fn alone(body: &str) -> Option<String> {
    let (letters, length) = repeated(body)?;
    (length >= TELLING.0).then(|| format!("{body}(?:[^{letters}]|$)"))
}

/// What a pattern for tokens of one length ends with: the letters of a class, and how many of them.
fn repeated(pattern: &str) -> Option<(&str, usize)> {
    let pattern = pattern.trim_end_matches(')').trim_end_matches("AA");
    let (class, length) = pattern.strip_suffix('}')?.rsplit_once("]{")?;
    let (_, letters) = class.rsplit_once('[')?;
    Some((letters, length.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_widened_by_what_it_knows() {
        let end = |pattern: &str| widened(&format!("{pattern}{END}"), false);
        assert_eq!(end(r"\b(xy_[a-z]{36})"), "(xy_[a-z]{36})");
        assert_eq!(end(r"(?i)\b(xyzv[a-z]{35})"), "(?i)(xyzv[a-z]{35})");
        let alone = widened(r"\b((?:XY|XZ)[A-Z]{16})\b", false);
        assert_eq!(alone, r"\b((?:XY|XZ)[A-Z]{16})(?:[^A-Z]|$)");
        // Too short, of any length, or of no prefix.
        for pattern in [
            r"\b(XYZV[A-Z]{16})",
            r"\b(xy_[a-z]{10,99})",
            r"\b([a-f]{40})",
        ] {
            assert_eq!(end(pattern), format!("{pattern}{FORMED_END}"));
        }
        let named = format!("name{}={}([a-z]{{32}})", AROUND[0], AROUND[1]);
        let quoted = format!("name{}={}([a-z]{{32}})", AROUND_QUOTED[0], AROUND_QUOTED[1]);
        assert_eq!(end(&named), quoted.clone() + NAMED_END);
        assert_eq!(widened(&(named + END), true), quoted + RANDOM_END);
        for other in ["xy-[a-z]+", r"\bxy-[a-z]{7}\b"] {
            assert_eq!(widened(other, false), other);
        }
    }

    #[test]
    fn an_allow_list_is_held_against_the_whole_secret() {
        let list: Table = "paths = ['x']\nregexes = ['^a|b']\nstopwords = ['c-d']"
            .parse()
            .unwrap();
        let whole = whole(&list);
        let expected: Table = r"regexes = ['^(?:^a|b)$', '(?i)^.{0,12}c\-d.{0,12}$']"
            .parse()
            .unwrap();
        assert_eq!(whole, expected);
    }
}
