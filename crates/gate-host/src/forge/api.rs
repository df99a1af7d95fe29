//! What differs from forge to forge.

use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::http::{Request, request::Builder};

/// What differs from forge to forge.
pub(super) trait Forge {
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

    /// `request` with all headers, and a body of JSON where there is one.
    fn complete(
        &self,
        request: Builder,
        authorization: &(&'static str, String),
        body: Option<&Value>,
    ) -> Result<Request<Vec<u8>>, ureq::http::Error> {
        let headers = self.headers().iter().copied();
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
    }

    /// The body that registers `public_key` under `title` with read and write access.
    fn registration(&self, title: &str, public_key: &str) -> Value;

    /// The query that lists the keys, page by page from 1.
    fn page_query(&self, page: u32) -> String;

    /// How it issues access tokens, where it does.
    fn access_tokens(&self) -> Option<&'static dyn AccessTokens> {
        None
    }
}

/// How a forge issues access tokens.
pub(super) trait AccessTokens {
    /// The path of the collection of tokens, below the base URL, for `repository` and who `login` stands for.
    fn path(&self, repository: &[&str], login: &str) -> Option<String>;

    /// Whether `login` has the form of what is needed.
    fn fits(&self, _login: &str) -> bool {
        true
    }

    /// The request header that carries `login`: name and value.
    fn authorization(&self, login: &str) -> (&'static str, String);

    /// What `login` has to be.
    fn needs(&self) -> &'static str;

    /// How long a token that is made `now` is good, or is used.
    fn until(&self, now: SystemTime) -> SystemTime;

    /// Whether a token is good until it is deleted.
    fn are_endless(&self) -> bool;

    /// The body that makes one that may fetch and push.
    fn order(&self, name: &str, until: SystemTime) -> Value;

    /// The member of the answer that holds it.
    fn member(&self) -> &'static str;
}

/// All but unreserved characters (RFC 3986, 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// `text` as one segment of a URL's path.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}
