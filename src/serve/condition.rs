//! One thing that must hold.

/// One thing that was looked at.
#[derive(Debug)]
pub struct Condition {
    /// `gate`, or the upstream's name.
    pub subject: String,
    /// What was looked at.
    pub item: &'static str,
    /// What was found, or what is wrong.
    pub result: Result<String, String>,
}

impl Condition {
    /// What was found of `item`.
    pub fn new(subject: &str, item: &'static str, result: Result<String, String>) -> Self {
        Self {
            subject: subject.to_owned(),
            item,
            result,
        }
    }

    /// What is wrong, with its subject in front, where something is.
    pub fn problem(&self) -> Option<String> {
        let problem = self.result.as_ref().err()?;
        Some(format!("{} {}: {problem}", self.subject, self.item))
    }
}
