//! Tests that run once per PostgreSQL version, in one binary: to link one takes seconds.

mod analysis;
mod bench;
mod capture;
mod cluster;
mod docs;
mod errors;
mod frontier;
mod isolation;
mod mutation;
mod no_change;
mod oracles;
mod plans;
mod random_queries;
mod recursion_work;
mod session;
mod sql;
mod stable_functions;
mod window_work;
mod work_bound;
mod workers;
