//! Front end: query text to plan, through the server's own parser, analyser and rewriter.
//!
//! The analysed tree is walked once. Scalar expressions stay the server's: they are printed with slots in place of
//! columns ([`scalar`]). Relational structure becomes a [`Plan`]: FROM and WHERE in [`from`], grouping in [`group`],
//! subqueries in expressions in [`sublink`], set operations in [`setop`], recursion in [`recursion`], what is a function of the row in [`rows`], the
//! rest of a SELECT in [`select`].

mod error;
mod from;
mod group;
mod property;
mod recursion;
mod rows;
mod scalar;
mod scope;
mod select;
mod setop;
mod source;
mod sublink;
mod time;
mod volatility;
mod window;

pub use error::AnalyzeError;

use crate::pg::node::{self, Tree};
use crate::pg::pinned::PinnedSettings;
use crate::pg::{deparse, facts, parse};
use pg_trickle_core::plan::{Plan, Project};
use pg_trickle_core::query::{Analyzed, Construct, Unsupported};
use pg_trickle_core::refusal::Refusal;
use pg_trickle_core::types::{Column, TypeRef};
use pgrx::pg_sys;
use scope::Env;
use select::Need;
use std::collections::{BTreeSet, HashMap};

/// Why the walk ended early.
pub(crate) enum Stop {
    /// The query has no plan, but can be recomputed.
    Unsupported(Unsupported),
    /// The query cannot define a stream table.
    Refused(AnalyzeError),
}

pub(crate) type Walked<T> = Result<T, Stop>;

impl Stop {
    fn unsupported(construct: &str, position: Option<u32>, reason: Refusal) -> Stop {
        Stop::Unsupported(Unsupported { construct: Construct { name: construct.into(), position }, reason })
    }

    fn internal(what: &str) -> Stop {
        Stop::Refused(AnalyzeError::Internal(what.into()))
    }

    fn system_column(attnum: i16, position: Option<u32>) -> Stop {
        let column = match attnum {
            -1 => "ctid",
            -2 => "xmin",
            -3 => "cmin",
            -4 => "xmax",
            -5 => "cmax",
            -6 => "tableoid",
            _ => "unknown",
        };
        Stop::Refused(AnalyzeError::SystemColumn { column: column.into(), position })
    }
}

/// State of one analysis.
pub(crate) struct Analysis {
    /// Names of slots start with this; it occurs nowhere in the query.
    slot_prefix: String,
    sources: source::Sources,
    types: HashMap<(u32, i32, u32), TypeRef>,
    warnings: Vec<String>,
    /// The first place that reads the time outside comparisons.
    time_at_large: Option<u32>,
    /// The recursive queries whose steps are being walked, nearest last.
    working: Vec<recursion::Working>,
    /// Subqueries built so far: common table expressions are copied to each place that reads them.
    queries_built: usize,
}

/// More subqueries than this, copies of common table expressions included, make no usable plan.
const QUERIES_MAX: usize = 500;

impl Analysis {
    fn type_ref(&mut self, oid: pg_sys::Oid, typmod: i32, collation: pg_sys::Oid) -> TypeRef {
        let key = (oid.to_u32(), typmod, collation.to_u32());
        self.types.entry(key).or_insert_with(|| facts::type_ref(oid, typmod, collation)).clone()
    }

    fn warn(&mut self, warning: &str) {
        if !self.warnings.iter().any(|known| known == warning) {
            self.warnings.push(warning.into());
        }
    }
}

/// Analyses a defining query as the current user, under the current search path.
///
/// Syntax errors, unknown names, missing permissions and everything else that the server finds wrong with the query
/// are raised by the server.
pub fn analyze(query_text: &str) -> Result<Analyzed, AnalyzeError> {
    let statement = single_select(query_text)?;
    let analyzed = parse::analyze(statement, query_text).ok_or_else(internal)?;
    check_select(analyzed)?;
    let columns = check_columns(analyzed)?;
    // A stream table sees one time per refresh.
    parse::statement_time_as_now(analyzed);
    let rewritten = parse::rewrite(analyzed).ok_or_else(internal)?;
    let planned = parse::plan(rewritten, query_text).ok_or_else(internal)?;
    parse::check_permissions(planned);

    let _pinned = PinnedSettings::for_printing();
    let text = deparse::query(analyzed);
    let rewritten_text = deparse::query(rewritten);
    let everything = source::Sources::all_of(rewritten)?;
    let mut analysis = Analysis {
        slot_prefix: slot_prefix(&[query_text, &text, &rewritten_text]),
        sources: source::Sources::default(),
        types: HashMap::new(),
        warnings: vec![],
        time_at_large: None,
        working: vec![],
        queries_built: 0,
    };
    let mut found = volatility::of_query(rewritten);
    let plan = match source::unreadable(planned) {
        Some(unsupported) => Err(unsupported),
        None => analysis.plan(rewritten, &columns, &found)?,
    };
    found.first_at(analysis.time_at_large);
    let (columns, sources, plan) = match plan {
        Ok(mut plan) => {
            let sources = std::mem::take(&mut analysis.sources).finish(&mut plan);
            (plan.columns(), sources, Ok(plan))
        }
        Err(unsupported) => {
            let declared = columns.iter().map(|(name, expression)| {
                let (oid, typmod, collation) = node::type_of(*expression);
                let ty = analysis.type_ref(oid, typmod, collation);
                let fixed_scale = property::typmod_scale(oid, typmod);
                Column { name: name.clone(), ty, nullable: true, fixed_scale }
            });
            (declared.collect(), everything.described(), Err(unsupported))
        }
    };
    Ok(Analyzed {
        text,
        columns,
        sources,
        plan,
        functions: found.functions,
        volatility: found.volatility,
        volatile_construct: found.worst,
        stable_constructs: found.stable,
        warnings: analysis.warnings,
    })
}

