//! Lines at the end of a file that other processes may add to as well.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens `path` to add to it.
pub fn open(path: &Path) -> io::Result<File> {
    options().open(path)
}

/// As [`open`], for a process that must not wait: a FIFO without a reader is an error.
pub fn open_now(path: &Path) -> io::Result<File> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    options().custom_flags(nonblocking).open(path)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    options
}

/// Whether the file at `path` ends in the middle of a line: a full disk or a crash cut it off.
pub fn is_torn(path: &Path) -> bool {
    let last = || -> io::Result<u8> {
        // A FIFO would be opened as its reader.
        if !fs::metadata(path)?.is_file() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        Ok(last[0])
    };
    last().is_ok_and(|last| last != b'\n')
}

/// Adds `line`, in one write so that lines of several processes do not mix. What a failure leaves
/// of a line is ended before the next one, so that no whole line hangs on it: `torn` remembers.
pub fn write(file: &mut File, torn: &mut bool, line: &str) -> io::Result<()> {
    let start = if *torn { "\n" } else { "" };
    let line = format!("{start}{line}\n");
    let mut left = line.as_bytes();
    while !left.is_empty() {
        match file.write(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                left = &left[written..];
                *torn = !left.is_empty();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_ended_before_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs::write(&path, "{\"time\":").unwrap();
        let mut torn = is_torn(&path);
        let mut file = open(&path).unwrap();
        write(&mut file, &mut torn, "one").unwrap();
        write(&mut file, &mut torn, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"time\":\none\ntwo\n");
        assert!(!is_torn(&path));
    }
}
