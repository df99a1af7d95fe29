//! Compressed streams: gzip (RFC 1952), zlib (RFC 1950), bzip2, xz, lzma, lzip and zstd (RFC 8878).

use std::io::{self, Read, Seek, SeekFrom};

use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use lzma_rust2::{LzmaReader, XzReader};
use ruzstd::decoding::StreamingDecoder;

use super::{add_name, may_hold, named, unscannable};
use crate::scan::decode::input::{Cursor, Source, Spool};
use crate::scan::decode::{DecodeError, Depth, Member, Step, WINDOW_LIMIT, Walk, strings};

/// The largest dictionary that a decoder of the LZMA family may use, in KiB.
const LZMA_LIMIT: u32 = (WINDOW_LIMIT >> 10) as u32;

/// The magic numbers of skippable frames, less their lowest four bits.
const SKIPPABLE: u32 = 0x184d_2a50;

/// Where gzip's flags stand, and which of them are reserved: some tools take no notice of them.
const FLAGS: usize = 3;
const RESERVED: u8 = 0xe0;

/// How many bytes in front of a stream tell that it is the pixels of an image.
const BEFORE: u64 = 256;

/// Marks of pixels: the name of a chunk of PNG, right before the stream or with a number between, and what
/// stands in the dictionary of an image in a PDF.
const PIXELS: [(&[u8], u64); 3] = [(b"IDAT", 4), (b"fdAT", 8), (b"/Image", BEFORE)];

/// The shortest bare deflate stream that is looked for: hashes are shorter.
const DEFLATED: usize = 65;

/// How bytes were compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Gzip,
    Zlib,
    Bzip2,
    Xz,
    Lzma,
    Lzip,
    Zstd,
    /// A bare deflate stream, as in a zip.
    Deflate,
    /// LZMA behind the header that a zip gives it.
    ZipLzma,
}

impl Codec {
    fn label(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zlib => "zlib",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Lzma | Self::ZipLzma => "lzma",
            Self::Lzip => "lzip",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }

    /// Whether `head` is a valid header of this format.
    pub(crate) fn starts(self, head: &[u8]) -> bool {
        match self {
            Self::Gzip => head.starts_with(&[0x1f, 0x8b, 8]),
            Self::Bzip2 => {
                matches!(head, [b'B', b'Z', b'h', b'1'..=b'9', ..])
                    && head[4..].starts_with(b"1AY&SY")
            }
            Self::Xz => head.starts_with(b"\xfd7zXZ\0"),
            Self::Lzip => head.starts_with(b"LZIP\x01"),
            // The reserved bit of the frame header is clear.
            Self::Zstd => {
                matches!(head, [0x28, 0xb5, 0x2f, 0xfd, descriptor, ..] if descriptor & 8 == 0)
            }
            Self::Lzma => is_lzma(head),
            Self::Zlib => is_zlib(head),
            Self::Deflate | Self::ZipLzma => false,
        }
    }

    /// Whether its header is proof enough that a stream at the start of a file must open. That of
    /// zlib is two bytes, which text may begin with; that of lzma has no magic number.
    fn is_certain(self) -> bool {
        !matches!(self, Self::Zlib | Self::Lzma)
    }

    /// A decoder for one stream; it reads no byte past its end, lzma excepted.
    pub(crate) fn decoder<'s>(self, mut packed: Cursor<'s>) -> io::Result<Box<dyn Read + 's>> {
        Ok(match self {
            Self::Gzip => {
                let mut header = [0; 10];
                packed.read_exact(&mut header)?;
                header[FLAGS] &= !RESERVED;
                Box::new(GzDecoder::new(io::Cursor::new(header).chain(packed)))
            }
            Self::Zlib => Box::new(ZlibDecoder::new(packed)),
            Self::Deflate => Box::new(DeflateDecoder::new(packed)),
            Self::Bzip2 => Box::new(bzip2::bufread::BzDecoder::new(packed)),
            Self::Xz => Box::new(XzReader::new_mem_limit(packed, false, LZMA_LIMIT)),
            Self::Lzma => Box::new(LzmaReader::new_mem_limit(packed, LZMA_LIMIT, None)?),
            Self::Lzip => Box::new(Lzip::new(packed)?),
            Self::ZipLzma => {
                // APPNOTE 5.8: version, length of the properties (5), properties.
                let mut header = [0; 9];
                packed.read_exact(&mut header)?;
                let size = u32::from_le_bytes([header[5], header[6], header[7], header[8]]);
                if header[2..4] != [5, 0] || size as usize > WINDOW_LIMIT {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Box::new(LzmaReader::new_with_props(
                    packed,
                    u64::MAX,
                    header[4],
                    size,
                    None,
                )?)
            }
            Self::Zstd => Box::new(
                StreamingDecoder::new_with_max_window_size(packed, WINDOW_LIMIT as u64)
                    .map_err(io::Error::other)?,
            ),
        })
    }
}

