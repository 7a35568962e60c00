//! Window functions beneath the target list: one [`Window`] for all calls of one partitioning and order, one over the
//! other.

use super::scope::{Computed, Env, Scope};
use super::select::{project, sort_key};
use super::{Analysis, Stop, Walked};
use crate::pg::facts;
use crate::pg::node::{self, Tree};
use pg_trickle_core::expr::{Expr, SortKey};
use pg_trickle_core::plan::{Frame, FrameBound, FrameExclusion, FrameMode, Plan, Window, WindowCall};
use pg_trickle_core::refusal::Refusal;
use pg_trickle_core::types::{Column, TypeRef};
use pgrx::pg_sys;
use std::collections::BTreeSet;

/// A window that is called, with the expressions of its clauses.
struct Called {
    clause: &'static pg_sys::WindowClause,
    partition: Vec<Tree>,
    order: Vec<(&'static pg_sys::SortGroupClause, Tree)>,
    calls: Vec<&'static pg_sys::WindowFunc>,
}

/// The calls over one partitioning and order.
struct Ordered {
    partition: Vec<usize>,
    order: Vec<SortKey>,
    calls: Vec<(Tree, WindowCall)>,
}

impl Analysis {
    /// The windows of a query over `plan`; the scope it returns knows the calls as columns.
    ///
    /// Ties of a window's order are broken by all columns of its input, so the input has the columns that anything above
    /// reads, and no others.
    pub fn windows(
        &mut self,
        query: &pg_sys::Query,
        plan: Plan,
        mut scope: Scope,
        env: &Env,
    ) -> Walked<(Plan, Scope)> {
        let windows = called_windows(query)?;
        if windows.is_empty() {
            return Ok((plan, scope));
        }
        let plan = self.lift(plan, &mut scope, env, &beneath(&windows))?;
        let (mut plan, mut scope) = self.window_input(query, plan, scope, env, &windows)?;
        // The server lets windows of one order see the same order of rows; those that differ in the frame only share a node.
        let mut ordered: Vec<Ordered> = vec![];
        for window in windows {
            let (partition, order) = self.window_keys(&window, &scope, env)?;
            let mut calls = vec![];
            for call in &window.calls {
                let frame = self.frame(window.clause, env)?;
                calls.push((node::tree(*call), self.window_call(call, frame, &scope, env)?));
            }
            match ordered.iter_mut().find(|known| known.partition == partition && known.order == order) {
                Some(known) => known.calls.extend(calls),
                None => ordered.push(Ordered { partition, order, calls }),
            }
        }
        for Ordered { partition, order, calls } in ordered {
            let (expressions, calls): (Vec<Tree>, Vec<WindowCall>) = calls.into_iter().unzip();
            let first = scope.columns.len();
            for (index, expression) in expressions.into_iter().enumerate() {
                scope.computed.push(Computed {
                    expression,
                    position: first + index,
                    negated: false,
                    guarded: false,
                });
            }
            plan = Plan::Window(Window { input: Box::new(plan), partition, order, calls });
            scope.columns = plan.columns();
        }
        Ok((plan, scope))
    }

    /// The columns that are read above, and the expressions that windows are partitioned and ordered by.
    fn window_input(
        &mut self,
        query: &pg_sys::Query,
        plan: Plan,
        scope: Scope,
        env: &Env,
        windows: &[Called],
    ) -> Walked<(Plan, Scope)> {
        let mut kept = read_above(query, &scope);
        let mut computed: Vec<(Tree, Expr)> = vec![];
        for expression in windows.iter().flat_map(Called::keys) {
            let expr = self.expr(expression, &scope, env)?;
            match expr.as_column() {
                Some(position) => {
                    kept.insert(position);
                }
                None if computed.iter().any(|(known, _)| node::equal(*known, expression)) => {}
                None => computed.push((expression, expr)),
            }
        }
        let place = |position: usize| kept.iter().position(|&kept| kept == position);
        let mut narrowed = Scope {
            vars: scope.vars.iter().filter_map(|(var, &column)| Some((*var, place(column)?))).collect(),
            computed: scope
                .computed
                .iter()
                .filter_map(|known| Some(Computed { position: place(known.position)?, ..known.clone() }))
                .collect(),
            columns: vec![],
        };
        let column = |&position: &usize| {
            let column: &Column = &scope.columns[position];
            Expr::named(position, column)
        };
        let mut exprs: Vec<(Expr, String)> = kept.iter().map(column).collect();
        for (expression, expr) in computed {
            narrowed.computed.push(Computed {
                expression,
                position: exprs.len(),
                negated: false,
                guarded: false,
            });
            exprs.push((expr, "key".to_owned()));
        }
        let plan = project(plan, exprs);
        narrowed.columns = plan.columns();
        Ok((plan, narrowed))
    }

