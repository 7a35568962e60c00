//! Access paths: which rows of its leaves a fragment reads when some of its columns are given, and whether an index leads
//! to them.
//!
//! A column is *given* when its value is known before a row is read: it is compared with a changed row, with an affected
//! key, or by an equality with a column that is given. Reading a leaf by a given column that begins an index costs what is
//! found; reading it otherwise costs the leaf. The walk follows a join the way the planner can: from what is given, input
//! by input, along equalities.

use crate::expr::{Expr, Piece};
use crate::plan::{Join, OuterJoin, OuterKind, Plan};
use crate::types::{SourceId, StageId};
use std::collections::BTreeSet;

/// Where indexes are.
pub trait Indexes {
    /// An index of the source begins with one of these columns (indexes into [`crate::query::SourceInfo::columns`]).
    fn leads_to_source(&self, source: SourceId, columns: &BTreeSet<usize>) -> bool;
    /// An index of the stage's state begins with one of these columns of its output.
    fn leads_to_stage(&self, stage: StageId, columns: &BTreeSet<usize>) -> bool;
}

/// A base relation or the state of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leaf {
    Source(SourceId),
    Stage(StageId),
}

/// One reading of a leaf.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    pub leaf: Leaf,
    /// The given columns of the leaf; none if every row is read.
    pub by: BTreeSet<usize>,
    /// An index leads to the rows.
    pub is_indexed: bool,
}

/// The readings of `plan`, of whose columns those in `given` are given.
pub fn reads(plan: &Plan, given: &BTreeSet<usize>, indexes: &dyn Indexes) -> Vec<Read> {
    match plan {
        Plan::Delta(_) | Plan::Values(_) => vec![],
        Plan::Source(source) => {
            let by: BTreeSet<usize> = given.iter().map(|&column| source.ordinals[column]).collect();
            let is_indexed = indexes.leads_to_source(source.source, &by);
            vec![Read { leaf: Leaf::Source(source.source), by, is_indexed }]
        }
        // A single row needs no index.
        Plan::Stored(stored) if stored.keys.iter().any(Vec::is_empty) => vec![],
        Plan::Stored(stored) => {
            let is_indexed = indexes.leads_to_stage(stored.stage, given);
            vec![Read { leaf: Leaf::Stage(stored.stage), by: given.clone(), is_indexed }]
        }
        Plan::Round(round) => {
            let columns = round.columns.len() - usize::from(round.of.is_some());
            let by: BTreeSet<usize> = given.iter().copied().filter(|&column| column < columns).collect();
            let found = round.of.map(|stage| {
                let is_indexed = indexes.leads_to_stage(stage, &by);
                Read { leaf: Leaf::Stage(stage), by, is_indexed }
            });
            found.into_iter().collect()
        }
        Plan::Filter(filter) => reads(&filter.input, given, indexes),
        Plan::Project(project) => {
            let inner = given.iter().filter_map(|&column| project.exprs[column].0.as_column()).collect();
            reads(&project.input, &inner, indexes)
        }
        Plan::Negate(input) => reads(input, given, indexes),
        Plan::Old(old) => reads(&old.new, given, indexes),
        Plan::UnionAll(union) => union.inputs.iter().flat_map(|input| reads(input, given, indexes)).collect(),
        Plan::Join(join) => join_reads(join, given, indexes),
        Plan::OuterJoin(join) => outer_join_reads(join, given, indexes),
        Plan::SemiJoin(join) => {
            let width = join.left.columns().len();
            let mut all = reads(&join.left, given, indexes);
            let right = across(&join.on, width).into_iter().map(|(_, right)| right).collect();
            all.extend(reads(&join.right, &right, indexes));
            all
        }
        Plan::Flip(flip) => {
            let pairs = across(&flip.on, flip.left.columns().len());
            let left = pairs.iter().map(|(left, _)| *left).collect();
            let right = pairs.iter().map(|(_, right)| *right).collect();
            let mut all = reads(&flip.left, &left, indexes);
            all.extend(reads(&flip.right, &right, indexes));
            all
        }
        other => {
            let nothing = BTreeSet::new();
            other.children().into_iter().flat_map(|child| reads(child, &nothing, indexes)).collect()
        }
    }
}

