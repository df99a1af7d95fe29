//! ASCII85, between `<~` and `~>` or as a stream of a PDF (ISO 32000-1, 7.4.3).

use memchr::memmem;

use crate::scan::decode::input::{Source, Spool};
use crate::scan::decode::{DecodeError, Depth, Member, Walk};

const START: &[u8] = b"<~";

const END: &[u8] = b"~>";

/// The end of the line in front of a stream.
const STREAM: &[u8] = b"stream";

/// Where on `line` digits may begin.
fn start(line: &[u8]) -> Option<usize> {
    let mark = memmem::find(line, START).map(|at| at + START.len());
    mark.or_else(|| {
        line.trim_ascii_end()
            .ends_with(STREAM)
            .then_some(line.len())
    })
}

/// Whether digits may begin anywhere in `text`: to look once is faster than line by line.
fn may_start(text: &[u8]) -> bool {
    [START, STREAM]
        .iter()
        .any(|mark| memmem::find(text, mark).is_some())
}

/// Follows the digits, five for four bytes.
#[derive(Default)]
struct Decoder {
    value: u32,
    digits: usize,
}

impl Decoder {
    /// Adds the bytes that `text` stands for; false where something else is in it.
    fn read(&mut self, text: &[u8], out: &mut Vec<u8>) -> bool {
        text.iter().all(|&byte| match byte {
            b'z' if self.digits == 0 => {
                out.extend([0; 4]);
                true
            }
            b'!'..=b'u' => {
                self.digit(byte - b'!', out);
                true
            }
            _ => byte.is_ascii_whitespace(),
        })
    }

    fn digit(&mut self, digit: u8, out: &mut Vec<u8>) {
        self.value = self.value.wrapping_mul(85).wrapping_add(digit.into());
        self.digits += 1;
        if self.digits == 5 {
            out.extend(self.value.to_be_bytes());
            *self = Self::default();
        }
    }

    /// The bytes of a group that is not full.
    fn finish(mut self, out: &mut Vec<u8>) {
        let bytes = self.digits.saturating_sub(1);
        let length = out.len();
        while self.digits > 0 {
            self.digit(84, out);
        }
        out.truncate(length + bytes);
    }
}

impl Walk<'_> {
    /// Decodes what in `source` is ASCII85 and ended as such.
    pub(crate) fn ascii85(
        &mut self,
        source: &Source<'_>,
        member: &Member,
        depth: Depth,
    ) -> Result<(), DecodeError> {
        if let Source::Bytes(text) = source
            && !may_start(text)
        {
            return Ok(());
        }
        let dir = self.budget.spool.clone();
        let mut lines = self.lines(source);
        let mut open: Option<(u64, Decoder, Spool<'_>)> = None;
        while let Some((place, line)) = lines.next()? {
            let (mut rest, mut bytes) = (line, Vec::new());
            if let Some((first, mut decoder, mut out)) = open.take() {
                let end = memmem::find(line, END);
                let is_one = decoder.read(&line[..end.unwrap_or(line.len())], &mut bytes);
                match end {
                    Some(end) if is_one => {
                        decoder.finish(&mut bytes);
                        out.write(&bytes)?;
                        self.decoded(&out.finish(), "ASCII85", member, first, depth)?;
                        rest = &line[end + END.len()..];
                    }
                    None if is_one => {
                        out.write(&bytes)?;
                        open = Some((first, decoder, out));
                        continue;
                    }
                    _ => {}
                }
            }
            let Some(start) = start(rest) else { continue };
            let (mut decoder, mut bytes) = (Decoder::default(), Vec::new());
            let end = memmem::find(&rest[start..], END).map(|at| start + at);
            if !decoder.read(&rest[start..end.unwrap_or(rest.len())], &mut bytes) {
                continue;
            }
            if end.is_some() {
                decoder.finish(&mut bytes);
                self.decoded(
                    &Source::Bytes(bytes.into()),
                    "ASCII85",
                    member,
                    place.line,
                    depth,
                )?;
            } else {
                let mut out = Spool::new(&dir);
                out.write(&bytes)?;
                open = Some((place.line, decoder, out));
            }
        }
        Ok(())
    }
}
