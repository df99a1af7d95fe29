//! Who made a commit: the addresses in it, and its signature.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use git2::{Oid, Repository};
use wildmatch::WildMatch;

use super::RuleError;
use crate::deadline::Deadline;
use crate::git::{self, GitOutput};
use crate::process;
use crate::scan::objects::parse;

/// The line of the commit `raw` that names somebody whom `allowed` does not, as `author` or `committer`.
///
/// Of two authors, or an address that programs may read differently, nobody knows whose commit it is.
pub fn stranger(raw: &[u8], allowed: &[String]) -> Option<&'static str> {
    let globs: Vec<_> = allowed
        .iter()
        .map(|glob| WildMatch::new(&glob.to_lowercase()))
        .collect();
    let header = &raw[..parse::message_start(raw)];
    ["author", "committer"].into_iter().find(|role| {
        let mut people = header
            .split(|&b| b == b'\n')
            .filter_map(|line| line.strip_prefix(role.as_bytes())?.strip_prefix(b" "));
        let address = people.next().and_then(address);
        let is_known = address.is_some_and(|address| {
            globs
                .iter()
                .any(|glob| glob.matches(&address.to_lowercase()))
        });
        !is_known || people.next().is_some()
    })
}

/// The address in `NAME <ADDRESS> TIME ZONE`, where there is exactly one.
fn address(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?;
    let (_, rest) = line.split_once('<')?;
    let (address, rest) = rest.split_once('>')?;
    let is_odd = |c: char| c.is_control() || matches!(c, '<' | '>');
    (!address.contains(is_odd) && !rest.contains(is_odd)).then_some(address)
}

/// Those of `commits` whose signature git does not verify, each with git's letter for why (git-log(1),
/// `%G?`). Keys of ssh count as `signers` says (ssh-keygen(1), "ALLOWED SIGNERS"), those of OpenPGP as
/// the keyring of the gate's user does.
pub fn unsigned(
    repository: &Repository,
    commits: &[Oid],
    signers: &Path,
    deadline: Deadline,
) -> Result<HashMap<Oid, char>, RuleError> {
    // git names no line of a file that it cannot read.
    std::fs::File::open(signers).map_err(|source| RuleError::Signers {
        file: signers.to_owned(),
        source,
    })?;
    let ids: String = commits.iter().map(|id| format!("{id}\n")).collect();
    let mut command = git::bare_command();
    let mut file = std::ffi::OsString::from("gpg.ssh.allowedSignersFile=");
    file.push(signers);
    command
        .arg("-c")
        .arg(file)
        .args(["-c", "gpg.ssh.program=ssh-keygen", "-c", "gpg.program=gpg"])
        .arg("--git-dir")
        .arg(repository.path())
        .args(["log", "--no-walk=unsorted", "--stdin", "--format=%H %G?"])
        .stdin(process::in_memory(ids.as_bytes())?);
    let mut left: HashMap<_, _> = commits.iter().map(|&id| (id, 'N')).collect();
    for line in BufReader::new(GitOutput::start(&mut command, deadline)?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        let Some((id, letter)) = line.split_once(' ') else {
            continue;
        };
        let id = Oid::from_str_ext(id, repository.object_format())?;
        match letter.chars().next() {
            Some('G') => {
                left.remove(&id);
            }
            Some(letter) => {
                left.insert(id, letter);
            }
            None => {}
        }
    }
    Ok(left)
}

/// git's letter in words.
pub fn why(letter: char) -> &'static str {
    match letter {
        'B' => "its signature is bad",
        'U' => "its key is not among those that count",
        'X' | 'Y' => "its signature or key has expired",
        'R' => "its key was revoked",
        'E' => "its signature cannot be checked here",
        _ => "it is not signed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_only_where_everybody_reads_the_same() {
        let allowed = ["*@Example.com".to_owned()];
        let good = "A <a@example.COM> 1 +0000";
        for (author, committer, stranger_is) in [
            (good, good, None),
            ("A <a@other> 1 +0000", good, Some("author")),
            (good, "A <a@example.com.evil> 1 +0", Some("committer")),
            ("A <x@y> <a@example.com> 1 +0", good, Some("author")),
            ("A <x@y><a@example.com> 1 +0", good, Some("author")),
            ("A a@example.com 1 +0", good, Some("author")),
            (
                "A <a@other> 1 +0\nauthor A <a@example.com> 1 +0",
                good,
                Some("author"),
            ),
            (
                "A <a@example.com> 1 +0\nauthor A <a@other> 1 +0",
                good,
                Some("author"),
            ),
        ] {
            let raw = format!("tree 1\nauthor {author}\ncommitter {committer}\n\nauthor x <y> 1\n");
            assert_eq!(stranger(raw.as_bytes(), &allowed), stranger_is, "{raw}");
        }
        assert_eq!(stranger(b"tree 1\n\nx", &allowed), Some("author"));
    }
}
