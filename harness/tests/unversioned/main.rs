//! Tests that run once, whatever versions of PostgreSQL there are: they need no server, or choose one themselves.

mod replay;
mod report;
mod tidy;
