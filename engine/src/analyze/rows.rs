//! What is a function of the row: items of FROM and subqueries that read no table, set-returning functions.
//!
//! An item of FROM that reads no table becomes an [`Expand`] of what stands before it. A subquery in an expression that
//! reads none is left in the expression's text ([`super::scalar`]). Set-returning functions of a SELECT list become the
//! item `(SELECT f(..), g(..))`, so that the server itself advances them in lockstep and unpacks nested ones.

use super::group::column_name;
use super::scalar::Allowed;
use super::scope::{Computed, Env, Scope, entry};
use super::{Analysis, Stop, Walked};
use crate::pg::node::{self, Tree};
use crate::pg::{compat, parse};
use pg_trickle_core::expr::{Expr, Piece, Shape};
use pg_trickle_core::plan::{Expand, Plan, RowSource};
use pg_trickle_core::types::{Column, Volatility};
use pgrx::pg_sys::{self, NodeTag, RTEKind};

impl Analysis {
    /// Each row of `left` with the rows of entry `index` for it; with `on`, as a left join.
    pub fn expand(
        &mut self,
        left: (Plan, Scope),
        query: &pg_sys::Query,
        index: i32,
        on: Option<&[Tree]>,
        env: &Env,
    ) -> Walked<(Plan, Scope)> {
        let (plan, scope) = left;
        let entry = entry(query, index).ok_or_else(|| Stop::internal("range table index"))?;
        let item = self.item_scope(entry, index)?;
        let columns = item.columns.clone();
        let (rows, position) = self.row_source(entry, &scope, env)?;
        let whole = scope.concat(item);
        let left = match on {
            None => None,
            Some(on) => Some(on.iter().map(|part| self.expr(*part, &whole, env)).collect::<Walked<_>>()?),
        };
        let plan = Plan::Expand(Expand { input: Box::new(plan), rows, columns, left, position });
        let columns = plan.columns();
        Ok((plan, Scope { columns, ..whole }))
    }

    /// The entry's own columns.
    fn item_scope(&mut self, entry: &pg_sys::RangeTblEntry, index: i32) -> Walked<Scope> {
        let mut item = Scope::default();
        let references = compat::expand_entry(entry, index);
        let count = references.len();
        for (position, reference) in references.into_iter().enumerate() {
            let var =
                node::cast::<pg_sys::Var>(reference).ok_or_else(|| Stop::internal("column of an item"))?;
            let (oid, typmod, collation) = node::type_of(reference);
            item.vars.insert((index, var.varattno), position);
            item.columns.push(Column {
                name: column_name(entry, var.varattno).unwrap_or_else(|| "column".into()),
                ty: self.type_ref(oid, typmod, collation),
                nullable: !(entry.funcordinality && position + 1 == count),
                fixed_scale: None,
            });
        }
        Ok(item)
    }

    /// The rows of an entry as a function of the scope's columns, and where it stands in the query text.
    fn row_source(
        &mut self,
        entry: &pg_sys::RangeTblEntry,
        scope: &Scope,
        env: &Env,
    ) -> Walked<(RowSource, Option<u32>)> {
        match entry.rtekind {
            RTEKind::RTE_FUNCTION => {
                let mut calls = vec![];
                let mut position = None;
                for function in node::list::<pg_sys::RangeTblFunction>(entry.functions) {
                    calls.push(self.row_call(function, scope, env)?);
                    position = position.or_else(|| node::position(function.funcexpr));
                }
                Ok((RowSource::Functions { calls, ordinality: entry.funcordinality }, position))
            }
            RTEKind::RTE_TABLEFUNC => {
                let function: Tree = entry.tablefunc.cast();
                let pieces = self.text(function, scope, env, Allowed::default())?.pieces;
                Ok((RowSource::Item(self.item_of(pieces)), node::position(function)))
            }
            RTEKind::RTE_SUBQUERY => {
                let position = super::from::query_position(entry);
                let pieces =
                    self.text(parse::scalar_subquery(entry.subquery.cast()), scope, env, Allowed::default())?;
                Ok((RowSource::Item(self.item_of(pieces.pieces)), position))
            }
            _ => Err(Stop::internal("an item that is no function of the row")),
        }
    }

    /// One function of ROWS FROM, with its column definition list.
    fn row_call(&mut self, function: &pg_sys::RangeTblFunction, scope: &Scope, env: &Env) -> Walked<Expr> {
        let mut call =
            self.expr_with(function.funcexpr, scope, env, Allowed { sets: true, ..Allowed::default() })?;
        if !is_printed_as_call(function.funcexpr) {
            let after = format!(" AS {})", call.ty.name);
            call = wrapped(call, "CAST(", &after);
        }
        let names = node::nodes(function.funccolnames).into_iter().filter_map(parse::string);
        let types = node::oids(function.funccoltypes).into_iter();
        let modifiers = node::integers(function.funccoltypmods).into_iter();
        let collations = node::oids(function.funccolcollations).into_iter();
        let definitions: Vec<String> = names
            .zip(types)
            .zip(modifiers.zip(collations))
            .map(|((name, oid), (typmod, collation))| {
                let quoted = pg_trickle_core::sql::quote(&name);
                format!("{quoted} {}", self.type_ref(oid, typmod, collation).definition())
            })
            .collect();
        if !definitions.is_empty() {
            call = wrapped(call, "", &format!(" AS ({})", definitions.join(", ")));
        }
        Ok(call)
    }

