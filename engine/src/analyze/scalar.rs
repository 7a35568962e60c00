//! Expressions of the analysed query to [`Expr`]: text with slots, and what rules need to know beside it.

use super::scope::{Env, Scope};
use super::time::{self, Comparison, Reading};
use super::{Analysis, Stop, Walked, property};
use crate::pg::node::{self, Tree};
use crate::pg::{deparse, facts, parse};
use pg_trickle_core::expr::{Expr, Moment, Piece, Shape, Time};
use pg_trickle_core::refusal::Refusal;
use pg_trickle_core::types::{Column, Volatility};
use pgrx::pg_sys::{self, NodeTag};

/// A column that an expression reads, or a comparison with time that stands in it like a column.
pub struct Slot {
    pub pieces: Vec<Piece>,
    pub column: Column,
}

/// What an expression may hold besides columns of the scope.
#[derive(Clone, Copy, Default)]
pub struct Allowed<'a> {
    /// Parameters that stand for columns of the subquery being tested.
    pub test: Option<TestColumns<'a>>,
    /// Set-returning functions.
    pub sets: bool,
}

/// An expression as text, with the tree that was printed.
pub struct Printed {
    pub bound: Tree,
    pub pieces: Vec<Piece>,
    slots: Vec<Slot>,
    reads_time: bool,
    is_loose: bool,
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
        self.expr_with(expression, scope, env, Allowed::default())
    }

    /// The text of an expression or a table function over the scope's columns.
    pub fn text(
        &mut self,
        expression: Tree,
        scope: &Scope,
        env: &Env,
        allowed: Allowed<'_>,
    ) -> Walked<Printed> {
        let prefix = self.slot_prefix.clone();
        let mut binder = Binder {
            scope,
            env,
            allowed,
            prefix: &prefix,
            in_test: false,
            slots: vec![],
            uses: 0,
            stop: None,
            time_at_large: None,
            reads_time: false,
            is_loose: false,
        };
        let bound = binder.bind(expression);
        if let Some(stop) = binder.stop {
            return Err(stop);
        }
        self.time_at_large = self.time_at_large.or(binder.time_at_large);
        let pieces = binder.text(bound, binder.uses)?;
        let Binder { slots, reads_time, is_loose, .. } = binder;
        Ok(Printed { bound, pieces, slots, reads_time, is_loose })
    }

    /// An expression that may hold more than columns.
    pub fn expr_with(
        &mut self,
        expression: Tree,
        scope: &Scope,
        env: &Env,
        allowed: Allowed<'_>,
    ) -> Walked<Expr> {
        let Printed { bound, pieces, slots, reads_time, is_loose } =
            self.text(expression, scope, env, allowed)?;
        let (oid, typmod, collation) = node::type_of(bound);
        let is_bare = matches!(pieces.as_slice(), [Piece::Column(_) | Piece::Outer(..)]);
        let shape = if is_bare {
            Shape::Column
        } else if node::tag(bound) == NodeTag::T_Const {
            Shape::Constant
        } else if property::is_equality(bound) && !reads_time {
            Shape::Equality
        } else {
            Shape::Opaque
        };
        let volatility = volatility(bound);
        Ok(Expr {
            pieces: delimited(bound, pieces),
            ty: self.type_ref(oid, typmod, collation),
            volatility: if reads_time { volatility.max(Volatility::Stable) } else { volatility },
            nullable: property::is_nullable(bound, &slots),
            strict: !is_loose && property::is_strict_condition(bound),
            fixed_scale: property::fixed_scale(bound, &slots),
            shape,
        })
    }
}

