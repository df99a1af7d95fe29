//! GitLab (REST API v4, "Deploy keys API").

use serde_json::{Value, json};

use super::api::{Forge, encode};

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
}
