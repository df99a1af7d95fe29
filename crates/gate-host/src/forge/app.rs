//! Installation tokens of a GitHub App (REST API, "Create an installation access token for an app",
//! version 2022-11-28): the password of an upstream over https, for an hour.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64ct::{Base64UrlUnpadded, Encoding};
use rustls::SignatureScheme::RSA_PKCS1_SHA256;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use thiserror::Error;

use super::ForgeError;
use super::api::Forge;
use super::collection::check_api_url;
use super::github::GitHub;
use super::http::{Answer, Http, Method, Patience};
use crate::interrupt::Interrupt;
use git_gate::replace_file::replace_file;
use git_gate::text;

/// How long the app's own token holds; GitHub takes ten minutes at most. It begins a minute ago, for clocks
/// that differ.
const LOGIN: Duration = Duration::from_secs(540);
const SKEW: Duration = Duration::from_secs(60);

/// The pause after a token that could not be had, and the shortest before the next one.
const RETRY: Duration = Duration::from_secs(30);
const SHORTEST: Duration = Duration::from_secs(1);

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
    /// The API's base URL.
    pub api_url: String,
}

/// Why there is no new token.
#[derive(Debug, Error)]
pub enum AppError {
    /// The private key cannot be used.
    #[error("the app's private key {} {problem}; download one from the app's page", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The forge gave none.
    #[error(transparent)]
    Forge(#[from] ForgeError),
    /// The file cannot be written.
    #[error("cannot write the token to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// A token, which is shown nowhere.
struct Minted {
    token: String,
    until: SystemTime,
}

impl App {
    /// Writes a new token to `file`, 0600 and as a whole; with `watch` again and again, each time when half
    /// of its time is over, until `interrupt`. A failure after the first time is told, and tried again.
    pub fn keep(
        &self,
        file: &Path,
        watch: bool,
        patience: &Patience,
        interrupt: &Interrupt,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), AppError> {
        let mut until = self.renew(file, patience, interrupt, say)?;
        if !watch {
            return Ok(());
        }
        let mut wait = half_of_what_is_left(until);
        while interrupt.sleep(wait) {
            match self.renew(file, patience, interrupt, say) {
                Ok(renewed) => {
                    until = renewed;
                    wait = half_of_what_is_left(until);
                }
                Err(error) => {
                    wait = RETRY;
                    say(&format!(
                        "no new token, trying again in {} s; the one before holds until {}: {}",
                        RETRY.as_secs(),
                        humantime::format_rfc3339_seconds(until),
                        text::causes(&error)
                    ));
                }
            }
        }
        Ok(())
    }

    fn renew(
        &self,
        file: &Path,
        patience: &Patience,
        interrupt: &Interrupt,
        say: &mut dyn FnMut(&str),
    ) -> Result<SystemTime, AppError> {
        let minted = self.mint(patience, interrupt)?;
        replace_file(file, minted.token.as_bytes()).map_err(|source| AppError::Write {
            path: file.to_owned(),
            source,
        })?;
        let until = humantime::format_rfc3339_seconds(minted.until);
        say(&format!("{}: a token until {until}", file.display()));
        Ok(minted.until)
    }

    fn mint(&self, patience: &Patience, interrupt: &Interrupt) -> Result<Minted, AppError> {
        check_api_url(&self.api_url)?;
        let base = self.api_url.trim_end_matches('/');
        let url = format!(
            "{base}/app/installations/{}/access_tokens",
            self.installation
        );
        let authorization = GitHub.authorization(&self.login()?);
        let body = match self.repositories.is_empty() {
            true => json!({}),
            false => json!({ "repositories": self.repositories }),
        };
        let http = Http::new(patience, self.api_url.starts_with("http:"));
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
            return Err(AppError::Forge(ForgeError::Refused {
                request: request(),
                status: answer.status,
                said: answer.message().replace(&authorization.1, "…"),
                hint: hint(answer.status).to_owned(),
            }));
        }
        Ok(Minted::read(&answer).map_err(unusable)?)
    }

    /// The token by which the app says who it is (RFC 7519, RS256).
    fn login(&self) -> Result<String, AppError> {
        let broken = |problem: &dyn std::fmt::Display| AppError::Key {
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

impl Minted {
    fn read(answer: &Answer) -> Result<Self, super::HttpError> {
        let body = answer.json()?;
        let token = body["token"]
            .as_str()
            .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
        let until = body["expires_at"].as_str();
        let until = until.and_then(|until| humantime::parse_rfc3339(until).ok());
        match (token, until) {
            (Some(token), Some(until)) => Ok(Self {
                token: token.to_owned(),
                until,
            }),
            _ => Err(super::HttpError::Content),
        }
    }
}

fn half_of_what_is_left(until: SystemTime) -> Duration {
    let left = until.duration_since(SystemTime::now());
    (left.unwrap_or_default() / 2).max(SHORTEST)
}

fn hint(status: u16) -> &'static str {
    match status {
        401 => "; the key is not this app's, or this machine's clock is wrong",
        403 | 404 => "; the app has no such installation, or it is suspended",
        422 => "; the installation does not reach each --repository",
        _ => "",
    }
}
