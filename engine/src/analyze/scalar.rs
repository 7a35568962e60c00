//! Expressions of the analysed query to [`Expr`]: text with slots, and what rules need to know beside it.

use super::scope::{Env, Scope};
use super::{Analysis, Stop, Walked, property};
use crate::pg::node::{self, Tree};
use crate::pg::{deparse, facts, parse};
use pg_trickle_core::expr::{Expr, Piece, Shape};
use pg_trickle_core::types::{Column, Volatility};
use pgrx::pg_sys::{self, NodeTag};

/// A column that an expression reads.
pub struct Slot {
    pub piece: Piece,
    pub column: Column,
}

/// The columns of a subquery that a `SubLink`'s test refers to as parameters, and where they are.
#[derive(Clone, Copy)]
pub struct TestColumns<'a> {
    pub offset: usize,
    pub columns: &'a [Column],
}

impl Analysis {
    /// An expression over the scope's columns. Subqueries and aggregates in it must already be columns of the scope.
    pub fn expr(&mut self, expression: Tree, scope: &Scope, env: &Env) -> Walked<Expr> {
        self.expr_with_test(expression, scope, env, None)
    }

    /// The same for the test of a subquery, whose columns appear as parameters.
    pub fn expr_with_test(
        &mut self,
        expression: Tree,
        scope: &Scope,
        env: &Env,
        test: Option<TestColumns<'_>>,
    ) -> Walked<Expr> {
        let mut binder = Binder { scope, env, test, slots: vec![], uses: 0, stop: None };
        let bound = binder.bind(expression);
        if let Some(stop) = binder.stop {
            return Err(stop);
        }
        let Binder { slots, uses, .. } = binder;
        let text = deparse::expression(bound, slots.len(), &self.slot_prefix);
        let pieces = split(&text, &self.slot_prefix, &slots);
        let found = pieces.iter().filter(|piece| !matches!(piece, Piece::Text(_))).count();
        if found != uses {
            return Err(Stop::unsupported(
                "expression",
                node::position(expression),
                "it cannot be printed as text",
            ));
        }
        let (oid, typmod, collation) = node::type_of(bound);
        let is_bare = matches!(pieces.as_slice(), [Piece::Column(_) | Piece::Outer(..)]);
        let shape = if is_bare {
            Shape::Column
        } else if node::tag(bound) == NodeTag::T_Const {
            Shape::Constant
        } else if property::is_equality(bound) {
            Shape::Equality
        } else {
            Shape::Opaque
        };
        Ok(Expr {
            pieces: if is_bare || property::is_self_delimiting(bound) {
                pieces
            } else {
                parenthesized(pieces)
            },
            ty: self.type_ref(oid, typmod, collation),
            volatility: volatility(bound),
            nullable: property::is_nullable(bound, &slots),
            strict: property::is_strict_condition(bound),
            fixed_scale: property::fixed_scale(bound, &slots),
            shape,
        })
    }
}

fn parenthesized(mut pieces: Vec<Piece>) -> Vec<Piece> {
    match pieces.first_mut() {
        Some(Piece::Text(text)) => text.insert(0, '('),
        _ => pieces.insert(0, Piece::Text("(".into())),
    }
    match pieces.last_mut() {
        Some(Piece::Text(text)) => text.push(')'),
        _ => pieces.push(Piece::Text(")".into())),
    }
    pieces
}

