//! One SELECT: its steps in the order in which SQL defines them.

use super::from::has_subquery;
use super::scope::{Env, Level, Scope, used_columns};
use super::{Analysis, AnalyzeError, QUERIES_MAX, Stop, Walked};
use crate::pg::node::{self, Tree};
use crate::pg::{compat, facts};
use pg_trickle_core::expr::{Expr, Piece, Shape, SortKey};
use pg_trickle_core::plan::{Aggregate, Plan, Project, TopK, Values};
use pg_trickle_core::refusal::Refusal;
use pg_trickle_core::types::Volatility;
use pgrx::pg_sys;
use std::collections::BTreeSet;
use std::rc::Rc;

/// What the consumer of a query reads of it.
pub enum Need {
    /// All columns.
    All,
    /// The columns with these numbers, from 1.
    Columns(BTreeSet<i16>),
    /// Whether there are rows; the plan may have any columns.
    Existence,
    /// All columns, followed by sort columns, with the query's order as an unlimited [`TopK`] on top.
    InOrder,
}

impl Level {
    pub fn query_ref(&self) -> &pg_sys::Query {
        // SAFETY: the path holds queries of trees that live as long as the analysis.
        unsafe { &*self.query }
    }
}

impl Analysis {
    /// The plan of a query whose enclosing queries are those of `outer`. Its columns are the needed ones in order.
    pub fn query(&mut self, original: &pg_sys::Query, outer: &Env, need: &Need) -> Walked<Plan> {
        self.queries_built += 1;
        if self.queries_built > QUERIES_MAX {
            return Err(Stop::unsupported("query", None, Refusal::TooManyCopies));
        }
        let query = prepare(original, need)?;
        self.warn_of_order(original, query, outer, need);
        let mut env = outer.clone();
        env.path.push(Level { query: std::ptr::from_mut(query), used: Rc::new(used_columns(query)) });
        let query = &*query;
        let (mut plan, mut scope) = if query.setOperations.is_null() {
            self.inputs_of(query, &env)?
        } else {
            self.set_operations(query, &env)?
        };
        if is_grouped(query) {
            (plan, scope) = self.group(query, plan, scope, &env)?;
            (plan, scope) = self.filter(plan, scope, &node::qualifying_conjuncts(query.havingQual), &env)?;
        }
        self.output(query, plan, scope, &env, need)
    }

    /// Warns where a user may expect an order that is not there.
    fn warn_of_order(
        &mut self,
        original: &pg_sys::Query,
        prepared: &pg_sys::Query,
        outer: &Env,
        need: &Need,
    ) {
        let is_dropped = !original.sortClause.is_null() && prepared.sortClause.is_null();
        if is_dropped && outer.path.is_empty() {
            self.warn("ORDER BY without LIMIT has no effect on a stream table's contents.");
        } else if is_dropped && !matches!(need, Need::Existence) {
            self.warn(
                "ORDER BY in a subquery without LIMIT has no effect: rows of a subquery have no order.",
            );
        }
        let has_limit = !prepared.limitCount.is_null() || !prepared.limitOffset.is_null();
        if has_limit && prepared.sortClause.is_null() {
            self.warn(
                "LIMIT without ORDER BY keeps the rows that come first by the values of their columns.",
            );
        }
    }

