//! `gate.json`.
