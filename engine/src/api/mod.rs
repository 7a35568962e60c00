//! The SQL surface.

mod validate;
