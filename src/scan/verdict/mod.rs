//! What the scanner's findings mean for the push.

mod baseline;
mod earlier_hits;
mod encoded_forms;
pub mod finding;
pub(crate) mod forbidden_paths;
pub(crate) mod formed;
mod grade;
mod grouping;
mod mask;
mod masked_text;
mod needles;
pub(crate) mod place;
mod push_verdict;
pub mod refusal;
pub(crate) mod triage;
mod wanted;

pub use push_verdict::{Tally, Verdict};
