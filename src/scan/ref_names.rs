//! The names of refs, scanned by themselves: for a push that is refused before its scan.

use std::collections::BTreeSet;
use std::path::Path;

use super::decode::Budget;
use super::fragments::{Packer, Whereabouts};
use super::gitleaks::Engine;
use super::objects::views::view;
use super::source::Source;
use super::{Hit, ScanError};
use crate::deadline::Deadline;
use crate::push::RefUpdate;
use crate::settings::Settings;

/// How long it may take, in seconds: the client waits for a refusal that is certain.
const LIMIT: u64 = 10;

/// Allows to show the names in which the scanner finds nothing; of more than a push may have, none.
/// With an error none may be shown.
pub fn show_clean_names(
    git_dir: &Path,
    settings: &Settings,
    updates: &mut [RefUpdate],
) -> Result<(), ScanError> {
    if updates.len() as u64 > settings.limits.max_refs {
        return Ok(());
    }
    let names: Vec<_> = updates.iter().map(|update| &update.name).collect();
    let clean = are_clean(git_dir, settings, &names)?;
    for (update, is_clean) in updates.iter_mut().zip(clean) {
        if is_clean {
            update.allow_showing();
        }
    }
    Ok(())
}

/// In which of `texts` the scanner finds nothing.
pub fn are_clean(
    git_dir: &Path,
    settings: &Settings,
    texts: &[impl AsRef<[u8]>],
) -> Result<Vec<bool>, ScanError> {
    let deadline = Deadline::of("scanTimeout", settings.limits.scan.min(LIMIT));
    let mut budget = Budget::new(&settings.limits, deadline, git_dir);
    let mut packer = Packer::new(Engine::open(settings, deadline)?.start()?);
    for (index, text) in texts.iter().enumerate() {
        view(text.as_ref(), &mut budget, &mut |member, line, text| {
            Ok(packer.add(Source::RefName(index), member, line, text)?)
        })?;
    }
    let mut found = BTreeSet::new();
    for (_, place) in packer.finish()? {
        match place {
            Whereabouts::In(at) => found.extend([at.source]),
            Whereabouts::Across(sources) => found.extend(sources),
        }
    }
    let is_clean = |index| !found.contains(&Source::RefName(index));
    Ok((0..texts.len()).map(is_clean).collect())
}

/// The ref names among `hits`.
pub(crate) fn in_names(hits: &[Hit]) -> BTreeSet<Source> {
    let sources = hits.iter().map(|hit| hit.at.source);
    sources
        .filter(|source| matches!(source, Source::RefName(_)))
        .collect()
}

/// Allows to show the names that are not among `found`, once all of them were scanned.
pub fn show_all_but(found: &BTreeSet<Source>, updates: &mut [RefUpdate]) {
    for (index, update) in updates.iter_mut().enumerate() {
        if !found.contains(&Source::RefName(index)) {
            update.allow_showing();
        }
    }
}
