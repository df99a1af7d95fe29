//! How an upstream is reached, over ssh or over HTTPS: what a refresh and a forward need of either.

use std::path::Path;
use std::process::Command;

use super::context::Context;
use super::https::Https;
use super::ssh::Ssh;
use super::{Budget, UpstreamError};
use crate::process::{self, Output, Reading};
use crate::settings::Settings;
use crate::url::https_url;

/// The way to one upstream.
#[derive(Debug, Clone)]
pub(super) enum Remote {
    Ssh(Ssh),
    Https(Https),
}

impl Remote {
    /// Checks the URL and that the credentials are there. Contacts nobody.
    ///
    /// `git_dir` is where connection sockets go when there is no run directory.
    pub fn new(settings: &Settings, git_dir: &Path) -> Result<Self, UpstreamError> {
        match https_url::is_https(&settings.url) {
            true => Https::new(settings).map(Self::Https),
            false => Ssh::new(settings, git_dir).map(Self::Ssh),
        }
    }

    /// The URL as git is given it.
    pub fn url(&self) -> &str {
        match self {
            Self::Ssh(ssh) => ssh.url.as_str(),
            Self::Https(https) => https.url.as_str(),
        }
    }

    /// What an error text needs to know.
    pub fn context(&self) -> &Context {
        match self {
            Self::Ssh(ssh) => &ssh.context,
            Self::Https(https) => &https.context,
        }
    }

    /// The same for a mirror of this object format.
    pub fn for_format(mut self, format: &'static str) -> Self {
        let context = match &mut self {
            Self::Ssh(ssh) => &mut ssh.context,
            Self::Https(https) => &mut https.context,
        };
        context.format = format;
        self
    }

    /// Makes sure that the shared connection stands, where there is one.
    pub fn open(&self) -> Result<(), UpstreamError> {
        match self {
            Self::Ssh(ssh) => ssh.open(),
            Self::Https(_) => Ok(()),
        }
    }

    /// Whether commands share one connection, which may have broken before a command used it.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Ssh(ssh) if ssh.is_shared())
    }

    /// The ssh, for what only that has.
    pub fn ssh(&self) -> Option<&Ssh> {
        match self {
            Self::Ssh(ssh) => Some(ssh),
            Self::Https(_) => None,
        }
    }

    /// A git command in `git_dir` that reaches this upstream and dies with this process.
    pub fn git(&self, git_dir: &Path) -> Command {
        match self {
            Self::Ssh(ssh) => ssh.git(git_dir),
            Self::Https(https) => https.git(git_dir),
        }
    }

    /// Runs a git command that asks for refs; the first `most` bytes of its output are kept.
    pub fn ask(
        &self,
        command: impl Fn() -> Command,
        most: usize,
        budget: &Budget,
    ) -> Result<Output, UpstreamError> {
        match self {
            Self::Ssh(_) => budget.run_read(&mut command(), Reading::up_to(most)),
            Self::Https(https) => https.ask(command, most, budget),
        }
    }

    /// Explains a failed command.
    pub fn explain(&self, output: &Output) -> UpstreamError {
        if output.status.code().is_none() {
            let how = process::how_it_ended(output.status);
            return UpstreamError::Killed { how };
        }
        match self {
            Self::Ssh(ssh) => ssh.explain(output),
            Self::Https(https) => https.explain(output),
        }
    }
}