    /// Windows, target list, DISTINCT, ORDER BY with LIMIT.
    fn output(
        &mut self,
        query: &pg_sys::Query,
        plan: Plan,
        scope: Scope,
        env: &Env,
        need: &Need,
    ) -> Walked<Plan> {
        let (plan, mut scope) = self.windows(query, plan, scope, env)?;
        let targets = Targets::of(query, need);
        let expressions: Vec<Tree> = targets.entries.iter().map(|target| target.expr.cast()).collect();
        let plan = self.lift(plan, &mut scope, env, &expressions)?;
        let mut plan = self.spread(plan, &mut scope, env, &expressions)?;
        if !targets.entries.is_empty() {
            let mut exprs = vec![];
            for target in &targets.entries {
                let name = node::text(target.resname);
                exprs.push((self.expr(target.expr.cast(), &scope, env)?, name));
            }
            plan = project(plan, exprs);
        }
        plan = self.distinct(query, plan, &targets)?;
        plan = self.limit(query, plan, &targets, env, matches!(need, Need::InOrder))?;
        if targets.visible < targets.entries.len() && !matches!(need, Need::InOrder) {
            let columns = plan.columns();
            let visible = columns.iter().enumerate().take(targets.visible);
            let exprs = visible.map(|(position, column)| Expr::named(position, column));
            plan = Plan::Project(Project { exprs: exprs.collect(), input: Box::new(plan) });
        }
        Ok(plan)
    }

    fn distinct(&mut self, query: &pg_sys::Query, plan: Plan, targets: &Targets) -> Walked<Plan> {
        if query.distinctClause.is_null() {
            return Ok(plan);
        }
        if !query.hasDistinctOn {
            let keys = (0..targets.visible).collect();
            return Ok(Plan::Aggregate(Aggregate { input: Box::new(plan), keys, calls: vec![] }));
        }
        let clauses = node::list::<pg_sys::SortGroupClause>(query.distinctClause);
        let partition: Vec<usize> = clauses.iter().filter_map(|clause| targets.position(clause)).collect();
        let order = targets.order(query.sortClause);
        Ok(Plan::TopK(TopK {
            order: order.into_iter().filter(|key| !partition.contains(&key.column)).collect(),
            partition,
            limit: Some(self.one()),
            offset: None,
            with_ties: false,
            position: clauses.first().and_then(|clause| targets.location(clause)),
            input: Box::new(plan),
        }))
    }

    fn limit(
        &mut self,
        query: &pg_sys::Query,
        plan: Plan,
        targets: &Targets,
        env: &Env,
        in_order: bool,
    ) -> Walked<Plan> {
        let counts = [query.limitCount, query.limitOffset].into_iter().filter(|count| has_subquery(*count));
        let counts: Vec<Tree> = counts.collect();
        let visible = plan.columns();
        let mut scope = Scope { columns: visible.clone(), ..Scope::default() };
        // A subquery has the same value for every row, so its column partitions nothing.
        let plan = self.lift(plan, &mut scope, env, &counts)?;
        let limit = self.row_count(query.limitCount, &scope, env)?;
        let offset = self.row_count(query.limitOffset, &scope, env)?;
        let keeps_order = in_order && !query.sortClause.is_null();
        if limit.is_none() && offset.is_none() && !keeps_order {
            return Ok(plan);
        }
        let top = Plan::TopK(TopK {
            partition: (visible.len()..scope.columns.len()).collect(),
            order: targets.order(query.sortClause),
            limit,
            offset,
            with_ties: query.limitOption == pg_sys::LimitOption::LIMIT_OPTION_WITH_TIES,
            position: node::position(query.limitCount).or_else(|| node::position(query.limitOffset)),
            input: Box::new(plan),
        });
        let exprs = visible.iter().enumerate();
        let exprs = exprs.map(|(position, column)| Expr::named(position, column));
        Ok(project(top, exprs.collect()))
    }

    /// The expression of LIMIT or OFFSET; NULL and nothing mean no limit.
    fn row_count(&mut self, expression: Tree, scope: &Scope, env: &Env) -> Walked<Option<Expr>> {
        let is_null = node::cast::<pg_sys::Const>(expression).is_some_and(|constant| constant.constisnull);
        if expression.is_null() || is_null {
            return Ok(None);
        }
        self.expr(expression, scope, env).map(Some)
    }

