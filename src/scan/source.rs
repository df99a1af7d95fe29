//! Which text of a push is meant.

/// One text of a push, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The content of an object; of a tree, the names in it, one a line. Into [`ObjectReader::objects`](super::objects::reader::ObjectReader::objects).
    Object(usize),
    /// The full paths of a blob, or those found in a tree (`History::paths`). Into [`ObjectReader::objects`](super::objects::reader::ObjectReader::objects).
    Path(usize),
    /// The name of a ref. Into the push's updates.
    RefName(usize),
    /// A push option.
    PushOption(usize),
}
