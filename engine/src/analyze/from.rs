//! FROM and WHERE: range table and join tree.

use super::recursion::has_recursion;
use super::rows::{reads_tables, row_function};
use super::scope::{Env, Scope, entry, refers_to};
use super::select::{Need, unit};
use super::source::Read;
use super::{Analysis, Stop, Walked};
use crate::pg::node::{self, Tree};
use crate::pg::{deparse, parse};
use pg_trickle_core::expr::Expr;
use pg_trickle_core::plan::{
    DependentJoin, DependentKind, Filter, Join, OuterJoin, OuterKind, Plan, Project, UnionAll, Values,
};
use pg_trickle_core::refusal::Refusal;
use pg_trickle_core::types::{Column, TypeRef};
use pgrx::pg_sys::{self, RTEKind};
use std::collections::BTreeSet;

/// Inner-joined inputs not yet combined, with the conditions met on the way.
#[derive(Default)]
struct Inputs {
    plans: Vec<Plan>,
    /// Over the concatenation of the inputs' columns.
    scope: Scope,
    conditions: Vec<Tree>,
}

impl Inputs {
    fn one(plan: Plan, mut scope: Scope) -> Inputs {
        scope.columns = plan.columns();
        Inputs { plans: vec![plan], scope, conditions: vec![] }
    }

    fn and(mut self, other: Inputs) -> Inputs {
        self.plans.extend(other.plans);
        self.scope = self.scope.concat(other.scope);
        self.conditions.extend(other.conditions);
        self
    }
}

impl Analysis {
    pub fn inputs_of(&mut self, query: &pg_sys::Query, env: &Env) -> Walked<(Plan, Scope)> {
        // SAFETY: every SELECT has a join tree.
        let tree = unsafe { &*query.jointree };
        let mut all = Inputs::default();
        for item in node::nodes(tree.fromlist) {
            all = self.after(all, query, item, env)?;
        }
        all.conditions.extend(node::qualifying_conjuncts(tree.quals));
        self.combine(all, env)
    }

    /// An item of FROM after others, to which it may refer.
    fn after(&mut self, left: Inputs, query: &pg_sys::Query, item: Tree, env: &Env) -> Walked<Inputs> {
        use pg_sys::JoinType::{JOIN_INNER, JOIN_LEFT};
        if !refers_to(query, item, &left.scope.entries()) {
            return Ok(left.and(self.item(query, item, env)?));
        }
        if let Some(join) = node::cast::<pg_sys::JoinExpr>(item)
            && matches!(join.jointype, JOIN_INNER | JOIN_LEFT)
        {
            // `A, (B LEFT JOIN C ON p)` is `(A, B) LEFT JOIN C ON p`: what B and C refer to is beside them.
            let left = self.after(left, query, join.larg, env)?;
            return self.join(left, query, join, env);
        }
        let left = self.combine(left, env)?;
        if let Some(index) = row_function(query, item) {
            let (plan, scope) = self.expand(left, query, index, None, env)?;
            return Ok(Inputs::one(plan, scope));
        }
        let right = self.item(query, item, &env.inside(&left.1))?;
        let right = self.combine(right, &env.inside(&left.1))?;
        self.dependent(DependentKind::Inner, left, right, &[], first_position(query, item), env)
    }

    /// Joins the inputs under their conditions.
    fn combine(&mut self, inputs: Inputs, env: &Env) -> Walked<(Plan, Scope)> {
        let Inputs { mut plans, scope, conditions } = inputs;
        let (nested, plain): (Vec<Tree>, Vec<Tree>) =
            conditions.into_iter().partition(|part| has_subquery(*part));
        let mut above = vec![];
        let mut across = vec![];
        for condition in plain {
            let predicate = self.expr(condition, &scope, env)?;
            match owner(&predicate, &plans) {
                Some((index, start)) if !predicate.is_correlated() => {
                    let input = std::mem::replace(&mut plans[index], unit());
                    let predicate = predicate.map_columns(|position| position - start);
                    plans[index] = Plan::Filter(Filter { input: Box::new(input), predicate });
                }
                _ if predicate.is_correlated() || predicate.columns().is_empty() => above.push(predicate),
                _ => across.push(predicate),
            }
        }
        let mut plan = match plans.len() {
            0 => unit(),
            1 => plans.remove(0),
            _ => Plan::Join(Join { inputs: plans, predicates: across }),
        };
        for predicate in above {
            plan = Plan::Filter(Filter { input: Box::new(plan), predicate });
        }
        self.filter(plan, scope, &nested, env)
    }

