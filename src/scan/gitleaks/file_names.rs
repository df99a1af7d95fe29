//! Names of files by which rules are bound to them.

use serde::{Deserialize, Serialize};
use toml::Value;

/// Suffixes of compressed files.
const COMPRESSED: &[&str] = &["gz", "bz2", "xz", "lzma", "lz", "zst", "z", "zz"];

/// Names of files in lower case, or `*end` of one. Directories are not looked at: one and the same tree
/// may stand in many.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct FileNames(Vec<String>);

impl FileNames {
    /// Reads a list of them; none is an empty one.
    pub(crate) fn of(list: Option<&Value>) -> Result<Self, String> {
        let Some(list) = list else {
            return Ok(Self::default());
        };
        let names = super::rule_table::strings(list);
        let names = names.filter(|names| !names.iter().any(|name| name.contains('/')));
        let names = names.ok_or("not a list of names of files, without directories")?;
        let names = names.iter().map(|name| name.to_ascii_lowercase());
        Ok(Self(names.collect()))
    }

    /// Whether one of them is for the file at `path`.
    pub(crate) fn fit(&self, path: &str) -> bool {
        let file = path.rsplit('/').next().unwrap_or(path).as_bytes();
        let is_for = |name: &String| match name.strip_prefix('*') {
            Some(end) => {
                let start = file.len().checked_sub(end.len());
                let tail = start.and_then(|start| file.get(start..));
                tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end.as_bytes()))
            }
            None => file.eq_ignore_ascii_case(name.as_bytes()),
        };
        self.0.iter().any(is_for) || inside(path).is_some_and(|inner| self.fit(inner))
    }
}

/// What is compressed keeps the name of what is in it.
pub(crate) fn inside(path: &str) -> Option<&str> {
    let (name, suffix) = path.rsplit_once('.')?;
    let is_it = |one: &&str| one.eq_ignore_ascii_case(suffix);
    COMPRESSED.iter().any(is_it).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_the_file() {
        let list = Value::from(vec![".netrc", "*.SQL"]);
        let names = FileNames::of(Some(&list)).unwrap();
        for path in [".netrc", "home/.NETRC", "dump.sql", "x/dump.sql.gz"] {
            assert!(names.fit(path), "{path}");
        }
        for path in ["x.netrc", ".netrc/x", "dump.sql/x", ""] {
            assert!(!names.fit(path), "{path}");
        }
        assert!(FileNames::of(Some(&vec!["a/b"].into())).is_err());
    }
}
