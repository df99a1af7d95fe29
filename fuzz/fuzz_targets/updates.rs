//! Any bytes as the hook's standard input: no panic, and what is read is what stands there.

#![no_main]

use git_gate::push::read_updates;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(updates) = read_updates(input) else {
        return;
    };
    let lines = updates
        .iter()
        .map(|update| format!("{} {} {}\n", update.old, update.new, update.name));
    let read: String = lines.collect();
    let given = String::from_utf8_lossy(input);
    // Hexadecimal digits may be capital letters.
    assert_eq!(
        read.trim_end().to_lowercase(),
        given.trim_end().to_lowercase()
    );
});
