//! The damage that a crash or a full disk leaves in a mirror.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use git2::{ErrorClass, Repository};

use crate::git::{Refs, RefsError};
use crate::text;

/// Why what is on the disk cannot be served.
#[derive(Debug)]
pub enum Fault {
    /// It is no mirror of this upstream: another one is made.
    Unusable(String),
    /// The system does not let it be read now, for want of file descriptors, memory or a right: that
    /// says nothing about the mirror.
    Unreadable(String),
}

impl Fault {
    /// What `error` says of `what`.
    pub fn of(what: &str, error: &git2::Error) -> Self {
        let reason = error.message();
        match error.class() {
            ErrorClass::Os | ErrorClass::NoMemory => Self::Unreadable(reason.to_owned()),
            _ => Self::Unusable(format!("{what} ({reason})")),
        }
    }
}

/// Looks for the damage that a crash or a full disk leaves: no HEAD, refs to nothing, cut packs.
pub fn damage(repository: &Repository) -> Option<Fault> {
    let look = || {
        repository.find_reference("HEAD")?;
        cut_pack(&repository.path().join("objects/pack"))?;
        repository.odb()
    };
    let odb = match look() {
        Ok(odb) => odb,
        Err(error) => return Some(Fault::of("damaged", &error)),
    };
    let refs = match Refs::list(repository) {
        Ok(refs) => refs,
        Err(error @ RefsError::Git(_)) => return Some(Fault::Unreadable(text::chain(&error))),
        Err(error) => return Some(Fault::Unusable(text::chain(&error))),
    };
    let error = refs.ids().find_map(|id| odb.read_header(id).err())?;
    Some(Fault::of("damaged", &error))
}

/// A pack ends with the checksum that its index holds in front of its own
/// (gitformat-pack(5)); a pack that was cut does not.
fn cut_pack(directory: &Path) -> Result<(), git2::Error> {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let pack = entry.path();
        if pack
            .extension()
            .is_some_and(|extension| extension == "pack")
            && !is_whole(&pack)
        {
            return Err(git2::Error::from_str(&format!(
                "{} is cut short or has no index",
                entry.file_name().display()
            )));
        }
    }
    Ok(())
}

fn is_whole(pack: &Path) -> bool {
    let tail = |path: &Path, bytes: u64| -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        Ok(tail)
    };
    // SHA-1 and SHA-256 checksums have 20 and 32 bytes.
    [20, 32].into_iter().any(|length| {
        let (pack, index) = (
            tail(pack, length),
            tail(&pack.with_extension("idx"), 2 * length),
        );
        matches!((pack, index), (Ok(pack), Ok(index))
            if pack.len() as u64 == length && index.starts_with(&pack))
    })
}
