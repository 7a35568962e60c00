//! WITH RECURSIVE: base and step, and the working table between them.
//!
//! The rewriter has turned SEARCH and CYCLE into further columns by the time the query is walked. A path of rows, which is
//! an array of records and no column of a table, is kept as one array per column of the rows ([`Slot::Path`]).

use super::scope::{Env, Level, entry, used_columns};
use super::select::{Need, prepare};
use super::setop::{ColumnType, column_types};
use super::{Analysis, Stop, Walked};
use crate::pg::node::{self, Tree};
use crate::pg::{facts, parse};
use pg_trickle_core::expr::{Expr, Piece, Shape};
use pg_trickle_core::plan::{Plan, Project, Recursive, Round};
use pg_trickle_core::refusal::Refusal;
use pg_trickle_core::types::{Column, TypeRef, Volatility};
use pgrx::pg_sys;
use std::collections::BTreeSet;
use std::rc::Rc;

/// The recursive query whose step is being walked.
pub struct Working {
    /// The query level whose WITH defines it.
    level: usize,
    name: String,
    /// The numbers of the columns that are kept, and these as the step reads them.
    numbers: Vec<i16>,
    columns: Vec<Column>,
    slots: Vec<Slot>,
    /// Columns that the step reads and that are not kept so far.
    missing: BTreeSet<i16>,
}

/// How a column of a recursive query is kept.
#[derive(Clone)]
enum Slot {
    AsItIs,
    /// An array of records, as one array for each of their fields.
    Path(Vec<Field>),
}

/// A field of the records of a path: its type, and that of an array of it.
#[derive(Clone)]
struct Field {
    ty: TypeRef,
    array: TypeRef,
}

impl Analysis {
    /// A reference to a recursive query from outside of it, of which `used` are the columns read: its plan with the
    /// numbers of the plan's columns.
    pub fn recursive_table(
        &mut self,
        table: &pg_sys::CommonTableExpr,
        level: usize,
        env: &Env,
        used: &BTreeSet<i16>,
    ) -> Walked<(Plan, Vec<i16>)> {
        let walk = RecursiveQuery::of(self, table, level, env)?;
        let mut needed = walk.needed_at_least(used);
        let plan = loop {
            match walk.plan(self, &needed)? {
                Walk::Done(plan) => break *plan,
                Walk::Missing(missing) => needed.extend(missing),
            }
        };
        let numbers: Vec<i16> = needed.into_iter().collect();
        Ok((walk.shown(plan, &numbers), numbers))
    }

    /// The reference of a recursive query to itself.
    pub fn working_table(
        &mut self,
        name: &str,
        level: usize,
        position: Option<u32>,
        used: &BTreeSet<i16>,
    ) -> Walked<(Plan, Vec<i16>)> {
        let working =
            self.working.last_mut().filter(|working| working.level == level && working.name == name);
        let Some(working) = working else {
            return Err(Stop::unsupported(
                &format!("recursive query {name}"),
                position,
                Refusal::RecursionWithin,
            ));
        };
        let wanted = used.iter().copied().filter(|number| *number > 0);
        working.missing.extend(wanted.filter(|number| !working.numbers.contains(number)));
        let round = Plan::Round(Round { of: None, columns: working.columns.clone() });
        Ok((unpacked(round, &working.slots), working.numbers.clone()))
    }
}

/// A recursive query while it is walked.
struct RecursiveQuery<'t> {
    level: usize,
    name: String,
    position: Option<u32>,
    query: &'t pg_sys::Query,
    operation: &'t pg_sys::SetOperationStmt,
    env: Env,
    names: Vec<String>,
    types: Vec<ColumnType>,
    /// For each column.
    slots: Vec<Slot>,
}

/// What came of a walk that took some columns to be enough.
enum Walk {
    Done(Box<Plan>),
    /// The step reads these too.
    Missing(BTreeSet<i16>),
}

