//! gate-init's exit codes.

/// Ended as asked, or all is well.
pub const DONE: u8 = 0;
/// Cannot start, or `check` or `health` found something wrong.
pub const FAILED: u8 = 1;
/// Wrong usage, or a `gate.json` that cannot be used.
pub const USAGE: u8 = 2;
/// The server was killed again and again, and given up.
pub const GIVEN_UP: u8 = 3;
/// Ended as asked, but clients that were still served at the drain limit were cut.
pub const CUT: u8 = 4;
/// `scan` found something that would refuse a push.
pub const FOUND: u8 = 5;
