//! The SQL surface: parse arguments, call, raise errors. Nothing here decides anything.

mod alter;
mod define;
mod events;
pub mod inspect;
mod refresh;
mod schedule;
mod validate;
mod version;
