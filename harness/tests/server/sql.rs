//! The SQL scripts of `corpus/sql` and `corpus/regress`: after every change, every stream table is compared with its
//! query. One test per folder, so that they run in parallel.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use pg_trickle_harness::cluster::test_database;
use pg_trickle_harness::slt;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

macro_rules! folders {
    ($($folder:ident),* $(,)?) => {
        /// Folders of `corpus/sql` that have a test.
        const FOLDERS: &[&str] = &[$(stringify!($folder)),*];

        $(
            #[test]
            fn $folder() -> Result<()> {
                slt::run_all(&slt::scripts(&corpus().join("sql").join(stringify!($folder)))?, test_database)
            }
        )*
    };
}

folders!(
    aggregate, apply, capture, chain, distinct, expand, join, lifecycle, linear, mode, polling, recursion,
    set_op, shape, subquery, time, top_k, union, window,
);

/// One script for each mistake that was made and corrected.
#[test]
fn regress() -> Result<()> {
    slt::run_all(&slt::scripts(&corpus().join("regress"))?, test_database)
}

#[test]
fn every_folder_has_a_test() -> Result<()> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(corpus().join("sql"))? {
        found.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    let named: BTreeSet<String> = FOLDERS.iter().map(|&folder| folder.to_owned()).collect();
    assert_eq!(found, named);
    Ok(())
}
