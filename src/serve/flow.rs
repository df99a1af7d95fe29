//! One direction of a relay.

use std::io::{self, Read, Write};

use crate::process::is_temporary;

/// Bytes read at once. Large enough that a pack of 100 MB passes as fast as without a relay.
pub const BUFFER: usize = 256 << 10;

/// One direction: what was read and is not written yet.
pub struct Flow {
    pub buffer: Vec<u8>,
    pub start: usize,
    pub end: usize,
    /// Whether more may come.
    pub open: bool,
    pub total: u64,
    /// The last bytes that were read.
    pub tail: [u8; 9],
}

impl Flow {
    pub fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            open: true,
            total: 0,
            tail: [0; 9],
        }
    }

    pub fn holding(bytes: &[u8]) -> Self {
        let mut flow = Self::new();
        let length = bytes.len().min(BUFFER);
        flow.buffer[..length].copy_from_slice(&bytes[..length]);
        flow.end = length;
        flow.note(0);
        flow
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub fn wants_more(&self) -> bool {
        self.open && self.is_empty()
    }

    /// Reads once; whether anything came. The end of the stream closes the flow.
    pub fn fill(&mut self, from: &mut impl Read) -> io::Result<bool> {
        let read = match from.read(&mut self.buffer) {
            Err(error) if is_temporary(&error) => return Ok(false),
            read => read?,
        };
        (self.start, self.end) = (0, read);
        self.open = read > 0;
        self.note(0);
        Ok(read > 0)
    }

    /// Writes once; whether anything went.
    pub fn drain(&mut self, to: &mut impl Write) -> io::Result<bool> {
        let written = match to.write(&self.buffer[self.start..self.end]) {
            Err(error) if is_temporary(&error) => return Ok(false),
            written => written?,
        };
        self.start += written;
        Ok(written > 0)
    }

    /// Puts `bytes` in front of what is held from `at` on, where there is room for them.
    pub fn insert(&mut self, at: usize, bytes: &[u8]) {
        let end = self.end + bytes.len();
        if end <= self.buffer.len() {
            self.buffer.copy_within(at..self.end, at + bytes.len());
            self.buffer[at..at + bytes.len()].copy_from_slice(bytes);
            self.end = end;
        }
    }

    /// Drops what is held, and counts it as passed.
    pub fn discard(&mut self) {
        self.start = self.end;
    }

    /// Counts the bytes from `start` on and keeps the last of them.
    pub fn note(&mut self, start: usize) {
        let bytes = &self.buffer[start..self.end];
        self.total += bytes.len() as u64;
        for &byte in &bytes[bytes.len().saturating_sub(self.tail.len())..] {
            self.tail.rotate_left(1);
            self.tail[8] = byte;
        }
    }
}
