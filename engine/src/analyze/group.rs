//! GROUP BY and aggregate calls.

use super::scope::{Computed, Env, Scope};
use super::select::{project, sort_key};
use super::{Analysis, Stop, Walked};
use crate::pg::node::{self, Tree};
use crate::pg::{facts, parse};
use pg_trickle_core::expr::{Expr, Piece, Shape, SortKey};
use pg_trickle_core::plan::{AggCall, Aggregate, Plan, Project, UnionAll};
use pg_trickle_core::refusal::Refusal;
use pg_trickle_core::types::{Column, TypeRef, Volatility};
use pgrx::pg_sys;

/// The columns computed beneath the aggregate: keys, arguments, filters, sort expressions, each once.
struct Beneath {
    expressions: Vec<(Tree, String)>,
}

impl Beneath {
    fn position(&mut self, expression: Tree, name: &str) -> usize {
        let known = self.expressions.iter().position(|(known, _)| node::equal(*known, expression));
        known.unwrap_or_else(|| {
            self.expressions.push((expression, name.into()));
            self.expressions.len() - 1
        })
    }
}

impl Analysis {
    /// The aggregate over `plan`; the scope it returns knows grouping expressions and aggregate calls as columns.
    pub fn group(
        &mut self,
        query: &pg_sys::Query,
        plan: Plan,
        mut scope: Scope,
        env: &Env,
    ) -> Walked<(Plan, Scope)> {
        let calls = aggregate_calls(query);
        let mut beneath = Beneath { expressions: vec![] };
        let mut keys = vec![];
        for (expression, name) in self.grouping_expressions(query, &calls)? {
            let position = beneath.position(expression, &name);
            if !keys.contains(&position) {
                keys.push(position);
            }
        }
        let mut described: Vec<AggCall> =
            calls.iter().map(|call| self.call(call, &mut beneath)).collect::<Walked<_>>()?;

        let expressions: Vec<Tree> = beneath.expressions.iter().map(|(expression, _)| *expression).collect();
        let plan = self.lift(plan, &mut scope, env, &expressions)?;
        let plan = self.spread(plan, &mut scope, env, &expressions)?;
        let mut exprs: Vec<(Expr, String)> = vec![];
        for (expression, name) in &beneath.expressions {
            exprs.push((self.expr(*expression, &scope, env)?, name.clone()));
        }
        // Without keys and arguments, as in count(*), only the number of rows matters.
        let input = if exprs.is_empty() { plan } else { project(plan, exprs) };
        self.direct_arguments(&calls, &mut described, &expressions, &input, env)?;
        let mut computed: Vec<Computed> = vec![];
        for (position, key) in keys.iter().enumerate() {
            computed.push(Computed {
                expression: expressions[*key],
                position,
                negated: false,
                guarded: false,
            });
        }
        for (index, call) in calls.iter().enumerate() {
            computed.push(Computed {
                expression: *call,
                position: keys.len() + index,
                negated: false,
                guarded: false,
            });
        }
        let aggregate = Aggregate { input: Box::new(input), keys, calls: described };
        let plan = if query.groupingSets.is_null() {
            Plan::Aggregate(aggregate)
        } else {
            self.grouping_sets(query, aggregate, &expressions, &mut computed)?
        };
        let columns = plan.columns();
        Ok((plan, Scope { vars: Default::default(), computed, columns }))
    }

    /// Direct arguments are computed from grouping expressions, once per group.
    fn direct_arguments(
        &mut self,
        calls: &[Tree],
        described: &mut [AggCall],
        beneath: &[Tree],
        input: &Plan,
        env: &Env,
    ) -> Walked<()> {
        let computed = beneath.iter().enumerate().map(|(position, expression)| Computed {
            expression: *expression,
            position,
            negated: false,
            guarded: false,
        });
        let scope =
            Scope { vars: Default::default(), computed: computed.collect(), columns: input.columns() };
        for (call, described) in calls.iter().zip(described) {
            let direct =
                node::cast::<pg_sys::Aggref>(*call).map_or(std::ptr::null_mut(), |call| call.aggdirectargs);
            for argument in node::nodes(direct) {
                described.direct_args.push(self.expr(argument, &scope, env)?);
            }
        }
        Ok(())
    }