    /// The columns that the window is partitioned by, and its order.
    fn window_keys(
        &mut self,
        window: &Called,
        scope: &Scope,
        env: &Env,
    ) -> Walked<(Vec<usize>, Vec<SortKey>)> {
        let mut column = |expression: Tree| {
            let column = self.expr(expression, scope, env)?.as_column();
            column.ok_or_else(|| Stop::internal("key of a window that is not computed"))
        };
        let mut partition = vec![];
        for expression in &window.partition {
            let key = column(*expression)?;
            if !partition.contains(&key) {
                partition.push(key);
            }
        }
        let mut order: Vec<SortKey> = vec![];
        for (clause, expression) in &window.order {
            order.push(sort_key(clause, column(*expression)?, *expression));
        }
        Ok((partition, order))
    }

    fn frame(&mut self, clause: &pg_sys::WindowClause, env: &Env) -> Walked<Frame> {
        let has = |option: u32| clause.frameOptions as u32 & option != 0;
        let mode = match () {
            () if has(pg_sys::FRAMEOPTION_ROWS) => FrameMode::Rows,
            () if has(pg_sys::FRAMEOPTION_GROUPS) => FrameMode::Groups,
            () => FrameMode::Range,
        };
        let start = match () {
            () if has(pg_sys::FRAMEOPTION_START_UNBOUNDED_PRECEDING) => FrameBound::UnboundedPreceding,
            () if has(pg_sys::FRAMEOPTION_START_OFFSET_PRECEDING) => {
                FrameBound::Preceding(self.frame_offset(clause.startOffset, env)?)
            }
            () if has(pg_sys::FRAMEOPTION_START_OFFSET_FOLLOWING) => {
                FrameBound::Following(self.frame_offset(clause.startOffset, env)?)
            }
            () => FrameBound::CurrentRow,
        };
        let end = match () {
            () if has(pg_sys::FRAMEOPTION_END_UNBOUNDED_FOLLOWING) => FrameBound::UnboundedFollowing,
            () if has(pg_sys::FRAMEOPTION_END_OFFSET_PRECEDING) => {
                FrameBound::Preceding(self.frame_offset(clause.endOffset, env)?)
            }
            () if has(pg_sys::FRAMEOPTION_END_OFFSET_FOLLOWING) => {
                FrameBound::Following(self.frame_offset(clause.endOffset, env)?)
            }
            () => FrameBound::CurrentRow,
        };
        let exclude = match () {
            () if has(pg_sys::FRAMEOPTION_EXCLUDE_CURRENT_ROW) => FrameExclusion::CurrentRow,
            () if has(pg_sys::FRAMEOPTION_EXCLUDE_GROUP) => FrameExclusion::Group,
            () if has(pg_sys::FRAMEOPTION_EXCLUDE_TIES) => FrameExclusion::Ties,
            () => FrameExclusion::Nothing,
        };
        Ok(Frame { mode, start, end, exclude })
    }

    /// The offset of a frame, which has no columns of its own query.
    fn frame_offset(&mut self, offset: Tree, env: &Env) -> Walked<Expr> {
        self.expr(offset, &Scope::default(), env)
    }

