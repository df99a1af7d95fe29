//! Any bytes behind the start of each archive format: no panic, and the budget holds.

#![no_main]

use git_gate::deadline::Deadline;
use git_gate::scan::decode::{Budget, Content, Member, Sink, SinkError, views};
use git_gate::settings::Limits;
use libfuzzer_sys::fuzz_target;

const STARTS: [&[u8]; 8] = [
    b"",
    b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
    b"BZh91AY&SY",
    b"\xfd7zXZ\0\0\x04",
    b"\x28\xb5\x2f\xfd",
    b"PK\x03\x04\x14\0\0\0\x08\0",
    b"PACK\0\0\0\x02\0\0\0\x01",
    b"LZIP\x01",
];

/// What the content may unpack to, and so roughly all text in it.
const SIZE: u64 = 4 << 20;

struct Counter(u64);

impl Sink for Counter {
    fn text(&mut self, _: &Member, _: u64, text: &[u8]) -> Result<(), SinkError> {
        self.0 += text.len() as u64;
        Ok(())
    }
}

fuzz_target!(|input: (u8, &[u8])| {
    let (start, rest) = input;
    let content = [STARTS[usize::from(start) % STARTS.len()], rest].concat();
    let limits = Limits {
        archive_size: SIZE,
        archive_entries: 1000,
        ..Limits::default()
    };
    let mut counter = Counter(0);
    // A refusal is a good answer, too.
    let _ = views(
        Content::Bytes(&content),
        &mut Budget::new(
            &limits,
            Deadline::of("scanTimeout", 60),
            &std::env::temp_dir(),
        ),
        &mut counter,
    );
    assert!(counter.0 < 64 * (SIZE + content.len() as u64));
});
