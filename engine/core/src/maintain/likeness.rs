//! When two columns of a state, as kept and as rebuilt, are the same.
//!
//! What a state keeps is mostly settled by the rows of the sources: counts, sums, the rows of an input. Three things are
//! not. A value that stands for a class of equal ones (a grouping key, an extremum) is one of its class, whichever came
//! first. A float that is an aggregate depends on the order of rows. And what is computed from either of these, in a
//! stage over a stage, may differ as they do.

use super::Maintenance;
use crate::plan::Plan;
use crate::sql::likeness::Likeness;
use crate::stage::accumulator::{Accumulator, Class};
use crate::stage::{Operator, Stage};
use crate::types::{Arithmetic, Column, TypeRef};

impl Maintenance {
    /// How a column of a state table is compared with the same column of the table rebuilt.
    pub fn likeness(&self, table: &str, column: &str) -> Likeness {
        if let Some(stage) = self.staged.stages.iter().find(|stage| self.state_table(stage.id) == table) {
            return of_state(stage, column);
        }
        let arranged = self.staged.stages.iter().find(|stage| self.arrangement_table(stage.id) == table);
        match arranged.filter(|stage| !is_settled(stage)) {
            Some(stage) => of_rows(&stage.input.columns(), column),
            // The rows of sources as they are.
            None => Likeness::Identical,
        }
    }
}

/// True if the rows of the sources say exactly what the stage's input is: it is computed from no stage whose output can
/// be represented in several ways.
fn is_settled(stage: &Stage) -> bool {
    let mut settled = true;
    stage.input.visit(&mut |plan| {
        if let Plan::Stored(stored) = plan {
            settled &= stored.columns.iter().all(|column| has_one_form(&column.ty));
        }
    });
    settled
}

fn has_one_form(ty: &TypeRef) -> bool {
    ty.equal_image && ty.arithmetic != Arithmetic::Float
}

fn of_state(stage: &Stage, column: &str) -> Likeness {
    let settled = is_settled(stage);
    match &stage.operator {
        Operator::Aggregate { keys, calls } => {
            let input = stage.input.columns();
            if let Some(key) = numbered(column, "k").and_then(|index| keys.get(index)) {
                let ty = &input[*key].ty;
                // Floats of sources are exact; equal ones are 0 and -0.
                return if settled && is_groupable(ty) { Likeness::Equal } else { Likeness::of_result(ty) };
            }
            let suffix = column.strip_prefix('a').unwrap_or_default();
            let accumulators =
                calls.iter().enumerate().map(|(index, call)| Accumulator::new(index, call, &input));
            let mut of_call = accumulators.filter_map(|accumulator| {
                let kept = accumulator.state().into_iter().find(|(name, _)| name == suffix);
                kept.map(|(name, ty)| of_accumulator(&accumulator, &name, &ty, settled))
            });
            of_call.next().unwrap_or_else(|| of_hash(&input, column, settled))
        }
        Operator::TopK { .. } if settled => Likeness::Identical,
        Operator::TopK { .. } => of_rows(&stage.columns(), column),
        // With UNION a row stands for its equals; with UNION ALL it is computed from rows of rounds before.
        Operator::Recursion { .. } => of_rows(&stage.columns(), column),
        Operator::Window { .. } => {
            let is_input = numbered(column, "c").is_none_or(|index| index < stage.input.columns().len());
            if settled && is_input { Likeness::Identical } else { of_rows(&stage.columns(), column) }
        }
    }
}

fn of_accumulator(accumulator: &Accumulator, name: &str, ty: &TypeRef, settled: bool) -> Likeness {
    match accumulator.class {
        Class::Rows | Class::Count | Class::Truth { .. } | Class::Parity | Class::Bits { .. } => {
            Likeness::Identical
        }
        // The display scale is part of a sum, and settled if the scales of the values are; a histogram counts them.
        Class::Sum { .. } | Class::Spread { .. } | Class::Additive { .. } if settled => Likeness::Identical,
        _ if !settled && name.ends_with("_z") => Likeness::Unsettled,
        Class::Sum { .. } | Class::Spread { .. } | Class::Additive { .. } => Likeness::Equal,
        Class::Extreme { .. } | Class::Recompute => Likeness::of_result(ty),
    }
}

/// Rows that are not settled.
fn of_rows(columns: &[Column], column: &str) -> Likeness {
    match numbered(column, "c").and_then(|index| columns.get(index)) {
        Some(column) => Likeness::of_result(&column.ty),
        None => of_hash(columns, column, false),
    }
}

/// Hashes of equal values are equal; those of floats that are not settled differ as these do.
fn of_hash(columns: &[Column], column: &str, settled: bool) -> Likeness {
    let is_hash = matches!(column, "h" | "r");
    let is_exact = settled || columns.iter().all(|column| column.ty.arithmetic != Arithmetic::Float);
    if is_hash && !is_exact { Likeness::Unsettled } else { Likeness::Identical }
}

fn is_groupable(ty: &TypeRef) -> bool {
    ty.ordered || ty.hashable
}

/// `k3` is number 2 of the columns that begin with `k`.
fn numbered(column: &str, letter: &str) -> Option<usize> {
    column.strip_prefix(letter)?.parse::<usize>().ok()?.checked_sub(1)
}
