//! Some texts once more, each by itself.

use std::collections::BTreeSet;

use super::decode::Spent;
use super::fragments::{Packer, Whereabouts};
use super::gitleaks::Engine;
use super::objects::reader::ObjectReader;
use super::source::Source;
use super::{Hit, ScanError};
use crate::deadline::Deadline;

/// Scans `sources` again, in this `shape`, no text together with another.
pub fn scan_alone(
    texts: &mut ObjectReader<'_>,
    engine: &Engine,
    sources: &BTreeSet<Source>,
    shape: &dyn Fn(Source, &[u8]) -> Vec<u8>,
    deadline: Deadline,
) -> Result<Vec<Hit>, ScanError> {
    if sources.is_empty() {
        return Ok(Vec::new());
    }
    let mut packer = Packer::alone(engine.start()?);
    for &source in sources {
        deadline.check()?;
        // It was paid for in the first pass.
        let spent = texts.budget.spent();
        texts.budget.take_back(Spent::default());
        let read = texts.read(source, &mut |member, line, text| {
            Ok(packer.add(source, member, line, &shape(source, text))?)
        });
        texts.unread.again(read)?;
        texts.budget.take_back(spent);
    }
    let mut hits = Vec::new();
    for (raw, place) in packer.finish()? {
        if let Whereabouts::In(at) = place {
            hits.push(Hit::new(at, raw));
        }
    }
    Ok(hits)
}
