//! Random queries under random changes, on a real server: front end, normalisation, stages, SQL, capture and apply
//! together, judged by PostgreSQL's own answer to the query.
//!
//! Each case creates tables, a stream table in DIFFERENTIAL mode over a random query, and then changes the tables
//! several times and the last time back, comparing after each refresh. A refused query must be refused with `0A000`.
//! `PROPTEST_CASES` sets the number of cases; a failure is shrunk, and printed and stored as a script.

use std::cell::RefCell;
use std::collections::BTreeMap;

use anyhow::Result;
use pg_trickle_core::expr::Piece;
use pg_trickle_core::plan::{AggCall, Plan};
use pg_trickle_core::types::{Arithmetic, Column, SourceId};
use pg_trickle_harness::agreement::at_time;
use pg_trickle_harness::cluster::test_database;
use pg_trickle_harness::failure;
use pg_trickle_harness::session::{ServerError, Session};
use pg_trickle_oracle::generate::{Choices, Fragment, Relation, Seed, World, plan, seeds};
use pg_trickle_oracle::sql;
use pg_trickle_oracle::value::Row;
use pg_trickle_oracle::zset::ZSet;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

/// Cases without `PROPTEST_CASES`.
const CASES_DEFAULT: u32 = 60;
/// Batches of changes per case; one more takes the last of them back.
const BATCHES: usize = 3;

/// Makes the tables of a case and the query over them.
type Make<'a> = &'a dyn Fn(&Seed, &mut Choices) -> (World, Plan);

#[test]
fn stream_tables_follow_random_queries() -> Result<()> {
    follow(&|seed, changes| {
        let world = World::new(&mut Choices::new(&seed.tables), changes, false);
        let fragment = if seed.plan.len().is_multiple_of(3) { Fragment::Stateful } else { Fragment::Whole };
        let plan = plan(&world, fragment, &mut Choices::new(&seed.plan));
        (world, plan)
    })
}

/// Partitions of some size, of which a batch changes few rows: the span of a change is shorter than its partition.
#[test]
fn windows_follow_random_changes() -> Result<()> {
    follow(&|seed, changes| {
        let world = World::of_partitions(&mut Choices::new(&seed.tables), changes);
        let plan = plan(&world, Fragment::Window, &mut Choices::new(&seed.plan));
        (world, plan)
    })
}

