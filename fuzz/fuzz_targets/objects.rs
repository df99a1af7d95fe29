//! Any bytes as a tree, a commit and a tag, in both object formats: no panic, and the entries of a
//! tree are within it.

#![no_main]

use git_gate::scan::objects;
use git2::ObjectFormat;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let entries: Vec<_> = objects::entries(raw, format).collect();
        let named: usize = entries.iter().flatten().map(|entry| entry.name.len()).sum();
        assert!(named <= raw.len());
        // After an error there is nothing more.
        assert!(entries.iter().rev().skip(1).all(Result::is_ok));
        if let Ok(commit) = objects::commit(raw, format) {
            assert!(commit.parents.len() <= raw.len());
        }
        let _ = objects::tag_target(raw, format);
    }
    assert!(objects::message_start(raw) <= raw.len());
    if let Some(plain) = objects::unfolded(raw) {
        assert!(plain.len() <= raw.len());
    }
});
