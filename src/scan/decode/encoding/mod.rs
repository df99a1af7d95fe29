//! Text inside text, where gitleaks' own decoders do not reach.
//!
//! gitleaks decodes one unbroken run of base64 or hex at a time, and only when all that comes out
//! is printable ASCII. Here a run may be wrapped at any width, indented, quoted and prefixed, start
//! after other letters (each alignment is tried) and hold anything, which is walked as content:
//!
//! | encoding                                    | module     |
//! |---------------------------------------------|------------|
//! | base64, base64url, base32 and hex           | `base_n`   |
//! | hex dumps and lists of byte values          | `hex_dump` |
//! | Intel HEX, S-records                        | `records`  |
//! | ASCII85                                     | `ascii85`  |
//! | EBCDIC                                      | `ebcdic`   |
//! | escapes, entities, quoted-printable         | `escapes`  |
//! | lines, and what comes out of all of these   | `lines`    |
//!
//! This costs nothing of the push's archive budget, since what comes out is smaller than what goes
//! in; `lines::ENCODINGS` bounds how often a text may be encoded.

mod ascii85;
mod base_n;
mod ebcdic;
mod escapes;
mod hex_dump;
mod lines;
mod records;
mod utf7;

pub(crate) use lines::may_go_on;
use lines::{Lines, Place, long_runs};