fn follow(make: Make) -> Result<()> {
    let database = test_database()?;
    let state = RefCell::new(State {
        session: Session::open(&database, "random")?,
        done: vec![],
        failed: None,
        refusals: BTreeMap::new(),
        maintained: 0,
        raising: 0,
        changed: 0,
        refreshed: 0,
        compared: 0,
    });
    // A failure is stored as a script, which is of use after the generator has changed.
    let mut config = Config { failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES_DEFAULT;
    }
    let cases = config.cases;
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(rand::random());
    }
    let RngSeed::Fixed(seed) = config.rng_seed else { anyhow::bail!("the seed was just fixed") };
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let title = format!("{test} with PROPTEST_RNG_SEED={seed} PROPTEST_CASES={cases}");
    println!("{title}");
    let outcome = TestRunner::new(config).run(&seeds(), |seed| {
        state
            .borrow_mut()
            .judge(&title, &seed, make)
            .map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    let state = state.into_inner();
    if let Some(script) = &state.failed {
        println!("the failure is stored as {}", script.write(&format!("{test}_{seed}"))?.display());
    }
    println!(
        "{} queries maintained, {} results changed, {} refreshes, {} comparisons; {cases} cases; {} ended where a part of the query raises",
        state.maintained, state.changed, state.refreshed, state.compared, state.raising
    );
    anyhow::ensure!(cases < 50 || state.maintained * 5 > cases as usize, "too few queries are maintained");
    for (reason, count) in &state.refusals {
        println!("{count:6} refused: {reason}");
    }
    if let Err(TestError::Fail(reason, _)) = outcome {
        anyhow::bail!("{reason}");
    }
    outcome?;
    Ok(())
}

struct State {
    session: Session,
    /// The statements of the case so far.
    done: Vec<String>,
    /// The last case that failed, which is the smallest one in the end.
    failed: Option<failure::Script>,
    refusals: BTreeMap<String, usize>,
    maintained: usize,
    /// Cases that ended at a part of the query that raises by itself.
    raising: usize,
    changed: usize,
    refreshed: usize,
    compared: usize,
}

impl State {
    /// One case; an error is a violation, told with the statements that led to it and kept as a script.
    fn judge(&mut self, title: &str, seed: &Seed, make: Make) -> Result<()> {
        self.done.clear();
        let mut query = String::new();
        let result = self.case(seed, make, &mut query);
        if let Err(error) = &result {
            // Some errors tell the statements once more, before what was found.
            let finding = error.root_cause().to_string();
            let finding = finding.find("-- ").map_or(&*finding, |start| &finding[start..]).to_owned();
            self.failed = Some(failure::Script {
                title: title.to_owned(),
                finding,
                statements: std::mem::take(&mut self.done),
                stream_table: "random.st".to_owned(),
                query,
            });
        }
        result
    }

    fn case(&mut self, seed: &Seed, make: Make, query_text: &mut String) -> Result<()> {
        let mut changes = Choices::new(&seed.changes);
        let (mut world, plan) = make(seed, &mut changes);
        if has_open_choice(&plan) {
            return Ok(());
        }
        self.session
            .run("DROP SCHEMA IF EXISTS random CASCADE; CREATE SCHEMA random; SET search_path = random")?;
        let mut script = Script { session: &mut self.session, done: &mut self.done };
        for (index, relation) in world.relations.iter().enumerate() {
            script.run(&create_table(index, relation))?;
            script.change(index, relation, &relation.old)?;
        }
        let tables: Vec<Vec<Column>> =
            world.relations.iter().map(|relation| relation.columns.clone()).collect();
        let columns = |source: SourceId| {
            let index = source.0 as usize;
            (format!("random.t{index}"), tables[index].clone())
        };
        let query = sql::query(&plan, &columns);
        query_text.clone_from(&query);
        // PostgreSQL itself may refuse the query (a FULL JOIN it cannot plan) or fail on the data.
        if script.session.rows(&query).is_err() {
            return Ok(());
        }
        let create = format!(
            "SELECT pgtrickle.create_stream_table('random.st', $query${query}$query$, schedule => '12h', refresh_mode => 'DIFFERENTIAL')"
        );
        if let Err(error) = script.session.rows(&create) {
            return match error.downcast_ref::<ServerError>().or_else(|| error.root_cause().downcast_ref()) {
                Some(error) if error.sqlstate == "0A000" => {
                    let construct = error.message.split(" at line ").next().unwrap_or_default().to_owned();
                    *self.refusals.entry(construct).or_default() += 1;
                    Ok(())
                }
                _ => Err(error.context(script.text(&create))),
            };
        }
        script.done.push(create);
        self.maintained += 1;
        let mut before = script.compare(&query)?;
        self.compared += 1;
        for batch in 0..=BATCHES {
            if batch > 0 && batch < BATCHES {
                world.advance(&mut changes);
            }
            // The last batch takes back the one before it.
            let forward = batch < BATCHES;
            script.change_all(&world, forward)?;
            if script.session.rows(&query).is_err() {
                return Ok(());
            }
            script.run("SELECT pgtrickle.refresh_stream_table('random.st')")?;
            let after = script.compare(&query)?;
            self.refreshed += 1;
            self.compared += 1;
            self.changed += usize::from(after != before);
            before = after;
            if let Err(error) = script.maintained_by_changes() {
                let parts: Vec<String> =
                    closed_parts(&plan).into_iter().map(|part| sql::query(part, &columns)).collect();
                // A change is looked for in the rows before it as in those after it.
                if script.raises_any(&parts) || script.raised_any_before(&parts, &world, forward)? {
                    self.raising += 1;
                    return Ok(());
                }
                return Err(error);
            }
        }
        script.run("SELECT pgtrickle.drop_stream_table('random.st')")
    }
}

/// True if PostgreSQL may answer the query in several ways: equal numbers of different scale where an operator shows one
/// of them, or orders by them; rows equal in the user's order some of which an OFFSET skips. A sum or a count is not such an operator.
fn has_open_choice(plan: &Plan) -> bool {
    let mut is_open = false;
    plan.visit(&mut |node| {
        let shown: Vec<Column> = match node {
            Plan::Aggregate(aggregate) => {
                let input = aggregate.input.columns();
                let picks = |call: &&AggCall| {
                    let function = call.function.builtin.as_deref();
                    let is_of_all = matches!(
                        function,
                        Some("count" | "sum" | "avg" | "variance" | "var_samp" | "var_pop")
                            | Some("stddev" | "stddev_samp" | "stddev_pop")
                    );
                    call.distinct || !is_of_all
                };
                let picked = aggregate.calls.iter().filter(picks);
                let columns = picked.flat_map(|call| {
                    call.args.iter().copied().chain(call.order_by.iter().map(|key| key.column))
                });
                aggregate.keys.iter().copied().chain(columns).map(|column| input[column].clone()).collect()
            }
            Plan::SetOp(set_op) => [set_op.left.columns(), set_op.right.columns()].concat(),
            Plan::TopK(top) => top.input.columns(),
            Plan::Window(window) => window.input.columns(),
            _ => vec![],
        };
        // Which of equal rows OFFSET skips shows in what is left of them.
        is_open |= matches!(node, Plan::TopK(top) if top.with_ties && top.offset.is_some());
        is_open |= shown
            .iter()
            .any(|column| column.ty.arithmetic == Arithmetic::Numeric && column.fixed_scale.is_none());
    });
    is_open
}

/// The parts of a query that stand by themselves. Whether PostgreSQL evaluates one whose rows are not asked for is a
/// matter of its plan: beside an empty side of a join it does not look at the other one, and for no outer row at no
/// subquery.
fn closed_parts(plan: &Plan) -> Vec<&Plan> {
    let mut parts: Vec<&Plan> = if looks_outward(plan, 0) { vec![] } else { vec![plan] };
    match plan {
        Plan::DependentJoin(join) => {
            parts.extend([&*join.left, &*join.right].into_iter().flat_map(closed_parts));
        }
        // The step looks at rows of the last round.
        Plan::Recursive(recursive) => parts.extend(closed_parts(&recursive.base)),
        _ => parts.extend(plan.children().into_iter().flat_map(closed_parts)),
    }
    parts
}

/// Whether something in a plan refers to more than the `depth` dependent joins that are around it.
fn looks_outward(plan: &Plan, depth: u32) -> bool {
    let is_beyond = |piece: &Piece| matches!(piece, Piece::Outer(outer, _) if *outer > depth);
    plan.expressions().into_iter().flat_map(|expr| &expr.pieces).any(is_beyond)
        || match plan {
            Plan::DependentJoin(join) => {
                looks_outward(&join.left, depth) || looks_outward(&join.right, depth + 1)
            }
            _ => plan.children().into_iter().any(|child| looks_outward(child, depth)),
        }
}

/// The statements of a case so far.
struct Script<'a> {
    session: &'a mut Session,
    done: &'a mut Vec<String>,
}