/// Cuts the printed text at the slot names.
fn split(text: &str, prefix: &str, slots: &[Slot]) -> Vec<Piece> {
    let mut pieces = vec![];
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(prefix) {
        let after = &rest[start + prefix.len()..];
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        plain.push_str(&rest[..start]);
        let slot = after[..digits].parse::<usize>().ok().and_then(|number| slots.get(number.wrapping_sub(1)));
        match slot {
            Some(slot) => {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(slot.piece.clone());
            }
            None => plain.push_str(&rest[start..start + prefix.len() + digits]),
        }
        rest = &after[digits..];
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    pieces
}

/// The worst volatility of an expression's functions.
pub fn volatility(expression: Tree) -> Volatility {
    // SAFETY: both accept every expression tree.
    unsafe {
        if pg_sys::contain_volatile_functions(expression) {
            Volatility::Volatile
        } else if pg_sys::contain_mutable_functions(expression) {
            Volatility::Stable
        } else {
            Volatility::Immutable
        }
    }
}

/// Replaces what is a column by a slot, and stops at what the plan has no place for.
struct Binder<'a> {
    scope: &'a Scope,
    env: &'a Env,
    test: Option<TestColumns<'a>>,
    slots: Vec<Slot>,
    /// How often slots are used.
    uses: usize,
    stop: Option<Stop>,
}

