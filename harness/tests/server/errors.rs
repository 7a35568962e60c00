//! The scripts of `corpus/errors`: wrong input is refused with its SQLSTATE and leaves no trace.

use std::path::Path;

use anyhow::Result;
use pg_trickle_harness::cluster::test_database;
use pg_trickle_harness::slt;

#[test]
fn wrong_input_is_refused() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/errors");
    slt::run_all(&slt::scripts(&folder)?, test_database)
}
