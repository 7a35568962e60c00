//! The SQL surface: parse arguments, call, raise errors. Nothing here decides anything.

mod alter;
mod define;
mod inspect;
mod refresh;
mod validate;
mod version;