    /// Filters by conjuncts, which may hold subqueries.
    pub fn filter(
        &mut self,
        plan: Plan,
        mut scope: Scope,
        conditions: &[Tree],
        env: &Env,
    ) -> Walked<(Plan, Scope)> {
        let (nested, plain): (Vec<Tree>, Vec<Tree>) =
            conditions.iter().partition(|part| has_subquery(**part));
        let mut plan = plan;
        for condition in plain.into_iter().chain(nested) {
            plan = self.lift(plan, &mut scope, env, &[condition])?;
            let predicate = self.expr(condition, &scope, env)?;
            plan = Plan::Filter(Filter { input: Box::new(plan), predicate });
        }
        Ok((plan, scope))
    }

    fn item(&mut self, query: &pg_sys::Query, item: Tree, env: &Env) -> Walked<Inputs> {
        if let Some(reference) = node::cast::<pg_sys::RangeTblRef>(item) {
            return self.entry(query, reference.rtindex, env);
        }
        let join = node::cast::<pg_sys::JoinExpr>(item).ok_or_else(|| Stop::internal("item of FROM"))?;
        let left = self.item(query, join.larg, env)?;
        self.join(left, query, join, env)
    }

    /// The join of `left`, which stands for the left side of `join`, with its right side.
    fn join(
        &mut self,
        left: Inputs,
        query: &pg_sys::Query,
        join: &pg_sys::JoinExpr,
        env: &Env,
    ) -> Walked<Inputs> {
        let on = node::qualifying_conjuncts(join.quals);
        if refers_to(query, join.rarg, &left.scope.entries()) {
            let left = self.combine(left, env)?;
            let is_inner = join.jointype == pg_sys::JoinType::JOIN_INNER;
            if let Some(index) = row_function(query, join.rarg)
                && (is_inner || !on.iter().any(|condition| has_subquery(*condition)))
            {
                let outer = (!is_inner).then_some(on.as_slice());
                let (plan, scope) = self.expand(left, query, index, outer, env)?;
                let mut joined = Inputs::one(plan, scope);
                if is_inner {
                    joined.conditions = on;
                }
                return Ok(joined);
            }
            let inside = env.inside(&left.1);
            let right = self.item(query, join.rarg, &inside)?;
            let right = self.combine(right, &inside)?;
            let kind = if is_inner { DependentKind::Inner } else { DependentKind::Left };
            let position = first_position(query, join.rarg);
            return self.dependent(kind, left, right, &on, position, env);
        }
        let right = self.item(query, join.rarg, env)?;
        match join.jointype {
            pg_sys::JoinType::JOIN_INNER => {
                let mut both = left.and(right);
                both.conditions.extend(on);
                Ok(both)
            }
            pg_sys::JoinType::JOIN_LEFT => self.outer_join(OuterKind::Left, left, right, &on, env),
            pg_sys::JoinType::JOIN_RIGHT => self.outer_join(OuterKind::Left, right, left, &on, env),
            pg_sys::JoinType::JOIN_FULL => self.outer_join(OuterKind::Full, left, right, &on, env),
            _ => Err(Stop::internal("type of join")),
        }
    }

    fn outer_join(
        &mut self,
        kind: OuterKind,
        left: Inputs,
        right: Inputs,
        on: &[Tree],
        env: &Env,
    ) -> Walked<Inputs> {
        let left = self.combine(left, env)?;
        let right = self.combine(right, env)?;
        if on.iter().any(|condition| has_subquery(*condition)) {
            if kind == OuterKind::Full {
                return self.full_join(left, right, on, env);
            }
            // The condition becomes a filter of the right side evaluated for each left row, where a subquery may
            // refer to both.
            let inside = env.inside(&left.1);
            let right = self.filter_right(right, on, &inside)?;
            let position = on.iter().find_map(|condition| node::position(*condition));
            return self.dependent(DependentKind::Left, left, right, &[], position, env);
        }
        let scope = left.1.concat(right.1);
        let mut predicates = vec![];
        for condition in on {
            predicates.push(self.expr(*condition, &scope, env)?);
        }
        let position = on.first().and_then(|condition| node::position(*condition));
        let plan = Plan::OuterJoin(OuterJoin {
            kind,
            left: Box::new(left.0),
            right: Box::new(right.0),
            on: predicates,
            position,
        });
        Ok(Inputs::one(plan, scope))
    }