/// The header of `.lzma`: properties, a dictionary of 2^n or 2^n + 2^(n-1) bytes, and an unknown or
/// plausible size; the same test as liblzma's, and any properties.
fn is_lzma(head: &[u8]) -> bool {
    let [properties, d0, d1, d2, d3, size @ ..] = head else {
        return false;
    };
    let Some(size) = size.first_chunk().map(|size| u64::from_le_bytes(*size)) else {
        return false;
    };
    let dictionary = u32::from_le_bytes([*d0, *d1, *d2, *d3]);
    let rest = dictionary & !(1 << dictionary.checked_ilog2().unwrap_or(0));
    // Nine numbers of context bits by five of position bits by five more.
    *properties < 9 * 5 * 5
        && dictionary >= 1 << 12
        && (rest == 0 || (rest << 1).is_power_of_two() && dictionary == rest * 3)
        && (size == u64::MAX || size < 1 << 38)
}

/// RFC 1950: deflate, a window of at most 32 KiB, no preset dictionary, and a check in five bits.
fn is_zlib(head: &[u8]) -> bool {
    matches!(head, [method, flags, ..] if method & 0x0f == 8 && method >> 4 <= 7
        && flags & 0x20 == 0
        && (u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31))
}

/// One member of an lzip file: the library's own reader takes any dictionary, and reads all members.
struct Lzip<'s>(Option<LzmaReader<Cursor<'s>>>);

impl<'s> Lzip<'s> {
    /// The magic number, the version and the dictionary's size.
    const HEADER: usize = 6;

    /// A checksum and two sizes.
    const TRAILER: usize = 20;

    /// The properties that all lzip files have: lc = 3, lp = 0, pb = 2.
    const PROPERTIES: u8 = (2 * 5) * 9 + 3;

    fn new(mut packed: Cursor<'s>) -> io::Result<Self> {
        let mut header = [0; Self::HEADER];
        packed.read_exact(&mut header)?;
        // A power of two in the lower five bits; the upper three take sixteenths of it away.
        let size = 1_u32 << (header[5] & 0x1f);
        let size = size - size / 16 * u32::from(header[5] >> 5);
        if size as usize > WINDOW_LIMIT {
            return Err(io::Error::other("its dictionary is too large"));
        }
        let stream = LzmaReader::new_with_props(packed, u64::MAX, Self::PROPERTIES, size, None)?;
        Ok(Self(Some(stream)))
    }
}

impl Read for Lzip<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.0 {
            Some(stream) => stream.read(out)?,
            None => 0,
        };
        if read == 0
            && !out.is_empty()
            && let Some(stream) = self.0.take()
        {
            // The decoder reads ahead.
            let (mut packed, ahead) = stream.into_parts();
            let back = i64::try_from(ahead.len()).map_err(io::Error::other)?;
            packed.seek(SeekFrom::Current(-back))?;
            packed.read_exact(&mut [0; Self::TRAILER])?;
        }
        Ok(read)
    }
}

