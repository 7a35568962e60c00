//! Scripts that show what a replay of a generated corpus found wrong: its tables and rows, its changes up to there.

use anyhow::Result;
use pg_trickle_corpus::workload::{Query, Workload};

use super::ReplayOptions;
use super::subject::{creation, refreshing};
use crate::failure::Script;
use crate::report::{CycleRun, Judgement, QueryRun, ServerRun};

/// Queries that get a script: each has all rows of the corpus.
const SCRIPTS_MAX: usize = 3;

/// Writes scripts for the first failing queries, and returns a line for each.
pub(super) fn write(
    workload: &dyn Workload,
    options: &ReplayOptions,
    selected: &[Query],
    run: &ServerRun,
) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    // What the harness finds wrong of itself is no fault of stream tables.
    if options.self_test {
        return Ok(lines);
    }
    for (query, found) in selected.iter().zip(&run.queries) {
        let Some((cycles, finding)) = finding(found).filter(|_| lines.len() < SCRIPTS_MAX) else { continue };
        let script = Script {
            title: format!("{} on PostgreSQL {}", options.command(workload), run.pg_major),
            finding: format!("{}: {finding}", query.label),
            statements: statements(workload, options, query, cycles)?,
            stream_table: query.name.clone(),
            query: query.oracle_sql.clone(),
        };
        let path = script.write(&format!("{}_pg{}", query.name, run.pg_major))?;
        lines.push(format!("{}: a script that shows it: {}", query.label, path.display()));
    }
    Ok(lines)
}

/// After how many cycles something was wrong first, and what.
fn finding(run: &QueryRun) -> Option<(u32, String)> {
    let wrong = |judgements: [&Judgement; 2]| {
        judgements
            .into_iter()
            .find(|judgement| judgement.is_wrong())
            .and_then(|judgement| judgement.detail.clone())
    };
    let populated =
        run.populated.as_ref().and_then(|populated| wrong([&populated.postgres, &populated.duckdb]));
    let of_cycle = |cycle: &CycleRun| {
        let what = cycle.refreshed.error.clone().or_else(|| wrong([&cycle.postgres, &cycle.duckdb]))?;
        Some((cycle.cycle, what))
    };
    populated.map(|what| (0, what)).or_else(|| run.cycles.iter().find_map(of_cycle))
}

fn statements(
    workload: &dyn Workload,
    options: &ReplayOptions,
    query: &Query,
    cycles: u32,
) -> Result<Vec<String>> {
    let mut all = vec![workload.schema().trim_end().trim_end_matches(';').to_owned()];
    for table in workload.tables() {
        let mut rows = Vec::new();
        workload.write_rows(table, &mut rows)?;
        all.push(format!("{};\n{}\\.", workload.copy_statement(table), String::from_utf8(rows)?));
    }
    all.push(workload.indexes().trim_end().trim_end_matches(';').to_owned());
    all.push(creation(&query.name, &query.sql, options.mode.word()));
    for number in 1..=cycles {
        for transaction in workload.cycle(number).transactions {
            all.push("BEGIN".to_owned());
            all.extend(transaction.statements.into_iter().map(|statement| statement.sql));
            all.push("COMMIT".to_owned());
        }
        all.push(refreshing(&query.name));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use pg_trickle_corpus::nexmark::{Nexmark, Shape};

    use super::*;

    #[test]
    fn script_has_rows_creation_and_the_cycles_up_to_the_failure() {
        let workload = Nexmark::new(Shape { events: 200, batch_rows: 20, cycles: 3, is_keyless: false }, 1);
        let query = &workload.queries()[0];
        let all = statements(&workload, &ReplayOptions::default(), query, 2).expect("statements");
        assert!(all[0].contains("CREATE TABLE"));
        assert!(all.iter().any(|sql| sql.starts_with("COPY bid FROM STDIN") && sql.ends_with("\n\\.")));
        let refreshes = all.iter().filter(|sql| sql.contains("refresh_stream_table")).count();
        assert_eq!(refreshes, 2);
        let creation = all.iter().position(|sql| sql.contains("create_stream_table")).expect("a creation");
        assert!(all[..creation].iter().all(|sql| sql != "BEGIN"));
    }
}
