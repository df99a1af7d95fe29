//! The objects that were read last, for the next version of a file to be compared with.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::ops::Deref;
use std::rc::Rc;

use git2::{OdbObject, Oid};

use crate::scan::decode;

/// Bytes of blobs that are kept, since the next version of the file is compared with them.
const KEPT: usize = 32 << 20;

/// A later version of a file below this size is scanned whole.
pub const WORTH_COMPARING: usize = 16 << 10;

/// An object in memory.
pub struct Held<'o> {
    /// Its content.
    pub bytes: Bytes<'o>,
    plain: OnceCell<bool>,
}

/// The content of an object, where it was read to.
pub enum Bytes<'o> {
    Copied(Vec<u8>),
    InStore(OdbObject<'o>),
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::InStore(object) => object.data(),
        }
    }
}

impl Held<'_> {
    /// Whether it is plain text.
    pub fn is_plain(&self) -> bool {
        *self.plain.get_or_init(|| decode::is_plain(&self.bytes))
    }
}

/// The blobs that were read last, up to [`KEPT`] bytes.
#[derive(Default)]
pub struct Recent<'o> {
    blobs: VecDeque<(Oid, Rc<Held<'o>>)>,
    bytes: usize,
}

impl<'o> Recent<'o> {
    /// The object `id`, if it is among them.
    pub fn get(&self, id: Oid) -> Option<Rc<Held<'o>>> {
        let found = self.blobs.iter().rev().find(|(kept, _)| *kept == id);
        found.map(|(_, held)| Rc::clone(held))
    }

    /// Keeps `bytes` if a later version may be compared with them.
    pub fn put(&mut self, id: Oid, bytes: Bytes<'o>) -> Rc<Held<'o>> {
        let held = Rc::new(Held {
            bytes,
            plain: OnceCell::new(),
        });
        if held.bytes.len() >= WORTH_COMPARING {
            self.bytes += held.bytes.len();
            self.blobs.push_back((id, Rc::clone(&held)));
            while self.bytes > KEPT && self.blobs.len() > 1 {
                if let Some((_, dropped)) = self.blobs.pop_front() {
                    self.bytes -= dropped.bytes.len();
                }
            }
        }
        held
    }
}
