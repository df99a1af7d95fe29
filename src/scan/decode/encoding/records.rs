//! Records of Intel HEX and Motorola's S-records: lines of hex digits with an address in front and a
//! checksum behind.

use crate::scan::decode::input::{Source, Spool};
use crate::scan::decode::{DecodeError, Depth, Member, Walk};

/// The most digits of a record: a length of one byte, so many bytes, and what stands around them.
const LONGEST: usize = 2 * (0xff + 8);

/// The bytes that the record `line` holds; none where its checksum is wrong, so that it is no record.
fn data(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.trim_ascii();
    let (sum, address, digits) = match line {
        // A length, an address of two bytes, a kind.
        [b':', digits @ ..] => (0, 4, digits),
        // A length, and an address that the kind tells the length of.
        [b'S', kind @ b'1'..=b'3', digits @ ..] => (0xff, usize::from(kind - b'1') + 3, digits),
        _ => return None,
    };
    let is_one = digits.len() <= LONGEST && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_one)?;
    let bytes: Vec<u8> = (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16))
        .collect::<Result<_, _>>()
        .ok()?;
    let is_right = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) == sum;
    let data = bytes.get(address..bytes.len().checked_sub(1)?)?;
    is_right.then(|| data.to_vec())
}

impl Walk<'_> {
    /// Decodes the records in `source`, those that follow each other together.
    pub(crate) fn records(
        &mut self,
        source: &Source<'_>,
        member: &Member,
        depth: Depth,
    ) -> Result<(), DecodeError> {
        let dir = self.budget.spool.clone();
        let mut lines = self.lines(source);
        let (mut out, mut first) = (Spool::new(&dir), 1);
        loop {
            let next = lines.next()?;
            let record = next.and_then(|(place, line)| Some((place.line, data(line)?)));
            match record {
                Some((line, data)) => {
                    if out.len() == 0 {
                        first = line;
                    }
                    out.write(&data)?;
                }
                None if out.len() > 0 => {
                    let all = std::mem::replace(&mut out, Spool::new(&dir)).finish();
                    self.decoded(&all, "records", member, first, depth)?;
                }
                None => {}
            }
            if next.is_none() {
                return Ok(());
            }
        }
    }
}
