//! What the scanner's findings mean for the push.

mod baseline;
mod earlier_hits;
pub mod exceptions;
pub(crate) mod formed;
mod grade;
mod masked_text;
mod needles;
pub mod refusal;
pub mod triage;
pub(crate) mod unscannable;
mod wanted;