impl<'t> RecursiveQuery<'t> {
    fn of(
        analysis: &mut Analysis,
        table: &'t pg_sys::CommonTableExpr,
        level: usize,
        env: &Env,
    ) -> Walked<RecursiveQuery<'t>> {
        let original = node::cast::<pg_sys::Query>(table.ctequery);
        let query = prepare(original.ok_or_else(|| Stop::internal("recursive query"))?, &Need::All)?;
        let mut env = env.clone();
        env.path.truncate(level + 1);
        env.path.push(Level { query: std::ptr::from_mut(query), used: Rc::new(used_columns(query)) });
        let query = &*query;
        let operation = node::cast::<pg_sys::SetOperationStmt>(query.setOperations);
        let operation = operation.ok_or_else(|| Stop::internal("recursive query without UNION"))?;
        let names: Vec<String> = node::nodes(table.ctecolnames)
            .into_iter()
            .map(|name| parse::string(name).unwrap_or_default())
            .collect();
        let mut walk = RecursiveQuery {
            level,
            name: node::text(table.ctename),
            position: u32::try_from(table.location).ok(),
            query,
            operation,
            env,
            slots: vec![],
            names,
            types: column_types(operation),
        };
        walk.slots = walk.find_slots(analysis, table)?;
        Ok(walk)
    }

    fn refused(&self, reason: Refusal) -> Stop {
        Stop::unsupported(&format!("recursive query {}", self.name), self.position, reason)
    }

    /// The paths among the columns.
    fn find_slots(&self, analysis: &mut Analysis, table: &pg_sys::CommonTableExpr) -> Walked<Vec<Slot>> {
        let mut slots = vec![Slot::AsItIs; self.types.len()];
        // SAFETY: the clauses are null or nodes of the tree.
        let (search, cycle) = unsafe { (table.search_clause.as_ref(), table.cycle_clause.as_ref()) };
        let search = search.map(|clause| (node::text(clause.search_seq_column), clause.search_col_list));
        let cycle = cycle.map(|clause| (node::text(clause.cycle_path_column), clause.cycle_col_list));
        for (column, of) in search.into_iter().chain(cycle) {
            let position = |name: &String| self.names.iter().position(|known| known == name);
            let Some(place) =
                position(&column).filter(|&place| self.types[place].0 == pg_sys::RECORDARRAYOID)
            else {
                continue;
            };
            let fields = node::nodes(of).into_iter().filter_map(parse::string);
            let fields = fields.map(|name| {
                let (oid, typmod, collation) = self.types[position(&name)?];
                let array = facts::array_of_scalars(oid)?;
                let ty = analysis.type_ref(oid, typmod, collation);
                Some(Field { ty, array: analysis.type_ref(array, -1, collation) })
            });
            match fields.collect::<Option<Vec<Field>>>() {
                Some(fields) => slots[place] = Slot::Path(fields),
                None => {
                    return Err(self.refused(Refusal::RecursionPath));
                }
            }
        }
        Ok(slots)
    }

    /// UNION tells rows apart by all columns. A recursion of no column is one of all.
    fn needed_at_least(&self, used: &BTreeSet<i16>) -> BTreeSet<i16> {
        let all: BTreeSet<i16> = (1..=self.types.len() as i16).collect();
        let is_split = [self.operation.larg, self.operation.rarg].into_iter().all(|side| {
            self.subquery(side).is_some_and(|query| {
                query.distinctClause.is_null() && query.setOperations.is_null() && !query.hasTargetSRFs
            })
        });
        if !self.operation.all || !is_split || used.contains(&0) || used.is_empty() {
            all
        } else {
            used.clone()
        }
    }

    /// The operand, if it is a query of its own.
    fn subquery(&self, side: Tree) -> Option<&'t pg_sys::Query> {
        let reference = node::cast::<pg_sys::RangeTblRef>(side)?;
        node::cast(entry(self.query, reference.rtindex)?.subquery.cast())
    }

    fn is_whole(&self, needed: &BTreeSet<i16>) -> bool {
        needed.len() == self.types.len()
    }

    /// One side with the needed columns, of the types of the recursive query.
    fn side(&self, analysis: &mut Analysis, side: Tree, needed: &BTreeSet<i16>) -> Walked<Plan> {
        let plan = match self.subquery(side).filter(|_| !self.is_whole(needed)) {
            Some(query) => analysis.query(query, &self.env, &Need::Columns(needed.clone()))?,
            None => analysis.operand(self.query, side, &self.env)?,
        };
        let types: Vec<ColumnType> = needed.iter().map(|&number| self.types[number as usize - 1]).collect();
        analysis.coerced(plan, &types)
    }

    /// The recursion over the columns that are needed, as it is kept.
    fn plan(&self, analysis: &mut Analysis, needed: &BTreeSet<i16>) -> Walked<Walk> {
        let slots = self.slots_of(needed);
        let records = [pg_sys::RECORDOID, pg_sys::RECORDARRAYOID];
        let is_kept = |(number, slot): (&i16, &Slot)| {
            matches!(slot, Slot::Path(_)) || !records.contains(&self.types[*number as usize - 1].0)
        };
        if !needed.iter().zip(&slots).all(is_kept) {
            return Err(self.refused(Refusal::RecursionRecord));
        }
        let base = packed(self.side(analysis, self.operation.larg, needed)?, &slots);
        let mut columns = base.columns();
        loop {
            analysis.working.push(Working {
                level: self.level,
                name: self.name.clone(),
                numbers: needed.iter().copied().collect(),
                columns: columns.clone(),
                slots: slots.clone(),
                missing: BTreeSet::new(),
            });
            let step = self.side(analysis, self.operation.rarg, needed);
            let missing = analysis.working.pop().map(|working| working.missing).unwrap_or_default();
            if !missing.is_empty() {
                return Ok(Walk::Missing(missing));
            }
            let step = packed(step?, &slots);
            // What is promised of the rows of a round must be true of those of every round.
            let wider = widened(&columns, &step.columns());
            if wider == columns {
                let (base, step) = (Box::new(base), Box::new(step));
                let (name, position) = (self.name.clone(), self.position);
                let all = self.operation.all;
                let recursive = Recursive { all, base, step, name, position };
                return Ok(Walk::Done(Box::new(Plan::Recursive(recursive))));
            }
            columns = wider;
        }
    }

    fn slots_of<'n>(&self, numbers: impl IntoIterator<Item = &'n i16>) -> Vec<Slot> {
        numbers.into_iter().map(|&number| self.slots[number as usize - 1].clone()).collect()
    }

    /// The rows of the recursion with their columns as the query has them.
    fn shown(&self, plan: Plan, numbers: &[i16]) -> Plan {
        unpacked(plan, &self.slots_of(numbers))
    }
}

