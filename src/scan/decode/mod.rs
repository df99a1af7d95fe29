//! Bytes become the text that is in them.
