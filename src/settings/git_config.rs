//! Reads values of git config.

use git2::{Config, ErrorCode};
use serde::Deserialize;

use super::SettingsError;

/// The value of a single-valued key.
pub(super) fn string(config: &Config, key: &str) -> Result<Option<String>, SettingsError> {
    match config.get_string(key) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(SettingsError::Unreadable(error)),
    }
}

/// All values of a key, in the order of the file.
pub(crate) fn strings(config: &Config, key: &str) -> Result<Vec<String>, SettingsError> {
    let mut values = Vec::new();
    let entries = match config.multivar(key, None) {
        Ok(entries) => entries,
        Err(error) if error.code() == ErrorCode::NotFound => return Ok(values),
        Err(error) => return Err(SettingsError::Unreadable(error)),
    };
    entries
        .for_each(|entry| values.push(String::from_utf8_lossy(entry.value_bytes()).into_owned()))
        .map_err(SettingsError::Unreadable)?;
    Ok(values)
}

/// All values of a key, each a glob of its kind.
pub(super) fn globs<T>(config: &Config, key: &str) -> Result<Vec<T>, SettingsError>
where
    T: TryFrom<String, Error = &'static str>,
{
    let read = |value: String| {
        T::try_from(value).map_err(|problem| SettingsError::Invalid {
            key: key.to_owned(),
            problem: problem.to_owned(),
        })
    };
    strings(config, key)?.into_iter().map(read).collect()
}

/// A limit; its key is `git-gate.` and `name`.
pub(super) fn unsigned(config: &Config, name: &str) -> Result<Option<u64>, SettingsError> {
    let key = format!("git-gate.{name}");
    match config.get_i64(&key) {
        Ok(value) => match u64::try_from(value) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(SettingsError::Invalid {
                key,
                problem: "must not be negative".to_owned(),
            }),
        },
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(_) => Err(SettingsError::Invalid {
            key,
            problem: "is not a whole number".to_owned(),
        }),
    }
}

/// A key that is true or false, as git reads it.
pub(super) fn boolean(config: &Config, key: &str) -> Result<bool, SettingsError> {
    match config.get_bool(key) {
        Ok(value) => Ok(value),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(false),
        Err(_) => Err(SettingsError::Invalid {
            key: key.to_owned(),
            problem: "is neither true nor false".to_owned(),
        }),
    }
}

/// A key that takes one of a few words: the same words as in `gate.json`.
pub(super) fn word<T: Default + for<'de> Deserialize<'de>>(
    config: &Config,
    key: &str,
) -> Result<T, SettingsError> {
    match string(config, key)? {
        None => Ok(T::default()),
        Some(value) => parse_word(key, &value),
    }
}

/// A key that may be repeated, each time with one of a few words.
pub(super) fn words<T: for<'de> Deserialize<'de>>(
    config: &Config,
    key: &str,
) -> Result<Vec<T>, SettingsError> {
    let values = strings(config, key)?;
    values.iter().map(|value| parse_word(key, value)).collect()
}

fn parse_word<T: for<'de> Deserialize<'de>>(key: &str, value: &str) -> Result<T, SettingsError> {
    let word = serde_json::Value::String(value.to_lowercase());
    serde_json::from_value(word).map_err(|error| SettingsError::Invalid {
        key: key.to_owned(),
        problem: error.to_string(),
    })
}
