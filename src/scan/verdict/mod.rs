//! What the scanner's findings mean for the push.

mod baseline;
mod earlier_hits;
pub mod exceptions;
mod masked_text;
mod needles;
pub mod refusal;
pub mod triage;
pub(crate) mod unscannable;
mod wanted;
