//! `docs/compatibility.md`: which constructs are maintained in which mode on which PostgreSQL version, each cell with the
//! script that proves it. The page is made from the scripts, which run on every version after every change.

mod construct;
mod creation;
mod page;
mod words;

pub use page::{Refused, page};
