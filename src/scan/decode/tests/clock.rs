//! There is no content that makes the walk go on after its time.

use rustix::time::{ClockId, clock_gettime};

use super::*;

/// Takes everything at once.
struct Nothing;

impl Sink for Nothing {
    fn text(&mut self, _: &Member, _: u64, _: &[u8]) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Seconds that this thread has worked: others that are busy count nothing.
fn worked() -> i64 {
    clock_gettime(ClockId::ThreadCPUTime).tv_sec
}

/// `parts` in turn, until there are so many bytes that walking them takes far more than a second.
fn much(parts: &[&[u8]]) -> Vec<u8> {
    let once = parts.concat();
    once.repeat((16 << 20) / once.len())
}

#[test]
fn a_walk_ends_in_time_whatever_it_walks() {
    let digits = noise(48)
        .iter()
        .map(|b| b & 0x3f | 0x40)
        .collect::<Vec<_>>();
    let digits: Vec<u8> = digits.into_iter().filter(u8::is_ascii_alphabetic).collect();
    let kinds = [
        ("base64 behind marks", much(&[b"///", &digits, b"\n"])),
        (
            "lists of values",
            much(&[b"123456 61 62 63 64 65 66 67 68 69 6a 6b 6c 6d zz "]),
        ),
        (
            "gzip heads",
            [b"\xff\0", &much(&[b"\x1f\x8b\x08\0\xff\xff"])[..]].concat(),
        ),
        ("wide characters", much(&[b"a\0b\0", &digits, b"\0\0\0"])),
    ];
    for (what, content) in kinds {
        let limits = Limits {
            scan: 1,
            archive_entries: u64::MAX,
            archive_size: u64::MAX,
            archive_ratio: u64::MAX,
            ..Limits::default()
        };
        let before = worked();
        let walked = views(Content::Bytes(&content), &mut budget(&limits), &mut Nothing);
        let took = worked() - before;
        let is_over = matches!(walked, Err(DecodeError::TimedOut(_)));
        assert!(is_over, "{what}: {walked:?}");
        assert!(took < 5, "{what}: worked for {took} s");
    }
}