    /// GROUPING SETS, ROLLUP and CUBE: one aggregate per set over the same input, with NULL for the keys that are not
    /// in the set, and the values of GROUPING() as further columns.
    fn grouping_sets(
        &mut self,
        query: &pg_sys::Query,
        whole: Aggregate,
        expressions: &[Tree],
        computed: &mut Vec<Computed>,
    ) -> Walked<Plan> {
        let functions = grouping_functions(query);
        let width = whole.keys.len() + whole.calls.len();
        for (index, (function, _)) in functions.iter().enumerate() {
            computed.push(Computed {
                expression: *function,
                position: width + index,
                negated: false,
                guarded: false,
            });
        }
        let input = whole.input.columns();
        let mut inputs = vec![];
        for set in parse::grouping_sets(query) {
            let in_set = |key: usize| is_in_set(query, &set, expressions[key]);
            let keys: Vec<usize> = whole.keys.iter().copied().filter(|key| in_set(*key)).collect();
            let mut calls = whole.calls.clone();
            for argument in calls.iter_mut().flat_map(|call| &mut call.direct_args) {
                *argument = without_keys(argument, &keys, &input);
            }
            let plan = Plan::Aggregate(Aggregate { input: whole.input.clone(), keys: keys.clone(), calls });
            let columns = plan.columns();
            let mut exprs = vec![];
            for key in &whole.keys {
                let column = &input[*key];
                let expr = match keys.iter().position(|kept| kept == key) {
                    Some(position) => Expr::column(position, &columns[position]),
                    None => absent(column),
                };
                exprs.push((expr, column.name.clone()));
            }
            for (position, column) in columns.iter().enumerate().skip(keys.len()) {
                exprs.push(Expr::named(position, column));
            }
            for (_, references) in &functions {
                let bits = references
                    .iter()
                    .fold(0, |bits, reference| bits << 1 | i32::from(!set.contains(reference)));
                exprs.push((self.integer(bits), "grouping".into()));
            }
            inputs.push(Plan::Project(Project { input: Box::new(plan), exprs }));
        }
        Ok(Plan::UnionAll(UnionAll { inputs }))
    }

    fn integer(&mut self, value: i32) -> Expr {
        let ty = self.type_ref(pg_sys::INT4OID, -1, pg_sys::Oid::INVALID);
        constant(format!("'{value}'::integer"), ty, false, None)
    }

    /// The expressions of GROUP BY, and the columns that depend on them through a primary key and are used ungrouped.
    fn grouping_expressions(&mut self, query: &pg_sys::Query, calls: &[Tree]) -> Walked<Vec<(Tree, String)>> {
        let targets = node::list::<pg_sys::TargetEntry>(query.targetList);
        let mut found: Vec<(Tree, String)> = vec![];
        for clause in node::list::<pg_sys::SortGroupClause>(query.groupClause) {
            let target = targets.iter().find(|target| target.ressortgroupref == clause.tleSortGroupRef);
            let target = target.ok_or_else(|| Stop::internal("grouping clause"))?;
            let name = if target.resname.is_null() { "key".into() } else { node::text(target.resname) };
            found.push((target.expr.cast(), name));
        }
        for (expression, name) in ungrouped_columns(query, &found, calls) {
            let (oid, typmod, collation) = node::type_of(expression);
            let ty = self.type_ref(oid, typmod, collation);
            if !ty.ordered && !ty.hashable {
                return Err(Stop::unsupported(
                    &format!("column of type {} that depends on a grouped key", ty.name),
                    node::position(expression),
                    Refusal::NoEquality,
                ));
            }
            found.push((expression, name));
        }
        Ok(found)
    }

