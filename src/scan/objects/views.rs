//! Gives the texts in bytes to whoever reads them.

use std::io;

use crate::git::GitOutput;
use crate::scan::ScanError;
use crate::scan::decode::{self, Budget, Content, DecodeError, Member, Sink, SinkError};

/// Takes a text: the member of the source that it is, its first line there, its bytes.
pub type Each<'a> = dyn FnMut(&Member, u64, &[u8]) -> Result<(), ScanError> + 'a;

struct EachSink<'a, 'b>(&'a mut Each<'b>);

impl Sink for EachSink<'_, '_> {
    fn text(&mut self, member: &Member, first_line: u64, text: &[u8]) -> Result<(), SinkError> {
        (self.0)(member, first_line, text).map_err(Into::into)
    }
}

/// Gives every text of `bytes`, which are not an object's, to `each`.
pub(crate) fn view(
    bytes: &[u8],
    budget: &mut Budget,
    each: &mut Each<'_>,
) -> Result<(), ScanError> {
    give(Content::Bytes(bytes), budget, each)
}

pub(super) fn give(
    content: Content<'_>,
    budget: &mut Budget,
    each: &mut Each<'_>,
) -> Result<(), ScanError> {
    decode::views(content, budget, &mut EachSink(each)).map_err(|error| match error {
        // The sink's errors are ours.
        DecodeError::Sink(error) => match error.downcast() {
            Ok(error) => *error,
            Err(error) => DecodeError::Sink(error).into(),
        },
        DecodeError::TimedOut(missed) => missed.into(),
        error => error.into(),
    })
}

pub(super) fn give_stream(
    stream: &mut GitOutput,
    size: u64,
    budget: &mut Budget,
    each: &mut Each<'_>,
) -> Result<(), ScanError> {
    let mut counted = Counted::new(stream);
    give(Content::Stream(&mut counted), budget, each)?;
    if counted.bytes == size {
        Ok(())
    } else {
        Err(ScanError::Unproven)
    }
}

/// Counts what is read.
struct Counted<'a> {
    inner: &'a mut GitOutput,
    bytes: u64,
}

impl<'a> Counted<'a> {
    fn new(inner: &'a mut GitOutput) -> Self {
        Self { inner, bytes: 0 }
    }
}

impl io::Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}
