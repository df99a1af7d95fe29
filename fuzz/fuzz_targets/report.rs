//! Any bytes as gitleaks' report: no panic, and nothing counts without the canaries.

#![no_main]

use git_gate::scan::gitleaks::parse_report;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|report: &[u8]| {
    // Nobody who has not seen the canaries can name them.
    assert!(parse_report(report, 10).is_err());
});
