//! The smallest workloads end to end: every figure that a reader of the benchmarks relies on is there. No time is judged.

use anyhow::{Context, Result, ensure};
use pg_trickle_harness::bench::result::{Run, Summary};
use pg_trickle_harness::bench::{Sizes, Workload, measure};
use pg_trickle_harness::cluster::test_cluster;
use pg_trickle_harness::report::{links, write_benchmarks};
use serde_json::Value;

/// Runs a workload at the least size and returns what its file says.
fn written(workload: Workload) -> Result<(Run, Value)> {
    let folder = tempfile::tempdir()?;
    let run = measure(workload, test_cluster()?, &Sizes::smallest())?;
    Summary { runs: vec![run.clone()] }.write_to(folder.path())?;
    let pages = folder.path().join("report");
    write_benchmarks(&Summary { runs: vec![run.clone()] }, &pages)?;
    ensure!(links::problems(&pages)?.is_empty(), "{:?}", links::problems(&pages)?);
    let text = std::fs::read_to_string(folder.path().join(format!("{}.json", workload.name())))?;
    Ok((run, serde_json::from_str(&text)?))
}

/// The value at a path of names and numbers, which must be there and not null.
fn present<'a>(value: &'a Value, path: &str) -> Result<&'a Value> {
    let found = path.split('/').try_fold(value, |value, step| match step.parse::<usize>() {
        Ok(index) => value.get(index),
        Err(_) => value.get(step),
    });
    found.filter(|value| !value.is_null()).with_context(|| format!("{path} is missing"))
}

#[test]
fn smallest_workload_leaves_every_figure() -> Result<()> {
    let (run, json) = written(Workload::Tpch)?;
    for path in ["workload", "pg_major", "server_version", "backend", "warm_up"] {
        present(&json, path)?;
    }
    for path in ["about/command", "about/started", "about/seconds", "about/commit", "about/seed"] {
        present(&json, path)?;
    }
    for path in ["about/machine/processor", "about/machine/processors", "settings/max_connections"] {
        present(&json, path)?;
    }
    ensure!(run.cases.len() == 4, "four queries, not {}", run.cases.len());
    for (number, case) in run.cases.iter().enumerate() {
        for name in ["name", "what", "series", "source_rows", "change_rows", "subject", "rival"] {
            present(&json, &format!("cases/{number}/{name}"))?;
        }
        ensure!(case.is_idle() == case.name.starts_with("q16"), "{}: is it idle?", case.name);
        ensure!(case.ratios().is_some_and(|(_, rival, _)| rival.is_some()), "{}: no ratio", case.name);
        for (place, contestant) in case.contestants.iter().enumerate() {
            ensure!(contestant.absent.is_none(), "{}: {:?}", contestant.name, contestant.absent);
            ensure!(contestant.cycles.len() == 1, "{}: one cycle was asked for", contestant.name);
            let cycle = format!("cases/{number}/contestants/{place}/cycles/0");
            for name in ["ms", "wal_bytes", "temp_bytes", "rows_read", "pages_read"] {
                present(&json, &format!("{cycle}/{name}"))?;
            }
            if contestant.name.starts_with("stream table") {
                // The batch reaches no table of q16: what the history says last is then of its creation.
                let expected = if case.name.starts_with("q16") { "NO_DATA" } else { "DIFFERENTIAL" };
                let action = present(&json, &format!("{cycle}/action"))?;
                ensure!(action == expected, "{}: {action} of {}", case.name, contestant.name);
                present(&json, &format!("{cycle}/delta_rows"))?;
            }
        }
    }
    Ok(())
}
