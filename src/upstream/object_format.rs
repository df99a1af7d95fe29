//! The object format of an upstream, asked before there is a mirror.

use std::path::Path;

use git2::{ObjectFormat, Repository, RepositoryInitOptions};

use super::listing::Head;
use super::remote::Remote;
use super::{Budget, UpstreamError, ls_remote};
use crate::settings::Settings;
use crate::{process, text};

/// Asks the upstream which object ids it has, SHA-1 or SHA-256. `git_dir` is a repository with the
/// settings, of either format, that is used for nothing else.
///
/// No git command tells this of an empty upstream. The server names it in its first answer
/// (gitprotocol-v2(5), gitprotocol-capabilities(5): `object-format`), which git shows in its trace
/// of the protocol (git(1), `GIT_TRACE_PACKET`).
pub fn object_format(git_dir: &Path, settings: &Settings) -> Result<ObjectFormat, UpstreamError> {
    let remote = Remote::new(settings, git_dir)?;
    remote.open()?;
    let what = format!("asking {} for its object format", remote.context().upstream);
    let budget = Budget::new("refreshTimeout", settings.limits.refresh, what);
    let trace = git_dir.join("packets");
    let command = || {
        let mut command = remote.git(git_dir);
        command
            .env("GIT_TRACE_PACKET", &trace)
            .args(["ls-remote", "--", remote.url(), "HEAD"]);
        command
    };
    let output = remote.ask(command, process::OUTPUT_LIMIT, &budget)?;
    let packets = std::fs::read(&trace).unwrap_or_default();
    match named(&String::from_utf8_lossy(&packets)) {
        Some(format) => Ok(format),
        // Before `object-format` there was one format.
        None if output.status.success() => Ok(ObjectFormat::Sha1),
        None => Err(remote.explain(&output)),
    }
}

/// What an upstream answers, without a mirror of it.
#[derive(Debug)]
pub struct Seen {
    /// `sha1` or `sha256`.
    pub format: &'static str,
    /// What its HEAD names, safe to show.
    pub head: String,
    /// How many refs it has.
    pub refs: usize,
}

/// Asks the upstream for its refs; `directory` is an empty one, used for nothing else.
pub fn look(directory: &Path, settings: &Settings) -> Result<Seen, UpstreamError> {
    let init = |name: &str, format| {
        let mut options = RepositoryInitOptions::new();
        options
            .bare(true)
            .external_template(false)
            .object_format(format);
        Repository::init_opts(directory.join(name), &options)
    };
    let format = object_format(init("any", ObjectFormat::Sha1)?.path(), settings)?;
    let repository = init("alike", format)?;
    let remote = Remote::new(settings, repository.path())?;
    let what = format!("asking {} for its refs", remote.context().upstream);
    let budget = Budget::new("refreshTimeout", settings.limits.refresh, what);
    let listing = ls_remote::fetch(&remote, &repository, &settings.fetch_ref, &budget)?;
    let head = match &listing.head {
        Head::Ref(target) if listing.refs.get(target).is_some() => text::ref_name(target),
        Head::Ref(target) => format!("{}, which has no commits yet", text::ref_name(target)),
        Head::Detached(id) => format!("{id}, detached"),
        Head::Unknown => "unknown".to_owned(),
    };
    Ok(Seen {
        format: format.str(),
        head,
        refs: listing.refs.count(),
    })
}

fn named(packets: &str) -> Option<ObjectFormat> {
    packets
        .split(|c: char| c.is_whitespace() || c == '\0')
        .find_map(|word| match word {
            "object-format=sha1" => Some(ObjectFormat::Sha1),
            "object-format=sha256" => Some(ObjectFormat::Sha256),
            _ => None,
        })
}
