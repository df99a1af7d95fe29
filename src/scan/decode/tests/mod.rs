//! What is hidden must come out. Archives are made by other programs than those that open them.

mod archives;
mod bounds;
mod clock;
mod encodings;
mod hidden;
mod properties;
mod texts;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::deadline::Deadline;
use crate::settings::Limits;

/// A text that no encoder shortens and that no scanner knows.
fn needle() -> String {
    ["gate", "Needle", "4711", "QwXz", "0815", "vBnM"].concat()
}

/// All that a sink was given.
#[derive(Default)]
struct Seen(Vec<(Member, u64, Vec<u8>)>);

impl Sink for Seen {
    fn text(&mut self, member: &Member, first_line: u64, text: &[u8]) -> Result<(), SinkError> {
        assert!(text.len() <= PIECE, "a piece is too large");
        self.0.push((member.clone(), first_line, text.to_vec()));
        Ok(())
    }
}

impl Seen {
    fn holds(&self, wanted: &str) -> bool {
        self.0
            .iter()
            .any(|(_, _, text)| memchr::memmem::find(text, wanted.as_bytes()).is_some())
    }

    /// Where `wanted` was first seen, as a person would be told.
    fn place(&self, wanted: &str) -> Option<(String, u64)> {
        self.0.iter().find_map(|(member, first, text)| {
            let at = memchr::memmem::find(text, wanted.as_bytes())?;
            let line = first + memchr::memchr_iter(b'\n', &text[..at]).count() as u64;
            Some((format!("{member} {}", member.kind), line))
        })
    }
}

/// A budget within `limits`. What it holds on disk is in no file with a name; the directory stays.
fn budget(limits: &Limits) -> Budget {
    let deadline = Deadline::of("scanTimeout", limits.scan);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    Budget::new(limits, deadline, &directory)
}

fn seen_within(bytes: &[u8], limits: &Limits) -> (Seen, Result<(), DecodeError>) {
    let mut seen = Seen::default();
    let result = views(Content::Bytes(bytes), &mut budget(limits), &mut seen);
    (seen, result)
}

fn seen(bytes: &[u8]) -> Seen {
    let (seen, result) = seen_within(bytes, &Limits::default());
    result.unwrap();
    seen
}

#[track_caller]
fn finds(bytes: &[u8]) {
    assert!(
        seen(bytes).holds(&needle()),
        "not found in {} bytes",
        bytes.len()
    );
}

/// What must be refused: the error's text, which must not hold the needle.
#[track_caller]
fn refuses(bytes: &[u8]) -> String {
    let error = seen_within(bytes, &Limits::default()).1.unwrap_err();
    let text = error.to_string();
    assert!(!text.contains(&needle()), "{text}");
    text
}

/// A file that another program made (fixtures/decode/make.py).
fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/decode");
    fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A zip of these files, stored or deflated (APPNOTE 4.3.7, 4.3.12, 4.3.16).
fn zip(is_stored: bool, files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let mut sum = flate2::Crc::new();
        sum.update(content);
        let data = match is_stored {
            true => content.to_vec(),
            false => deflated(content),
        };
        // From the version that is needed up to the length of the extra field; no flag, no time.
        let mut fields = vec![20, 0, 0, 0, if is_stored { 0 } else { 8 }, 0, 0, 0, 0, 0];
        for value in [sum.sum() as usize, data.len(), content.len(), name.len()] {
            fields.extend(u32::try_from(value).unwrap().to_le_bytes());
        }
        let start = u32::try_from(out.len()).unwrap().to_le_bytes();
        let name = name.as_bytes();
        directory.extend([&b"PK\x01\x02\x14\0"[..], &fields, &[0; 10], &start, name].concat());
        out.extend([&b"PK\x03\x04"[..], &fields, name, &data].concat());
    }
    let count = u16::try_from(files.len()).unwrap().to_le_bytes();
    let size = u32::try_from(directory.len()).unwrap().to_le_bytes();
    let start = u32::try_from(out.len()).unwrap().to_le_bytes();
    let end = [
        &b"PK\x05\x06\0\0\0\0"[..],
        &count,
        &count,
        &size,
        &start,
        &[0, 0],
    ]
    .concat();
    [out, directory, end].concat()
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes without any text in them, the same in each run.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 56) as u8
        })
        .collect()
}
