//! Why a forge did not do what it was asked.

use git_gate::text;
use thiserror::Error;

use super::http::{Answer, HttpError};

/// How many pages of a repository's keys are read to find one.
pub(super) const PAGES: u32 = 20;

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
    /// What would make access tokens cannot be what the forge wants.
    #[error("look at what the environment variable {variable} holds: {needs}")]
    Login {
        /// The variable's name.
        variable: String,
        /// What the forge wants.
        needs: &'static str,
    },
    /// There is no access token for a repository.
    #[error("this forge issues tokens to its apps alone; use --app, --key and --installation")]
    NoAccessTokens,
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

impl ForgeError {
    /// What the forge answered to `request`, without the `secret` that was sent with it.
    pub(super) fn refused(request: String, answer: &Answer, secret: &str, hint: String) -> Self {
        let said = answer.message().replace(secret, "…");
        Self::Refused {
            request,
            status: answer.status,
            said: text::line(said.as_bytes()),
            hint,
        }
    }
}
