//! The bodies of requests, unpacked as they come, and those of answers.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::write::GzDecoder;
use http_body::{Body, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, EXPIRES, PRAGMA};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;

use super::route::Packing;

/// How much of a packed body is unpacked at once: gzip makes a thousand times of it at most.
const STEP: usize = 1 << 10;

/// The body of an answer.
#[derive(Debug)]
pub enum Reply {
    /// All of it.
    Whole(Option<Bytes>),
    /// As it comes.
    Parts(mpsc::Receiver<Bytes>),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Parts(parts) => parts.poll_recv(context),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Parts(_) => SizeHint::default(),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }
}

/// An answer in words, which git shows behind `remote: `.
pub fn say(status: StatusCode, reason: &str) -> Response<Reply> {
    text(status, format!("git-gate: {reason}\n"))
}

/// An answer of plain text.
pub fn text(status: StatusCode, text: String) -> Response<Reply> {
    let body = Reply::Whole(Some(Bytes::from(text)));
    respond(status, "text/plain; charset=utf-8", body)
}

/// An answer that nobody may keep.
pub fn respond(status: StatusCode, kind: &str, body: Reply) -> Response<Reply> {
    let response = Response::builder()
        .status(status)
        // As git's own server says it: to caches of HTTP/1.0 too.
        .header(EXPIRES, "Fri, 01 Jan 1980 00:00:00 GMT")
        .header(PRAGMA, "no-cache")
        .header(CACHE_CONTROL, "no-cache, max-age=0, must-revalidate")
        .header(CONTENT_TYPE, kind);
    // Fails only for a header that is none.
    response
        .body(body)
        .unwrap_or_else(|_| Response::new(Reply::Whole(None)))
}

/// Unpacks a request's body.
pub enum Unpacker {
    /// There is nothing to unpack.
    Plain,
    /// gzip (RFC 1952).
    Gzip(Box<GzDecoder<Vec<u8>>>),
}

impl Unpacker {
    /// The one for `packing`.
    pub fn new(packing: Packing) -> Self {
        match packing {
            Packing::Plain => Self::Plain,
            Packing::Gzip => Self::Gzip(Box::new(GzDecoder::new(Vec::new()))),
        }
    }

    /// Takes the next part of `packed`, and returns what it stands for.
    pub fn next(&mut self, packed: &mut Bytes) -> io::Result<Bytes> {
        match self {
            Self::Plain => Ok(std::mem::take(packed)),
            Self::Gzip(decoder) => {
                let mut part = packed.split_to(packed.len().min(STEP));
                while !part.is_empty() {
                    match decoder.write(&part)? {
                        // What stands behind the end is nothing of git's.
                        0 => return Err(io::ErrorKind::InvalidData.into()),
                        taken => drop(part.split_to(taken)),
                    }
                }
                decoder.flush()?;
                Ok(std::mem::take(decoder.get_mut()).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    #[test]
    fn a_packed_body_is_unpacked_in_steps_and_a_broken_one_is_an_error() {
        let zeros = vec![0; 8 << 20];
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&zeros).unwrap();
        let mut packed = Bytes::from(encoder.finish().unwrap());
        let mut unpacker = Unpacker::new(Packing::Gzip);
        let (mut total, mut largest) = (0, 0);
        while !packed.is_empty() {
            let part = unpacker.next(&mut packed).unwrap();
            total += part.len();
            largest = largest.max(part.len());
        }
        assert_eq!(total, zeros.len());
        assert!(largest <= 2 << 20, "{largest}");
        let mut bad = Bytes::from_static(b"0000 no gzip");
        assert!(Unpacker::new(Packing::Gzip).next(&mut bad).is_err());
    }
}