/// The columns of both, with what is true of the rows of both.
fn widened(columns: &[Column], others: &[Column]) -> Vec<Column> {
    let both = columns.iter().zip(others);
    both.map(|(column, other)| Column {
        nullable: column.nullable || other.nullable,
        fixed_scale: column.fixed_scale.filter(|_| column.fixed_scale == other.fixed_scale),
        ..column.clone()
    })
    .collect()
}

/// A plan of the query's columns as the columns that are kept.
fn packed(plan: Plan, slots: &[Slot]) -> Plan {
    if slots.iter().all(|slot| matches!(slot, Slot::AsItIs)) {
        return plan;
    }
    let columns = plan.columns();
    let mut exprs = vec![];
    for (position, (column, slot)) in columns.iter().zip(slots).enumerate() {
        let value = Expr::column(position, column);
        match slot {
            Slot::AsItIs => exprs.push((value, column.name.clone())),
            Slot::Path(fields) => {
                let definition: Vec<String> = fields
                    .iter()
                    .enumerate()
                    .map(|(index, field)| format!("f{index} {}", field.ty.definition()))
                    .collect();
                let definition = definition.join(", ");
                for (index, field) in fields.iter().enumerate() {
                    let pieces = vec![
                        Piece::Text(format!("(ARRAY(SELECT x.f{index} FROM pg_catalog.unnest(")),
                        Piece::Column(position),
                        Piece::Text(format!(") AS x({definition})))")),
                    ];
                    exprs.push((array(pieces, &field.array), format!("{}_{index}", column.name)));
                }
            }
        }
    }
    Plan::Project(Project { input: Box::new(plan), exprs })
}

/// The inverse of [`packed`].
fn unpacked(plan: Plan, slots: &[Slot]) -> Plan {
    if slots.iter().all(|slot| matches!(slot, Slot::AsItIs)) {
        return plan;
    }
    let columns = plan.columns();
    let mut exprs = vec![];
    let mut position = 0;
    for slot in slots {
        let name = columns[position].name.clone();
        let Slot::Path(fields) = slot else {
            exprs.push((Expr::column(position, &columns[position]), name));
            position += 1;
            continue;
        };
        let names: Vec<String> = (0..fields.len()).map(|index| format!("f{index}")).collect();
        let row: Vec<String> = names.iter().map(|name| format!("x.{name}")).collect();
        let mut pieces = vec![Piece::Text(format!("(ARRAY(SELECT ROW({}) FROM ROWS FROM (", row.join(", ")))];
        for index in 0..fields.len() {
            let before = if index == 0 { "pg_catalog.unnest(" } else { "), pg_catalog.unnest(" };
            pieces.extend([Piece::Text(before.to_owned()), Piece::Column(position + index)]);
        }
        pieces.push(Piece::Text(format!(")) AS x({})))", names.join(", "))));
        let ty = facts::type_ref(pg_sys::RECORDARRAYOID, -1, pg_sys::Oid::INVALID);
        exprs.push((array(pieces, &ty), name));
        position += fields.len();
    }
    Plan::Project(Project { input: Box::new(plan), exprs })
}

fn array(pieces: Vec<Piece>, ty: &TypeRef) -> Expr {
    Expr {
        pieces,
        ty: ty.clone(),
        volatility: Volatility::Immutable,
        nullable: false,
        strict: false,
        fixed_scale: None,
        shape: Shape::Opaque,
    }
}

/// The type of the mark of a CYCLE clause whose values the server prints with a cast, which its grammar does not allow
/// there, so that neither a view nor a dump can have it.
pub fn unreadable_mark(table: &pg_sys::CommonTableExpr) -> Option<(String, Option<u32>)> {
    // SAFETY: the clause is null or a node of the tree.
    let cycle = unsafe { table.cycle_clause.as_ref() }?;
    let is_readable = [pg_sys::BOOLOID, pg_sys::INT4OID].contains(&cycle.cycle_mark_type);
    let type_name = || facts::type_name(cycle.cycle_mark_type, -1);
    (!is_readable).then(|| (type_name(), u32::try_from(cycle.location).ok()))
}

/// True if a recursive query is defined anywhere in the query.
pub fn has_recursion(query: *mut pg_sys::Query) -> bool {
    let mut found = false;
    node::walk_query(query, &mut |part, _| {
        found |= node::cast::<pg_sys::CommonTableExpr>(part).is_some_and(|table| table.cterecursive);
        if found { node::Walk::Skip } else { node::Walk::Into }
    });
    found
}
