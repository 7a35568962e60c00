//! Nexmark: the events of an auction house as tables, 29 queries over them, and the events that go on coming.
//!
//! [`event`] has the rules of the published generator on a seed. Upstream the stream only grows; here a cycle also
//! corrects prices, cancels bids, extends auctions, moves rows between windows, sellers and days ([`stream`]).

mod event;
mod query;
mod stream;
mod time;
mod workload;

pub use workload::{Nexmark, Shape};
