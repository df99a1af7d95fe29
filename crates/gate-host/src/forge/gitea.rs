//! Gitea and Forgejo (their API reference, "repository", deploy keys).

use serde_json::{Value, json};

use super::api::{Forge, encode};

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
}
