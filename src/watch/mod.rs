//! `gate-init watch`: what happens now, in a terminal, where refusals are answered.
//!
//! | part     | what it knows                                                     |
//! |----------|-------------------------------------------------------------------|
//! | `feed`   | what the running gate-init tells, also after it was started anew  |
//! | `view`   | what is shown and chosen, and what a key does                     |
//! | `screen` | how that looks                                                    |
//! | `terminal` | keys, and what follows from them                                |

mod feed;
mod screen;
mod terminal;
mod view;

pub use terminal::run;
