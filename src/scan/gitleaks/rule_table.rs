//! Reads tables of rules, in TOML.

use toml::{Table, Value};

/// gitleaks takes its keys in any case, and loses one of two that differ in nothing else.
pub(crate) fn lower_keys(table: Table) -> Result<Table, String> {
    fn lower(value: Value) -> Result<Value, String> {
        Ok(match value {
            Value::Table(table) => Value::Table(lower_keys(table)?),
            Value::Array(values) => {
                Value::Array(values.into_iter().map(lower).collect::<Result<_, _>>()?)
            }
            other => other,
        })
    }
    let mut lowered = Table::new();
    for (key, value) in table {
        if lowered.insert(key.to_lowercase(), lower(value)?).is_some() {
            return Err(format!(
                "the key {key} is a duplicate (keys are case-insensitive)"
            ));
        }
    }
    Ok(lowered)
}

pub(crate) fn strings(value: &Value) -> Option<Vec<String>> {
    let values = value.as_array()?.iter();
    values
        .map(|value| value.as_str().map(str::to_owned))
        .collect()
}

pub(crate) fn id(rule: &Table) -> &str {
    rule.get("id").and_then(Value::as_str).unwrap_or_default()
}