    /// A full join whose condition holds subqueries: the left join, and the right rows that match no left row.
    fn full_join(
        &mut self,
        left: (Plan, Scope),
        right: (Plan, Scope),
        on: &[Tree],
        env: &Env,
    ) -> Walked<Inputs> {
        let position = on.iter().find_map(|condition| node::position(*condition));
        let scope = left.1.clone().concat(right.1.clone());
        let matching = self.filter_right(right.clone(), on, &env.inside(&left.1))?;
        let matched = self.filter_right(left.clone(), on, &env.inside(&right.1))?;
        let joined = self.dependent(DependentKind::Left, left.clone(), matching, &[], position, env)?;
        let joined = self.combine(joined, env)?.0;

        let mark = right.1.columns.len();
        let marked = DependentJoin {
            kind: DependentKind::Mark,
            left: Box::new(right.0),
            right: Box::new(matched.0),
            on: vec![],
            adds: Some(Column {
                name: "matched".into(),
                ty: TypeRef::boolean(),
                nullable: false,
                fixed_scale: None,
            }),
            position,
        };
        let columns = Plan::DependentJoin(marked.clone()).columns();
        let unmatched = Plan::Filter(Filter {
            input: Box::new(Plan::DependentJoin(marked)),
            predicate: Expr::column(mark, &columns[mark]).negated(),
        });
        let absent = left.1.columns.iter().map(|column| (Expr::null(column), column.name.clone()));
        let present = columns[..mark].iter().enumerate();
        let present = present.map(|(position, column)| Expr::named(position, column));
        let exprs = absent.chain(present).collect();
        let unmatched = Plan::Project(Project { input: Box::new(unmatched), exprs });
        Ok(Inputs::one(Plan::UnionAll(UnionAll { inputs: vec![joined, unmatched] }), scope))
    }

    /// Filters the right side of an outer join; references to the left side are outer references there.
    fn filter_right(&mut self, right: (Plan, Scope), on: &[Tree], inside: &Env) -> Walked<(Plan, Scope)> {
        let visible = right.0.columns().len();
        let (plan, mut scope) = self.filter(right.0, right.1, on, inside)?;
        let columns = plan.columns();
        let exprs = columns.iter().take(visible).enumerate();
        let exprs = exprs.map(|(position, column)| Expr::named(position, column)).collect();
        scope.computed.retain(|computed| computed.position < visible);
        scope.columns.truncate(visible);
        Ok((Plan::Project(Project { input: Box::new(plan), exprs }), scope))
    }

    fn dependent(
        &mut self,
        kind: DependentKind,
        left: (Plan, Scope),
        right: (Plan, Scope),
        on: &[Tree],
        position: Option<u32>,
        env: &Env,
    ) -> Walked<Inputs> {
        if on.iter().any(|condition| has_subquery(*condition)) {
            if kind == DependentKind::Inner {
                let mut joined = self.dependent(kind, left, right, &[], position, env)?;
                joined.conditions.extend(on);
                return Ok(joined);
            }
            let right = self.filter_right(right, on, &env.inside(&left.1))?;
            return self.dependent(kind, left, right, &[], position, env);
        }
        let scope = left.1.concat(right.1);
        let mut predicates = vec![];
        for condition in on {
            predicates.push(self.expr(*condition, &scope, env)?);
        }
        let plan = Plan::DependentJoin(DependentJoin {
            kind,
            left: Box::new(left.0),
            right: Box::new(right.0),
            on: predicates,
            adds: None,
            position,
        });
        Ok(Inputs::one(plan, scope))
    }