    fn call(&mut self, call: &Tree, beneath: &mut Beneath) -> Walked<AggCall> {
        let call = node::cast::<pg_sys::Aggref>(*call).ok_or_else(|| Stop::internal("aggregate call"))?;
        let function = facts::function_ref(call.aggfnoid);
        let within_group = call.aggkind as u8 != b'n';
        let targets = node::list::<pg_sys::TargetEntry>(call.args);
        let positions: Vec<usize> =
            targets.iter().map(|target| beneath.position(target.expr.cast(), "argument")).collect();
        let args = targets
            .iter()
            .zip(&positions)
            .filter(|(target, _)| !target.resjunk)
            .map(|(_, position)| *position);
        let mut order_by = vec![];
        for clause in node::list::<pg_sys::SortGroupClause>(call.aggorder) {
            let index = targets.iter().position(|target| target.ressortgroupref == clause.tleSortGroupRef);
            let index = index.ok_or_else(|| Stop::internal("order of an aggregate"))?;
            order_by.push(sort_key(clause, positions[index], targets[index].expr.cast()));
        }
        let ty = self.type_ref(call.aggtype, -1, call.aggcollid);
        // With DISTINCT the server sorts the arguments, so their order is given.
        let is_ordered = within_group || !call.aggdistinct.is_null();
        if !is_ordered && is_order_sensitive(function.builtin.as_deref()) {
            self.complete_order(&function.name, &targets, &positions, &mut order_by);
        }
        Ok(AggCall {
            direct_args: vec![],
            args: args.collect(),
            distinct: !call.aggdistinct.is_null(),
            filter: (!call.aggfilter.is_null()).then(|| beneath.position(call.aggfilter.cast(), "condition")),
            order_by,
            within_group,
            variadic: call.aggvariadic,
            ty,
            name: function.builtin.clone().unwrap_or_else(|| "aggregate".into()),
            position: u32::try_from(call.location).ok(),
            function,
        })
    }
}

impl Analysis {
    /// Extends the order of an aggregate whose result shows it by the arguments themselves, so that the result is a
    /// function of the rows: one of those PostgreSQL may give, and the same at every refresh.
    fn complete_order(
        &mut self,
        function: &str,
        targets: &[&pg_sys::TargetEntry],
        positions: &[usize],
        order_by: &mut Vec<SortKey>,
    ) {
        for (target, &column) in targets.iter().zip(positions) {
            let (oid, typmod, collation) = node::type_of(target.expr.cast());
            let is_constant = node::cast::<pg_sys::Const>(target.expr.cast()).is_some();
            if target.resjunk || is_constant || order_by.iter().any(|key| key.column == column) {
                continue;
            }
            let ty = self.type_ref(oid, typmod, collation);
            if ty.ordered {
                order_by.push(SortKey { column, descending: false, nulls_first: false, using: None });
            }
            let rest = if ty.equal_image { "" } else { ", as far as those are ordered" };
            self.warn(&format!(
                "The order of the elements of {function} is not determined by its ORDER BY: they are ordered by the \
                 arguments as well{rest}."
            ));
        }
    }
}

/// NULL in place of a key that a grouping set leaves out.
fn absent(column: &Column) -> Expr {
    constant(format!("NULL::{}", column.ty.name), column.ty.clone(), true, column.fixed_scale)
}

/// A direct argument in a grouping set: keys that the set leaves out are NULL.
fn without_keys(argument: &Expr, keys: &[usize], input: &[Column]) -> Expr {
    argument.map_slots(|slot| match slot {
        Piece::Column(position) if !keys.contains(position) => {
            Piece::Text(format!("(NULL::{})", input[*position].ty.name))
        }
        slot => slot.clone(),
    })
}

fn constant(text: String, ty: TypeRef, nullable: bool, fixed_scale: Option<u16>) -> Expr {
    Expr {
        pieces: vec![Piece::Text(text)],
        ty,
        volatility: Volatility::Immutable,
        nullable,
        strict: true,
        fixed_scale,
        shape: Shape::Constant,
    }
}

/// True if a grouping expression belongs to a set, which names expressions by their clauses' references.
fn is_in_set(query: &pg_sys::Query, set: &[i32], expression: Tree) -> bool {
    node::list::<pg_sys::TargetEntry>(query.targetList).into_iter().any(|target| {
        set.contains(&(target.ressortgroupref as i32)) && node::equal(target.expr.cast(), expression)
    })
}

