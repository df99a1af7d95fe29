//! Replaces a file as a whole, so that nobody ever reads half of it.

use std::io::{self, Write};
use std::path::Path;

/// Puts a file of `content` at `path`, in place of the one that may be there. Only this user may read it.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| *parent != Path::new(""));
    // A temporary file has mode 0600.
    let mut new = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
    new.write_all(content)?;
    // Else a crash may leave the new name with nothing in it.
    new.as_file().sync_all()?;
    new.persist(path)?;
    Ok(())
}