/// The call inside of JSON_ARRAYAGG or JSON_OBJECTAGG with the coercion to its type: the server prints the constructor
/// around a call only, not around a column that holds its result.
fn json_call(found: Tree) -> Option<Tree> {
    let constructor = node::cast::<pg_sys::JsonConstructorExpr>(found)?;
    let call: Tree = constructor.func.cast();
    if !matches!(node::tag(call), NodeTag::T_Aggref | NodeTag::T_WindowFunc) {
        return None;
    }
    // The coercion names what it is given by a placeholder.
    let is_placeholder = |part: Tree| node::tag(part) == NodeTag::T_CaseTestExpr;
    Some(match constructor.coercion.is_null() {
        true => call,
        false => node::mutate(constructor.coercion.cast(), &mut |part| is_placeholder(part).then_some(call)),
    })
}

/// The text of an expression so that it can stand as an operand.
fn delimited(bound: Tree, pieces: Vec<Piece>) -> Vec<Piece> {
    let is_slot = node::tag(bound) == NodeTag::T_Var;
    if is_slot || property::is_self_delimiting(bound) { pieces } else { parenthesized(pieces) }
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

/// Cuts the printed text at the slot names; also the numbers of the slots it met.
fn split(text: &str, prefix: &str, slots: &[Slot]) -> (Vec<Piece>, Vec<usize>) {
    let mut pieces = vec![];
    let mut met = vec![];
    let mut plain = String::new();
    // Inside of a subquery the printer qualifies slots.
    let text = text.replace(&format!("{}.", deparse::slots_alias(prefix)), "");
    let mut rest = text.as_str();
    while let Some(start) = rest.find(prefix) {
        let after = &rest[start + prefix.len()..];
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        plain.push_str(&rest[..start]);
        let index = after[..digits].parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        match index.and_then(|index| Some((index, slots.get(index)?))) {
            Some((index, slot)) => {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.extend(slot.pieces.iter().cloned());
                met.push(index);
            }
            None => plain.push_str(&rest[start..start + prefix.len() + digits]),
        }
        rest = &after[digits..];
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    (pieces, met)
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
    allowed: Allowed<'a>,
    prefix: &'a str,
    /// Inside of the test of a subquery that stays as it is: its parameters are its own.
    in_test: bool,
    slots: Vec<Slot>,
    /// How often slots are used.
    uses: usize,
    stop: Option<Stop>,
    /// Where the time is read outside comparisons.
    time_at_large: Option<u32>,
    reads_time: bool,
    /// Some comparison with time may be true although a column it uses is NULL.
    is_loose: bool,
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
        if let Some(reading) = time::reading(found) {
            return self.time_at_large(found, &reading).map(Some);
        }
        let scope = self.scope;
        if let Some(comparison) = time::comparison(found, &|part| scope.find(part).is_some()) {
            return self.comparison(found, comparison).map(Some);
        }
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
        if let Some(call) = json_call(found) {
            return Ok(Some(self.bind(call)));
        }
        let outer_level = node::cast::<pg_sys::Aggref>(found)
            .map(|call| call.agglevelsup)
            .or_else(|| node::cast::<pg_sys::GroupingFunc>(found).map(|call| call.agglevelsup));
        if let Some(levels) = outer_level {
            return self.outer_computed(found, levels).map(Some);
        }
        if let Some(link) = node::cast::<pg_sys::SubLink>(found)
            && super::as_subquery(found).is_none()
        {
            return self.row_subquery(link).map(Some);
        }
        match unsupported_expression(found, self.allowed.sets) {
            Some(stop) => Err(stop),
            None => Ok(None),
        }
    }

    /// A subquery that reads no table: it stays, over slots in place of the columns it refers to.
    fn row_subquery(&mut self, link: &pg_sys::SubLink) -> Walked<Tree> {
        let was_in_test = std::mem::replace(&mut self.in_test, true);
        let test = self.bind(link.testexpr);
        self.in_test = was_in_test;
        let query = node::rename_entries(link.subselect, self.prefix);
        let query = node::mutate_query(query, &mut |found, level| {
            if self.stop.is_some() {
                return Some(found);
            }
            match self.outward(found, level) {
                Ok(replaced) => replaced,
                Err(stop) => {
                    self.stop = Some(stop);
                    Some(found)
                }
            }
        });
        Ok(parse::with_subquery(link, test, query))
    }

    /// What replaces a node that stands `level` subqueries deep: only references beyond them are replaced.
    fn outward(&mut self, found: Tree, level: u32) -> Walked<Option<Tree>> {
        if let Some(reading) = time::reading(found) {
            return self.time_at_large(found, &reading).map(|slot| Some(node::lower(slot, level)));
        }
        let levels = node::cast::<pg_sys::Var>(found)
            .map(|var| var.varlevelsup)
            .or_else(|| node::cast::<pg_sys::Aggref>(found).map(|call| call.agglevelsup))
            .or_else(|| node::cast::<pg_sys::GroupingFunc>(found).map(|call| call.agglevelsup));
        if levels.is_none_or(|levels| levels < level) {
            return Ok(None);
        }
        let replaced = self.replacement(node::lift(found, level))?;
        Ok(replaced.map(|replaced| node::lower(replaced, level)))
    }

    fn own_column(&mut self, position: usize, found: Tree) -> Walked<Tree> {
        let column = self.scope.columns.get(position).cloned();
        let column = column.ok_or_else(|| Stop::internal("column position out of range"))?;
        Ok(self.slot(Piece::Column(position), column, node::type_of(found)))
    }

    fn slot(&mut self, piece: Piece, column: Column, ty: (pg_sys::Oid, i32, pg_sys::Oid)) -> Tree {
        self.slot_of(vec![piece], column, ty)
    }

    fn slot_of(&mut self, pieces: Vec<Piece>, column: Column, ty: (pg_sys::Oid, i32, pg_sys::Oid)) -> Tree {
        let known =
            self.slots.iter().position(|slot| slot.pieces == pieces && slot.column.ty.oid == ty.0.to_u32());
        let index = known.unwrap_or_else(|| {
            self.slots.push(Slot { pieces, column });
            self.slots.len() - 1
        });
        self.uses += 1;
        deparse::slot(index + 1, ty)
    }

    /// The text of a bound expression, which uses slots `uses` times.
    fn text(&self, bound: Tree, uses: usize) -> Walked<Vec<Piece>> {
        let text = deparse::expression(bound, self.slots.len(), self.prefix);
        let (pieces, met) = split(&text, self.prefix, &self.slots);
        // The printer repeats an expression that a subquery groups or orders by; a table function holds its arguments
        // more than once.
        let is_complete = match node::tag(bound) {
            NodeTag::T_TableFunc => (0..self.slots.len()).all(|slot| met.contains(&slot)),
            _ => met.len() >= uses,
        };
        if is_complete {
            return Ok(pieces);
        }
        Err(Stop::unsupported("expression", node::position(bound), Refusal::Unprintable))
    }

    fn time_at_large(&mut self, found: Tree, reading: &Reading) -> Walked<Tree> {
        self.time_at_large = self.time_at_large.or(node::position(found));
        self.reads_time = true;
        let ty = (pg_sys::TIMESTAMPTZOID, -1, pg_sys::Oid::INVALID);
        let column = Column {
            name: "now".to_owned(),
            ty: facts::type_ref(ty.0, ty.1, ty.2),
            nullable: false,
            fixed_scale: None,
        };
        let now = self.slot(Piece::Time(Time::Read(Moment::Now)), column, ty);
        match reading {
            Reading::Transaction => Ok(now),
            Reading::Standard(value) => {
                parse::of_standard(value, now).ok_or_else(|| Stop::internal("cast of the time"))
            }
        }
    }

    /// The two sides are printed by themselves; the comparison stands in the expression like a boolean column.
    fn comparison(&mut self, found: Tree, comparison: Comparison) -> Walked<Tree> {
        let uses_before = self.uses;
        let at_large = self.time_at_large;
        let mut bound = vec![];
        let mut texts = vec![];
        for side in comparison.sides {
            let uses = self.uses;
            let side = self.bind(side);
            if let Some(stop) = self.stop.take() {
                return Err(stop);
            }
            texts.push(delimited(side, self.text(side, self.uses - uses)?));
            bound.push(side);
        }
        self.uses = uses_before;
        self.time_at_large = at_large;
        let whole = parse::with_operands(found, &bound);
        self.is_loose |= !property::is_strict_condition(whole);
        let Comparison { operator, negator, .. } = comparison;
        let right = texts.pop().unwrap_or_default();
        let left = texts.pop().unwrap_or_default();
        let pieces = [
            vec![Piece::Time(Time::Open)],
            left,
            vec![Piece::Time(Time::Operator { operator, negator })],
            right,
            vec![Piece::Time(Time::Close)],
        ];
        let ty = (pg_sys::BOOLOID, -1, pg_sys::Oid::INVALID);
        let column = Column {
            name: "comparison".to_owned(),
            ty: facts::type_ref(ty.0, ty.1, ty.2),
            nullable: property::is_nullable(whole, &self.slots),
            fixed_scale: None,
        };
        Ok(self.slot_of(pieces.concat(), column, ty))
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
        let refuse = |reason: Refusal| Err(Stop::unsupported("whole-row reference", position, reason));
        let Some(entry) = super::scope::entry(self.env.path[level].query_ref(), var.varno) else {
            return Err(Stop::internal("reference to a missing range table entry"));
        };
        let is_named = match entry.rtekind {
            pg_sys::RTEKind::RTE_RELATION => true,
            pg_sys::RTEKind::RTE_FUNCTION => {
                var.vartype != pg_sys::RECORDOID && facts::base_type(var.vartype) == var.vartype
            }
            _ => false,
        };
        if !is_named {
            return refuse(Refusal::RowWithoutType);
        }
        if !var.varnullingrels.is_null() {
            return refuse(Refusal::AbsentRow);
        }
        let (vars, row) = parse::whole_row(var, entry);
        let vars = vars
            .into_iter()
            .map(|column| if node::tag(column) == NodeTag::T_Var { self.bind(column) } else { column });
        Ok(parse::row(row, &vars.collect::<Vec<_>>()))
    }

    fn parameter(&mut self, param: &pg_sys::Param, found: Tree) -> Walked<Tree> {
        if self.in_test && param.paramkind == pg_sys::ParamKind::PARAM_SUBLINK {
            return Ok(found);
        }
        let test = self.allowed.test.filter(|_| param.paramkind == pg_sys::ParamKind::PARAM_SUBLINK);
        let index = usize::try_from(param.paramid).ok().and_then(|id| id.checked_sub(1));
        let column =
            test.zip(index).and_then(|(test, index)| Some((test.offset + index, test.columns.get(index)?)));
        match column {
            Some((position, column)) => {
                Ok(self.slot(Piece::Column(position), column.clone(), node::type_of(found)))
            }
            None => Err(Stop::unsupported("parameter", node::position(found), Refusal::Parameter)),
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
fn unsupported_expression(found: Tree, sets: bool) -> Option<Stop> {
    let position = node::position(found);
    let set_returning = |function: pg_sys::Oid| {
        Stop::unsupported(
            &format!("set-returning function {}", facts::function_signature(function)),
            position,
            Refusal::SetReturningPlace,
        )
    };
    if let Some(call) = node::cast::<pg_sys::FuncExpr>(found) {
        return (call.funcretset && !sets).then(|| set_returning(call.funcid));
    }
    if let Some(call) = node::cast::<pg_sys::OpExpr>(found) {
        return (call.opretset && !sets).then(|| set_returning(call.opfuncid));
    }
    match node::tag(found) {
        NodeTag::T_WindowFunc => Some(Stop::unsupported("window function", position, Refusal::WindowPlace)),
        NodeTag::T_SubLink => Some(Stop::unsupported("subquery", position, Refusal::SubqueryPlace)),
        NodeTag::T_NextValueExpr | NodeTag::T_CurrentOfExpr | NodeTag::T_SetToDefault => {
            Some(Stop::unsupported(&node::tag_name(found), position, Refusal::NotOfQueries))
        }
        _ => None,
    }
}