/// The query's own GROUPING() calls, each once, with the references of their arguments.
fn grouping_functions(query: &pg_sys::Query) -> Vec<(Tree, Vec<i32>)> {
    let mut found: Vec<(Tree, Vec<i32>)> = vec![];
    let mut see = |part: Tree, level: u32| {
        if let Some(function) = node::cast::<pg_sys::GroupingFunc>(part)
            && function.agglevelsup == level
        {
            let own = if level == 0 { part } else { node::lift(part, level) };
            if !found.iter().any(|(known, _)| node::equal(*known, own)) {
                found.push((own, node::integers(function.refs)));
            }
        }
        node::Walk::Into
    };
    node::walk(query.targetList.cast(), &mut see);
    node::walk(query.havingQual, &mut see);
    found
}

/// Aggregates whose result may show the order of their input: those of users, and some built-in ones.
fn is_order_sensitive(builtin: Option<&str>) -> bool {
    let names = ["array_agg", "string_agg", "xmlagg"];
    builtin.is_none_or(|name| names.contains(&name) || name.contains("json"))
}

/// The query's own aggregate calls, each once, wherever they stand: subqueries may hold calls of enclosing queries.
fn aggregate_calls(query: &pg_sys::Query) -> Vec<Tree> {
    let mut calls: Vec<Tree> = vec![];
    let mut see = |part: Tree, level: u32| {
        let Some(call) = node::cast::<pg_sys::Aggref>(part) else { return node::Walk::Into };
        if call.agglevelsup != level {
            return node::Walk::Into;
        }
        let own = if level == 0 { part } else { node::lift(part, level) };
        if !calls.iter().any(|known| node::equal(*known, own)) {
            calls.push(own);
        }
        node::Walk::Skip
    };
    node::walk(query.targetList.cast(), &mut see);
    node::walk(query.havingQual, &mut see);
    calls
}

/// Columns used outside of grouping expressions and aggregate calls. The parser has checked that they depend on a
/// primary key among the grouping expressions.
fn ungrouped_columns(
    query: &pg_sys::Query,
    grouped: &[(Tree, String)],
    calls: &[Tree],
) -> Vec<(Tree, String)> {
    let mut found: Vec<(Tree, String)> = vec![];
    let mut see = |part: Tree, level: u32| {
        let is_call = node::cast::<pg_sys::Aggref>(part).is_some_and(|call| call.agglevelsup == level);
        let is_grouped = level == 0 && grouped.iter().any(|(known, _)| node::equal(*known, part));
        if is_call || is_grouped {
            return node::Walk::Skip;
        }
        let Some(var) = node::cast::<pg_sys::Var>(part).filter(|var| var.varlevelsup == level) else {
            return node::Walk::Into;
        };
        let own = if level == 0 { part } else { node::lift(part, level) };
        let mut known = grouped.iter().chain(&found);
        if !known.any(|(known, _)| node::equal(*known, own))
            && !calls.iter().any(|call| node::equal(*call, own))
        {
            let name =
                super::scope::entry(query, var.varno).and_then(|entry| column_name(entry, var.varattno));
            found.push((own, name.unwrap_or_else(|| "key".into())));
        }
        node::Walk::Into
    };
    let targets = node::list::<pg_sys::TargetEntry>(query.targetList);
    for target in targets {
        node::walk(target.expr.cast(), &mut see);
    }
    node::walk(query.havingQual, &mut see);
    found
}

/// The name of an entry's column.
pub fn column_name(entry: &pg_sys::RangeTblEntry, attnum: i16) -> Option<String> {
    // SAFETY: every entry that columns refer to has an alias with their names.
    let names = unsafe { entry.eref.as_ref()? }.colnames;
    let name = *node::nodes(names).get(usize::try_from(attnum).ok()?.checked_sub(1)?)?;
    crate::pg::parse::string(name)
}
