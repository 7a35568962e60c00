//! Tests of the core through its public interface, in one binary: to link one takes seconds.

mod laws;
mod mutants;
mod rules;
mod unnesting;
mod work;
