//! Installation tokens of a GitHub App (REST API, "Create an installation access token for an app",
//! version 2022-11-28): the password of an upstream over https, for an hour.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64ct::{Base64UrlUnpadded, Encoding};
use rustls::SignatureScheme::RSA_PKCS1_SHA256;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use super::ForgeError;
use super::api::Forge;
use super::collection::check_api_url;
use super::github::GitHub;
use super::http::{Answer, Http, HttpError, Method, Patience};
use super::issue::{IssueError, Issued, Issuer, token_of};
use crate::interrupt::Interrupt;

/// How long the app's own token holds; GitHub takes ten minutes at most. It begins a minute ago, for clocks
/// that differ.
const LOGIN: Duration = Duration::from_secs(540);
const SKEW: Duration = Duration::from_secs(60);

/// An app, installed where the upstreams are.
#[derive(Debug)]
pub struct App {
    /// Its id or client id.
    pub id: String,
    /// Its private key, PEM. It is read each time.
    pub key: PathBuf,
    /// The id of the installation.
    pub installation: u64,
    /// The only repositories that the token is for; none: all of the installation.
    pub repositories: Vec<String>,
    /// The API's base URL; none: github.com's.
    pub api_url: Option<String>,
}

impl Issuer for App {
    fn issue(&self, patience: &Patience, interrupt: &Interrupt) -> Result<Issued, IssueError> {
        let default = || GitHub.default_api_url("github.com");
        let base = self.api_url.clone().unwrap_or_else(default);
        check_api_url(&base)?;
        let base = base.trim_end_matches('/');
        let url = format!(
            "{base}/app/installations/{}/access_tokens",
            self.installation
        );
        let authorization = GitHub.authorization(&self.login()?);
        let body = match self.repositories.is_empty() {
            true => json!({}),
            false => json!({ "repositories": self.repositories }),
        };
        let http = Http::new(patience, base.starts_with("http:"));
        let (_, answer) = http.send(Method::Post, &url, interrupt, |request| {
            GitHub.complete(request, &authorization, Some(&body))
        });
        let request = || format!("POST {url}");
        let unusable = |source| ForgeError::Http {
            request: request(),
            source,
        };
        let answer = answer.map_err(unusable)?;
        if answer.status != 201 {
            let hint = hint(answer.status).to_owned();
            return Err(ForgeError::refused(request(), &answer, &authorization.1, hint).into());
        }
        Ok(read(&answer).map_err(unusable)?)
    }
}

impl App {
    /// The token by which the app says who it is (RFC 7519, RS256).
    fn login(&self) -> Result<String, IssueError> {
        let broken = |problem: &dyn std::fmt::Display| IssueError::Key {
            path: self.key.clone(),
            problem: format!("cannot be used: {problem}"),
        };
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| broken(&error))?;
        let key = any_supported_type(&key).map_err(|error| broken(&error))?;
        let signer = key.choose_scheme(&[RSA_PKCS1_SHA256]);
        let signer = signer.ok_or_else(|| broken(&"it is no RSA key"))?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let claims = json!({
            "iat": now.saturating_sub(SKEW).as_secs(),
            "exp": (now + LOGIN).as_secs(),
            "iss": self.id,
        });
        let encode = |part: &[u8]| Base64UrlUnpadded::encode_string(part);
        let head = encode(br#"{"alg":"RS256","typ":"JWT"}"#);
        let signed = format!("{head}.{}", encode(claims.to_string().as_bytes()));
        let signature = signer
            .sign(signed.as_bytes())
            .map_err(|error| broken(&error))?;
        Ok(format!("{signed}.{}", encode(&signature)))
    }
}

fn read(answer: &Answer) -> Result<Issued, HttpError> {
    let body = answer.json()?;
    let until = body["expires_at"].as_str();
    let until = until.and_then(|until| humantime::parse_rfc3339(until).ok());
    Ok(Issued {
        token: token_of(&body["token"])?,
        until: until.ok_or(HttpError::Content)?,
        id: None,
    })
}

fn hint(status: u16) -> &'static str {
    match status {
        401 => "; the key is not this app's, or this machine's clock is wrong",
        403 | 404 => "; the app has no such installation, or it is suspended",
        422 => "; the installation does not reach each --repository",
        _ => "",
    }
}
