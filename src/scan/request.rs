//! What is to be scanned.

use git2::Repository;

use crate::git::Refs;
use crate::push::{Received, RefUpdate};
use crate::settings::Settings;

/// What is to be scanned.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The mirror, with the quarantine readable ([`Received::list`]).
    pub repository: &'a Repository,
    /// Its refs.
    pub refs: &'a Refs,
    /// Its settings.
    pub settings: &'a Settings,
    /// The push's ref updates.
    pub updates: &'a [RefUpdate],
    /// The push's objects.
    pub received: &'a Received,
    /// The push's options, which are forwarded too.
    pub push_options: &'a [Vec<u8>],
}

impl Request<'_> {
    /// Whether the forward would say nothing but the names of refs that the upstream has.
    pub(crate) fn only_deletes(&self) -> bool {
        let is_held = |update: &RefUpdate| self.refs.get(&update.name).is_some();
        let brings_nothing = self.received.objects.is_empty() && self.push_options.is_empty();
        brings_nothing
            && self
                .updates
                .iter()
                .all(|update| update.deletes() && is_held(update))
    }
}