    fn window_call(
        &mut self,
        call: &pg_sys::WindowFunc,
        frame: Frame,
        scope: &Scope,
        env: &Env,
    ) -> Walked<WindowCall> {
        let function = facts::function_ref(call.winfnoid);
        let position = u32::try_from(call.location).ok();
        if facts::takes_array(call.winfnoid) {
            return Err(Stop::unsupported(
                &format!("window function {}", facts::function_signature(call.winfnoid)),
                position,
                Refusal::VariadicWindow,
            ));
        }
        let ty: TypeRef = self.type_ref(call.wintype, -1, call.wincollid);
        let args = node::nodes(call.args).into_iter().map(|arg| self.expr(arg, scope, env));
        let args = args.collect::<Walked<Vec<Expr>>>()?;
        let filter = match call.aggfilter.is_null() {
            true => None,
            false => Some(self.expr(call.aggfilter.cast(), scope, env)?),
        };
        Ok(WindowCall {
            name: function.builtin.clone().unwrap_or_else(|| "window".into()),
            function,
            args,
            star: call.winstar,
            filter,
            frame,
            ty,
            position,
        })
    }
}

impl Called {
    /// What the window is partitioned and ordered by.
    fn keys(&self) -> impl Iterator<Item = Tree> {
        self.partition.iter().copied().chain(self.order.iter().map(|(_, expression)| *expression))
    }
}

/// Everything that is evaluated beneath or in the windows.
fn beneath(windows: &[Called]) -> Vec<Tree> {
    let of_window = |window: &Called| {
        let of_call = |call: &&pg_sys::WindowFunc| [call.args.cast(), call.aggfilter.cast()];
        window.keys().chain(window.calls.iter().flat_map(of_call)).collect::<Vec<Tree>>()
    };
    windows.iter().flat_map(of_window).collect()
}

/// The query's windows that are called, with their calls, each once.
fn called_windows(query: &pg_sys::Query) -> Walked<Vec<Called>> {
    let mut calls: Vec<&'static pg_sys::WindowFunc> = vec![];
    node::walk(query.targetList.cast(), &mut |part, level| {
        let Some(call) = node::cast::<pg_sys::WindowFunc>(part) else { return node::Walk::Into };
        let is_known = || calls.iter().any(|known| node::equal(node::tree(*known), part));
        // A window function belongs to the query it stands in.
        if level == 0 && !is_known() {
            calls.push(call);
        }
        node::Walk::Skip
    });
    let mut windows = vec![];
    for clause in node::list::<pg_sys::WindowClause>(query.windowClause) {
        let calls: Vec<_> = calls.iter().copied().filter(|call| call.winref == clause.winref).collect();
        if calls.is_empty() {
            continue;
        }
        let partition = node::list::<pg_sys::SortGroupClause>(clause.partitionClause);
        let order = node::list::<pg_sys::SortGroupClause>(clause.orderClause);
        windows.push(Called {
            clause,
            partition: partition.into_iter().map(|key| target(query, key)).collect::<Walked<_>>()?,
            order: order.into_iter().map(|key| Ok((key, target(query, key)?))).collect::<Walked<_>>()?,
            calls,
        });
    }
    Ok(windows)
}

/// The expression a clause refers to.
fn target(query: &pg_sys::Query, clause: &pg_sys::SortGroupClause) -> Walked<Tree> {
    node::list::<pg_sys::TargetEntry>(query.targetList)
        .into_iter()
        .find(|target| target.ressortgroupref == clause.tleSortGroupRef)
        .map(|target| target.expr.cast())
        .ok_or_else(|| Stop::internal("key of a window"))
}

/// The columns of the scope that the target list reads, in subqueries too.
fn read_above(query: &pg_sys::Query, scope: &Scope) -> BTreeSet<usize> {
    let mut read = BTreeSet::new();
    let mut see = |part: Tree, level: u32| {
        let belongs_here = |levels: u32| levels == level && level > 0;
        let is_outer = node::cast::<pg_sys::Var>(part).is_some_and(|var| belongs_here(var.varlevelsup))
            || node::cast::<pg_sys::Aggref>(part).is_some_and(|call| belongs_here(call.agglevelsup))
            || node::cast::<pg_sys::GroupingFunc>(part).is_some_and(|call| belongs_here(call.agglevelsup));
        let own = if is_outer { node::lift(part, level) } else { part };
        if (level == 0 || is_outer)
            && let Some(known) = scope.find(own)
        {
            read.insert(known.position);
            return node::Walk::Skip;
        }
        let Some(var) = node::cast::<pg_sys::Var>(part).filter(|var| var.varlevelsup == level) else {
            return node::Walk::Into;
        };
        let is_read = |(entry, column): &(i32, i16)| {
            *entry == var.varno && (*column == var.varattno || var.varattno == 0)
        };
        read.extend(scope.vars.iter().filter(|(key, _)| is_read(key)).map(|(_, &position)| position));
        node::Walk::Into
    };
    node::walk(query.targetList.cast(), &mut see);
    read
}