impl Binder<'_> {
    fn bind(&mut self, expression: Tree) -> Tree {
        node::mutate(expression, &mut |found| {
            if self.stop.is_some() {
                return Some(found);
            }
            match self.replacement(found) {
                Ok(replaced) => replaced,
                Err(stop) => {
                    self.stop = Some(stop);
                    Some(found)
                }
            }
        })
    }

    fn replacement(&mut self, found: Tree) -> Walked<Option<Tree>> {
        if let Some(computed) = self.scope.find(found) {
            let (position, negated) = (computed.position, computed.negated);
            let slot = self.own_column(position, found)?;
            return Ok(Some(if negated { parse::negate(slot) } else { slot }));
        }
        if let Some(var) = node::cast::<pg_sys::Var>(found) {
            return self.variable(var, found).map(Some);
        }
        if let Some(param) = node::cast::<pg_sys::Param>(found) {
            return self.parameter(param, found).map(Some);
        }
        let outer_level = node::cast::<pg_sys::Aggref>(found)
            .map(|call| call.agglevelsup)
            .or_else(|| node::cast::<pg_sys::GroupingFunc>(found).map(|call| call.agglevelsup));
        if let Some(levels) = outer_level {
            return self.outer_computed(found, levels).map(Some);
        }
        match unsupported_expression(found) {
            Some(stop) => Err(stop),
            None => Ok(None),
        }
    }

    fn own_column(&mut self, position: usize, found: Tree) -> Walked<Tree> {
        let column = self.scope.columns.get(position).cloned();
        let column = column.ok_or_else(|| Stop::internal("column position out of range"))?;
        Ok(self.slot(Piece::Column(position), column, node::type_of(found)))
    }

    fn slot(&mut self, piece: Piece, column: Column, ty: (pg_sys::Oid, i32, pg_sys::Oid)) -> Tree {
        let known =
            self.slots.iter().position(|slot| slot.piece == piece && slot.column.ty.oid == ty.0.to_u32());
        let index = known.unwrap_or_else(|| {
            self.slots.push(Slot { piece, column });
            self.slots.len() - 1
        });
        self.uses += 1;
        deparse::slot(index + 1, ty)
    }

    fn variable(&mut self, var: &pg_sys::Var, found: Tree) -> Walked<Tree> {
        if var.varattno < 0 {
            return Err(Stop::system_column(var.varattno, node::position(found)));
        }
        let level = (self.env.level() as u32).checked_sub(var.varlevelsup);
        let level = level.ok_or_else(|| Stop::internal("reference beyond the outermost query"))? as usize;
        if var.varattno == 0 {
            return self.whole_row(var, level, found);
        }
        let key = (var.varno, var.varattno);
        if var.varlevelsup == 0
            && let Some(&position) = self.scope.vars.get(&key)
        {
            return self.own_column(position, found);
        }
        for (depth, frame) in self.env.frames_of(level) {
            let computed = || {
                let own = node::lift(found, var.varlevelsup);
                frame.scope.find(own).map(|computed| computed.position)
            };
            if let Some(position) = frame.scope.vars.get(&key).copied().or_else(computed) {
                let column = frame.scope.columns[position].clone();
                return Ok(self.slot(Piece::Outer(depth, position), column, node::type_of(found)));
            }
        }
        Err(Stop::internal("reference to a column that is not in scope"))
    }

    /// A whole row is printed as a row constructor cast to the table's type, which is the same value unless the
    /// row can be the NULL of an outer join.
    fn whole_row(&mut self, var: &pg_sys::Var, level: usize, found: Tree) -> Walked<Tree> {
        let position = node::position(found);
        let refuse = |reason: &str| Err(Stop::unsupported("whole-row reference", position, reason));
        let Some(entry) = super::scope::entry(self.env.path[level].query_ref(), var.varno) else {
            return Err(Stop::internal("reference to a missing range table entry"));
        };
        if entry.rtekind != pg_sys::RTEKind::RTE_RELATION {
            return refuse("rows of subqueries have no named type");
        }
        if !var.varnullingrels.is_null() {
            return refuse("the row can be absent in an outer join, which differs from a row of NULLs");
        }
        let (vars, row) = parse::whole_row(var, entry);
        let vars = vars
            .into_iter()
            .map(|column| if node::tag(column) == NodeTag::T_Var { self.bind(column) } else { column });
        Ok(parse::row(row, &vars.collect::<Vec<_>>()))
    }

    fn parameter(&mut self, param: &pg_sys::Param, found: Tree) -> Walked<Tree> {
        let test = self.test.filter(|_| param.paramkind == pg_sys::ParamKind::PARAM_SUBLINK);
        let index = usize::try_from(param.paramid).ok().and_then(|id| id.checked_sub(1));
        let column =
            test.zip(index).and_then(|(test, index)| Some((test.offset + index, test.columns.get(index)?)));
        match column {
            Some((position, column)) => {
                Ok(self.slot(Piece::Column(position), column.clone(), node::type_of(found)))
            }
            None => {
                Err(Stop::unsupported("parameter", node::position(found), "a definition has no parameters"))
            }
        }
    }

    /// An aggregate or GROUPING() of an enclosing query.
    fn outer_computed(&mut self, found: Tree, levels: u32) -> Walked<Tree> {
        let level = (self.env.level() as u32).checked_sub(levels);
        let own = node::lift(found, levels);
        let level =
            level.filter(|_| levels > 0).ok_or_else(|| Stop::internal("aggregate out of place"))? as usize;
        for (depth, frame) in self.env.frames_of(level) {
            if let Some(computed) = frame.scope.find(own) {
                let column = frame.scope.columns[computed.position].clone();
                return Ok(self.slot(Piece::Outer(depth, computed.position), column, node::type_of(found)));
            }
        }
        Err(Stop::internal("aggregate of an enclosing query that is not computed there"))
    }
}

/// What no scalar expression of a plan may contain.
fn unsupported_expression(found: Tree) -> Option<Stop> {
    let position = node::position(found);
    let set_returning = |function: pg_sys::Oid| {
        Stop::unsupported(
            &format!("set-returning function {}", facts::function_signature(function)),
            position,
            "set-returning functions are not yet maintained incrementally",
        )
    };
    if let Some(call) = node::cast::<pg_sys::FuncExpr>(found) {
        return call.funcretset.then(|| set_returning(call.funcid));
    }
    if let Some(call) = node::cast::<pg_sys::OpExpr>(found) {
        return call.opretset.then(|| set_returning(call.opfuncid));
    }
    match node::tag(found) {
        NodeTag::T_WindowFunc => Some(Stop::unsupported(
            "window function",
            position,
            "window functions are not yet maintained incrementally",
        )),
        NodeTag::T_SubLink => Some(Stop::unsupported(
            "subquery",
            position,
            "subqueries in this place are not yet maintained incrementally",
        )),
        NodeTag::T_NextValueExpr | NodeTag::T_CurrentOfExpr | NodeTag::T_SetToDefault => {
            Some(Stop::unsupported(&node::tag_name(found), position, "it does not belong in a query"))
        }
        _ => None,
    }
}
