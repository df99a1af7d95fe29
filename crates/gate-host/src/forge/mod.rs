//! Deploy keys and tokens of a forge, through its HTTP API.
//!
//! What the forges have in common is in [`DeployKeys`]; what they do not is behind `api::Forge`. The token
//! stands in a request header and nowhere else, and what a forge answers is untrusted text.

mod access_token;
mod api;
mod app;
mod collection;
mod deploy_keys;
mod error;
mod gitea;
mod github;
mod gitlab;
mod http;
mod issue;
mod provider;
mod token;

pub use access_token::AccessToken;
pub use app::App;
pub use collection::Collection;
pub use deploy_keys::{Deleted, DeployKeys};
pub use error::ForgeError;
pub use http::{HttpError, Patience};
pub use issue::{IssueError, Issued, Issuer, TokenFile};
pub use provider::Provider;
pub use token::Token;
