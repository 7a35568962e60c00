//! Every permutation of `corpus/isolation/*.spec`, at READ COMMITTED and at REPEATABLE READ.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use pg_trickle_harness::cluster::{TestDatabase, test_database};
use pg_trickle_harness::isolation::{Level, Spec, run_permutation};

/// Runs one file and reports all failures of it together.
fn run(name: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/isolation").join(name);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let spec = Spec::parse(&text).with_context(|| name.to_owned())?;
    let mut failures = 0;
    // To make a database takes longer than most permutations.
    let mut emptied: Option<TestDatabase> = None;
    for permutation in &spec.permutations {
        for level in Level::ALL.into_iter().filter(|level| permutation.applies(*level)) {
            let database = emptied.take().map_or_else(test_database, Ok)?;
            let outcome = run_permutation(&database, &spec, permutation, level);
            if let Err(error) = outcome.and_then(|()| database.empty()) {
                failures += 1;
                eprintln!(
                    "FAILED {name}:{} at {level}: permutation {}\n{error:#}\n",
                    permutation.line,
                    permutation.text()
                );
                continue;
            }
            emptied = Some(database);
        }
    }
    ensure!(failures == 0, "{failures} runs of {name} failed");
    Ok(())
}

macro_rules! specs {
    ($($spec:ident),* $(,)?) => {
        /// Files that have a test.
        const SPECS: &[&str] = &[$(stringify!($spec)),*];

        $(
            #[test]
            fn $spec() -> Result<()> {
                run(concat!(stringify!($spec), ".spec"))
            }
        )*
    };
}

specs!(
    collection,
    creation,
    generations,
    generations_partitioned,
    inside_statement,
    known,
    locks,
    no_net_change,
    own_transaction,
    redefined,
    two_refreshes,
    upstream_trigger,
    wave,
    writers,
);

#[test]
fn every_spec_has_a_test() -> Result<()> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/isolation"))? {
        found.insert(entry?.file_name().to_string_lossy().trim_end_matches(".spec").to_owned());
    }
    let named: BTreeSet<String> = SPECS.iter().map(|&spec| spec.to_owned()).collect();
    assert_eq!(found, named);
    Ok(())
}
