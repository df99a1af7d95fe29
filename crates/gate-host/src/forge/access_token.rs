//! Access tokens of GitLab (a project's) and of Gitea and Forgejo (an account's).

use std::time::{Duration, SystemTime};

use git_gate::url::https_url::HttpsUrl;
use serde_json::Value;

use super::api::{AccessTokens, Forge};
use super::deploy_keys::id_of;
use super::http::{Answer, Http, HttpError, Method, Patience};
use super::issue::{IssueError, Issued, Issuer, token_of};
use super::{Collection, ForgeError, Provider, Token};
use crate::interrupt::Interrupt;

/// Access tokens for one upstream.
pub struct AccessToken {
    tokens: &'static dyn AccessTokens,
    collection: Collection,
    login: Token,
}

impl AccessToken {
    /// Tokens for `upstream`, which `login` may make.
    pub fn new(
        provider: Provider,
        upstream: &HttpsUrl,
        api_url: Option<&str>,
        login: Token,
    ) -> Result<Self, ForgeError> {
        let tokens = provider
            .forge()
            .access_tokens()
            .ok_or(ForgeError::NoAccessTokens)?;
        if !tokens.fits(&login.value) {
            return Err(ForgeError::Login {
                variable: login.variable,
                needs: tokens.needs(),
            });
        }
        let path = |segments: &[&str]| tokens.path(segments, &login.value);
        let collection = Collection::at(
            provider,
            api_url,
            upstream.authority(),
            upstream.path(),
            path,
        )?;
        Ok(Self {
            tokens,
            collection,
            login,
        })
    }

    fn forge(&self) -> &'static dyn Forge {
        self.collection.provider.forge()
    }

    /// The answer to a request, where it has the status `wanted`.
    fn send(
        &self,
        (method, url): (Method, &str),
        body: Option<&Value>,
        wanted: u16,
        patience: &Patience,
        interrupt: &Interrupt,
    ) -> Result<Answer, ForgeError> {
        let http = Http::new(patience, url.starts_with("http:"));
        let authorization = self.tokens.authorization(&self.login.value);
        let (_, answer) = http.send(method, url, interrupt, |request| {
            self.forge().complete(request, &authorization, body)
        });
        let request = format!("{method} {url}");
        let answer = match answer {
            Ok(answer) => answer,
            Err(source) => return Err(ForgeError::Http { request, source }),
        };
        if answer.status == wanted {
            return Ok(answer);
        }
        let hint = self.hint(answer.status);
        Err(ForgeError::refused(
            request,
            &answer,
            &self.login.value,
            hint,
        ))
    }

    fn hint(&self, status: u16) -> String {
        let variable = &self.login.variable;
        match status {
            401 => format!("; what {variable} holds is wrong or has expired"),
            400 | 403 => format!("; look at what {variable} holds: {}", self.tokens.needs()),
            404 => format!(
                "; the repository does not exist, or who {variable} stands for may not see it"
            ),
            _ => String::new(),
        }
    }

    fn read(&self, answer: &Answer, until: SystemTime) -> Result<Issued, HttpError> {
        let body = answer.json()?;
        Ok(Issued {
            token: token_of(&body[self.tokens.member()])?,
            until,
            id: Some(id_of(&body).ok_or(HttpError::Content)?),
        })
    }
}

impl Issuer for AccessToken {
    fn issue(&self, patience: &Patience, interrupt: &Interrupt) -> Result<Issued, IssueError> {
        let now = SystemTime::now();
        let until = self.tokens.until(now);
        let name = format!("git-gate {}", humantime::format_rfc3339_millis(now));
        let body = self.tokens.order(&name, until);
        let url = self.collection.url();
        let answer = self.send((Method::Post, url), Some(&body), 201, patience, interrupt)?;
        let read = self.read(&answer, until);
        Ok(read.map_err(|source| ForgeError::Http {
            request: format!("{} {url}", Method::Post),
            source,
        })?)
    }

    fn take_back(&self, id: &str, patience: &Patience) -> Result<(), IssueError> {
        let url = self.collection.key_url(id);
        self.send(
            (Method::Delete, &url),
            None,
            204,
            patience,
            &Interrupt::default(),
        )?;
        Ok(())
    }

    fn is_endless(&self) -> bool {
        self.tokens.are_endless()
    }
}

/// The start of the day that follows `now` by `days`, in UTC.
pub(super) fn start_of_day(now: SystemTime, days: u64) -> SystemTime {
    const DAY: u64 = 24 * 3600;
    let since = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let today = since.as_secs() / DAY;
    SystemTime::UNIX_EPOCH + Duration::from_secs((today + days) * DAY)
}
