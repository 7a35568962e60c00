//! Properties of a plan, derived bottom-up and only read by rules: columns, keys, sources.

use super::*;
use crate::types::Column;
use std::collections::BTreeSet;

/// Sets of positions whose values identify a row of weight 1 (grouping equality, NULL equal to NULL).
pub type Keys = Vec<Vec<usize>>;

impl Plan {
    /// Output columns in order.
    pub fn columns(&self) -> Vec<Column> {
        match self {
            Plan::Source(source) => source.columns.clone(),
            Plan::Stored(stored) => stored.columns.clone(),
            Plan::Delta(delta) => delta.columns.clone(),
            Plan::Values(values) => values.columns.clone(),
            Plan::Filter(filter) => filter.input.columns(),
            Plan::Project(project) => project
                .exprs
                .iter()
                .map(|(expr, name)| Column {
                    name: name.clone(),
                    ty: expr.ty.clone(),
                    nullable: expr.nullable,
                    fixed_scale: expr.fixed_scale,
                })
                .collect(),
            Plan::Join(join) => join.inputs.iter().flat_map(Plan::columns).collect(),
            Plan::OuterJoin(join) => {
                let left = nullable_if(join.left.columns(), join.kind == OuterKind::Full);
                let right = nullable_if(join.right.columns(), true);
                left.into_iter().chain(right).collect()
            }
            Plan::SemiJoin(join) => join.left.columns(),
            Plan::Aggregate(aggregate) => {
                let input = aggregate.input.columns();
                let keys = aggregate.keys.iter().map(|&key| input[key].clone());
                keys.chain(aggregate.calls.iter().map(|call| call.column(&input))).collect()
            }
            Plan::SetOp(set_op) => union_columns([&*set_op.left, &*set_op.right]),
            Plan::UnionAll(union) => union_columns(&union.inputs),
            Plan::TopK(top) => top.input.columns(),
            Plan::DependentJoin(join) => {
                let mut columns = join.left.columns();
                match join.kind {
                    DependentKind::Inner => columns.extend(join.right.columns()),
                    DependentKind::Left => columns.extend(nullable_if(join.right.columns(), true)),
                    DependentKind::Mark | DependentKind::Scalar | DependentKind::Array => {
                        columns.extend(join.adds.clone());
                    }
                }
                columns
            }
            Plan::Negate(input) => input.columns(),
            Plan::Flip(flip) => flip.left.columns(),
        }
    }

    /// Direct children, in order.
    pub fn children(&self) -> Vec<&Plan> {
        match self {
            Plan::Source(_) | Plan::Stored(_) | Plan::Delta(_) | Plan::Values(_) => vec![],
            Plan::Filter(node) => vec![&node.input],
            Plan::Project(node) => vec![&node.input],
            Plan::Join(node) => node.inputs.iter().collect(),
            Plan::OuterJoin(node) => vec![&node.left, &node.right],
            Plan::SemiJoin(node) => vec![&node.left, &node.right],
            Plan::Aggregate(node) => vec![&node.input],
            Plan::SetOp(node) => vec![&node.left, &node.right],
            Plan::UnionAll(node) => node.inputs.iter().collect(),
            Plan::TopK(node) => vec![&node.input],
            Plan::DependentJoin(node) => vec![&node.left, &node.right],
            Plan::Negate(input) => vec![input],
            Plan::Flip(node) => vec![&node.left, &node.right, &node.delta],
        }
    }

    /// The base relations the plan reads.
    pub fn sources(&self) -> BTreeSet<SourceId> {
        let mut found = BTreeSet::new();
        self.visit(&mut |plan| {
            if let Plan::Source(source) = plan {
                found.insert(source.source);
            }
        });
        found
    }

    /// The stages whose output the plan reads.
    pub fn stages(&self) -> BTreeSet<StageId> {
        let mut found = BTreeSet::new();
        self.visit(&mut |plan| {
            if let Plan::Stored(stored) = plan {
                found.insert(stored.stage);
            }
        });
        found
    }

    /// Calls `see` on the plan and everything below it, parents first.
    pub fn visit(&self, see: &mut impl FnMut(&Plan)) {
        see(self);
        for child in self.children() {
            child.visit(see);
        }
    }
}

impl AggCall {
    /// The output column, given the columns of the aggregate's input.
    pub fn column(&self, input: &[Column]) -> Column {
        let is_count = matches!(self.function.builtin.as_deref(), Some("count"));
        let keeps_scale = matches!(self.function.builtin.as_deref(), Some("sum" | "min" | "max"));
        Column {
            name: self.name.clone(),
            ty: self.ty.clone(),
            nullable: !is_count,
            fixed_scale: self.args.first().filter(|_| keeps_scale).and_then(|&arg| input[arg].fixed_scale),
        }
    }
}

fn nullable_if(mut columns: Vec<Column>, nullable: bool) -> Vec<Column> {
    if nullable {
        columns.iter_mut().for_each(|column| column.nullable = true);
    }
    columns
}

fn union_columns<'a>(inputs: impl IntoIterator<Item = &'a Plan>) -> Vec<Column> {
    let mut inputs = inputs.into_iter();
    let mut columns = inputs.next().map(Plan::columns).unwrap_or_default();
    for input in inputs {
        for (column, other) in columns.iter_mut().zip(input.columns()) {
            column.nullable |= other.nullable;
            if column.fixed_scale != other.fixed_scale {
                column.fixed_scale = None;
            }
        }
    }
    columns
}
