//! The rules that gitleaks runs with: its own, or the operator's (`git-gate.gitleaksConfig`).
//!
//! gitleaks reads our input without a path, since one process reads all objects and since its
//! default path allow-list would hide some. Two things follow:
//!
//! - A rule with a `path` would never fire. Such a rule is given to gitleaks under another id
//!   ([`BOUND`] and the id) and without its path; the gate keeps a finding of it only where the
//!   object's path fits ([`PathRules`]). The word `generic` in that id matters: gitleaks drops a
//!   finding of `generic-api-key` when a rule not named generic found the same secret, and a finding
//!   that the gate drops afterwards must not have taken another one with it.
//! - An allow-list entry over `paths` or `commits` has no effect, also an operator's: the agent
//!   chooses both. What an operator wants to let through stands in `git-gate.exceptions`.
//!
//! gitleaks' own configuration is not extended but part of what it gets, so that the gate can widen it
//! ([`super::ends`]).

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::canary::{CANARY_RULE, Canary};
use super::own::{self, Form};
use super::path_rules::{PathOnly, PathRules};
use super::pattern::Pattern;
use super::rule_table::{id, lower_keys, strings};
use super::{EngineError, defaults, ends};
use crate::text;

/// In front of the id of a rule that lost its path.
pub(crate) const BOUND: &str = "generic-bound-to-path:";

/// The largest file of rules that is read, in bytes. gitleaks' own is a tenth of it.
const FILE_LIMIT: u64 = 1 << 20;

/// What gitleaks is told to look for.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) config: Config,
    /// What the gate adds.
    pub(crate) paths: PathRules,
}

/// gitleaks' configuration, without the canary's rule.
#[derive(Debug)]
pub(crate) struct Config(Table);

impl Rules {
    /// Reads the operator's `file`, and gitleaks' own rules out of `program` where the file extends
    /// them, or there is none.
    pub(crate) fn read(program: &Path, file: Option<&Path>) -> Result<Self, EngineError> {
        let bad = |problem: String| EngineError::Config {
            file: file.unwrap_or(program).to_owned(),
            problem: text::line(problem.as_bytes()),
        };
        let own = match file {
            Some(file) => read_file(file).map_err(bad)?,
            None => Table::from_iter([("extend".to_owned(), use_default())]),
        };
        let extend = extend(&own).map_err(bad)?;
        let mut base = Table::new();
        if extend.default {
            base = lower_keys(defaults::read(program)?).map_err(bad)?;
            ends::widen(&mut base);
            own::add_to(&mut base).map_err(bad)?;
        }
        let (config, paths) = compose(base, own, &extend.disabled).map_err(bad)?;
        Ok(Self {
            config: Config(config),
            paths,
        })
    }
}

impl Config {
    /// The configuration's text, with a rule for each of `canaries`.
    pub(crate) fn text(&self, canaries: &[&Canary]) -> String {
        let mut config = self.0.clone();
        if let Some(Value::Array(rules)) = config.get_mut("rules") {
            rules.extend(canaries.iter().map(|canary| canary_rule(canary)));
        }
        config.to_string()
    }
}

fn canary_rule(canary: &Canary) -> Value {
    let rule = Table::from_iter([
        ("id".to_owned(), CANARY_RULE.into()),
        ("description".to_owned(), "Proof of a whole scan".into()),
        ("regex".to_owned(), canary.pattern().into()),
        ("keywords".to_owned(), vec![canary.keyword()].into()),
    ]);
    rule.into()
}

fn use_default() -> Value {
    Table::from_iter([("usedefault".to_owned(), true.into())]).into()
}

/// The operator's `file`, its keys in lower case.
fn read_file(file: &Path) -> Result<Table, String> {
    let text = read_text(file)?;
    let config: Table = text
        .parse()
        .map_err(|error: toml::de::Error| describe(&text, &error))?;
    lower_keys(config)
}

/// The text of the operator's `file`.
pub(crate) fn read_text(file: &Path) -> Result<String, String> {
    let size = std::fs::metadata(file)
        .map_err(|error| error.to_string())?
        .len();
    if size > FILE_LIMIT {
        return Err(format!("it is over {}", text::size(FILE_LIMIT)));
    }
    std::fs::read_to_string(file).map_err(|error| error.to_string())
}

/// A TOML error with its line; the error's own text would quote the file over several lines.
fn describe(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    format!("line {line}: {}", error.message())
}

/// The configuration `own` over `base`, without its paths: see the head of this file.
fn compose(base: Table, mut own: Table, disabled: &[String]) -> Result<(Table, PathRules), String> {
    let defaults = own_rules(&base)?;
    let is_default = |path: &Value| defaults.iter().any(|rule| rule.get("path") == Some(path));
    let mut paths = PathRules::default();
    let mut rules = Vec::new();
    for (name, mut rule) in effective(&defaults, &own_rules(&own)?, disabled) {
        if Form::is(&rule) {
            paths.forms.push(Form::read(&name, &rule, &base)?);
            continue;
        }
        paths.grades.take(&name, &mut rule)?;
        let Some(path) = rule.get("path") else {
            rules.push(rule);
            continue;
        };
        paths.of_directories |= !is_default(path);
        let path = path_regex(&name, path)?;
        if rule.contains_key("regex") {
            rule.remove("path");
            rule.insert("id".to_owned(), format!("{BOUND}{name}").into());
            rules.push(rule);
            paths.bound.insert(name, path);
        } else {
            let description = rule.get("description").and_then(Value::as_str);
            paths.only.push(PathOnly {
                description: description.unwrap_or(&name).to_owned(),
                rule: name,
                path,
            });
        }
    }
    rename_references(&mut rules, "required", "id", &paths);
    let mut lists = allow_lists(&base);
    lists.retain_mut(|list| keep_targets(list, &rules));
    lists.extend(allow_lists(&own));
    for list in lists.iter_mut().filter_map(Value::as_table_mut) {
        if let Some(Value::Array(targets)) = list.get_mut("targetrules") {
            targets.iter_mut().for_each(|target| rename(target, &paths));
        }
    }
    own.remove("extend");
    own.remove("allowlist");
    own.insert("rules".to_owned(), rules.into());
    own.insert("allowlists".to_owned(), lists.into());
    Ok((own, paths))
}