impl Analysis {
    /// The plan of the whole query; the inner error is a construct without one.
    fn plan(
        &mut self,
        query: &mut pg_sys::Query,
        columns: &[(String, Tree)],
        found: &volatility::Found,
    ) -> Result<Result<Plan, Unsupported>, AnalyzeError> {
        if let Some(unsupported) = found.unsupported() {
            return Ok(Err(unsupported));
        }
        match self.query(query, &Env::default(), &Need::All) {
            Ok(plan) => Ok(Ok(named(plan, columns))),
            Err(Stop::Unsupported(unsupported)) => Ok(Err(unsupported)),
            Err(Stop::Refused(refused)) => Err(refused),
        }
    }
}

/// The plan with the user's column names.
fn named(plan: Plan, columns: &[(String, Tree)]) -> Plan {
    match plan {
        Plan::Project(mut project) => {
            for ((_, name), (wanted, _)) in project.exprs.iter_mut().zip(columns) {
                wanted.clone_into(name);
            }
            Plan::Project(project)
        }
        other
            if other.columns().iter().map(|column| &column.name).eq(columns.iter().map(|(name, _)| name)) =>
        {
            other
        }
        other => {
            let own = other.columns();
            let exprs = own.iter().enumerate().zip(columns).map(|((position, column), (name, _))| {
                (pg_trickle_core::expr::Expr::column(position, column), name.clone())
            });
            Plan::Project(Project { exprs: exprs.collect(), input: Box::new(other) })
        }
    }
}

fn internal() -> AnalyzeError {
    AnalyzeError::Internal("no query".into())
}

/// A prefix for slot names that occurs in none of the texts.
fn slot_prefix(texts: &[&str]) -> String {
    let mut prefix = String::from("__c");
    while texts.iter().any(|text| text.contains(&prefix)) {
        prefix.push('c');
    }
    prefix
}

/// The only statement of the text, if it is a SELECT by its grammar.
fn single_select(text: &str) -> Result<&'static pg_sys::RawStmt, AnalyzeError> {
    let statements = parse::statements(text);
    let [statement] = statements.as_slice() else {
        return Err(AnalyzeError::StatementCount(statements.len()));
    };
    match node::cast::<pg_sys::SelectStmt>(statement.stmt) {
        Some(select) if select.intoClause.is_null() => Ok(statement),
        Some(_) => Err(AnalyzeError::SelectInto),
        None => Err(AnalyzeError::NotSelect(statement_name(statement.stmt))),
    }
}

/// `InsertStmt` to `INSERT`, `CreateStmt` to `CREATE`, for messages.
fn statement_name(statement: Tree) -> String {
    let name = node::tag_name(statement);
    let name = name.strip_suffix("Stmt").unwrap_or(&name);
    let mut words = String::new();
    for (index, letter) in name.chars().enumerate() {
        if index > 0 && letter.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(letter.to_ascii_uppercase());
    }
    words
}

/// Refuses what only looks like a plain SELECT.
fn check_select(query: &mut pg_sys::Query) -> Result<(), AnalyzeError> {
    if query.commandType != pg_sys::CmdType::CMD_SELECT {
        return Err(AnalyzeError::NotSelect("this statement".into()));
    }
    let mut refused = None;
    let mut see = |found: Tree, _: u32| {
        if let Some(cte) = node::cast::<pg_sys::CommonTableExpr>(found) {
            let modifies = node::cast::<pg_sys::Query>(cte.ctequery)
                .is_some_and(|query| query.commandType != pg_sys::CmdType::CMD_SELECT);
            if modifies {
                refused.get_or_insert(AnalyzeError::ModifyingCte(u32::try_from(cte.location).ok()));
            }
            if let Some((type_name, position)) = recursion::unreadable_mark(cte) {
                refused.get_or_insert(AnalyzeError::CycleMark { type_name, position });
            }
        }
        if node::cast::<pg_sys::Query>(found).is_some_and(|query| !query.rowMarks.is_null()) {
            refused.get_or_insert(AnalyzeError::RowLocking);
        }
        node::Walk::Into
    };
    node::walk(std::ptr::from_mut(query).cast(), &mut see);
    refused.map_or(Ok(()), Err)
}

/// The output columns with their expressions: named, distinct, of types a table can have.
fn check_columns(query: &pg_sys::Query) -> Result<Vec<(String, Tree)>, AnalyzeError> {
    let mut names = BTreeSet::new();
    let mut columns = vec![];
    let targets = node::list::<pg_sys::TargetEntry>(query.targetList);
    for (index, target) in targets.into_iter().filter(|target| !target.resjunk).enumerate() {
        let name = node::text(target.resname);
        if name.is_empty() || name == "?column?" {
            return Err(AnalyzeError::UnnamedColumn(index + 1));
        }
        if !names.insert(name.clone()) {
            return Err(AnalyzeError::DuplicateColumn(name));
        }
        let oid = node::type_of(target.expr.cast()).0;
        if facts::is_pseudo_type(oid) {
            return Err(AnalyzeError::PseudoTypeColumn {
                column: name,
                type_name: facts::type_name(oid, -1),
            });
        }
        columns.push((name, target.expr.cast()));
    }
    if columns.is_empty() { Err(AnalyzeError::NoColumns) } else { Ok(columns) }
}

/// The subquery of an expression, if the node is one that reads tables. Others are functions of the row.
fn as_subquery<'t>(found: Tree) -> Option<&'t pg_sys::SubLink> {
    node::cast::<pg_sys::SubLink>(found).filter(|link| rows::reads_tables(link.subselect.cast()))
}