    fn one(&mut self) -> Expr {
        Expr {
            pieces: vec![Piece::Text("'1'::bigint".into())],
            ty: self.type_ref(pg_sys::INT8OID, -1, pg_sys::Oid::INVALID),
            volatility: Volatility::Immutable,
            nullable: false,
            strict: true,
            fixed_scale: None,
            shape: Shape::Constant,
        }
    }
}

/// One row without columns: what a SELECT without FROM reads.
pub fn unit() -> Plan {
    Plan::Values(Values { columns: vec![], rows: vec![vec![]] })
}

/// A projection, left out where it changes nothing but names.
pub fn project(plan: Plan, exprs: Vec<(Expr, String)>) -> Plan {
    let columns = plan.columns();
    let is_identity = exprs.len() == columns.len()
        && exprs.iter().zip(&columns).enumerate().all(|(position, ((expr, _), column))| {
            expr.as_column() == Some(position) && expr.ty == column.ty
        });
    if is_identity {
        return plan;
    }
    Plan::Project(Project { input: Box::new(plan), exprs })
}

fn is_grouped(query: &pg_sys::Query) -> bool {
    !query.groupClause.is_null()
        || !query.groupingSets.is_null()
        || query.hasAggs
        || !query.havingQual.is_null()
}

/// A copy of the query reduced to what is needed: grouping and join columns replaced by what they stand for, order
/// without effect and unread columns dropped.
pub fn prepare(original: &pg_sys::Query, need: &Need) -> Walked<&'static mut pg_sys::Query> {
    // SAFETY: the copy is ours alone; nothing else refers to it until this returns.
    let query = unsafe { &mut *node::copy(node::tree(original)).cast::<pg_sys::Query>() };
    if query.commandType != pg_sys::CmdType::CMD_SELECT {
        return Err(Stop::Refused(AnalyzeError::ModifyingCte(None)));
    }
    compat::flatten_groups(query);
    flatten_joins(query);
    if matches!(need, Need::Existence)
        && is_positive_constant(query.limitCount)
        && query.limitOffset.is_null()
    {
        query.limitCount = std::ptr::null_mut();
    }
    let has_limit = !query.limitCount.is_null() || !query.limitOffset.is_null();
    if !has_limit && !query.hasDistinctOn && !matches!(need, Need::InOrder) {
        query.sortClause = std::ptr::null_mut();
    }
    let clauses = [query.groupClause, query.distinctClause, query.sortClause];
    let windows = node::list::<pg_sys::WindowClause>(query.windowClause);
    let window_clauses = windows.iter().flat_map(|window| [window.partitionClause, window.orderClause]);
    let referenced: BTreeSet<u32> = clauses
        .into_iter()
        .chain(window_clauses)
        .flat_map(node::list::<pg_sys::SortGroupClause>)
        .map(|clause| clause.tleSortGroupRef)
        .collect();
    let targets = node::list::<pg_sys::TargetEntry>(query.targetList);
    let keep_all = !query.distinctClause.is_null() || !query.setOperations.is_null() || query.hasTargetSRFs;
    let kept: Vec<Tree> = targets
        .into_iter()
        .filter(|target| {
            let is_needed = match need {
                Need::All | Need::InOrder => !target.resjunk,
                Need::Columns(numbers) => !target.resjunk && numbers.contains(&target.resno),
                Need::Existence => false,
            };
            let is_referenced = target.ressortgroupref > 0 && referenced.contains(&target.ressortgroupref);
            // A set-returning function that only ORDER BY mentions still decides how many rows there are.
            let counts =
                query.hasTargetSRFs && super::rows::returns_set(target.expr.cast(), &Scope::default());
            is_needed || is_referenced || (keep_all && !target.resjunk) || counts
        })
        .map(node::tree)
        .collect();
    query.targetList = node::make_list(&kept);
    Ok(query)
}

fn is_positive_constant(expression: Tree) -> bool {
    node::cast::<pg_sys::Const>(expression)
        .and_then(facts::constant_text)
        .is_some_and(|text| text.parse::<i64>().is_ok_and(|count| count > 0))
}

