//! What a push needs of rules that another push has read already. To read them takes 15 ms of processor
//! time: gitleaks' own stand somewhere in a program of 20 MB.
//!
//! One file in gate-init's run directory, where nobody else may write, for each file of the operator's. It
//! holds as long as all that it was made from is the same: this program, gitleaks, and the operator's file.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid};
use serde::{Deserialize, Serialize};

use super::PathRules;
use super::rules::read_text;
use crate::replace_file::replace_file;
use crate::unix_socket::is_private;

/// How the names of the files begin.
const PREFIX: &str = "rules-";

/// What is known of a set of rules.
#[derive(Serialize, Deserialize)]
pub(crate) struct KnownRules<Paths = PathRules> {
    made_from: String,
    /// What tells them apart from others.
    pub(crate) fingerprint: String,
    /// What the gate applies of them.
    pub(crate) paths: Paths,
}

/// The place for what is known of the rules of one gitleaks with one file of the operator's.
pub(crate) struct Place {
    file: PathBuf,
    made_from: String,
}

impl Place {
    /// That in `run_dir`, which nobody else may enter, for the gitleaks at `program` with the operator's
    /// `rules`.
    pub(crate) fn of(run_dir: &Path, program: &Path, rules: Option<&Path>) -> io::Result<Self> {
        if !is_private(run_dir) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let text = match rules {
            Some(rules) => hash(read_text(rules).map_err(io::Error::other)?.as_bytes())?,
            None => String::new(),
        };
        let names = [program, rules.unwrap_or(Path::new(""))].map(Path::as_os_str);
        let name = hash(&names.map(OsStr::as_encoded_bytes).join(&0))?;
        // Another version of the gate may read the same rules otherwise.
        let own = version(&fs::metadata("/proc/self/exe")?);
        let gitleaks = version(&fs::metadata(program)?);
        Ok(Self {
            file: run_dir.join(format!("{PREFIX}{name}")),
            made_from: format!("{own} {gitleaks} {text}"),
        })
    }

    /// What is known, where it still holds.
    pub(crate) fn look(&self) -> Option<KnownRules> {
        let text = fs::read(&self.file).ok()?;
        let known: KnownRules = serde_json::from_slice(&text).ok()?;
        (known.made_from == self.made_from).then_some(known)
    }

    /// Notes it. Where that fails, the next push reads the rules too.
    pub(crate) fn note(&self, fingerprint: &str, paths: &PathRules) {
        let known = KnownRules {
            made_from: self.made_from.clone(),
            fingerprint: fingerprint.to_owned(),
            paths,
        };
        if let Ok(text) = serde_json::to_vec(&known) {
            let _ = replace_file(&self.file, &text);
        }
    }
}

fn hash(bytes: &[u8]) -> io::Result<String> {
    let hash = Oid::hash_object(ObjectType::Blob, bytes).map_err(io::Error::other)?;
    Ok(hash.to_string())
}

/// Which file it is, and of when.
pub(crate) fn version(file: &Metadata) -> String {
    format!(
        "{} {} {} {}.{}",
        file.dev(),
        file.ino(),
        file.size(),
        file.mtime(),
        file.mtime_nsec()
    )
}
