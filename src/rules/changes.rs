//! What the new commits of a push change at protected paths, each against its parents.
//!
//! A path is changed where what stands there stands so in none of the parents: a merge that only brings
//! what a parent has changes nothing. It may not leave out what only one parent has changed since the
//! two parted either, or `git merge -s ours` would take a change of the upstream back. Only directories
//! that differ from all parents are read, only where a rule may still hold below, and none twice that was
//! found free of it.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use git2::{ObjectFormat, ObjectType, Odb, Oid};

use super::RuleError;
use super::paths::{PathRules, State};
use crate::deadline::Deadline;
use crate::scan::objects::parse::{self, Entry};

/// How deep directories may be nested: git's own limit (`core.maxTreeDepth`, git-config(1)).
const DEEPEST: usize = 2048;

/// With how many parents a merge is compared; what stands in a further one alone counts as changed.
const MOST_PARENTS: usize = 100;

/// How many directories are compared. A tree that holds itself many times over has more than anybody can
/// read.
const MOST_DIRECTORIES: usize = 1 << 20;

/// How many changes of protected paths are told apart; the push is refused anyway.
const TOLD: usize = 1000;

/// What a commit did to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// It was not there.
    Added,
    /// It was there.
    Changed,
    /// It is no more.
    Deleted,
    /// A merge kept what one parent had before the other changed it.
    LeftOut,
}

/// A commit, and the trees that it is compared with.
#[derive(Debug)]
pub struct Compared {
    /// The commit.
    pub id: Oid,
    /// Its tree.
    pub tree: Oid,
    /// Its parents, each with its tree.
    pub parents: Vec<(Oid, Oid)>,
}

/// Tells the trees of the best common ancestors of two commits (git-merge-base(1)).
pub type Bases<'a> = dyn Fn(Oid, Oid) -> Result<Vec<Oid>, RuleError> + 'a;

/// A protected path that a commit changed.
#[derive(Debug, Clone)]
pub struct Change {
    /// The path, as the trees say.
    pub path: Vec<u8>,
    /// What became of it.
    pub did: Did,
    /// The first commit that was seen to do so.
    pub commit: Oid,
    /// The glob of the rules that it is against.
    pub glob: usize,
    /// The change's own name: the id of its path, mode and object, whatever commit it is in.
    pub id: Oid,
}

/// What stands under a name: mode and object.
type Value = (u32, Oid);

/// A name under which something else stands than in any parent: what does now, and what in each.
type Differing = (Vec<u8>, Option<Value>, Vec<Option<Value>>);

/// A directory that is compared: what it is now, and what it is in each parent.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Directory {
    new: Option<Oid>,
    parents: Vec<Option<Oid>>,
}

/// Compares commits with their parents.
pub struct Changes<'a> {
    odb: &'a Odb<'a>,
    format: ObjectFormat,
    rules: &'a PathRules,
    /// Whether the operator has accepted the change of this id, which a glob is against.
    is_accepted: &'a dyn Fn(usize, Oid) -> bool,
    deadline: Deadline,
    /// Counts the changed files, when there is a limit of them.
    files: Option<Files>,
    /// Directories below which no rule is broken, each with the place in the rules.
    free: HashSet<(State, Directory)>,
    directories: usize,
    commit: Oid,
    /// Whether the sides of a merge are looked at: what differs is a parent's, and the merge stands for
    /// the first of its parents.
    of_side: bool,
    found: Vec<Change>,
    ids: HashSet<Oid>,
}

/// The paths that were changed, by hash, up to one more than the limit.
struct Files {
    limit: u64,
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl Files {
    fn is_full(&self) -> bool {
        self.seen.len() as u64 > self.limit
    }
}

impl<'a> Changes<'a> {
    /// By these `rules` but for what `is_accepted`, until `deadline`; with a `limit`, changed files are counted up to one more.
    pub fn new(
        odb: &'a Odb<'a>,
        format: ObjectFormat,
        rules: &'a PathRules,
        is_accepted: &'a dyn Fn(usize, Oid) -> bool,
        limit: Option<u64>,
        deadline: Deadline,
    ) -> Self {
        Self {
            odb,
            format,
            rules,
            is_accepted,
            deadline,
            files: limit.map(|limit| Files {
                limit,
                seen: HashSet::new(),
                hasher: RandomState::new(),
            }),
            free: HashSet::new(),
            directories: 0,
            commit: Oid::ZERO_SHA1,
            of_side: false,
            found: Vec::new(),
            ids: HashSet::new(),
        }
    }