/// Replaces references to columns of joins, as the planner does first.
fn flatten_joins(query: &mut pg_sys::Query) {
    let entries = node::list::<pg_sys::RangeTblEntry>(query.rtable);
    if !entries.iter().any(|entry| entry.rtekind == pg_sys::RTEKind::RTE_JOIN) {
        return;
    }
    query.targetList = compat::flatten_joins(query, query.targetList.cast()).cast();
    query.havingQual = compat::flatten_joins(query, query.havingQual);
    query.jointree = compat::flatten_joins(query, query.jointree.cast()).cast();
    for entry in entries.into_iter().filter(|entry| entry.lateral) {
        // SAFETY: the entry belongs to our copy of the query, and no other reference to it is used meanwhile.
        unsafe {
            let entry = std::ptr::from_ref(entry).cast_mut();
            (*entry).subquery = compat::flatten_joins(query, (*entry).subquery.cast()).cast();
            (*entry).values_lists = compat::flatten_joins(query, (*entry).values_lists.cast()).cast();
            (*entry).functions = compat::flatten_joins(query, (*entry).functions.cast()).cast();
        }
    }
}

/// The target entries to compute: visible ones first, then those that only DISTINCT ON and ORDER BY read.
struct Targets {
    entries: Vec<&'static pg_sys::TargetEntry>,
    visible: usize,
}

impl Targets {
    fn of(query: &pg_sys::Query, need: &Need) -> Targets {
        let all = node::list::<pg_sys::TargetEntry>(query.targetList);
        let needed = |target: &pg_sys::TargetEntry| match need {
            Need::Columns(numbers) if query.distinctClause.is_null() && !query.hasTargetSRFs => {
                numbers.contains(&target.resno)
            }
            Need::Existence => !query.distinctClause.is_null() || query.hasTargetSRFs,
            _ => true,
        };
        let is_visible = |target: &pg_sys::TargetEntry| !target.resjunk && needed(target);
        type Entries = Vec<&'static pg_sys::TargetEntry>;
        let (mut entries, rest): (Entries, Entries) = all.into_iter().partition(|target| is_visible(target));
        let visible = entries.len();
        let clauses = [query.distinctClause, query.sortClause];
        let sorted: BTreeSet<u32> = clauses
            .into_iter()
            .flat_map(node::list::<pg_sys::SortGroupClause>)
            .map(|clause| clause.tleSortGroupRef)
            .collect();
        let counts = |target: &pg_sys::TargetEntry| {
            query.hasTargetSRFs && super::rows::returns_set(target.expr.cast(), &Scope::default())
        };
        entries.extend(
            rest.into_iter().filter(|target| sorted.contains(&target.ressortgroupref) || counts(target)),
        );
        Targets { entries, visible }
    }

    fn position(&self, clause: &pg_sys::SortGroupClause) -> Option<usize> {
        self.entries.iter().position(|target| target.ressortgroupref == clause.tleSortGroupRef)
    }

    fn location(&self, clause: &pg_sys::SortGroupClause) -> Option<u32> {
        node::position(self.entries.get(self.position(clause)?)?.expr.cast())
    }

    fn order(&self, clauses: *mut pg_sys::List) -> Vec<SortKey> {
        let clauses = node::list::<pg_sys::SortGroupClause>(clauses);
        let key = |clause: &pg_sys::SortGroupClause| {
            let column = self.position(clause)?;
            Some(sort_key(clause, column, self.entries[column].expr.cast()))
        };
        clauses.into_iter().filter_map(key).collect()
    }
}

/// The sort key of a clause over the column that holds the expression.
pub fn sort_key(clause: &pg_sys::SortGroupClause, column: usize, expression: Tree) -> SortKey {
    let (descending, using) = facts::sort_operator(clause.sortop, node::type_of(expression).0);
    SortKey { column, descending, nulls_first: clause.nulls_first, using }
}
