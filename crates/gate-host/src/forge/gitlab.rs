//! GitLab (REST API v4, "Deploy keys API").

use std::time::SystemTime;

use serde_json::{Value, json};

use super::access_token::start_of_day;
use super::api::{AccessTokens, Forge, encode};

pub(super) struct GitLab;

impl Forge for GitLab {
    fn default_api_url(&self, host: &str) -> String {
        format!("https://{host}")
    }

    /// A project's id is its whole path, encoded as one segment ("Namespaced paths").
    fn keys_path(&self, repository: &[&str]) -> Option<String> {
        let project = encode(&repository.join("/"));
        (repository.len() >= 2).then(|| format!("api/v4/projects/{project}/deploy_keys"))
    }

    fn authorization(&self, token: &str) -> (&'static str, String) {
        ("PRIVATE-TOKEN", token.to_owned())
    }

    fn registration(&self, title: &str, public_key: &str) -> Value {
        json!({ "title": title, "key": public_key, "can_push": true })
    }

    fn page_query(&self, page: u32) -> String {
        format!("per_page=100&page={page}")
    }

    fn access_tokens(&self) -> Option<&'static dyn AccessTokens> {
        Some(&Self)
    }
}

/// A project's tokens ("Project access tokens API").
impl AccessTokens for GitLab {
    fn path(&self, repository: &[&str], _login: &str) -> Option<String> {
        let project = encode(&repository.join("/"));
        (repository.len() >= 2).then(|| format!("api/v4/projects/{project}/access_tokens"))
    }

    fn authorization(&self, login: &str) -> (&'static str, String) {
        Forge::authorization(self, login)
    }

    fn needs(&self) -> &'static str {
        "it must be a token with the scope api of one of the project's Maintainers"
    }

    /// A token ends with a day: the first that is a whole day away.
    fn until(&self, now: SystemTime) -> SystemTime {
        start_of_day(now, 2)
    }

    fn are_endless(&self) -> bool {
        false
    }

    fn order(&self, name: &str, until: SystemTime) -> Value {
        const DEVELOPER: u8 = 30;
        let day = humantime::format_rfc3339_seconds(until).to_string();
        json!({
            "name": name,
            "scopes": ["read_repository", "write_repository"],
            "access_level": DEVELOPER,
            "expires_at": day.split('T').next(),
        })
    }

    fn member(&self) -> &'static str {
        "token"
    }
}
