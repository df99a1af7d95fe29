//! Documents that are encrypted: they hold files as archives do, and nobody can open them. A file that
//! is nothing but encrypted (gpg, age, git-crypt) is none of these: docs/scan.md says why.

use memchr::memmem::{self, Finder};

use super::super::{DecodeError, Member};
use super::{WINDOW, unscannable};
use crate::scan::decode::input::Source;

/// Bytes from the start within which readers look for the start of a PDF.
const PDF_HEAD: usize = 1024;

/// The start of a compound file, such as Office puts around an encrypted document ([MS-OFFCRYPTO] 1.3.1).
const COMPOUND: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// The name of the stream in it, in UTF-16.
const PACKAGE: &[u8] = b"E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e\0";

/// The member of an OpenDocument that tells how the others are encrypted (OpenDocument 1.3, part 2, 4).
const MANIFEST: &str = "META-INF/manifest.xml";

/// Bytes that the next window repeats: more than what is looked for.
const OVERLAP: usize = 64;

/// Refuses `source` if it is an encrypted document, or tells that its container is one.
pub(in crate::scan::decode) fn refuse(
    source: &Source<'_>,
    place: &Member,
) -> Result<(), DecodeError> {
    let head = source.part(0..PDF_HEAD as u64);
    let (is_pdf, is_compound) = head.with_bytes(PDF_HEAD, |head| {
        let is_pdf = memmem::find(head, b"%PDF-").is_some();
        (is_pdf, head.starts_with(COMPOUND))
    })?;
    let what = if is_pdf && holds(source, b"/Encrypt", is_reference)? {
        "PDF"
    } else if is_compound && holds(source, PACKAGE, |_| true)? {
        "Office document"
    } else if place.name() == Some(MANIFEST)
        && holds(source, b"manifest:encryption-data", |_| true)?
    {
        "OpenDocument"
    } else {
        return Ok(());
    };
    Err(unscannable(place, format!("it is an encrypted {what}")))
}

/// Whether `rest` goes on as the value of `/Encrypt` does (ISO 32000-1, 7.5.5): a dictionary, or the
/// number of one.
fn is_reference(rest: &[u8]) -> bool {
    let value = rest.trim_ascii_start();
    value.starts_with(b"<<") || value.first().is_some_and(u8::is_ascii_digit)
}

/// Whether `wanted` stands in `source`, and what follows `fits`.
fn holds(
    source: &Source<'_>,
    wanted: &[u8],
    fits: impl Fn(&[u8]) -> bool,
) -> Result<bool, DecodeError> {
    let finder = Finder::new(wanted);
    let mut start = 0;
    while start < source.len() {
        let part = source.part(start..start + (WINDOW + OVERLAP) as u64);
        let found = part.with_bytes(WINDOW + OVERLAP, |bytes| {
            let mut found = finder.find_iter(bytes);
            found.any(|at| fits(&bytes[at + wanted.len()..]))
        })?;
        if found {
            return Ok(true);
        }
        start += WINDOW as u64;
    }
    Ok(false)
}
