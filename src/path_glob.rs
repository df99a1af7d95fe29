//! Globs over paths, as gitignore(5) has them, as far as both say the same.

use std::borrow::Cow;

use glob::Pattern;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How long a glob may be, in bytes.
const LONGEST: usize = 1000;

/// A glob over paths: with a `/` that is not its last character it begins at the top, otherwise it
/// holds at any depth; `**` stands for any directories; what it matches holds for all that is below.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathGlob(String);

impl PathGlob {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it begins at the top.
    pub fn is_anchored(&self) -> bool {
        self.0.trim_end_matches('/').contains('/')
    }

    /// Its parts, from the top; `**` at its end is left out, since a directory stands for what is below.
    pub fn parts(&self) -> Vec<&str> {
        let mut parts: Vec<_> = self.0.split('/').filter(|part| !part.is_empty()).collect();
        while parts.last() == Some(&"**") {
            parts.pop();
        }
        parts
    }
}

impl TryFrom<String> for PathGlob {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_glob = |part: &str| part == "**" || Pattern::new(&part.replace("**", "*")).is_ok();
        if text.trim_matches('/').is_empty() || text.len() > LONGEST {
            Err("must be a path or a glob of at most 1000 bytes, such as /docs/*.md")
        } else if text.starts_with('!') {
            Err("must not begin with !; name what may be changed in git-gate.allowPath")
        } else if text.contains(['\\', ':']) || text.contains(char::is_control) {
            Err("may hold no backslash, colon or control character")
        } else if text.contains("[^") || text.contains("[[") || !text.split('/').all(is_glob) {
            Err("has a bracket that is not [abc], [a-c] or [!abc]")
        } else {
            Ok(Self(text))
        }
    }
}

impl From<PathGlob> for String {
    fn from(glob: PathGlob) -> Self {
        glob.0
    }
}

impl JsonSchema for PathGlob {
    fn schema_name() -> Cow<'static, str> {
        "PathGlob".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A glob over paths, as in gitignore(5), without `!` and backslashes.",
            "type": "string",
            "pattern": r"^[^!\\:][^\\:]*$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_read_as_something_else_is_refused() {
        for bad in [
            "",
            "/",
            "!a",
            "a\\b",
            "a:b",
            "[a",
            "[^a]",
            "[[:alpha:]]",
            "a\nb",
        ] {
            assert!(PathGlob::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
        for good in ["a", "/a/**/b*", "a**b", "**", "[!a-c]?", "docs/"] {
            assert!(PathGlob::try_from(good.to_owned()).is_ok(), "{good:?}");
        }
    }
}