impl Walk<'_> {
    /// Opens the stream of `codec` at `start`, whose header is valid, together with the streams
    /// that follow without a gap, as the format's tool does. Returns where it ends.
    pub(crate) fn compressed(
        &mut self,
        codec: Codec,
        source: &Source<'_>,
        start: u64,
        place: &Member,
        depth: Depth,
    ) -> Result<u64, DecodeError> {
        let name = match codec {
            Codec::Gzip => self.gzip_header(source, start, place, depth)?,
            _ => Vec::new(),
        };
        let member = place.inside(if name.is_empty() {
            Step::Inside(codec.label())
        } else {
            named(&name)
        });
        let dir = self.budget.spool.clone();
        let mut out = Spool::new(&dir);
        let (end, problem) = self.streams(codec, source, start, &member, &mut out)?;
        // Tests of programs hold damaged streams as hexadecimal digits. What unpacks of one is scanned,
        // and no tool gives more.
        let flags = source.peek(start + FLAGS as u64, 1)?;
        let is_plain = codec != Codec::Gzip || flags.iter().all(|flags| flags & RESERVED == 0);
        let strict = start == 0 && codec.is_certain() && is_plain && depth.encodings == 0;
        if out.len() > 0 || strict {
            let inner = self.enter(&member, depth)?;
            self.content(&out.finish(), &member, inner)?;
        } else {
            self.count(&member)?;
        }
        match problem {
            Some(error) if strict => Err(unscannable(
                &member,
                format!("its {} data cannot be opened: {error}", codec.label()),
            )),
            Some(_) => Ok(start + 1),
            None => Ok(end),
        }
    }

    /// As [`Self::compressed`], for a stream whose header is no proof: what comes out of it counts where
    /// there is text in it. Returns where it ends, or where to look on.
    pub(crate) fn guessed(
        &mut self,
        codec: Codec,
        source: &Source<'_>,
        start: u64,
        place: &Member,
        depth: Depth,
    ) -> Result<u64, DecodeError> {
        if is_pixels(source, start)? {
            return Ok(start + 1);
        }
        let member = place.inside(Step::Inside(codec.label()));
        let dir = self.budget.spool.clone();
        let mut out = Spool::new(&dir);
        let (end, problem) = self.streams(codec, source, start, &member, &mut out)?;
        let out = out.finish();
        // In images and fonts such streams lie deeper than archives are nested.
        let is_deep = depth.archives >= self.budget.limits.archive_depth;
        let holds_text = match &out {
            Source::Bytes(bytes) if is_deep => strings::is_text(bytes),
            Source::Bytes(bytes) => strings::has_run(bytes, strings::MEANINGFUL) || may_hold(bytes),
            Source::File { .. } => true,
        };
        if holds_text && out.len() > 0 && !(is_deep && problem.is_some()) {
            let inner = self.enter(&member, depth)?;
            self.content(&out, &member, inner)?;
        } else {
            self.count(&member)?;
        }
        let has_end = problem.is_none() && codec != Codec::Lzma;
        Ok(if has_end { end } else { start + 1 })
    }

    /// Unpacks into `out` the streams of `codec` that follow each other from `start` on. Returns where they
    /// end, and why they do where that is no end.
    fn streams(
        &mut self,
        codec: Codec,
        source: &Source<'_>,
        start: u64,
        member: &Member,
        out: &mut Spool<'_>,
    ) -> Result<(u64, Option<io::Error>), DecodeError> {
        let mut at = start;
        let (end, problem) = loop {
            let packed = source.cursor(at..source.len(), self.budget.deadline);
            let position = packed.position();
            let problem = match codec.decoder(packed) {
                Ok(mut decoder) => {
                    self.unpack(member, &mut decoder, &|| position.get() - start, out)?
                }
                Err(error) => Some(error),
            };
            if problem.is_some() {
                break (position.get(), problem);
            }
            at = after_padding(codec, source, position.get())?;
            if !codec.starts(&source.peek(at, 32)?) {
                break (at, None);
            }
        };
        self.fruitless(end - start, out, member)?;
        Ok((end, problem))
    }

    /// Hands over the name, comment and extra field of a gzip header and returns the name.
    fn gzip_header(
        &mut self,
        source: &Source<'_>,
        start: u64,
        place: &Member,
        depth: Depth,
    ) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = GzDecoder::new(source.cursor(start..source.len(), self.budget.deadline));
        // The header is parsed with the first read; whether that succeeds matters later.
        let _ = decoder.read(&mut [0]);
        let Some(header) = decoder.header() else {
            return Ok(Vec::new());
        };
        let dir = self.budget.spool.clone();
        let mut names = Spool::new(&dir);
        for field in [header.filename(), header.comment(), header.extra()] {
            add_name(&mut names, field.unwrap_or_default())?;
        }
        self.names(names, place, depth)?;
        Ok(header.filename().unwrap_or_default().to_vec())
    }
}

/// Whether the stream at `start` is the pixels of an image: there are more of them than of anything else,
/// and no text is in them.
fn is_pixels(source: &Source<'_>, start: u64) -> Result<bool, DecodeError> {
    let from = start.saturating_sub(BEFORE);
    let before = source.peek(from, usize::try_from(start - from).unwrap_or(0))?;
    let is_marked = |(mark, distance): &(&[u8], u64)| {
        let near = before
            .len()
            .saturating_sub(usize::try_from(*distance).unwrap_or(0));
        memchr::memmem::find(&before[near..], mark).is_some()
    };
    Ok(PIXELS.iter().any(is_marked))
}

/// Whether `bytes` begin with a bare deflate stream of text, which has no header to tell.
pub(crate) fn is_deflated_text(bytes: &[u8]) -> bool {
    let mut text = [0; 64];
    let mut inflate = flate2::Decompress::new(false);
    let inflated = inflate.decompress(bytes, &mut text, flate2::FlushDecompress::None);
    let is_text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e);
    bytes.len() >= DEFLATED
        && inflated.is_ok()
        && inflate.total_out() == text.len() as u64
        && text.iter().all(is_text)
}

/// Skips what may stand between two streams: zeros in xz (a multiple of four), skippable frames in
/// zstd.
fn after_padding(codec: Codec, source: &Source<'_>, mut at: u64) -> Result<u64, DecodeError> {
    match codec {
        Codec::Xz => {
            while source.peek(at, 4)? == [0; 4] {
                at += 4;
            }
            Ok(at)
        }
        Codec::Zstd => after_skippable(source, at),
        _ => Ok(at),
    }
}

/// Skips the frames that zstd and lz4 pass over, wherever they stand.
pub(crate) fn after_skippable(source: &Source<'_>, mut at: u64) -> Result<u64, DecodeError> {
    loop {
        let head = source.peek(at, 8)?;
        match head.first_chunk::<8>() {
            Some([a, b, c, d, size @ ..])
                if u32::from_le_bytes([*a, *b, *c, *d]) & !0xf == SKIPPABLE =>
            {
                at += 8 + u64::from(u32::from_le_bytes(*size));
            }
            _ => return Ok(at),
        }
    }
}
