//! Any bytes as a tree, a commit and a tag, in both object formats: no panic, and the entries of a
//! tree are within it.

#![no_main]

use git_gate::scan::objects::parse;
use git2::ObjectFormat;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let entries: Vec<_> = parse::entries(raw, format).collect();
        let named: usize = entries.iter().flatten().map(|entry| entry.name.len()).sum();
        assert!(named <= raw.len());
        // After an error there is nothing more.
        assert!(entries.iter().rev().skip(1).all(Result::is_ok));
        if let Ok(commit) = parse::commit(raw, format) {
            assert!(commit.parents.len() <= raw.len());
        }
        let _ = parse::tag_target(raw, format);
    }
    assert!(parse::message_start(raw) <= raw.len());
    if let Some(plain) = parse::unfolded(raw) {
        assert!(plain.len() <= raw.len());
    }
});
