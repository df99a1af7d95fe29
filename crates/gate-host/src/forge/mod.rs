//! Deploy keys on a forge: made, found and deleted through its HTTP API.
//!
//! What the forges have in common is in [`DeployKeys`]; what they do not is behind [`Forge`]. The
//! token stands in a request header and nowhere else, and what a forge answers is untrusted text.

mod app;
mod gitea;
mod github;
mod gitlab;
mod http;

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

pub use app::{App, AppError};
use http::{Answer, Http, Method};
pub use http::{HttpError, Patience};

use super::interrupt::Interrupt;
use git_gate::text;

/// How many pages of a repository's keys are read to find one.
const PAGES: u32 = 20;

/// The kinds of forge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Gitea.
    Gitea,
    /// Forgejo, which keeps Gitea's API.
    Forgejo,
    /// GitHub and GitHub Enterprise Server.
    GitHub,
    /// GitLab.
    GitLab,
}

impl Provider {
    fn forge(self) -> &'static dyn Forge {
        match self {
            Self::Gitea | Self::Forgejo => &gitea::Gitea,
            Self::GitHub => &github::GitHub,
            Self::GitLab => &gitlab::GitLab,
        }
    }
}

/// What differs from forge to forge.
trait Forge {
    /// The base URL for an upstream on `host` where the manifest names none.
    fn default_api_url(&self, host: &str) -> String;

    /// The path of the collection of `repository`'s deploy keys, below the base URL; `None` when
    /// the forge cannot have a repository of this path.
    fn keys_path(&self, repository: &[&str]) -> Option<String>;

    /// The request header that carries the token: name and value.
    fn authorization(&self, token: &str) -> (&'static str, String);

    /// Other request headers.
    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("Accept", "application/json")]
    }

    /// The body that registers `public_key` under `title` with read and write access.
    fn registration(&self, title: &str, public_key: &str) -> Value;

    /// The query that lists the keys, page by page from 1.
    fn page_query(&self, page: u32) -> String;
}

/// An API token. Its `Debug` shows nothing of it, and it has no `Display`.
pub struct Token {
    variable: String,
    value: String,
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

/// Why a forge did not do what it was asked. No message holds the token.
#[derive(Debug, Error)]
pub enum ForgeError {
    /// The token's environment variable cannot be used.
    #[error("the environment variable {variable} {problem}: it must hold the forge's API token")]
    Token {
        /// The variable's name.
        variable: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The API's base URL cannot be used.
    #[error("api_url {url:?} {problem}")]
    ApiUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The upstream's path is not one of a repository on this kind of forge.
    #[error("{0:?} is not the path of a repository on this kind of forge")]
    Repository(String),
    /// No answer came, or none that can be read.
    #[error("{request}: no usable answer")]
    Http {
        /// Method and URL.
        request: String,
        /// The reason.
        source: HttpError,
    },
    /// The forge said no.
    #[error("{request}: the forge answered {status}{said}{hint}")]
    Refused {
        /// Method and URL.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The forge's own words, led by `: `; may be empty.
        said: String,
        /// What to do, led by `; `; may be empty.
        hint: String,
    },
    /// The forge knows neither the key nor, with this token, its repository.
    #[error(
        "{request}: the forge answered 404 for the key, and for the repository's list of keys as \
         well, so the key may still be registered; the token in {variable} may not see the \
         repository, or the repository is gone or has another path. Try again with a token of \
         one of its administrators; where the repository is gone for good its keys are gone too"
    )]
    Unseen {
        /// Method and URL of the request for the key.
        request: String,
        /// The environment variable of the token.
        variable: String,
    },
    /// The forge would not delete a key that it lists.
    #[error(
        "{request}: the forge answered 404 and lists the key all the same; the token in {variable} \
         may not manage this repository's deploy keys"
    )]
    StillListed {
        /// Method and URL of the request for the key.
        request: String,
        /// The environment variable of the token.
        variable: String,
    },
    /// The list of keys did not end.
    #[error("{url}: the list of keys has more than {PAGES} pages; look there by hand")]
    EndlessList {
        /// The collection of keys.
        url: String,
    },
    /// A key may have been registered, but the forge never told its id.
    #[error(
        "a deploy key titled {title:?} may be registered at {url}; look there and delete it by hand"
    )]
    Unknown {
        /// The key's title.
        title: String,
        /// The collection of keys.
        url: String,
        /// What went wrong.
        source: Box<ForgeError>,
    },
}

/// What became of a key that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It was deleted.
    Now,
    /// There was none any more.
    Before,
}

/// The address of the deploy keys of one repository on one forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    provider: Provider,
    url: String,
}

impl Collection {
    /// The deploy keys of the repository at `path` (of an upstream's URL, with or without `.git`).
    pub fn new(
        provider: Provider,
        api_url: Option<&str>,
        host: &str,
        path: &str,
    ) -> Result<Self, ForgeError> {
        let forge = provider.forge();
        let base = api_url.map_or_else(|| forge.default_api_url(host), str::to_owned);
        check_api_url(&base)?;
        let trimmed = path.trim_matches('/');
        let trimmed = trimmed.strip_suffix(".git").unwrap_or(trimmed);
        let segments: Vec<&str> = trimmed.split('/').collect();
        let path = forge
            .keys_path(&segments)
            .filter(|_| {
                segments
                    .iter()
                    .all(|part| !matches!(*part, "" | "." | ".."))
            })
            .ok_or_else(|| ForgeError::Repository(text::line(path.as_bytes())))?;
        Ok(Self {
            provider,
            url: format!("{}/{path}", base.trim_end_matches('/')),
        })
    }

