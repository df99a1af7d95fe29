//! The blobs of a big push, read by a git process beside ours: while this process looks at one, git
//! unpacks the next on another core.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::deadline::Deadline;
use crate::git::{self, GitOutput};
use crate::process;
use crate::push::ReceivedObject;
use crate::scan::ScanError;

/// Bytes read from git at a time.
const BUFFER: usize = 256 << 10;

/// The longest line in front of an object: its name, kind and size.
const LINE: u64 = 256;

/// One `git cat-file --batch` (git-cat-file(1), BATCH OUTPUT).
pub struct Ahead {
    output: BufReader<GitOutput>,
    line: Vec<u8>,
    left: usize,
}

impl Ahead {
    /// Lets git unpack `blobs`, in this order and until `deadline`.
    pub fn start(
        git_dir: &Path,
        blobs: impl Iterator<Item = ReceivedObject>,
        deadline: Deadline,
    ) -> io::Result<Self> {
        let names: Vec<String> = blobs.map(|blob| format!("{}\n", blob.id)).collect();
        let mut command = git::command(git_dir);
        command
            .args(["cat-file", "--batch", "--buffer"])
            .stdin(process::in_memory(names.concat().as_bytes())?);
        Ok(Self {
            output: BufReader::with_capacity(BUFFER, GitOutput::start(&mut command, deadline)?),
            line: Vec::new(),
            left: names.len(),
        })
    }

    /// Whether there are no more blobs.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// The content of the next blob, which has to be `blob`.
    pub fn next(&mut self, blob: &ReceivedObject) -> Result<Vec<u8>, ScanError> {
        self.left -= 1;
        self.line.clear();
        let mut head = self.output.by_ref().take(LINE);
        head.read_until(b'\n', &mut self.line)?;
        if self.line != format!("{} {} {}\n", blob.id, blob.kind, blob.size).as_bytes() {
            return Err(ScanError::Unproven);
        }
        let mut content = Vec::with_capacity(usize::try_from(blob.size).map_or(0, |size| size + 1));
        // And the line end behind it.
        self.output
            .by_ref()
            .take(blob.size + 1)
            .read_to_end(&mut content)?;
        match content.pop() {
            Some(b'\n') if content.len() as u64 == blob.size => Ok(content),
            _ => Err(ScanError::Unproven),
        }
    }
}
