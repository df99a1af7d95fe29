//! The object format of an upstream, asked before there is a mirror.

use std::path::Path;

use git2::ObjectFormat;

use super::ssh::Ssh;
use super::{Budget, UpstreamError};
use crate::settings::Settings;

/// Asks the upstream which object ids it has, SHA-1 or SHA-256. `git_dir` is a repository with the
/// settings, of either format, that is used for nothing else.
///
/// No git command tells this of an empty upstream. The server names it in its first answer
/// (gitprotocol-v2(5), gitprotocol-capabilities(5): `object-format`), which git shows in its trace
/// of the protocol (git(1), `GIT_TRACE_PACKET`).
pub fn object_format(git_dir: &Path, settings: &Settings) -> Result<ObjectFormat, UpstreamError> {
    let ssh = Ssh::new(settings, git_dir)?;
    ssh.open()?;
    let what = format!("asking {} for its object format", ssh.context.upstream);
    let budget = Budget::new("refreshTimeout", settings.limits.refresh, what);
    let trace = git_dir.join("packets");
    let mut command = ssh.git(git_dir);
    command
        .env("GIT_TRACE_PACKET", &trace)
        .args(["ls-remote", "--", ssh.url.as_str(), "HEAD"]);
    let output = budget.run(&mut command)?;
    let packets = std::fs::read(&trace).unwrap_or_default();
    match named(&String::from_utf8_lossy(&packets)) {
        Some(format) => Ok(format),
        // Before `object-format` there was one format.
        None if output.status.success() => Ok(ObjectFormat::Sha1),
        None => Err(ssh.explain(&output.stderr)),
    }
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