impl Script<'_> {
    fn run(&mut self, statement: &str) -> Result<()> {
        let result = self.session.rows(statement);
        match result {
            Ok(_) => {
                self.done.push(statement.to_owned());
                Ok(())
            }
            Err(error) => Err(error.context(self.text(statement))),
        }
    }

    fn text(&self, last: &str) -> String {
        let statements: Vec<&str> = self.done.iter().map(String::as_str).chain([last]).collect();
        format!("after\n{};\n", statements.join(";\n"))
    }

    /// Changes every table by its Z-set, or takes that back.
    fn change_all(&mut self, world: &World, forward: bool) -> Result<()> {
        for (index, relation) in world.relations.iter().enumerate() {
            let delta = if forward { relation.delta.clone() } else { relation.delta.negated() };
            self.change(index, relation, &delta)?;
        }
        Ok(())
    }

    /// Changes a table as its Z-set says: rows deleted, updated where one row takes the place of another, inserted.
    fn change(&mut self, index: usize, relation: &Relation, delta: &ZSet) -> Result<()> {
        let mut appearing: Vec<(&Row, i64)> = delta.iter().filter(|(_, weight)| *weight > 0).collect();
        let mut updates = vec![];
        for (row, weight) in delta.iter().filter(|(_, weight)| *weight < 0) {
            // A key that moves could meet its old holder, so keyed rows are updated only under their key.
            let partner = appearing
                .iter()
                .position(|(other, copies)| *copies == -weight && (!relation.is_keyed || other[0] == row[0]));
            let found = format!(
                "ctid = ANY (ARRAY(SELECT r.ctid FROM random.t{index} AS r WHERE r::text = {}::text LIMIT {}))",
                literal(relation, row),
                -weight
            );
            match partner.map(|partner| appearing.remove(partner)) {
                Some((other, _)) => {
                    let names: Vec<&str> =
                        relation.columns.iter().map(|column| column.name.as_str()).collect();
                    let (names, values) = (names.join(", "), literal(relation, other));
                    updates.push(format!("UPDATE random.t{index} SET ({names}) = {values} WHERE {found}"));
                }
                None => self.run(&format!("DELETE FROM random.t{index} WHERE {found}"))?,
            }
        }
        // One row may take the place that another is about to leave, so what is found by its text is found first.
        for update in updates {
            self.run(&update)?;
        }
        for (row, weight) in appearing {
            let values = values(relation, row);
            self.run(&format!(
                "INSERT INTO random.t{index} SELECT {values} FROM pg_catalog.generate_series(1, {weight})"
            ))?;
        }
        Ok(())
    }

    /// Whether the server fails on the data of a query.
    fn raises(&mut self, query: &str) -> bool {
        let result = self.session.rows(query);
        result.is_err_and(|error| {
            let error = error.downcast_ref::<ServerError>().or_else(|| error.root_cause().downcast_ref());
            // Cardinality violations and data exceptions.
            error.is_some_and(|error| error.sqlstate.starts_with("21") || error.sqlstate.starts_with("22"))
        })
    }

    fn raises_any(&mut self, queries: &[String]) -> bool {
        queries.iter().any(|query| self.raises(query))
    }

    /// Whether the server failed on the data of one of the queries before the last changes, which are not among the
    /// statements of the case while they are undone.
    fn raised_any_before(&mut self, queries: &[String], world: &World, forward: bool) -> Result<bool> {
        let told = self.done.len();
        self.run("BEGIN")?;
        let mut undo_and_look = || -> Result<bool> {
            self.change_all(world, !forward)?;
            let mut raised = false;
            for query in queries {
                self.run("SAVEPOINT part")?;
                raised |= self.raises(query);
                self.run("ROLLBACK TO SAVEPOINT part")?;
            }
            Ok(raised)
        };
        let raised = undo_and_look();
        self.run("ROLLBACK")?;
        self.done.truncate(told);
        raised
    }

    /// The last refresh took the changes, and not the query itself as it does when the changes raise.
    fn maintained_by_changes(&mut self) -> Result<()> {
        let slow = self.session.rows(
            "SELECT h.action, h.refresh_reason, h.error_message FROM pgtrickle.pgt_refresh_history h
             JOIN pgtrickle.pgt_stream_tables s USING (pgt_id)
             WHERE s.pgt_name = 'st' AND h.initiated_by <> 'INITIAL' AND h.action NOT IN ('DIFFERENTIAL', 'NO_DATA')",
        )?;
        if slow.is_empty() {
            return Ok(());
        }
        anyhow::bail!("{}{slow:?}", self.text("-- the refresh was not differential"))
    }

    /// The stream table's rows, which must be the query's.
    fn compare(&mut self, query: &str) -> Result<Vec<String>> {
        let mut rows = |sql: String| -> Result<Vec<String>> {
            let rows = self.session.rows(&sql)?;
            let mut rows: Vec<String> =
                rows.into_iter().map(|row| row.into_iter().flatten().collect()).collect();
            rows.sort();
            Ok(rows)
        };
        let actual = rows("SELECT st::text FROM random.st AS st".to_owned())?;
        let time = rows(
            "SELECT frontier->>'time' FROM pgtrickle.pgt_stream_tables WHERE pgt_name = 'st'".to_owned(),
        )?;
        let query = &time.first().map_or(query.to_owned(), |time| at_time(query, time));
        let expected = rows(format!("SELECT q::text FROM ({query}) AS q"))?;
        if actual == expected {
            return Ok(actual);
        }
        anyhow::bail!(
            "{}-- query\n{query}\n-- expected\n{}\n-- stream table\n{}",
            self.text("-- the stream table differs"),
            expected.join("\n"),
            actual.join("\n")
        )
    }
}

fn create_table(index: usize, relation: &Relation) -> String {
    let columns: Vec<String> = relation
        .columns
        .iter()
        .map(|column| {
            let not_null = if column.nullable { "" } else { " NOT NULL" };
            format!("{} {}{not_null}", column.name, column.ty.name)
        })
        .collect();
    let key = if relation.is_keyed { ", PRIMARY KEY (a)" } else { "" };
    format!("CREATE TABLE random.t{index} ({}{key})", columns.join(", "))
}

/// A row of typed values.
fn literal(relation: &Relation, row: &Row) -> String {
    format!("ROW({})", values(relation, row))
}

fn values(relation: &Relation, row: &Row) -> String {
    let values = row.iter().zip(&relation.columns);
    let values: Vec<String> =
        values.map(|(value, column)| format!("CAST({value} AS {})", column.ty.name)).collect();
    values.join(", ")
}