    /// A leaf of FROM.
    fn entry(&mut self, query: &pg_sys::Query, index: i32, env: &Env) -> Walked<Inputs> {
        let entry = entry(query, index).ok_or_else(|| Stop::internal("range table index"))?;
        if !entry.securityQuals.is_null() {
            return Err(Stop::internal("row security"));
        }
        let used = env.path[env.level()].used.get(&index).cloned().unwrap_or_default();
        let (plan, numbers) = match entry.rtekind {
            RTEKind::RTE_RELATION => self.relation(entry, &used)?,
            RTEKind::RTE_SUBQUERY => {
                let subquery = node::cast::<pg_sys::Query>(entry.subquery.cast());
                let subquery = subquery.ok_or_else(|| Stop::internal("subquery entry"))?;
                // What reads no table never changes: no state is needed to keep its rounds.
                if !reads_tables(entry.subquery) && has_recursion(entry.subquery) {
                    return self.rows_of(query, index, env);
                }
                match self.subquery(subquery, env, &used) {
                    Err(Stop::Unsupported(_)) if !reads_tables(entry.subquery) => {
                        return self.rows_of(query, index, env);
                    }
                    walked => walked?,
                }
            }
            RTEKind::RTE_FUNCTION | RTEKind::RTE_TABLEFUNC => return self.rows_of(query, index, env),
            RTEKind::RTE_CTE => self.common_table(entry, env, &used)?,
            RTEKind::RTE_VALUES => self.values(entry, env, &used)?,
            _ => return Err(unsupported_entry(entry)),
        };
        let vars =
            numbers.iter().enumerate().map(|(position, number)| ((index, *number), position)).collect();
        Ok(Inputs::one(plan, Scope { vars, ..Scope::default() }))
    }

    /// A leaf of FROM that reads no table and stands for itself.
    fn rows_of(&mut self, query: &pg_sys::Query, index: i32, env: &Env) -> Walked<Inputs> {
        let (plan, scope) = self.expand((unit(), Scope::default()), query, index, None, env)?;
        Ok(Inputs::one(plan, scope))
    }

    /// A base relation, with a projection that computes its virtual generated columns if any are read.
    fn relation(&mut self, entry: &pg_sys::RangeTblEntry, used: &BTreeSet<i16>) -> Walked<(Plan, Vec<i16>)> {
        let Read { source, attnums, computed } = self.sources.read(entry, used)?;
        let columns = source.columns.clone();
        let plan = Plan::Source(source);
        if computed.is_empty() {
            return Ok((plan, attnums));
        }
        let vars = attnums.iter().enumerate().map(|(position, attnum)| ((1, *attnum), position)).collect();
        let stored = columns.iter().enumerate();
        let mut exprs: Vec<(Expr, String)> =
            stored.map(|(position, column)| Expr::named(position, column)).collect();
        let mut numbers = attnums;
        let scope = Scope { vars, computed: vec![], columns };
        for column in computed {
            exprs.push((self.expr(column.expression, &scope, &Env::default())?, column.name));
            numbers.push(column.attnum);
        }
        Ok((Plan::Project(Project { input: Box::new(plan), exprs }), numbers))
    }

    /// A subquery's plan with the numbers of its columns.
    fn subquery(
        &mut self,
        query: &pg_sys::Query,
        env: &Env,
        used: &BTreeSet<i16>,
    ) -> Walked<(Plan, Vec<i16>)> {
        let targets = node::list::<pg_sys::TargetEntry>(query.targetList);
        let visible = targets.iter().filter(|target| !target.resjunk).map(|target| target.resno);
        let reads_all = used.contains(&0)
            || !query.distinctClause.is_null()
            || !query.setOperations.is_null()
            || query.hasTargetSRFs;
        let numbers: Vec<i16> = visible.filter(|number| reads_all || used.contains(number)).collect();
        let need = match (reads_all, numbers.is_empty()) {
            (true, _) => Need::All,
            (false, true) => Need::Existence,
            (false, false) => Need::Columns(numbers.iter().copied().collect()),
        };
        Ok((self.query(query, env, &need)?, numbers))
    }