    /// What `commits` changed, and in how many files. Without `bases` no merge can leave anything out.
    pub fn read(
        mut self,
        commits: &[Compared],
        bases: Option<&Bases<'_>>,
    ) -> Result<(Vec<Change>, Option<usize>), RuleError> {
        for commit in commits {
            self.deadline.check()?;
            self.commit = commit.id;
            let trees = commit.parents.iter().take(MOST_PARENTS);
            let mut parents: Vec<_> = trees.map(|&(_, tree)| Some(tree)).collect();
            parents.dedup();
            if parents.is_empty() {
                parents.push(None);
            }
            self.top(Some(commit.tree), parents)?;
            if let Some(bases) = bases.filter(|_| commit.parents.len() > 1) {
                self.sides(commit, bases)?;
            }
        }
        let count = self.files.map(|files| files.seen.len());
        Ok((self.found, count))
    }

    /// Compares whole trees.
    fn top(&mut self, new: Option<Oid>, parents: Vec<Option<Oid>>) -> Result<bool, RuleError> {
        self.directory(&Directory { new, parents }, &self.rules.top(), &[], 0)
    }

    /// Looks for what a merge left out of either side: what a parent has changed since it parted from
    /// another, and the merge has not.
    fn sides(&mut self, merge: &Compared, bases: &Bases<'_>) -> Result<(), RuleError> {
        self.of_side = true;
        for &(side, tree) in merge.parents.iter().take(MOST_PARENTS) {
            if self.is_kept(merge, tree)? {
                continue;
            }
            let others = merge.parents.iter().take(MOST_PARENTS);
            for &(other, _) in others.filter(|(other, _)| *other != side) {
                let mut parted = bases(other, side)?
                    .into_iter()
                    .map(Some)
                    .collect::<Vec<_>>();
                if parted.is_empty() {
                    parted.push(None);
                }
                for base in parted {
                    self.top(Some(tree), vec![Some(merge.tree), base])?;
                }
            }
        }
        self.of_side = false;
        Ok(())
    }

    /// Whether the merge has all that is protected as this side has it, as most do: nobody need look
    /// where they parted.
    fn is_kept(&mut self, merge: &Compared, side: Oid) -> Result<bool, RuleError> {
        let (found, ids) = (self.found.len(), std::mem::take(&mut self.ids));
        let is_free = self.top(Some(side), vec![Some(merge.tree)])?;
        self.found.truncate(found);
        self.ids = ids;
        Ok(is_free)
    }

    /// Looks below one directory; whether no rule is broken there.
    fn directory(
        &mut self,
        directory: &Directory,
        state: &State,
        path: &[u8],
        depth: usize,
    ) -> Result<bool, RuleError> {
        if directory.parents.contains(&directory.new) || self.is_done(state) {
            return Ok(true);
        }
        let key = (state.clone(), directory.clone());
        if self.files.is_none() && self.free.contains(&key) {
            return Ok(true);
        }
        self.deadline.check()?;
        self.directories += 1;
        if depth > DEEPEST || self.directories > MOST_DIRECTORIES {
            return Err(RuleError::TooManyFolders);
        }
        let mut is_free = true;
        for (name, new, parents) in self.differing(directory)? {
            is_free &= self.entry(&name, new, &parents, state, path, depth)?;
        }
        if is_free {
            self.free.insert(key);
        }
        Ok(is_free)
    }

    /// Whether there is nothing left to look for below.
    fn is_done(&self, state: &State) -> bool {
        let counts = self.files.as_ref().is_some_and(|files| !files.is_full());
        let counts = counts && !self.of_side;
        !counts && (state.is_free() || self.found.len() >= TOLD)
    }

