//! The deploy keys of one repository: made, found, deleted.

use serde_json::Value;

use super::api::Forge;
use super::error::PAGES;
use super::http::{Answer, Http, HttpError, Method, Patience};
use super::{Collection, ForgeError, Token};
use crate::interrupt::Interrupt;

impl Collection {
    /// Access to the keys with `token`.
    pub fn open(&self, token: Token, patience: &Patience) -> DeployKeys<'_> {
        DeployKeys {
            collection: self,
            http: Http::new(patience, self.url.starts_with("http:")),
            token,
        }
    }
}

/// What became of a key that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It was deleted.
    Now,
    /// There was none any more.
    Before,
}

/// The deploy keys of one repository, with the token that may change them.
pub struct DeployKeys<'a> {
    collection: &'a Collection,
    http: Http,
    token: Token,
}

impl DeployKeys<'_> {
    /// Registers `public_key` (one OpenSSH line) with read and write access; returns its id.
    ///
    /// A forge may register the key and then fail to say so. When that could have happened the
    /// keys are searched for this one, so that none is left behind without its id being known.
    pub fn create(
        &self,
        title: &str,
        public_key: &str,
        interrupt: &Interrupt,
    ) -> Result<String, ForgeError> {
        let url = self.collection.url();
        let body = self.forge().registration(title, public_key);
        let (tried, answer) = self.send(Method::Post, url, Some(&body), interrupt);
        let registered = answer.and_then(|answer| {
            if answer.status == 201 {
                id_of(&answer.json()?).ok_or(HttpError::Content)
            } else {
                Err(HttpError::Status(answer))
            }
        });
        let error = match registered {
            Ok(id) => return Ok(id),
            Err(error) => error,
        };
        let certain = match &error {
            HttpError::Unreached(_) => tried == 1,
            HttpError::Status(answer) => tried == 1 && answer.status < 500,
            _ => false,
        };
        let error = self.explain(Method::Post, url, error);
        if certain {
            return Err(error);
        }
        match self.find(public_key, interrupt) {
            Ok(Some(id)) => Ok(id),
            Ok(None) => Err(error),
            Err(_) => Err(ForgeError::Unknown {
                title: title.to_owned(),
                url: url.to_owned(),
                source: Box::new(error),
            }),
        }
    }

    /// Deletes the key `id`. A key that is not there counts as deleted, once the forge has shown
    /// the others: a forge answers 404 as well where the token does not see the repository.
    pub fn delete(&self, id: &str, interrupt: &Interrupt) -> Result<Deleted, ForgeError> {
        let url = self.collection.key_url(id);
        match self.send(Method::Delete, &url, None, interrupt).1 {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(Deleted::Now),
            Ok(answer) if answer.status == 404 => self.not_found(id, interrupt),
            Ok(answer) => Err(self.explain(Method::Delete, &url, HttpError::Status(answer))),
            Err(error) => Err(self.explain(Method::Delete, &url, error)),
        }
    }

    /// What a 404 for the key `id` means, by the list of all keys.
    fn not_found(&self, id: &str, interrupt: &Interrupt) -> Result<Deleted, ForgeError> {
        let request = format!("{} {}", Method::Delete, self.collection.key_url(id));
        let variable = self.token.variable.clone();
        match self.search(interrupt, |key| id_of(key).as_deref() == Some(id)) {
            Ok(None) => Ok(Deleted::Before),
            Ok(Some(_)) => Err(ForgeError::StillListed { request, variable }),
            Err(ForgeError::Refused { status: 404, .. }) => {
                Err(ForgeError::Unseen { request, variable })
            }
            Err(error) => Err(error),
        }
    }

    /// The id under which `public_key` is registered, if it is.
    pub fn find(
        &self,
        public_key: &str,
        interrupt: &Interrupt,
    ) -> Result<Option<String>, ForgeError> {
        let is_it = |key: &Value| key["key"].as_str().is_some_and(|k| same_key(k, public_key));
        let Some(key) = self.search(interrupt, is_it)? else {
            return Ok(None);
        };
        let no_id = || self.explain(Method::Get, self.collection.url(), HttpError::Content);
        id_of(&key).map(Some).ok_or_else(no_id)
    }

    /// The first key of the list for which `is_it` holds. `None` only after the list's last page.
    fn search(
        &self,
        interrupt: &Interrupt,
        is_it: impl Fn(&Value) -> bool,
    ) -> Result<Option<Value>, ForgeError> {
        for page in 1..=PAGES {
            let query = self.forge().page_query(page);
            let url = format!("{}?{query}", self.collection.url());
            let keys = self
                .send(Method::Get, &url, None, interrupt)
                .1
                .and_then(list_of)
                .map_err(|error| self.explain(Method::Get, &url, error))?;
            if keys.is_empty() {
                return Ok(None);
            }
            if let Some(key) = keys.into_iter().find(&is_it) {
                return Ok(Some(key));
            }
        }
        Err(ForgeError::EndlessList {
            url: self.collection.url().to_owned(),
        })
    }

    fn forge(&self) -> &'static dyn Forge {
        self.collection.provider.forge()
    }

    /// Sends one request; also tells how often it was sent.
    fn send(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
        interrupt: &Interrupt,
    ) -> (u32, Result<Answer, HttpError>) {
        let authorization = self.forge().authorization(&self.token.value);
        self.http.send(method, url, interrupt, |request| {
            self.forge().complete(request, &authorization, body)
        })
    }

    /// The error for a person: what was asked, what came back, what to do.
    fn explain(&self, method: Method, url: &str, error: HttpError) -> ForgeError {
        let request = format!("{method} {url}");
        let HttpError::Status(answer) = error else {
            return ForgeError::Http {
                request,
                source: error,
            };
        };
        let hint = self.hint(answer.status);
        ForgeError::refused(request, &answer, &self.token.value, hint)
    }

    fn hint(&self, status: u16) -> String {
        let variable = &self.token.variable;
        match status {
            300..=399 => {
                "; name the address it points to as api_url, or the repository's new path \
                         as upstream"
                    .to_owned()
            }
            401 => format!("; the token in {variable} is wrong or has expired"),
            403 => {
                format!("; the token in {variable} may not manage this repository's deploy keys")
            }
            404 => format!(
                "; the repository does not exist, or the token in {variable} may not see it"
            ),
            _ => String::new(),
        }
    }
}

/// The id of a key or token object: a number on every forge here.
pub(super) fn id_of(key: &Value) -> Option<String> {
    match &key["id"] {
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// The key objects of a successful list.
fn list_of(answer: Answer) -> Result<Vec<Value>, HttpError> {
    if answer.status != 200 {
        return Err(HttpError::Status(answer));
    }
    match answer.json()? {
        Value::Array(keys) => Ok(keys),
        _ => Err(HttpError::Content),
    }
}

/// Whether two OpenSSH public key lines are the same key: type and base64, whatever the comment.
fn same_key(left: &str, right: &str) -> bool {
    left.split_whitespace()
        .take(2)
        .eq(right.split_whitespace().take(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_without_their_comments() {
        assert!(same_key("ssh-ed25519 AAAA title", "ssh-ed25519 AAAA\n"));
        assert!(!same_key("ssh-ed25519 AAAB", "ssh-ed25519 AAAA"));
    }
}
