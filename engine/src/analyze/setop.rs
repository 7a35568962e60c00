//! UNION, INTERSECT and EXCEPT.

use super::scope::{Env, Scope, entry};
use super::select::Need;
use super::{Analysis, Stop, Walked};
use crate::pg::node::{self, Tree};
use pg_trickle_core::plan::{Plan, SetOp, SetOpKind, UnionAll};
use pgrx::pg_sys;

/// Type, modifier and collation.
pub type ColumnType = (pg_sys::Oid, i32, pg_sys::Oid);

/// What the columns of a set operation are.
pub fn column_types(operation: &pg_sys::SetOperationStmt) -> Vec<ColumnType> {
    let types = node::oids(operation.colTypes).into_iter().zip(node::integers(operation.colTypmods));
    let columns = types.zip(node::oids(operation.colCollations));
    columns.map(|((oid, typmod), collation)| (oid, typmod, collation)).collect()
}

impl Analysis {
    /// The tree of set operations. The query's target list refers to its columns as those of the leftmost input.
    pub fn set_operations(&mut self, query: &pg_sys::Query, env: &Env) -> Walked<(Plan, Scope)> {
        let plan = self.operand(query, query.setOperations, env)?;
        let leftmost = leftmost(query.setOperations).ok_or_else(|| Stop::internal("set operation"))?;
        let columns = plan.columns();
        let vars = (0..columns.len()).map(|position| ((leftmost, position as i16 + 1), position)).collect();
        Ok((plan, Scope { vars, computed: vec![], columns }))
    }

    /// An operand of set operations of the query.
    pub fn operand(&mut self, query: &pg_sys::Query, operand: Tree, env: &Env) -> Walked<Plan> {
        if let Some(reference) = node::cast::<pg_sys::RangeTblRef>(operand) {
            let subquery = entry(query, reference.rtindex).map(|entry| entry.subquery);
            let subquery = subquery.and_then(|subquery| node::cast::<pg_sys::Query>(subquery.cast()));
            let subquery = subquery.ok_or_else(|| Stop::internal("operand of a set operation"))?;
            return self.query(subquery, env, &Need::All);
        }
        let operation = node::cast::<pg_sys::SetOperationStmt>(operand);
        let operation = operation.ok_or_else(|| Stop::internal("set operation"))?;
        let types = column_types(operation);
        let left = self.operand(query, operation.larg, env)?;
        let left = self.coerced(left, &types)?;
        let right = self.operand(query, operation.rarg, env)?;
        let right = self.coerced(right, &types)?;
        let kind = match operation.op {
            pg_sys::SetOperation::SETOP_UNION if operation.all => return Ok(union_all(left, right)),
            pg_sys::SetOperation::SETOP_UNION => SetOpKind::Union,
            pg_sys::SetOperation::SETOP_INTERSECT => SetOpKind::Intersect,
            pg_sys::SetOperation::SETOP_EXCEPT => SetOpKind::Except,
            _ => return Err(Stop::internal("kind of set operation")),
        };
        let position = super::from::first_position(query, operation.larg);
        let (left, right) = (Box::new(left), Box::new(right));
        Ok(Plan::SetOp(SetOp { kind, all: operation.all, left, right, position }))
    }
}

/// A union whose left operand may be one already.
fn union_all(left: Plan, right: Plan) -> Plan {
    let mut inputs = match left {
        Plan::UnionAll(union) => union.inputs,
        other => vec![other],
    };
    inputs.push(right);
    Plan::UnionAll(UnionAll { inputs })
}

fn leftmost(operand: Tree) -> Option<i32> {
    match node::cast::<pg_sys::SetOperationStmt>(operand) {
        Some(operation) => leftmost(operation.larg),
        None => node::cast::<pg_sys::RangeTblRef>(operand).map(|reference| reference.rtindex),
    }
}
