//! All of the project's scripts on one server, with what each came to.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, anyhow};

use super::{run_script, scripts};
use crate::cluster::{Cluster, TestDatabase};
use crate::provision::cache::checkout;
use crate::report::{ScriptRun, ScriptsRun};

/// Folders of scripts, below the checkout.
const FOLDERS: [&str; 3] = ["corpus/sql", "corpus/regress", "corpus/errors"];

/// Runs every script, one on each processor at a time. A script that fails is a result.
pub fn run_every_script(cluster: &Arc<dyn Cluster>) -> Result<ScriptsRun> {
    let mut paths = Vec::new();
    for folder in FOLDERS {
        paths.extend(scripts(&checkout().join(folder))?);
    }
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let worker = || {
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            let run = run_one(cluster, path);
            found.lock().unwrap_or_else(PoisonError::into_inner).push(run);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| anyhow!("a script's thread panicked")))
    })?;
    let mut scripts = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    scripts.sort_by(|a: &ScriptRun, b| a.path.cmp(&b.path));
    Ok(ScriptsRun { backend: cluster.backend().to_string(), scripts })
}

fn run_one(cluster: &Arc<dyn Cluster>, path: &Path) -> ScriptRun {
    let clock = Instant::now();
    let outcome = TestDatabase::create(Arc::clone(cluster)).map(|database| run_script(&database, path));
    let (tally, outcome) = outcome.unwrap_or_else(|error| (Default::default(), Err(error)));
    ScriptRun {
        path: path.strip_prefix(checkout()).unwrap_or(path).display().to_string(),
        about: about(path),
        tally,
        seconds: clock.elapsed().as_secs_f64(),
        failure: outcome.err().map(|error| format!("{error:#}")),
    }
}

/// The comment that a script begins with.
fn about(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().map_while(|line| line.strip_prefix('#')).map(str::trim);
    lines.collect::<Vec<_>>().join(" ")
}
