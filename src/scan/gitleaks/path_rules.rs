//! The rules that hold for some paths only: the gate applies them, since gitleaks sees no path.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::file_names;
use super::own::{Form, Grades};
use super::pattern::Pattern;

/// What a path decides.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PathRules {
    pub(crate) bound: BTreeMap<String, Pattern>,
    pub(crate) only: Vec<PathOnly>,
    pub(crate) forms: Vec<Form>,
    /// Which findings are suspects.
    pub grades: Grades,
    /// Whether there are paths besides those of gitleaks' own rules, which look at a file's name.
    pub(crate) of_directories: bool,
}

/// A rule without an expression for what the file holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PathOnly {
    pub(crate) rule: String,
    pub(crate) description: String,
    pub(crate) path: Pattern,
}

impl PathRules {
    /// Whether a finding of `rule` counts for an object at `path`. An object without a path (a
    /// message, a blob under a tag) is held to every rule.
    pub fn applies(&self, rule: &str, path: Option<&str>) -> bool {
        match (self.bound.get(rule), path) {
            (Some(rule), Some(path)) => fits(rule, path),
            _ => true,
        }
    }

    /// What each rule says about `path`.
    pub fn verdicts(&self, path: &str) -> Vec<bool> {
        let only = self.only.iter().map(|rule| &rule.path);
        let rules = self.bound.values().chain(only);
        let forms = self.forms.iter().map(|form| form.is_for(path));
        rules.map(|rule| fits(rule, path)).chain(forms).collect()
    }

    /// Whether it may matter in which directory a file is, besides its name.
    pub fn look_at_directories(&self) -> bool {
        self.of_directories
    }

    /// The rule that forbids `path` whatever the file holds, and its description.
    pub fn path_only(&self, path: &str) -> Option<(&str, &str)> {
        let rule = self.only.iter().find(|rule| fits(&rule.path, path))?;
        Some((&rule.rule, &rule.description))
    }

    /// The forms that credentials have in a file at one of `paths`.
    pub fn forms(&self, paths: &[String]) -> Vec<&Form> {
        let is_here = |form: &&Form| paths.iter().any(|path| form.is_for(path));
        self.forms.iter().filter(is_here).collect()
    }
}

/// Whether `rule` is for `path`, or for what is compressed there.
fn fits(rule: &Pattern, path: &str) -> bool {
    rule.is_match(path) || file_names::inside(path).is_some_and(|name| fits(rule, name))
}
