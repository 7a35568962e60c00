//! Three oracles that judge stream tables.
