//! What is hidden must come out. Archives are made by other programs than those that open them.

mod archives;
mod bounds;
mod clock;
mod encodings;
mod hidden;
mod properties;
mod texts;

use std::io::Write;
use std::process::{Command, Stdio};

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

/// A budget within `limits`.
fn budget(limits: &Limits) -> Budget {
    let deadline = Deadline::of("scanTimeout", limits.scan);
    Budget::new(limits, deadline, &std::env::temp_dir())
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

/// Runs `script` with `input` on its standard input and returns its standard output.
fn python(script: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
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

/// A zip of one file, written by Python with compression method `method`.
fn zip(method: u16, name: &str, content: &[u8]) -> Vec<u8> {
    let script = format!(
        "import sys,zipfile,io\n\
         b=io.BytesIO()\n\
         z=zipfile.ZipFile(b,'w',{method})\n\
         z.writestr({name:?},sys.stdin.buffer.read())\n\
         z.close()\n\
         sys.stdout.buffer.write(b.getvalue())"
    );
    python(&script, content)
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
