//! SQL scripts: `.slt` files that run on one database, with every stream table compared after every change.
//!
//! The format is that of the `sqllogictest` crate: `statement ok`, `statement error (SQLSTATE)`, `query`, named
//! connections, `onlyif` and `skipif` with the labels `pg16`, `pg17` and `pg18` and the names of
//! the extensions that the installation offers. Whenever a statement that may change
//! something has been committed, all stream tables of the database are refreshed and compared with their queries; a
//! difference fails the statement. Statements that begin with a backslash are for the runner ([`command`]). `$db` in a
//! statement stands for the database's name, for what has to be unique in a server, such as names of roles.
//!
//! With `PG_TRICKLE_SLT_OVERRIDE=1` expectations are rewritten instead of checked; comparisons still fail the run.

mod command;
mod every;
mod inventory;
mod judge;
mod rewrite;
mod session;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use sqllogictest::Runner;

pub use self::command::Command;
pub use self::every::run_every_script;
use self::judge::Judge;
use self::session::Session;
use crate::cluster::TestDatabase;
use crate::report::ScriptTally;

/// Environment variable that asks for expectations to be rewritten.
pub const OVERRIDE_VARIABLE: &str = "PG_TRICKLE_SLT_OVERRIDE";

/// Environment variable with a part of the paths of the scripts to run.
pub const FILTER_VARIABLE: &str = "PG_TRICKLE_SLT_FILTER";

/// All scripts below a folder, sorted by path.
pub fn scripts(folder: &Path) -> Result<Vec<PathBuf>> {
    let wanted = std::env::var(FILTER_VARIABLE).unwrap_or_default();
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "slt")
                && path.to_string_lossy().contains(&wanted)
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Runs one script in a database of its own. At its end everything is refreshed and verified once more. Returns what was
/// compared, also if the script failed.
pub fn run_script(database: &TestDatabase, path: &Path) -> (ScriptTally, Result<()>) {
    match Judge::open(database) {
        Ok(judge) => run_with(judge, database, path),
        Err(error) => (ScriptTally::default(), Err(error)),
    }
}

fn run_with(judge: Judge, database: &TestDatabase, path: &Path) -> (ScriptTally, Result<()>) {
    let judge = Arc::new(Mutex::new(judge));
    let outcome = run_judged(&judge, database, path);
    let mut judge = judge.lock().unwrap_or_else(PoisonError::into_inner);
    let outcome = outcome.and_then(|()| match judge.take_failure() {
        Some(failure) => bail!("{failure}"),
        None => judge.settle().context("at the end of the script"),
    });
    (judge.tally(), outcome)
}

fn run_judged(judge: &Arc<Mutex<Judge>>, database: &TestDatabase, path: &Path) -> Result<()> {
    let conninfo = database.conninfo();
    let for_sessions = Arc::clone(judge);
    let name = database.name().to_owned();
    let mut runner = Runner::new(move || {
        let session = Session::open(&conninfo, &name, Arc::clone(&for_sessions));
        async move { session }
    });
    runner.add_label(&format!("pg{}", database.cluster().pg_major()));
    for extension in extensions(database)? {
        runner.add_label(&extension);
    }
    let outcome = if std::env::var_os(OVERRIDE_VARIABLE).is_some_and(|value| !value.is_empty()) {
        rewrite::rewrite(&mut runner, path)
    } else {
        runner.run_file(path).map_err(|error| anyhow!("{error}"))
    };
    runner.shutdown();
    drop(runner);
    outcome
}

/// Extensions that the installation offers: a script may need one that not every package of PostgreSQL brings.
fn extensions(database: &TestDatabase) -> Result<Vec<String>> {
    // By server: to look takes a session and reads a folder of files.
    static KNOWN: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());
    let server = database.cluster().conninfo("postgres");
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(extensions) = known.get(&server) {
        return Ok(extensions.clone());
    }
    let rows = database.connect()?.query("SELECT name::text FROM pg_catalog.pg_available_extensions", &[])?;
    let extensions: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    known.insert(server, extensions.clone());
    Ok(extensions)
}

/// Runs scripts one after the other, each in a fresh database, and reports all failures together.
pub fn run_all(paths: &[PathBuf], create: impl Fn() -> Result<TestDatabase>) -> Result<()> {
    let mut failures = Vec::new();
    for path in paths {
        let database = create()?;
        if let (_, Err(error)) = run_script(&database, path) {
            eprintln!("FAILED {}\n{error:#}\n", path.display());
            failures.push(path.display().to_string());
        }
    }
    if !failures.is_empty() {
        bail!("{} of {} scripts failed:\n  {}", failures.len(), paths.len(), failures.join("\n  "));
    }
    Ok(())
}