    /// Adds a column for every expression that returns sets, all of them advancing in lockstep. An expression whose
    /// set-returning calls are columns already needs none.
    pub fn spread(&mut self, plan: Plan, scope: &mut Scope, env: &Env, expressions: &[Tree]) -> Walked<Plan> {
        let mut spread: Vec<Tree> = vec![];
        for expression in expressions {
            let is_known = spread.iter().any(|known| node::equal(*known, *expression));
            if !is_known && returns_set(*expression, scope) {
                spread.push(*expression);
            }
        }
        if spread.is_empty() {
            return Ok(plan);
        }
        let mut pieces = vec![Piece::Text("(SELECT ".into())];
        let mut columns = vec![];
        for (index, expression) in spread.iter().enumerate() {
            let allowed = Allowed { sets: true, ..Allowed::default() };
            let expr = self.expr_with(*expression, scope, env, allowed)?;
            if index > 0 {
                pieces.push(Piece::Text(", ".into()));
            }
            pieces.extend(expr.pieces);
            columns.push(Column {
                name: format!("set{}", index + 1),
                ty: expr.ty,
                nullable: true,
                fixed_scale: None,
            });
        }
        pieces.push(Piece::Text(")".into()));
        for (index, expression) in spread.iter().enumerate() {
            scope.computed.push(Computed {
                expression: *expression,
                position: scope.columns.len() + index,
                negated: false,
                guarded: false,
            });
        }
        scope.columns.extend(columns.iter().cloned());
        let position = spread.iter().find_map(|expression| node::position(*expression));
        let rows = RowSource::Item(self.item_of(pieces));
        Ok(Plan::Expand(Expand { input: Box::new(plan), rows, columns, left: None, position }))
    }

    /// The text of an item of FROM. It has no value, so its type says nothing.
    fn item_of(&mut self, pieces: Vec<Piece>) -> Expr {
        Expr {
            pieces,
            ty: self.type_ref(pg_sys::RECORDOID, -1, pg_sys::Oid::INVALID),
            volatility: Volatility::Immutable,
            nullable: true,
            strict: false,
            fixed_scale: None,
            shape: Shape::Opaque,
        }
    }
}

/// The entry, if the item of FROM is one that reads no table.
pub fn row_function(query: &pg_sys::Query, item: Tree) -> Option<i32> {
    let index = node::cast::<pg_sys::RangeTblRef>(item)?.rtindex;
    let entry = entry(query, index)?;
    let is_function = match entry.rtekind {
        RTEKind::RTE_FUNCTION | RTEKind::RTE_TABLEFUNC => true,
        RTEKind::RTE_SUBQUERY => !reads_tables(entry.subquery),
        _ => false,
    };
    is_function.then_some(index)
}

/// True if a query reads anything but its own values: a table, a view, a common table expression from outside.
pub fn reads_tables(query: *mut pg_sys::Query) -> bool {
    let mut found = false;
    node::walk_query(query, &mut |part, level| {
        if let Some(entry) = node::cast::<pg_sys::RangeTblEntry>(part) {
            found |= match entry.rtekind {
                RTEKind::RTE_RELATION | RTEKind::RTE_NAMEDTUPLESTORE => true,
                RTEKind::RTE_CTE => entry.ctelevelsup > level,
                _ => false,
            };
        }
        if found { node::Walk::Skip } else { node::Walk::Into }
    });
    found
}

/// True if a set-returning call stands anywhere in the expression, outside of what is a column already.
pub fn returns_set(expression: Tree, scope: &Scope) -> bool {
    let mut found = false;
    node::walk(expression, &mut |part, _| {
        if scope.find(part).is_some() || node::tag(part) == NodeTag::T_Query {
            return node::Walk::Skip;
        }
        found |= node::cast::<pg_sys::FuncExpr>(part).is_some_and(|call| call.funcretset)
            || node::cast::<pg_sys::OpExpr>(part).is_some_and(|call| call.opretset);
        if found { node::Walk::Skip } else { node::Walk::Into }
    });
    found
}

/// ROWS FROM takes what looks like a call; a cast or an operator is written as CAST.
fn is_printed_as_call(expression: Tree) -> bool {
    node::cast::<pg_sys::FuncExpr>(expression).is_some_and(|call| {
        matches!(
            call.funcformat,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL | pg_sys::CoercionForm::COERCE_SQL_SYNTAX
        )
    })
}

fn wrapped(call: Expr, before: &str, after: &str) -> Expr {
    let mut pieces = vec![];
    if !before.is_empty() {
        pieces.push(Piece::Text(before.to_owned()));
    }
    pieces.extend(call.pieces);
    pieces.push(Piece::Text(after.to_owned()));
    Expr { pieces, shape: Shape::Opaque, ..call }
}
