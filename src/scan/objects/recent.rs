//! The objects that were read last, for the next version of a file to be compared with.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::rc::Rc;

use git2::Oid;

use crate::scan::decode;

/// Bytes of blobs that are kept, since the next version of the file is compared with them.
const KEPT: usize = 32 << 20;

/// A later version of a file below this size is scanned whole.
pub const WORTH_COMPARING: usize = 16 << 10;

/// An object in memory.
pub struct Held {
    /// Its content.
    pub bytes: Vec<u8>,
    plain: OnceCell<bool>,
}

impl Held {
    /// Whether it is plain text.
    pub fn is_plain(&self) -> bool {
        *self.plain.get_or_init(|| decode::is_plain(&self.bytes))
    }
}

/// The blobs that were read last, up to [`KEPT`] bytes.
#[derive(Default)]
pub struct Recent {
    blobs: VecDeque<(Oid, Rc<Held>)>,
    bytes: usize,
}

impl Recent {
    /// The object `id`, if it is among them.
    pub fn get(&self, id: Oid) -> Option<Rc<Held>> {
        let found = self.blobs.iter().rev().find(|(kept, _)| *kept == id);
        found.map(|(_, held)| Rc::clone(held))
    }

    /// Keeps `bytes` if a later version may be compared with them.
    pub fn put(&mut self, id: Oid, bytes: Vec<u8>) -> Rc<Held> {
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