/// Takes rules that the operator disabled out of an allow-list's targets; whether it is still for some.
/// gitleaks refuses one for a rule that is not there, and one without targets is for all rules.
fn keep_targets(list: &mut Value, rules: &[Table]) -> bool {
    let targets = list
        .as_table_mut()
        .and_then(|list| list.get_mut("targetrules"));
    let Some(Value::Array(targets)) = targets else {
        return true;
    };
    let name = |rule| id(rule).trim_start_matches(BOUND);
    targets.retain(|target| rules.iter().any(|rule| Some(name(rule)) == target.as_str()));
    !targets.is_empty()
}

/// The allow-lists of `table`, in both spellings.
fn allow_lists(table: &Table) -> Vec<Value> {
    let lists = table.get("allowlists").and_then(Value::as_array);
    let old = table.get("allowlist").cloned();
    old.into_iter()
        .chain(lists.cloned().into_iter().flatten())
        .collect()
}

/// What stands in `[extend]`.
struct Extend {
    default: bool,
    disabled: Vec<String>,
}

fn extend(config: &Table) -> Result<Extend, String> {
    let empty = Table::new();
    let table = match config.get("extend") {
        None => &empty,
        Some(value) => value.as_table().ok_or("extend is not a table")?,
    };
    if table.contains_key("path") || table.contains_key("url") {
        return Err("extend.path and extend.url are not read; put all rules into this file".into());
    }
    let disabled = match table.get("disabledrules") {
        None => Vec::new(),
        Some(value) => strings(value).ok_or("extend.disabledRules is not a list of ids")?,
    };
    let default = match table.get("usedefault") {
        None => false,
        Some(value) => value
            .as_bool()
            .ok_or("extend.useDefault is neither true nor false")?,
    };
    Ok(Extend { default, disabled })
}

/// The rules that stand in `config` itself, each with an id.
fn own_rules(config: &Table) -> Result<Vec<Table>, String> {
    let Some(value) = config.get("rules") else {
        return Ok(Vec::new());
    };
    let rules = value.as_array().ok_or("rules is not a list of tables")?;
    let checked = rules.iter().enumerate().map(|(index, value)| {
        let rule = value.as_table();
        rule.filter(|rule| !id(rule).is_empty())
            .cloned()
            .ok_or_else(|| format!("rule {} has no id", index + 1))
    });
    checked.collect()
}

/// The rules as they hold in the end, by id: the operator's, merged into gitleaks' own of the same id.
fn effective(defaults: &[Table], own: &[Table], disabled: &[String]) -> BTreeMap<String, Table> {
    let is_enabled = |rule: &&Table| !disabled.iter().any(|disabled| disabled == id(rule));
    let defaults = defaults.iter().filter(is_enabled);
    let mut rules: BTreeMap<_, _> = defaults
        .map(|rule| (id(rule).to_owned(), rule.clone()))
        .collect();
    // Of two with one id in one file, gitleaks takes the last.
    let last: BTreeMap<&str, &Table> = own.iter().map(|rule| (id(rule), rule)).collect();
    for (name, rule) in last {
        let base = rules.remove(name).unwrap_or_default();
        rules.insert(name.to_owned(), merge(base, rule));
    }
    rules
}

/// `rule` over `base`, as gitleaks merges them: lists grow, all else is replaced.
fn merge(mut base: Table, rule: &Table) -> Table {
    let mut rule = rule.clone();
    let lists = allow_lists(&rule);
    rule.remove("allowlist");
    if !lists.is_empty() {
        rule.insert("allowlists".to_owned(), lists.into());
    }
    for (key, value) in &rule {
        match (base.get_mut(key), value) {
            (Some(Value::Array(old)), Value::Array(new)) => old.extend(new.iter().cloned()),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
    base
}

fn path_regex(name: &str, path: &Value) -> Result<Pattern, String> {
    let path = path
        .as_str()
        .ok_or_else(|| format!("the path of rule {name} is not a string"))?;
    Pattern::new(path).map_err(|error| {
        format!("the path of rule {name} is not a regular expression that the gate knows ({error})")
    })
}

/// Lets the rules that name a bound one in `list` name its new id.
fn rename_references(rules: &mut [Table], list: &str, key: &str, paths: &PathRules) {
    for rule in rules {
        let Some(Value::Array(entries)) = rule.get_mut(list) else {
            continue;
        };
        for entry in entries.iter_mut().filter_map(Value::as_table_mut) {
            if let Some(value) = entry.get_mut(key) {
                rename(value, paths);
            }
        }
    }
}

fn rename(value: &mut Value, paths: &PathRules) {
    if let Some(name) = value
        .as_str()
        .filter(|name| paths.bound.contains_key(*name))
    {
        *value = format!("{BOUND}{name}").into();
    }
}
