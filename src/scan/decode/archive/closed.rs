//! Archives that the gate cannot open, behind a program that unpacks itself: 7z, and the squashfs of an
//! AppImage. Programs that know these formats hold their magic numbers as well, so the header decides.

use flate2::Crc;

use super::unscannable;
use crate::scan::decode::input::Source;
use crate::scan::decode::{DecodeError, Member};

pub(crate) const SEVEN_ZIP: &[u8] = b"7z\xbc\xaf\x27\x1c";
pub(crate) const SQUASHFS: &[u8] = b"hsqs";

/// Bytes of the longest header that is looked at.
const HEADER: usize = 48;

/// An error where a header of one of them is at `at` in `source`, and is right.
pub(crate) fn refuse(source: &Source<'_>, at: u64, place: &Member) -> Result<(), DecodeError> {
    let head = source.peek(at, HEADER)?;
    let what = match () {
        () if is_seven_zip(&head) => "a 7z archive",
        () if is_squashfs(&head) => "a squashfs image",
        () => return Ok(()),
    };
    let problem = format!("it holds {what}, which the gate cannot open");
    Err(unscannable(place, problem))
}

/// The magic number, two bytes of version, and a checksum of the 20 bytes behind it (7zFormat.txt).
fn is_seven_zip(head: &[u8]) -> bool {
    let (Some(sum), Some(rest)) = (head.get(8..12), head.get(12..32)) else {
        return false;
    };
    let mut crc = Crc::new();
    crc.update(rest);
    head.starts_with(SEVEN_ZIP) && crc.sum().to_le_bytes() == sum
}

/// The size of a block at 12 and its logarithm at 22, version 4.0 at 28.
fn is_squashfs(head: &[u8]) -> bool {
    let number = |at: usize, length: usize| {
        let bytes = head.get(at..at + length)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |number, byte| number << 8 | u32::from(*byte)),
        )
    };
    let (size, log, version) = (number(12, 4), number(22, 2), number(28, 4));
    let is_power = |(size, log)| (12..=20).contains(&log) && size == 1_u32 << log;
    head.starts_with(SQUASHFS) && size.zip(log).is_some_and(is_power) && version == Some(4)
}