    /// A reference to a common table expression: its query, once more.
    fn common_table(
        &mut self,
        entry: &pg_sys::RangeTblEntry,
        env: &Env,
        used: &BTreeSet<i16>,
    ) -> Walked<(Plan, Vec<i16>)> {
        let level = env.level().checked_sub(entry.ctelevelsup as usize);
        let level = level.ok_or_else(|| Stop::internal("level of a common table expression"))?;
        let name = node::text(entry.ctename);
        let tables = node::list::<pg_sys::CommonTableExpr>(env.path[level].query_ref().cteList);
        let table = tables.into_iter().find(|table| node::text(table.ctename) == name);
        let table = table.ok_or_else(|| Stop::internal("name of a common table expression"))?;
        let position = u32::try_from(table.location).ok();
        if entry.self_reference {
            return self.working_table(&name, level, position, used);
        }
        if table.cterecursive {
            return self.recursive_table(table, level, env, used);
        }
        let query = node::cast::<pg_sys::Query>(table.ctequery);
        let query = query.ok_or_else(|| Stop::internal("common table expression"))?;
        let mut inside = env.clone();
        inside.path.truncate(level + 1);
        self.subquery(query, &inside, used)
    }

    /// VALUES lists: literal rows, or a union of one-row selects where a row refers to enclosing queries.
    fn values(
        &mut self,
        entry: &pg_sys::RangeTblEntry,
        env: &Env,
        used: &BTreeSet<i16>,
    ) -> Walked<(Plan, Vec<i16>)> {
        let types: Vec<(pg_sys::Oid, i32, pg_sys::Oid)> = node::oids(entry.coltypes)
            .into_iter()
            .zip(node::integers(entry.coltypmods))
            .zip(node::oids(entry.colcollations))
            .map(|((oid, typmod), collation)| (oid, typmod, collation))
            .collect();
        let numbers: Vec<i16> =
            (1..=types.len() as i16).filter(|number| used.contains(&0) || used.contains(number)).collect();
        if has_subquery(entry.values_lists.cast()) {
            return Ok((self.values_with_subqueries(entry, env, &types, &numbers)?, numbers));
        }
        let mut rows = vec![];
        for row in node::nodes(entry.values_lists) {
            let values = node::nodes(row.cast());
            let mut exprs = vec![];
            for number in &numbers {
                let index = *number as usize - 1;
                let value = retyped(values[index], types[index]);
                exprs.push(self.expr(value, &Scope::default(), env)?);
            }
            rows.push(exprs);
        }
        let names = numbers.iter().map(|number| format!("column{number}"));
        if rows.iter().flatten().any(Expr::is_correlated) {
            let inputs = rows.into_iter().map(|row| {
                let exprs = row.into_iter().zip(names.clone()).collect();
                Plan::Project(Project { input: Box::new(unit()), exprs })
            });
            return Ok((Plan::UnionAll(UnionAll { inputs: inputs.collect() }), numbers));
        }
        let columns = names.enumerate().map(|(position, name)| {
            let first = &rows[0][position];
            let same = rows.iter().all(|row| row[position].fixed_scale == first.fixed_scale);
            Column {
                name,
                ty: first.ty.clone(),
                nullable: rows.iter().any(|row| row[position].nullable),
                fixed_scale: first.fixed_scale.filter(|_| same),
            }
        });
        Ok((Plan::Values(Values { columns: columns.collect(), rows }), numbers))
    }

    /// A union of one-row selects.
    fn values_with_subqueries(
        &mut self,
        entry: &pg_sys::RangeTblEntry,
        env: &Env,
        types: &[(pg_sys::Oid, i32, pg_sys::Oid)],
        numbers: &[i16],
    ) -> Walked<Plan> {
        let mut inputs = vec![];
        for row in node::nodes(entry.values_lists) {
            let values = node::nodes(row.cast());
            let values: Vec<Tree> = numbers
                .iter()
                .map(|number| *number as usize - 1)
                .map(|index| retyped(values[index], types[index]))
                .collect();
            let mut scope = Scope::default();
            let plan = self.lift(unit(), &mut scope, env, &values)?;
            let mut exprs = vec![];
            for (value, number) in values.into_iter().zip(numbers) {
                exprs.push((self.expr(value, &scope, env)?, format!("column{number}")));
            }
            inputs.push(Plan::Project(Project { input: Box::new(plan), exprs }));
        }
        Ok(if inputs.len() == 1 { inputs.remove(0) } else { Plan::UnionAll(UnionAll { inputs }) })
    }