    /// The collection's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of the key `id`.
    pub fn key_url(&self, id: &str) -> String {
        format!("{}/{}", self.url, encode(id))
    }

    /// Access to the keys with `token`.
    pub fn open(&self, token: Token, patience: &Patience) -> DeployKeys<'_> {
        DeployKeys {
            collection: self,
            http: Http::new(patience, self.url.starts_with("http:")),
            token,
        }
    }
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
            let headers = self.forge().headers().iter().copied();
            let request = headers.fold(request, |request, (name, value)| {
                request.header(name, value)
            });
            let request = request.header(authorization.0, &authorization.1);
            match body {
                Some(body) => request
                    .header("Content-Type", "application/json")
                    .body(body.to_string().into_bytes()),
                None => request.body(Vec::new()),
            }
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
        let said = answer.message().replace(&self.token.value, "…");
        ForgeError::Refused {
            request,
            status: answer.status,
            said: text::line(said.as_bytes()),
            hint: self.hint(answer.status),
        }
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

/// The id of a key object: a number on every forge here.
fn id_of(key: &Value) -> Option<String> {
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

/// Refuses a base URL that would send the token in clear over a network or hide another secret.
fn check_api_url(url: &str) -> Result<(), ForgeError> {
    let refuse = |url: &str, problem| {
        Err(ForgeError::ApiUrl {
            url: text::line(url.as_bytes()),
            problem,
        })
    };
    let Ok(uri) = url.parse::<ureq::http::Uri>() else {
        return refuse(url, "is not a URL");
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return refuse(url, "must begin with https:// and a host");
    };
    if authority.as_str().contains('@') {
        return refuse("(not shown)", "must hold no user and no password");
    }
    if uri.query().is_some() || url.contains('#') {
        return refuse(url, "must end with its path");
    }
    match scheme {
        "https" => Ok(()),
        "http" if is_loopback(authority.host()) => Ok(()),
        "http" => refuse(
            url,
            "would send the token in clear: use https (http is for loopback only, such as the end \
             of a tunnel)",
        ),
        _ => refuse(url, "must begin with https://"),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// `text` as one segment of a URL's path: all but unreserved characters (RFC 3986, 2.3) encoded.
fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&text::hex(&[byte]).to_uppercase());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(provider: Provider, api_url: Option<&str>, host: &str, path: &str) -> Option<String> {
        Collection::new(provider, api_url, host, path)
            .ok()
            .map(|keys| keys.url)
    }

    #[test]
    fn each_forge_has_its_own_address_of_the_keys() {
        use Provider::{Forgejo, GitHub, GitLab, Gitea};
        let cases = [
            (
                Gitea,
                None,
                "h",
                "/o/r.git",
                "https://h/api/v1/repos/o/r/keys",
            ),
            (
                Forgejo,
                Some("https://x/f/"),
                "h",
                "o/r",
                "https://x/f/api/v1/repos/o/r/keys",
            ),
            (
                GitHub,
                None,
                "github.com",
                "o/r.git",
                "https://api.github.com/repos/o/r/keys",
            ),
            (
                GitHub,
                None,
                "ssh.github.com",
                "o/r",
                "https://api.github.com/repos/o/r/keys",
            ),
            (
                GitHub,
                None,
                "ghe.example",
                "o/r",
                "https://ghe.example/api/v3/repos/o/r/keys",
            ),
            (
                GitLab,
                None,
                "h",
                "/g/s/r.git",
                "https://h/api/v4/projects/g%2Fs%2Fr/deploy_keys",
            ),
            (
                Gitea,
                None,
                "h",
                "a b/r?x",
                "https://h/api/v1/repos/a%20b/r%3Fx/keys",
            ),
        ];
        for (provider, api_url, host, path, expected) in cases {
            assert_eq!(
                url(provider, api_url, host, path).as_deref(),
                Some(expected)
            );
        }
        for path in ["r.git", "/a/b/c.git", "a/..", "", "o//r"] {
            assert_eq!(url(Gitea, None, "h", path), None, "{path:?} was taken");
        }
        assert_eq!(url(GitLab, None, "h", "r"), None);
    }

    #[test]
    fn a_token_never_goes_in_clear_and_never_stands_in_a_url() {
        let check = |text: &str| check_api_url(text).is_ok();
        assert!(check("https://forge.example:8443/sub"));
        assert!(
            check("http://127.0.0.1:3000") && check("http://[::1]/") && check("http://localhost")
        );
        assert!(!check("http://forge.example") && !check("http://127.0.0.1.evil.example"));
        assert!(!check("ftp://forge.example") && !check("forge.example") && !check("https://h/?a"));
        let error = check_api_url("https://me:hunter2@h")
            .unwrap_err()
            .to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn keys_are_compared_without_their_comments() {
        assert!(same_key("ssh-ed25519 AAAA title", "ssh-ed25519 AAAA\n"));
        assert!(!same_key("ssh-ed25519 AAAB", "ssh-ed25519 AAAA"));
    }
}
