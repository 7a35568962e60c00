//! Which stages keep their input, what a change is said to cost, and which indexes it asks for.

use pg_trickle_core::maintain::{self, Maintenance, Names, WorkClass};
use pg_trickle_core::plan::Plan;
use pg_trickle_core::plan::text::parse;
use pg_trickle_core::query::{SourceColumn, SourceIndex, SourceInfo, SourceKind};
use pg_trickle_core::types::SourceId;

/// `s0 (id, k)` and `s1 (x, k)`.
const JOIN: &str = "
  Join
    - on `(#1 = #3)` bool nullable strict equality
    Source s0 key 0
      - id @0 int4
      - k @1 int4 nullable
    Source s1
      - x @0 int4 nullable
      - k @1 int4 nullable";

fn source(index: u32, plan: &Plan, indexes: &[&[usize]]) -> SourceInfo {
    let mut columns = vec![];
    plan.visit(&mut |part| {
        if let Plan::Source(source) = part
            && source.source == SourceId(index)
        {
            columns.clone_from(&source.columns);
        }
    });
    let columns =
        columns.into_iter().zip(1..).map(|(column, attnum)| SourceColumn { attnum, column }).collect();
    let index_of = |columns: &&[usize]| SourceIndex { columns: columns.to_vec(), is_unique: false };
    SourceInfo {
        relid: index + 1,
        name: format!("public.s{index}"),
        kind: SourceKind::Table,
        columns,
        keys: vec![],
        indexes: indexes.iter().map(index_of).collect(),
    }
}

fn maintained(text: &str, first: &[&[usize]], second: &[&[usize]], states: &[&str]) -> Maintenance {
    let plan = parse(text).unwrap_or_else(|error| panic!("{error}"));
    let sources = [source(0, &plan, first), source(1, &plan, second)];
    let names = Names { stream_table: "public.st".to_owned(), state_prefix: "state.s_".to_owned() };
    let states: Vec<String> = states.iter().map(|&state| state.to_owned()).collect();
    maintain::plan(&plan, &sources, &names, &states).unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

fn class(maintenance: &Maintenance, source: u32) -> WorkClass {
    maintenance.work(SourceId(source)).unwrap_or_else(|refusal| panic!("{refusal:?}")).class
}

fn missing(maintenance: &Maintenance) -> Vec<String> {
    let missing = maintenance.missing_indexes().unwrap_or_else(|refusal| panic!("{refusal:?}"));
    missing.into_iter().map(|index| index.definition).collect()
}

fn grouped(key: usize, call: &str) -> String {
    format!("Aggregate by {key}\n  - a = {call}{JOIN}")
}

#[test]
fn join_without_an_index_scans_and_says_which_index_is_missing() {
    let plain = JOIN.replace("\n  ", "\n");
    let without = maintained(plain.trim_start(), &[&[0]], &[], &[]);
    assert_eq!((class(&without, 0), class(&without, 1)), (WorkClass::Scan, WorkClass::Scan));
    assert_eq!(missing(&without), ["CREATE INDEX ON public.s0 (\"k\")", "CREATE INDEX ON public.s1 (\"k\")"]);
    let with = maintained(plain.trim_start(), &[&[1]], &[&[1]], &[]);
    assert_eq!((class(&with, 0), class(&with, 1)), (WorkClass::FollowsChange, WorkClass::FollowsChange));
    assert!(missing(&with).is_empty());
}

#[test]
fn input_is_kept_unless_an_index_leads_from_the_key() {
    let extremum = grouped(1, "max/2116 2 int4");
    let indexed = maintained(&extremum, &[&[1]], &[&[1]], &[]);
    assert_eq!(indexed.state_tables(), ["state.s_0"]);
    assert_eq!(class(&indexed, 0), WorkClass::AffectedPartitions);
    // The key's own source has no index on it.
    let kept = maintained(&grouped(2, "max/2116 1 int4"), &[&[1]], &[&[1]], &[]);
    assert_eq!(kept.state_tables(), ["state.s_0", "state.s_0_rows"]);
    assert_eq!(class(&kept, 0), WorkClass::AffectedPartitions);
}

#[test]
fn choice_stays_whatever_becomes_of_the_indexes() {
    let extremum = grouped(1, "max/2116 2 int4");
    let dropped = maintained(&extremum, &[], &[&[1]], &["state.s_0"]);
    assert_eq!(dropped.state_tables(), ["state.s_0"]);
    assert_eq!(class(&dropped, 1), WorkClass::Scan);
    let added = maintained(&extremum, &[&[1]], &[&[1]], &["state.s_0", "state.s_0_rows"]);
    assert_eq!(added.state_tables(), ["state.s_0", "state.s_0_rows"]);
}

#[test]
fn exact_inverse_needs_no_input() {
    let sum = maintained(&grouped(2, "sum/2108 0 int8"), &[&[1]], &[&[1]], &[]);
    assert_eq!(sum.state_tables(), ["state.s_0"]);
    assert_eq!(class(&sum, 0), WorkClass::FollowsChange);
}

/// A window over `s0`, then what it has of calls.
fn windowed(calls: &str, partition: &str) -> String {
    format!(
        "Window by {partition}\n  - order 0\n  - over a = {calls}\n  Source s0 key 0\n    - id @0 int4\n    - k @1 int4 nullable"
    )
}

/// A window reads its own state: no index on a source makes a difference to it.
#[test]
fn windows_keep_their_input() {
    for (calls, partition, expected) in [
        ("row_number/3100 int8", "1", WorkClass::AffectedPartitions),
        ("lag/3106 arg `#1` int4 nullable strict column int4", "1", WorkClass::FollowsChange),
        ("lag/3106 arg `#1` int4 nullable strict column int4", "()", WorkClass::FollowsChange),
        ("ntile/3105 arg `2` int4 strict constant int4", "1", WorkClass::AffectedPartitions),
        ("ntile/3105 arg `2` int4 strict constant int4", "()", WorkClass::Scan),
    ] {
        let window = maintained(&windowed(calls, partition), &[], &[], &[]);
        assert_eq!(window.state_tables(), ["state.s_0"]);
        assert_eq!(class(&window, 0), expected, "{calls} by {partition}");
        assert!(missing(&window).is_empty());
    }
}

/// The first rows of partitions are read again by an index, or from the kept input.
#[test]
fn prefixes_keep_their_input_unless_an_index_leads_from_the_partition() {
    let top = format!("TopK by 1\n  - order 0\n  - limit `1` int8 strict constant{JOIN}");
    let indexed = maintained(&top, &[&[1]], &[&[1]], &[]);
    assert_eq!(indexed.state_tables(), ["state.s_0"]);
    let kept = maintained(&top, &[], &[&[1]], &[]);
    assert_eq!(kept.state_tables(), ["state.s_0", "state.s_0_rows"]);
    assert_eq!(class(&kept, 0), WorkClass::AffectedPartitions);
}
