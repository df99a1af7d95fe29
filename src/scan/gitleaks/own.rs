//! The gate's own rules (`rules/*.toml`), beside gitleaks' own: what people leak and those do not name.
//!
//! They are in gitleaks' format, with four keys more:
//!
//! | key                       | what it says                                                              |
//! |---------------------------|---------------------------------------------------------------------------|
//! | `tags = ["suspect"]`      | what the rule finds is told, and lets the push pass (`git-gate.suspects`)  |
//! | `refusesAt` (file names)  | where it refuses all the same                                             |
//! | `files` and `form`        | the gate itself looks for `form`, in files of these names ([`Form`])      |
//! | `templates`               | what is no secret in such a file, in a rule or for all of them            |
//!
//! Examples stand beside each rule: `finds` and `passes`. They are for its test, and not in the program.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::ZlibDecoder;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::file_names::FileNames;
use super::pattern::Pattern;

/// All of them in one text, packed: see `build.rs`.
const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rules.toml.zlib"));

/// The tag of a rule whose findings are suspects.
const SUSPECT: &str = "suspect";

/// Lists that gitleaks and the gate share.
const LISTS: [&str; 3] = ["rules", "allowlists", TEMPLATES];

/// What is no secret in any of the files that the gate itself looks into.
pub(crate) const TEMPLATES: &str = "templates";

/// The gate's own rules as a configuration of gitleaks, with its keys as they are read here: in lower case.
pub(crate) fn read() -> Result<Table, String> {
    let mut text = String::new();
    ZlibDecoder::new(PACKED)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    let config: Table = text
        .parse()
        .map_err(|error: toml::de::Error| error.to_string())?;
    super::rule_table::lower_keys(config)
}

/// Adds them to `base`.
pub(crate) fn add_to(base: &mut Table) -> Result<(), String> {
    let mut own = read()?;
    for list in LISTS {
        if let Some(Value::Array(own)) = own.remove(list) {
            let all = base
                .entry(list)
                .or_insert_with(|| Vec::<Value>::new().into());
            all.as_array_mut().ok_or("not a list")?.extend(own);
        }
    }
    Ok(())
}

/// Which rules only make suspects.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Grades(BTreeMap<String, FileNames>);

impl Grades {
    /// Notes the grade of `rule`, whose id is `name`, and takes out what gitleaks does not know.
    pub(crate) fn take(&mut self, name: &str, rule: &mut Table) -> Result<(), String> {
        let refuses_at = FileNames::of(rule.remove("refusesat").as_ref())?;
        let tags = rule.get("tags").and_then(Value::as_array);
        let is_suspect = |tag: &Value| tag.as_str() == Some(SUSPECT);
        if tags.is_some_and(|tags| tags.iter().any(is_suspect)) {
            self.0.insert(name.to_owned(), refuses_at);
        }
        Ok(())
    }

    /// Whether what `rule` finds at `paths` is a suspect.
    pub fn is_suspect(&self, rule: &str, paths: &[String]) -> bool {
        let refuses_at = self.0.get(rule);
        refuses_at.is_some_and(|names| !paths.iter().any(|path| names.fit(path)))
    }
}

/// How a credential is written in files that exist to hold one.
#[derive(Debug, Serialize, Deserialize)]
pub struct Form {
    /// The rule's id.
    pub rule: String,
    /// What it finds, in words.
    pub description: String,
    files: FileNames,
    form: Pattern,
    templates: Vec<Pattern>,
}

impl Form {
    /// Whether `rule` is one.
    pub(crate) fn is(rule: &Table) -> bool {
        rule.contains_key("form")
    }

    /// Reads `rule`, whose id is `name`; `templates` are for all forms.
    pub(crate) fn read(name: &str, rule: &Table, templates: &Table) -> Result<Self, String> {
        let text = |key| rule.get(key).and_then(Value::as_str).unwrap_or_default();
        let regex =
            |pattern: &str| Pattern::new(pattern).map_err(|error| format!("rule {name}: {error}"));
        let patterns = |table: &Table| -> Vec<String> {
            let list = table.get(TEMPLATES).and_then(Value::as_array);
            let list = list.into_iter().flatten().filter_map(Value::as_str);
            list.map(str::to_owned).collect()
        };
        let templates = patterns(templates).into_iter().chain(patterns(rule));
        Ok(Self {
            rule: name.to_owned(),
            description: text("description").to_owned(),
            files: FileNames::of(rule.get("files"))?,
            form: regex(text("form"))?,
            templates: templates.map(|one| regex(&one)).collect::<Result<_, _>>()?,
        })
    }

    /// Whether it is for the file at `path`.
    pub fn is_for(&self, path: &str) -> bool {
        self.files.fit(path)
    }

    /// The credentials in `text`: each whole match, and what in it is secret.
    pub fn find<'t>(&self, text: &'t str) -> Vec<(&'t str, &'t str, usize)> {
        let matches = self.form.captures_iter(text).filter_map(|found| {
            let whole = found.get(0)?;
            let secret = found.iter().skip(1).flatten().next().unwrap_or(whole);
            let is_template = |one: &Pattern| one.is_match(secret.as_str());
            let counts = !self.templates.iter().any(is_template);
            counts.then(|| (whole.as_str(), secret.as_str(), secret.start()))
        });
        matches.collect()
    }
}
