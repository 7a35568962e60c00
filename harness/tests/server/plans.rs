//! The plans that the benchmarks of the core work on, `benches/plans`, are those that the front end makes of the queries
//! today. `REWRITE_PLANS=1` writes them anew.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use pg_trickle_corpus::job::Job;
use pg_trickle_corpus::tpch::{Scale, Tpch};
use pg_trickle_corpus::workload::{Query, Workload};
use pg_trickle_harness::cluster::{DEFAULT_MAJOR, test_cluster, test_database};
use serde_json::{Value, json};

/// Queries over the empty tables of a workload, as the server analyses them.
fn analyzed(workload: &dyn Workload, queries: &[Query]) -> Result<Vec<(String, Value)>> {
    let database = test_database()?;
    let mut client = database.connect()?;
    client.batch_execute(workload.schema())?;
    client.batch_execute(workload.indexes())?;
    let mut found = Vec::new();
    for query in queries {
        client.execute(
            "SELECT pgtrickle.create_stream_table($1, $2, '12h', 'DIFFERENTIAL')",
            &[&query.name, &query.sql],
        )?;
        let explained: String =
            client.query_one("SELECT pgtrickle.explain_stream_table($1, 'json')", &[&query.name])?.get(0);
        let mut explained: Value = serde_json::from_str(&explained)?;
        let analyzed = &mut explained["analyzed"];
        let plan: Vec<&str> = analyzed["plan"].as_str().context("a plan as text")?.lines().collect();
        let plan = json!(plan);
        let mut sources = analyzed["sources"].take();
        for source in sources.as_array_mut().context("sources")? {
            // Another one in each database.
            source["relid"] = json!(0);
        }
        found.push((query.name.clone(), json!({ "plan": plan, "sources": sources })));
    }
    Ok(found)
}

#[test]
fn plans_of_the_benchmarks_are_what_the_front_end_makes_of_the_queries() -> Result<()> {
    // Analysis differs between versions in nothing that matters here; one of them is enough.
    if test_cluster()?.pg_major() != DEFAULT_MAJOR {
        return Ok(());
    }
    let tpch = Tpch::new(Scale::new(1.0).map_err(anyhow::Error::msg)?, 1);
    let mut all = analyzed(&tpch, &tpch.queries())?;
    let job = Job::new(1, 1);
    let widest = job.queries().into_iter().find(|query| query.key == "29a").context("JOB has 29a")?;
    all.extend(analyzed(&job, &[widest])?);
    let mut different = Vec::new();
    for (name, made) in all {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../benches/plans/{name}.json"));
        if std::env::var_os("REWRITE_PLANS").is_some() {
            std::fs::write(&path, serde_json::to_string_pretty(&made)? + "\n")?;
        }
        let kept = std::fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str(&text).ok());
        if kept != Some(made) {
            different.push(name);
        }
    }
    ensure!(different.is_empty(), "REWRITE_PLANS=1 rewrites the plans of {}", different.join(", "));
    Ok(())
}
