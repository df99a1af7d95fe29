//! An API token of a forge.

use std::fmt;

use super::ForgeError;

/// An API token. Its `Debug` shows nothing of it, and it has no `Display`.
pub struct Token {
    pub(super) variable: String,
    pub(super) value: String,
}

impl Token {
    /// The token in the environment variable `variable`.
    pub fn from_env(variable: &str) -> Result<Self, ForgeError> {
        let value = std::env::var(variable).map_err(|error| ForgeError::Token {
            variable: variable.to_owned(),
            problem: match error {
                std::env::VarError::NotPresent => "is not set",
                std::env::VarError::NotUnicode(_) => "holds no text",
            },
        })?;
        Self::new(variable, &value)
    }

    /// The token `value`, which came from the environment variable `variable`.
    pub fn new(variable: &str, value: &str) -> Result<Self, ForgeError> {
        let value = value.trim();
        let problem = if value.is_empty() {
            "is empty"
        } else if value.chars().any(|c| !c.is_ascii_graphic()) {
            "holds a character that no token has"
        } else {
            return Ok(Self {
                variable: variable.to_owned(),
                value: value.to_owned(),
            });
        };
        Err(ForgeError::Token {
            variable: variable.to_owned(),
            problem,
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(${})", self.variable)
    }
}
