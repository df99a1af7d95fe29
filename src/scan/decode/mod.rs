//! Bytes become every text that is in them.
//!
//! [`views`] takes one object and hands each text in it to a [`Sink`], piece by piece:
//!
//! | what the bytes are                   | what the sink gets                                       |
//! |--------------------------------------|----------------------------------------------------------|
//! | text (no NUL byte)                   | the bytes as they are, with exact line numbers           |
//! | UTF-16 and UTF-32                    | the same text in UTF-8, with exact line numbers          |
//! | anything else with NUL bytes         | its printable strings, one a line (`strings`)            |
//! | archives and compressed files        | every member, as content again, and its raw bytes        |
//! | wrapped base64, hex dumps, escapes   | what they decode to, as content again (`wrapped`)        |
//!
//! gitleaks itself decodes unbroken base64, hex, percent and `\u` runs whose result is printable
//! ASCII; this room does what it cannot.
//!
//! # Archive or not
//! Content decides, never a name. Bytes that carry a format's magic number *and* a valid header at
//! their start (or a zip's end record anywhere it may stand) are that archive: when such a file
//! cannot be opened, because it is encrypted, truncated or packed by an unknown method, the answer
//! is [`DecodeError::Unscannable`]. A damaged stream that stands in a text as digits is no error: what
//! unpacked of it is scanned, and no tool gives more. Bytes that only share the magic number are not
//! an archive: they are scanned as strings. Magic numbers further inside are tried as well, since
//! `tail -c +N | zcat` is a standard tool; there a failure is no error, as programs and their test
//! data hold such numbers by chance, but everything that unpacked before it is scanned.
//!
//! # Bounds
//! At any time one piece a view, one decoder's window (at most [`WINDOW_LIMIT`]) and, a level of
//! nesting, at most [`MEMORY_LIMIT`] of content are in memory; larger content is spooled to a file
//! without a name. How much may be unpacked at all is the [`Budget`] of the push.

mod archive;
mod charset;
mod encoding;
mod input;
pub(crate) mod pem;
mod strings;
mod walk;

pub use charset::pieces;
pub use walk::{
    Budget, Content, DecodeError, MEMORY_LIMIT, Member, OVERLAP, PIECE, Sink, SinkError, Spent,
    Step, ViewKind, WINDOW_LIMIT, is_plain, may_go_on, views,
};
pub(crate) use walk::{Depth, Walk};

#[cfg(test)]
mod tests;
