//! Any bytes as content: no panic, no piece over the limit, and text without NUL bytes comes out
//! as it is.

#![no_main]

use git_gate::deadline::Deadline;
use git_gate::scan::decode::{Budget, Content, Member, PIECE, Sink, SinkError, views};
use git_gate::settings::Limits;
use libfuzzer_sys::fuzz_target;

struct Whole<'a> {
    content: &'a [u8],
    seen: bool,
}

impl Sink for Whole<'_> {
    fn text(&mut self, _: &Member, _: u64, text: &[u8]) -> Result<(), SinkError> {
        assert!(text.len() <= PIECE);
        self.seen |= text == self.content;
        Ok(())
    }
}

fuzz_target!(|content: &[u8]| {
    let mut whole = Whole {
        content,
        seen: false,
    };
    let mut budget = Budget::new(
        &Limits::default(),
        Deadline::of("scanTimeout", 60),
        &std::env::temp_dir(),
    );
    let result = views(Content::Bytes(content), &mut budget, &mut whole);
    let is_text = !content.contains(&0) && (1..=PIECE).contains(&content.len());
    assert!(whole.seen || result.is_err() || !is_text);
});
