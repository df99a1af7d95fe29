//! What a commit changed in a directory, told by the same directory in its parents.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use git2::{ObjectFormat, Oid};

use super::parse::{self, Entry};
use crate::scan::ScanError;

/// An entry that a commit changed or brought.
pub struct Fresh<'t> {
    pub entry: Entry<'t>,
    /// The first file that stands under its name in a parent.
    pub before: Option<Oid>,
    /// The directories that stand under its name in the parents.
    pub trees: Vec<Oid>,
    /// Whether a parent holds it under another name: a file renamed in its directory.
    pub is_held: bool,
}

impl<'t> Fresh<'t> {
    pub fn new(entry: Entry<'t>) -> Self {
        Self {
            entry,
            before: None,
            trees: Vec::new(),
            is_held: false,
        }
    }

    /// Whether it stands in `directory` as it is; otherwise notes what stands there.
    pub fn stands_in(&mut self, directory: &Directory<'_>, received: &HashMap<Oid, usize>) -> bool {
        match directory.names.get(self.entry.name) {
            Some(&(id, _)) if id == self.entry.id => return true,
            Some(&(id, true)) if !self.trees.contains(&id) => self.trees.push(id),
            Some(&(id, false)) if self.before.is_none() => self.before = Some(id),
            _ => {}
        }
        let is_outside = !self.entry.is_tree() && !received.contains_key(&self.entry.id);
        self.is_held = self.is_held || is_outside && directory.holds(self.entry.id);
        false
    }
}

/// The files and directories in a parent's directory. A gitlink is neither: the object that it names needs
/// not be there, so it says nothing about what the upstream holds.
pub struct Directory<'t> {
    /// What stands under each name, and whether it is a tree.
    names: HashMap<&'t [u8], (Oid, bool)>,
    ids: OnceCell<HashSet<Oid>>,
}

impl<'t> Directory<'t> {
    pub fn read(raw: &'t [u8], format: ObjectFormat) -> Result<Self, ScanError> {
        let entries = parse::entries(raw, format)
            .filter(|entry| !entry.as_ref().is_ok_and(Entry::is_gitlink))
            .map(|entry| entry.map(|entry| (entry.name, (entry.id, entry.is_tree()))));
        Ok(Self {
            names: entries.collect::<Result<_, _>>()?,
            ids: OnceCell::new(),
        })
    }

    /// Whether `id` stands under any name.
    pub fn holds(&self, id: Oid) -> bool {
        let collect = || self.names.values().map(|&(id, _)| id).collect();
        self.ids.get_or_init(collect).contains(&id)
    }
}
