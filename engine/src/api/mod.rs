//! The SQL surface: parse arguments, call, raise errors. Nothing here decides anything.

mod define;
mod refresh;
mod validate;
mod version;
