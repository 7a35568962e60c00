//! Going through a plan: children, expressions, and all that is below.

use super::*;
use crate::expr::Expr;
use std::collections::BTreeSet;

impl Plan {
    /// The node's own expressions.
    pub fn expressions(&self) -> Vec<&Expr> {
        match self {
            Plan::Filter(node) => vec![&node.predicate],
            Plan::Project(node) => node.exprs.iter().map(|(expr, _)| expr).collect(),
            Plan::Join(node) => node.predicates.iter().collect(),
            Plan::OuterJoin(node) => node.on.iter().collect(),
            Plan::SemiJoin(node) => node.on.iter().collect(),
            Plan::DependentJoin(node) => node.on.iter().collect(),
            Plan::Aggregate(node) => node.calls.iter().flat_map(|call| &call.direct_args).collect(),
            Plan::TopK(node) => node.limit.iter().chain(&node.offset).collect(),
            Plan::Window(node) => node.calls.iter().flat_map(WindowCall::expressions).collect(),
            Plan::Values(node) => node.rows.iter().flatten().collect(),
            Plan::Expand(node) => node.exprs().chain(node.left.iter().flatten()).collect(),
            Plan::Repeat(node) => vec![&node.count],
            Plan::Flip(node) => node.on.iter().collect(),
            Plan::Source(_)
            | Plan::Stored(_)
            | Plan::Delta(_)
            | Plan::SetOp(_)
            | Plan::UnionAll(_)
            | Plan::Recursive(_)
            | Plan::Round(_)
            | Plan::Negate(_)
            | Plan::Old(_) => vec![],
        }
    }

    /// The node's own expressions ([`Plan::expressions`]), to change them.
    pub fn expressions_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Plan::Filter(node) => vec![&mut node.predicate],
            Plan::Project(node) => node.exprs.iter_mut().map(|(expr, _)| expr).collect(),
            Plan::Join(node) => node.predicates.iter_mut().collect(),
            Plan::OuterJoin(node) => node.on.iter_mut().collect(),
            Plan::SemiJoin(node) => node.on.iter_mut().collect(),
            Plan::DependentJoin(node) => node.on.iter_mut().collect(),
            Plan::TopK(node) => node.limit.iter_mut().chain(&mut node.offset).collect(),
            Plan::Values(node) => node.rows.iter_mut().flatten().collect(),
            Plan::Expand(node) => {
                let (calls, item) = match &mut node.rows {
                    RowSource::Functions { calls, .. } => (calls.as_mut_slice(), None),
                    RowSource::Item(item) => ([].as_mut_slice(), Some(item)),
                };
                calls.iter_mut().chain(item).chain(node.left.iter_mut().flatten()).collect()
            }
            Plan::Repeat(node) => vec![&mut node.count],
            Plan::Window(node) => node.calls.iter_mut().flat_map(WindowCall::expressions_mut).collect(),
            Plan::Flip(node) => node.on.iter_mut().collect(),
            Plan::Aggregate(node) => node.calls.iter_mut().flat_map(|call| &mut call.direct_args).collect(),
            Plan::Source(_)
            | Plan::Stored(_)
            | Plan::Delta(_)
            | Plan::SetOp(_)
            | Plan::UnionAll(_)
            | Plan::Recursive(_)
            | Plan::Round(_)
            | Plan::Negate(_)
            | Plan::Old(_) => vec![],
        }
    }

    /// Direct children, in order.
    pub fn children(&self) -> Vec<&Plan> {
        match self {
            Plan::Source(_) | Plan::Stored(_) | Plan::Delta(_) | Plan::Values(_) | Plan::Round(_) => vec![],
            Plan::Filter(node) => vec![&node.input],
            Plan::Project(node) => vec![&node.input],
            Plan::Join(node) => node.inputs.iter().collect(),
            Plan::OuterJoin(node) => vec![&node.left, &node.right],
            Plan::SemiJoin(node) => vec![&node.left, &node.right],
            Plan::Aggregate(node) => vec![&node.input],
            Plan::SetOp(node) => vec![&node.left, &node.right],
            Plan::UnionAll(node) => node.inputs.iter().collect(),
            Plan::Recursive(node) => vec![&node.base, &node.step],
            Plan::TopK(node) => vec![&node.input],
            Plan::Expand(node) => vec![&node.input],
            Plan::Repeat(node) => vec![&node.input],
            Plan::Window(node) => vec![&node.input],
            Plan::DependentJoin(node) => vec![&node.left, &node.right],
            Plan::Negate(input) => vec![input],
            Plan::Old(node) => vec![&node.new, &node.delta],
            Plan::Flip(node) => vec![&node.left, &node.right, &node.delta],
        }
    }

    /// Direct children for rewriting, in order.
    pub fn children_mut(&mut self) -> Vec<&mut Plan> {
        match self {
            Plan::Source(_) | Plan::Stored(_) | Plan::Delta(_) | Plan::Values(_) | Plan::Round(_) => vec![],
            Plan::Filter(node) => vec![&mut node.input],
            Plan::Project(node) => vec![&mut node.input],
            Plan::Join(node) => node.inputs.iter_mut().collect(),
            Plan::OuterJoin(node) => vec![&mut node.left, &mut node.right],
            Plan::SemiJoin(node) => vec![&mut node.left, &mut node.right],
            Plan::Aggregate(node) => vec![&mut node.input],
            Plan::SetOp(node) => vec![&mut node.left, &mut node.right],
            Plan::UnionAll(node) => node.inputs.iter_mut().collect(),
            Plan::Recursive(node) => vec![&mut node.base, &mut node.step],
            Plan::TopK(node) => vec![&mut node.input],
            Plan::Expand(node) => vec![&mut node.input],
            Plan::Repeat(node) => vec![&mut node.input],
            Plan::Window(node) => vec![&mut node.input],
            Plan::DependentJoin(node) => vec![&mut node.left, &mut node.right],
            Plan::Negate(input) => vec![input],
            Plan::Old(node) => vec![&mut node.new, &mut node.delta],
            Plan::Flip(node) => vec![&mut node.left, &mut node.right, &mut node.delta],
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

impl Expand {
    /// The calls or the item, over the input's columns.
    pub fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let (calls, item) = match &self.rows {
            RowSource::Functions { calls, .. } => (calls.as_slice(), None),
            RowSource::Item(item) => ([].as_slice(), Some(item)),
        };
        calls.iter().chain(item)
    }
}
