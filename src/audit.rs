//! One JSON line an event.