    /// The names of a directory that differ.
    fn differing(&self, directory: &Directory) -> Result<Vec<Differing>, RuleError> {
        let parents = directory.parents.iter().map(|&parent| self.values(parent));
        let parents: Vec<HashMap<Vec<u8>, Value>> = parents
            .map(|values| values.map(|values| values.into_iter().collect()))
            .collect::<Result<_, _>>()?;
        let new = self.values(directory.new)?;
        let names: HashSet<_> = new.iter().map(|(name, _)| name.clone()).collect();
        let is_gone = |name: &&Vec<u8>| {
            !names.contains(*name) && parents.iter().all(|parent| parent.contains_key(*name))
        };
        let first = parents.first().into_iter().flat_map(HashMap::keys);
        let gone: Vec<_> = first
            .filter(is_gone)
            .map(|name| (name.clone(), None))
            .collect();
        let there = new.into_iter().map(|(name, value)| (name, Some(value)));
        let all = there.chain(gone).map(|(name, new)| {
            let old = parents
                .iter()
                .map(|parent| parent.get(&name).copied())
                .collect();
            (name, new, old)
        });
        Ok(all
            .filter(|(_, new, old): &(_, _, Vec<_>)| !old.contains(new))
            .collect())
    }

    fn values(&self, tree: Option<Oid>) -> Result<Vec<(Vec<u8>, Value)>, RuleError> {
        let Some(tree) = tree else {
            return Ok(Vec::new());
        };
        let raw = self.odb.read(tree)?;
        let entries = parse::entries(raw.data(), self.format);
        let value = |entry: Entry<'_>| (entry.name.to_vec(), (entry.mode, entry.id));
        entries
            .map(|entry| entry.map(value).map_err(RuleError::from))
            .collect()
    }

    /// One name that differs: what is below it, and itself.
    fn entry(
        &mut self,
        name: &[u8],
        new: Option<Value>,
        parents: &[Option<Value>],
        state: &State,
        path: &[u8],
        depth: usize,
    ) -> Result<bool, RuleError> {
        let state = self.rules.enter(state, name);
        let path = match path {
            [] => name.to_vec(),
            path => [path, b"/", name].concat(),
        };
        let tree =
            |value: Option<Value>| value.and_then(|(mode, id)| is_tree(mode, id).then_some(id));
        let leaf = |value: Option<Value>| value.filter(|&(mode, id)| !is_tree(mode, id));
        let below = Directory {
            new: tree(new),
            parents: parents.iter().map(|&old| tree(old)).collect(),
        };
        let mut is_free = self.directory(&below, &state, &path, depth + 1)?;
        if !parents.iter().any(|&old| leaf(old) == leaf(new)) {
            let did = match (leaf(new), parents.iter().any(Option::is_some)) {
                _ if self.of_side => Did::LeftOut,
                (None, _) => Did::Deleted,
                (_, true) => Did::Changed,
                _ => Did::Added,
            };
            let stands = if self.of_side { parents[0] } else { new };
            is_free &= self.leaf(&state, path, leaf(stands), did)?;
        }
        Ok(is_free)
    }

    /// A file, link or submodule that was changed; whether no rule is against it.
    fn leaf(
        &mut self,
        state: &State,
        path: Vec<u8>,
        new: Option<Value>,
        did: Did,
    ) -> Result<bool, RuleError> {
        let files = self.files.as_mut().filter(|files| !files.is_full());
        if let Some(files) = files.filter(|_| did != Did::LeftOut) {
            let hash = files.hasher.hash_one(&path);
            files.seen.insert(hash);
        }
        let is_way = new.is_some_and(|(mode, id)| is_link(mode, id));
        let behind = is_way.then(|| self.rules.behind_link(state)).flatten();
        let Some(glob) = state.denied().or(behind) else {
            return Ok(true);
        };
        if self.rules.allow(&path) {
            return Ok(true);
        }
        let id = self.id(&path, new)?;
        if !(self.is_accepted)(glob, id) && self.ids.insert(id) {
            self.found.push(Change {
                did,
                commit: self.commit,
                path,
                glob,
                id,
            });
        }
        Ok(false)
    }

    fn id(&self, path: &[u8], new: Option<Value>) -> Result<Oid, RuleError> {
        let value = new.map_or_else(
            || "deleted".to_owned(),
            |(mode, id)| format!("{mode:o} {id}"),
        );
        let text = [path, b"\0", value.as_bytes()].concat();
        Ok(Oid::hash_object_ext(ObjectType::Blob, &text, self.format)?)
    }
}

fn entry(mode: u32, id: Oid) -> Entry<'static> {
    Entry {
        mode,
        name: b"",
        id,
    }
}

fn is_tree(mode: u32, id: Oid) -> bool {
    entry(mode, id).is_tree()
}

fn is_link(mode: u32, id: Oid) -> bool {
    entry(mode, id).is_link() || entry(mode, id).is_gitlink()
}
