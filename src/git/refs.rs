//! The refs of a repository, as git itself lists them, and what they do not reach.
//!
//! libgit2's own iterator is not for this: of directories that are nested about a hundred deep it says
//! nothing, and of all that would come behind them neither.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};

use git2::{ObjectFormat, Oid, Repository};
use thiserror::Error;

use super::GitOutput;
use crate::deadline::Deadline;
use crate::process;

/// Seconds that a listing may take where no setting says it.
const LIMIT: u64 = 60;

/// Bytes of a listing that are read at a time.
const BUFFER: usize = 64 << 10;

/// git's words for a ref that it leaves out.
const BROKEN: &str = "ignoring broken ref";

/// Why the refs cannot be listed.
#[derive(Debug, Error)]
pub enum RefsError {
    /// git said no.
    #[error("cannot list the refs of the gate's mirror; tell the operator")]
    Git(#[from] io::Error),
    /// A ref cannot be read.
    #[error(
        "a ref of the gate's mirror is broken; the operator must restart gate-init, or without it remove the mirror, so that it is made anew"
    )]
    Broken,
}

/// All refs below `refs/` at one moment.
#[derive(Debug, Default)]
pub struct Refs {
    /// Each name once, in order, with what it names; a symbolic ref names what its target does.
    sorted: Vec<(Box<[u8]>, Oid)>,
}

impl Refs {
    /// The refs of `repository` now: all of them, or an error.
    pub fn list(repository: &Repository) -> Result<Self, RefsError> {
        Listing::start(repository, Deadline::of("refreshTimeout", LIMIT))?.read()
    }

    /// What the ref `name` names.
    pub fn get(&self, name: &str) -> Option<Oid> {
        let at = self
            .sorted
            .binary_search_by(|(one, _)| (**one).cmp(name.as_bytes()));
        Some(self.sorted[at.ok()?].1)
    }

    /// Each ref's name, in order, and what it names.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Oid)> {
        self.sorted.iter().map(|(name, id)| (&**name, *id))
    }

    /// What the refs name, one for each ref.
    pub fn ids(&self) -> impl Iterator<Item = Oid> {
        self.sorted.iter().map(|(_, id)| *id)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// Whether `name` cannot be made beside a ref that is here: one is the front part of the
    /// other's name, which would have to be a file and a directory.
    pub fn exclude(&self, name: &str) -> bool {
        let below = format!("{name}/").into_bytes();
        let first = self.sorted.partition_point(|(name, _)| **name < *below);
        let next = self.sorted.get(first);
        let mut parents = name.match_indices('/').map(|(end, _)| &name[..end]);
        next.is_some_and(|(name, _)| name.starts_with(&below))
            || parents.any(|parent| self.get(parent).is_some())
    }
}

impl<N: Into<Box<[u8]>>> FromIterator<(N, Oid)> for Refs {
    fn from_iter<T: IntoIterator<Item = (N, Oid)>>(refs: T) -> Self {
        let refs = refs.into_iter().map(|(name, id)| (name.into(), id));
        let mut sorted: Vec<(Box<[u8]>, Oid)> = refs.collect();
        // git lists refs in order, which takes this one look at each.
        sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
        sorted.dedup_by(|(later, _), (first, _)| later == first);
        Self { sorted }
    }
}

/// A listing under way (git-for-each-ref(1)): git is at it while something else is done.
pub struct Listing {
    output: GitOutput,
    messages: File,
    format: ObjectFormat,
}

impl Listing {
    /// Lets git list the refs of `repository`, until `deadline`.
    pub fn start(repository: &Repository, deadline: Deadline) -> Result<Self, RefsError> {
        let messages = process::in_memory(b"")?;
        let mut command = super::command(repository.path());
        command
            .args(["for-each-ref", "--format=%(objectname) %(refname)"])
            .stderr(messages.try_clone()?);
        Ok(Self {
            output: GitOutput::start(&mut command, deadline)?,
            messages,
            format: repository.object_format(),
        })
    }