/// True if an index leads to everything `plan` reads.
pub fn is_indexed(plan: &Plan, given: &BTreeSet<usize>, indexes: &dyn Indexes) -> bool {
    reads(plan, given, indexes).iter().all(|read| read.is_indexed)
}

/// Inputs are read one after another: first those an index leads to, then those of which anything is given, then one
/// that is read as a whole. A read input gives all its columns.
fn join_reads(join: &Join, given: &BTreeSet<usize>, indexes: &dyn Indexes) -> Vec<Read> {
    let mut starts = vec![];
    let mut width = 0;
    for input in &join.inputs {
        starts.push(width..width + input.columns().len());
        width = starts.last().map_or(0, |range: &std::ops::Range<usize>| range.end);
    }
    let pairs: Vec<(usize, usize)> = join.predicates.iter().filter_map(columns_equated).collect();
    let mut known = given.clone();
    let mut waiting: Vec<usize> = (0..join.inputs.len()).collect();
    let mut all = vec![];
    while !waiting.is_empty() {
        // A value travels along equalities, whether or not its row has been read.
        while let Some(next) =
            pairs.iter().find_map(|&(left, right)| match (known.contains(&left), known.contains(&right)) {
                (true, false) => Some(right),
                (false, true) => Some(left),
                _ => None,
            })
        {
            known.insert(next);
        }
        let local = |input: usize| -> BTreeSet<usize> {
            known
                .iter()
                .filter(|column| starts[input].contains(column))
                .map(|c| c - starts[input].start)
                .collect()
        };
        let found: Vec<(usize, Vec<Read>)> = waiting
            .iter()
            .map(|&input| (input, reads(&join.inputs[input], &local(input), indexes)))
            .collect();
        let rank = |(input, reads): &&(usize, Vec<Read>)| {
            (!reads.iter().all(|read| read.is_indexed), local(*input).is_empty())
        };
        let Some((input, reads)) = found.iter().min_by_key(rank) else { break };
        all.extend(reads.iter().cloned());
        known.extend(starts[*input].clone());
        let input = *input;
        waiting.retain(|&other| other != input);
    }
    all
}

/// A given column is never NULL-extended, so that the side it is of comes first.
fn outer_join_reads(join: &OuterJoin, given: &BTreeSet<usize>, indexes: &dyn Indexes) -> Vec<Read> {
    let width = join.left.columns().len();
    let (left, right): (BTreeSet<usize>, BTreeSet<usize>) = given.iter().partition(|&&column| column < width);
    let right: BTreeSet<usize> = right.into_iter().map(|column| column - width).collect();
    let pairs = across(&join.on, width);
    let lefts = || pairs.iter().map(|(left, _)| *left);
    let rights = || pairs.iter().map(|(_, right)| *right);
    let (left, right) = match (left.is_empty(), right.is_empty()) {
        (true, true) if join.kind == OuterKind::Full => (left, right),
        (true, false) => (lefts().collect(), right),
        _ => (left, right.into_iter().chain(rights()).collect()),
    };
    let mut all = reads(&join.left, &left, indexes);
    all.extend(reads(&join.right, &right, indexes));
    all
}

/// Pairs of left and right columns that conditions equate.
fn across(on: &[Expr], width: usize) -> Vec<(usize, usize)> {
    on.iter()
        .filter_map(columns_equated)
        .map(|(left, right)| (left.min(right), left.max(right)))
        .filter(|(left, right)| *left < width && *right >= width)
        .map(|(left, right)| (left, right - width))
        .collect()
}

fn columns_equated(predicate: &Expr) -> Option<(usize, usize)> {
    match predicate.equality()? {
        (Piece::Column(left), Piece::Column(right)) => Some((*left, *right)),
        _ => None,
    }
}
