//! Change capture: one change buffer per source, shared by all its consumers.
//!
//! A buffer row is `(change_id, xid, weight, c<attnum>..)`: an inserted row image has weight 1, a removed one -1, an
//! update is one of each, and a row of weight 0 is a marker that the contents were replaced (TRUNCATE). `xid` is the
//! writer's top-level transaction; `change_id` only has to grow within a transaction.
//!
//! Triggers come in two disjoint sets, so that exactly one sees each change: statement triggers with transition tables
//! enabled ORIGIN, and row triggers enabled REPLICA for sessions that apply replicated changes. The TRUNCATE trigger is
//! enabled ALWAYS. Partitioned tables are captured by row triggers enabled ALWAYS: the server clones them to
//! partitions, present and future, and a MERGE that moves rows between partitions records nothing in transition tables.

pub mod buffer;
pub mod collect;
pub mod ddl;
pub mod install;
pub mod job;
pub mod target;
pub mod trigger;