    /// The refs: all of them, or an error.
    pub fn read(self) -> Result<Refs, RefsError> {
        let lines = BufReader::with_capacity(BUFFER, self.output).split(b'\n');
        let refs = lines.map(|line| {
            parse(&line?, self.format).ok_or(io::Error::from(io::ErrorKind::InvalidData))
        });
        let refs: io::Result<Refs> = refs.collect();
        let refs = refs?;
        match text_of(self.messages)?.contains(BROKEN) {
            true => Err(RefsError::Broken),
            false => Ok(refs),
        }
    }
}

/// What `starts` reach and no ref of `repository` does, as git-rev-list(1) lists it with `options`.
pub fn unreached(
    repository: &Repository,
    starts: impl Iterator<Item = Oid>,
    options: &[&str],
    deadline: Deadline,
) -> io::Result<GitOutput> {
    let starts: String = starts.map(|id| format!("{id}\n")).collect();
    let mut command = super::command(repository.path());
    command
        .arg("rev-list")
        .args(options)
        .args(["--stdin", "--not", "--all"])
        .stdin(process::in_memory(starts.as_bytes())?);
    GitOutput::start(&mut command, deadline)
}

/// Whether `refs` reach all that `start` does (git-rev-list(1)).
pub fn reach(
    repository: &Repository,
    refs: &[Oid],
    start: Oid,
    deadline: Deadline,
) -> io::Result<bool> {
    let refs: String = refs.iter().map(|id| format!("^{id}\n")).collect();
    let mut command = super::command(repository.path());
    command
        .args(["rev-list", "--objects", "--no-object-names"])
        .args(["--max-count=1", "--stdin"])
        .stdin(process::in_memory(format!("{start}\n{refs}").as_bytes())?);
    let mut first = Vec::new();
    let mut output = GitOutput::start(&mut command, deadline)?.take(1);
    output.read_to_end(&mut first)?;
    Ok(first.is_empty())
}

/// The best common ancestors of two commits, which may have none (git-merge-base(1)).
pub fn merge_bases(
    repository: &Repository,
    one: Oid,
    other: Oid,
    deadline: Deadline,
) -> io::Result<Vec<Oid>> {
    let mut command = super::command(repository.path());
    command.args(["merge-base", "--all", &one.to_string(), &other.to_string()]);
    let output = process::run(&mut command, deadline.left()).map_err(io::Error::other)?;
    let is_none = output.status.code() == Some(1) && output.stdout.is_empty();
    if !output.status.success() && !is_none {
        let status = output.status;
        return Err(io::Error::other(format!("git ended with {status}")));
    }
    let format = repository.object_format();
    let lines = output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty());
    let id =
        |line| Oid::from_str_ext(&String::from_utf8_lossy(line), format).map_err(io::Error::other);
    lines.map(id).collect()
}

/// A line `<id> SP <name>`.
fn parse(line: &[u8], format: ObjectFormat) -> Option<(Box<[u8]>, Oid)> {
    let end = line.iter().position(|&byte| byte == b' ')?;
    let id = std::str::from_utf8(&line[..end]).ok()?;
    let id = Oid::from_str_ext(id, format).ok()?;
    Some((line[end + 1..].into(), id))
}

/// What was written to `file`.
fn text_of(mut file: File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_exclude_those_that_begin_with_them() {
        let id = Oid::from_str_ext(&"1".repeat(40), ObjectFormat::Sha1).unwrap();
        let refs = ["refs/heads/a/b", "refs/heads/a.b"].map(|name| (name.as_bytes(), id));
        let refs: Refs = refs.into_iter().collect();
        assert_eq!(refs.get("refs/heads/a/b"), Some(id));
        for (name, excluded) in [
            ("refs/heads/a", true),
            ("refs/heads/a/b/c", true),
            ("refs/heads/a/b", false),
            ("refs/heads/a/bc", false),
            ("refs/heads/a/c", false),
            ("refs/heads/ab", false),
        ] {
            assert_eq!(refs.exclude(name), excluded, "{name}");
        }
    }
}
