//! Patterns over ref names, as one side of a refspec has them (git-fetch(1)).

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A full ref name in which one `*` may stand for anything, or with `^` in front what is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RefPattern(String);

/// What a pattern must look like, as far as a schema can say it.
const SHAPE: &str = r"^\^?refs/[^*:]*\*?[^*:]*$";

impl RefPattern {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it leaves out what it matches.
    pub fn is_negative(&self) -> bool {
        self.0.starts_with('^')
    }

    /// What every ref that it matches begins with.
    pub fn prefix(&self) -> &str {
        let pattern = self.pattern();
        pattern.split_once('*').map_or(pattern, |(front, _)| front)
    }

    /// Whether the pattern, without its `^`, is `name`.
    fn matches(&self, name: &[u8]) -> bool {
        match self.pattern().split_once('*') {
            None => name == self.pattern().as_bytes(),
            Some((front, back)) => {
                name.len() >= front.len() + back.len()
                    && name.starts_with(front.as_bytes())
                    && name.ends_with(back.as_bytes())
            }
        }
    }

    fn pattern(&self) -> &str {
        self.0.strip_prefix('^').unwrap_or(&self.0)
    }
}

impl TryFrom<String> for RefPattern {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let pattern = Self(text);
        let name = pattern.pattern();
        let is_odd =
            |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '[' | '\\');
        if !name.starts_with("refs/") || name.len() == "refs/".len() {
            Err("must be a full ref name, such as refs/heads/* or ^refs/pull/*")
        } else if name.matches('*').count() > 1 {
            Err("may hold one * only, which also matches /")
        } else if name.contains(is_odd) || name.contains("..") || name.ends_with('/') {
            Err("is no ref name; write one side of a refspec, such as refs/heads/* or ^refs/pull/*")
        } else {
            Ok(pattern)
        }
    }
}

impl From<RefPattern> for String {
    fn from(pattern: RefPattern) -> Self {
        pattern.0
    }
}

impl JsonSchema for RefPattern {
    fn schema_name() -> Cow<'static, str> {
        "RefPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A full ref name in which one `*` may stand for anything, or with `^` in front what is left out.",
            "type": "string",
            "pattern": SHAPE,
        })
    }
}

/// Whether `patterns` take the ref `name`: one that is not negative does, or all are, and no negative
/// one matches it.
pub fn take(patterns: &[RefPattern], name: &[u8]) -> bool {
    let (out, mut of): (Vec<_>, Vec<_>) = patterns.iter().partition(|one| one.is_negative());
    of.retain(|pattern| pattern.matches(name));
    let is_named = !of.is_empty() || out.len() == patterns.len();
    is_named && !out.iter().any(|pattern| pattern.matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(of: &[&str]) -> Vec<RefPattern> {
        let read = |text: &&str| RefPattern::try_from((*text).to_owned()).unwrap();
        of.iter().map(read).collect()
    }

    #[test]
    fn patterns_take_and_leave_out_as_refspecs_do() {
        for (of, name, taken) in [
            (&[][..], "refs/pull/1/head", true),
            (&["^refs/pull/*"], "refs/pull/1/head", false),
            (&["^refs/pull/*"], "refs/heads/pull/1", true),
            (&["refs/heads/*", "refs/tags/*"], "refs/tags/v1", true),
            (
                &["refs/heads/*", "refs/tags/*"],
                "refs/notes/commits",
                false,
            ),
            (
                &["refs/heads/*", "^refs/heads/wip/*"],
                "refs/heads/wip/a",
                false,
            ),
            (&["refs/heads/main"], "refs/heads/main", true),
            (&["refs/heads/main"], "refs/heads/main2", false),
            (&["refs/pull/*/head"], "refs/pull/7/head", true),
            (&["refs/pull/*/head"], "refs/pull/head", false),
        ] {
            assert_eq!(take(&patterns(of), name.as_bytes()), taken, "{of:?} {name}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "",
            "main",
            "refs/",
            "refs/*/*",
            "+refs/a:refs/a",
            "refs/a b",
            "refs/../x",
            "refs/a/",
        ] {
            assert!(RefPattern::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }
}