    /// The plan's columns converted to the given types, as the planner does beneath set operations.
    pub fn coerced(&mut self, plan: Plan, types: &[(pg_sys::Oid, i32, pg_sys::Oid)]) -> Walked<Plan> {
        let columns = plan.columns();
        if types.is_empty() {
            // Nothing of the rows counts but their number.
            return Ok(Plan::Project(Project { input: Box::new(plan), exprs: vec![] }));
        }
        let is_same = |column: &Column, ty: &(pg_sys::Oid, i32, pg_sys::Oid)| {
            (column.ty.oid, column.ty.typmod, column.ty.collation) == (ty.0.to_u32(), ty.1, ty.2.to_u32())
        };
        if columns.iter().zip(types).all(|(column, ty)| is_same(column, ty)) {
            return Ok(plan);
        }
        let vars = (0..columns.len()).map(|position| ((1, position as i16 + 1), position)).collect();
        let scope = Scope { vars, computed: vec![], columns: columns.clone() };
        let mut exprs = vec![];
        for (position, (column, ty)) in columns.iter().zip(types).enumerate() {
            let own = (column.ty.oid.into(), column.ty.typmod, column.ty.collation.into());
            let expression = retyped(deparse::slot(position + 1, own), *ty);
            exprs.push((self.expr(expression, &scope, &Env::default())?, column.name.clone()));
        }
        Ok(Plan::Project(Project { input: Box::new(plan), exprs }))
    }
}

/// The expression converted to a type, modifier and collation.
fn retyped(expression: Tree, ty: (pg_sys::Oid, i32, pg_sys::Oid)) -> Tree {
    let converted = if node::type_of(expression).0 == ty.0 {
        expression
    } else {
        parse::coerce_to_common(expression, ty.0)
    };
    if node::type_of(converted) == ty { converted } else { parse::relabel(converted, ty.0, ty.1, ty.2) }
}

/// The only input whose columns the predicate reads, with the position of its first column.
fn owner(predicate: &Expr, plans: &[Plan]) -> Option<(usize, usize)> {
    let used = predicate.columns();
    let (first, last) = (*used.first()?, *used.last()?);
    let mut start = 0;
    for (index, plan) in plans.iter().enumerate() {
        let end = start + plan.columns().len();
        if start <= first && last < end {
            return Some((index, start));
        }
        start = end;
    }
    None
}

/// True if a subquery that reads tables stands anywhere in the expression.
pub fn has_subquery(expression: Tree) -> bool {
    let mut found = false;
    node::walk(expression, &mut |part, _| {
        found |= super::as_subquery(part).is_some();
        if found { node::Walk::Skip } else { node::Walk::Into }
    });
    found
}

/// Where the first column of a FROM item's first subquery stands in the text: range table entries have no position.
pub fn first_position(query: &pg_sys::Query, item: Tree) -> Option<u32> {
    if let Some(join) = node::cast::<pg_sys::JoinExpr>(item) {
        return first_position(query, join.larg).or_else(|| first_position(query, join.rarg));
    }
    if let Some(operation) = node::cast::<pg_sys::SetOperationStmt>(item) {
        return first_position(query, operation.larg);
    }
    query_position(entry(query, node::cast::<pg_sys::RangeTblRef>(item)?.rtindex)?)
}

/// Where the first column of an entry's subquery or VALUES lists stands in the text.
pub fn query_position(entry: &pg_sys::RangeTblEntry) -> Option<u32> {
    let subquery = node::cast::<pg_sys::Query>(entry.subquery.cast());
    let target_list = subquery.map_or(entry.values_lists, |subquery| subquery.targetList);
    node::position(target_list.cast())
}

fn unsupported_entry(entry: &pg_sys::RangeTblEntry) -> Stop {
    match entry.rtekind {
        RTEKind::RTE_NAMEDTUPLESTORE => Stop::unsupported("transition table", None, Refusal::TransitionTable),
        _ => Stop::internal("range table entry"),
    }
}
