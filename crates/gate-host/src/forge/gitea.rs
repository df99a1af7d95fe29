//! Gitea and Forgejo (their API reference, "repository", deploy keys).

use std::time::{Duration, SystemTime};

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use super::api::{AccessTokens, Forge, encode};

/// How long a token is used: it is good until it is deleted.
const USED: Duration = Duration::from_secs(2 * 3600);

pub(super) struct Gitea;

impl Forge for Gitea {
    fn default_api_url(&self, host: &str) -> String {
        format!("https://{host}")
    }

    fn keys_path(&self, repository: &[&str]) -> Option<String> {
        let [owner, name] = repository else {
            return None;
        };
        Some(format!(
            "api/v1/repos/{}/{}/keys",
            encode(owner),
            encode(name)
        ))
    }

    fn authorization(&self, token: &str) -> (&'static str, String) {
        ("Authorization", format!("token {token}"))
    }

    fn registration(&self, title: &str, public_key: &str) -> Value {
        json!({ "title": title, "key": public_key, "read_only": false })
    }

    fn page_query(&self, page: u32) -> String {
        format!("limit=50&page={page}")
    }

    fn access_tokens(&self) -> Option<&'static dyn AccessTokens> {
        Some(&Self)
    }
}

/// An account's tokens ("user", access tokens), which its password alone makes and deletes.
impl AccessTokens for Gitea {
    fn path(&self, _repository: &[&str], login: &str) -> Option<String> {
        let (user, _) = login.split_once(':')?;
        Some(format!("api/v1/users/{}/tokens", encode(user)))
    }

    fn authorization(&self, login: &str) -> (&'static str, String) {
        (
            "Authorization",
            format!("Basic {}", Base64::encode_string(login.as_bytes())),
        )
    }

    fn fits(&self, login: &str) -> bool {
        login.contains(':')
    }

    fn needs(&self) -> &'static str {
        "it must be USER:PASSWORD of an account without a second factor"
    }

    fn until(&self, now: SystemTime) -> SystemTime {
        now + USED
    }

    fn are_endless(&self) -> bool {
        true
    }

    fn order(&self, name: &str, _until: SystemTime) -> Value {
        json!({ "name": name, "scopes": ["write:repository"] })
    }

    fn member(&self) -> &'static str {
        "sha1"
    }
}
