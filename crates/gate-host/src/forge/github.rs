//! GitHub and GitHub Enterprise Server (REST API, "Deploy keys", version 2022-11-28).

use serde_json::{Value, json};

use super::api::{Forge, encode};

pub(super) struct GitHub;

impl Forge for GitHub {
    fn default_api_url(&self, host: &str) -> String {
        match host {
            // The second is GitHub's ssh on port 443.
            "github.com" | "ssh.github.com" => "https://api.github.com".to_owned(),
            _ => format!("https://{host}/api/v3"),
        }
    }

    fn keys_path(&self, repository: &[&str]) -> Option<String> {
        let [owner, name] = repository else {
            return None;
        };
        Some(format!("repos/{}/{}/keys", encode(owner), encode(name)))
    }

    fn authorization(&self, token: &str) -> (&'static str, String) {
        ("Authorization", format!("Bearer {token}"))
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("Accept", "application/vnd.github+json"),
            ("X-GitHub-Api-Version", "2022-11-28"),
        ]
    }

    fn registration(&self, title: &str, public_key: &str) -> Value {
        json!({ "title": title, "key": public_key, "read_only": false })
    }

    fn page_query(&self, page: u32) -> String {
        format!("per_page=100&page={page}")
    }
}
