//! Recursive plans that come to an end.
//!
//! UNION ends where the step only moves values of the tables about; a number of the round that a condition bounds ends
//! anything.

use super::expr::{is_scalar, literal};
use super::plan::Generator;
use crate::value::Value;
use pg_trickle_core::expr::{Expr, Piece, Shape};
use pg_trickle_core::plan::*;
use pg_trickle_core::types::{Column, TypeRef};

/// Rounds after the first that a bounded recursion has at most.
const BOUND: i64 = 3;

impl Generator<'_, '_> {
    /// A recursion over one or two columns of some plan.
    pub(super) fn recursive(&mut self, depth: usize) -> Plan {
        let base = self.plan(depth.min(1));
        let all = self.choices.percent(40);
        let is_bounded = all || self.choices.percent(20);
        let columns = base.columns();
        // Which of several equal values stands for them is the server's choice, so values that are equal are the same.
        let is_usable =
            |column: &usize| is_scalar(&columns[*column].ty) && (all || columns[*column].ty.equal_image);
        let mut usable: Vec<usize> = (0..columns.len()).filter(is_usable).collect();
        if usable.is_empty() {
            return base;
        }
        while usable.len() > 2 {
            let dropped = self.choices.below(usable.len());
            usable.remove(dropped);
        }
        let mut exprs: Vec<(Expr, String)> = usable
            .iter()
            .map(|&position| Expr::column(position, &columns[position]))
            .enumerate()
            .map(|(index, expr)| (expr, format!("r{index}")))
            .collect();
        if is_bounded {
            exprs.push((literal(&TypeRef::int8(), &Value::Int(0)), "round".to_owned()));
        }
        let base = Plan::Project(Project { input: Box::new(base), exprs });
        let columns = base.columns().into_iter();
        let columns: Vec<Column> =
            columns.map(|column| Column { nullable: true, fixed_scale: None, ..column }).collect();
        let mut step = self.step(&columns, is_bounded);
        if self.choices.percent(8) {
            step = Plan::UnionAll(UnionAll { inputs: vec![step, self.step(&columns, is_bounded)] });
        }
        let (base, step) = (Box::new(base), Box::new(step));
        Plan::Recursive(Recursive { all, base, step, name: "r".to_owned(), position: None })
    }

    /// Rows of the round before, joined with a table, perhaps filtered by another.
    fn step(&mut self, columns: &[Column], is_bounded: bool) -> Plan {
        let mut round = Plan::Round(Round { of: None, columns: columns.to_vec() });
        if is_bounded {
            let last = columns.len() - 1;
            let below = Expr {
                pieces: vec![
                    Piece::Text("(".to_owned()),
                    Piece::Column(last),
                    Piece::Text(format!(" < {BOUND}::pg_catalog.int8)")),
                ],
                ty: TypeRef::boolean(),
                shape: Shape::Opaque,
                ..Expr::column(last, &columns[last])
            };
            round = Plan::Filter(Filter { input: Box::new(round), predicate: below });
        }
        let table = self.leaf();
        let (left, right, start) = if self.choices.percent(25) {
            let width = table.columns().len();
            (table, round, width)
        } else {
            (round, table, 0)
        };
        let split = left.columns().len();
        let both: Vec<Column> = left.columns().into_iter().chain(right.columns()).collect();
        let on = self.conditions(&both, split);
        let is_outer = start == 0 && self.choices.percent(20);
        let mut joined = if is_outer {
            let (left, right) = (Box::new(left), Box::new(right));
            Plan::OuterJoin(OuterJoin { kind: OuterKind::Left, left, right, on, position: None })
        } else {
            Plan::Join(Join { inputs: vec![left, right], predicates: on })
        };
        if self.choices.percent(20) {
            joined = self.filtered_without_time(joined);
        }
        if self.choices.percent(20) {
            let right = self.leaf();
            let split = joined.columns().len();
            let both: Vec<Column> = joined.columns().into_iter().chain(right.columns()).collect();
            let on = self.conditions(&both, split);
            let anti = self.choices.percent(50);
            let (left, right) = (Box::new(joined), Box::new(right));
            joined = Plan::SemiJoin(SemiJoin { anti, left, right, on });
        }
        let found = joined.columns();
        let exprs = columns.iter().enumerate().map(|(index, column)| {
            let own = start + index;
            if is_bounded && index + 1 == columns.len() {
                let next = vec![
                    Piece::Text("(".to_owned()),
                    Piece::Column(own),
                    Piece::Text(" + 1::pg_catalog.int8)".to_owned()),
                ];
                let next = Expr { pieces: next, shape: Shape::Opaque, ..Expr::column(own, &found[own]) };
                return (next, "round".to_owned());
            }
            let others: Vec<usize> = (0..found.len())
                .filter(|position| !(start..start + columns.len()).contains(position))
                .filter(|&position| found[position].ty == column.ty)
                .collect();
            let position = if others.is_empty() || self.choices.percent(15) {
                own
            } else {
                self.choices.one_of(&others)
            };
            (Expr::column(position, &found[position]), format!("r{index}"))
        });
        let exprs = exprs.collect();
        Plan::Project(Project { input: Box::new(joined), exprs })
    }
}
