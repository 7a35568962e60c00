//! `distinct-arguments`: an aggregate over distinct arguments is an aggregate over a DISTINCT.
//!
//! ```text
//! agg(DISTINCT x) GROUP BY k  of  A   =   agg(x) GROUP BY k  of  DISTINCT k, x of A
//! ```
//!
//! Beside other calls the rows of A and of each DISTINCT are put one after another, and each call counts, by a filter, the
//! rows that are its own. So a group is there as long as A has a row of it. The rewrite is for calls that then have an
//! exact inverse; which of several equal values is shown must not matter, so numeric without a scale is left alone.

use crate::expr::Expr;
use crate::plan::{AggCall, Aggregate, Filter, Plan, Project, UnionAll};
use crate::types::{Arithmetic, Column};

/// The plan with every aggregate rewritten.
pub(super) fn split(mut plan: Plan) -> Plan {
    for child in plan.children_mut() {
        *child = split(child.clone());
    }
    match plan {
        Plan::Aggregate(aggregate) => split_aggregate(aggregate),
        other => other,
    }
}

/// What calls over one DISTINCT have in common: the argument and the filter.
type Argument = (usize, Option<usize>);

fn split_aggregate(aggregate: Aggregate) -> Plan {
    let columns = aggregate.input.columns();
    let argument = |call: &AggCall| is_separable(call, &columns).then(|| (call.args[0], call.filter));
    let mut arguments: Vec<Argument> = vec![];
    for found in aggregate.calls.iter().filter_map(argument) {
        if !arguments.contains(&found) {
            arguments.push(found);
        }
    }
    if arguments.is_empty() {
        return Plan::Aggregate(aggregate);
    }
    let has_others = aggregate.calls.iter().any(|call| argument(call).is_none());
    let shows_all_groups = aggregate.keys.is_empty() || arguments.iter().any(|(_, filter)| filter.is_none());
    let layout = Layout::new(&aggregate, &columns, arguments, has_others || !shows_all_groups);
    let calls = aggregate.calls.iter().map(|call| layout.call(call, argument(call))).collect();
    let keys = aggregate.keys.iter().map(|&key| layout.position(key)).collect();
    let mut inputs = layout.branches(&aggregate);
    let input = if inputs.len() == 1 { inputs.remove(0) } else { Plan::UnionAll(UnionAll { inputs }) };
    Plan::Aggregate(Aggregate { input: Box::new(input), keys, calls })
}

/// A call with one DISTINCT argument that, over a DISTINCT, is maintained by an exact inverse.
fn is_separable(call: &AggCall, columns: &[Column]) -> bool {
    let [arg] = call.args.as_slice() else { return false };
    if !call.distinct || call.within_group || call.variadic {
        return false;
    }
    let column = &columns[*arg];
    let is_number = match column.ty.arithmetic {
        Arithmetic::Integer => true,
        Arithmetic::Numeric => column.fixed_scale.is_some(),
        Arithmetic::Float | Arithmetic::None => false,
    };
    match call.function.builtin.as_deref() {
        Some("count") => column.ty.ordered && column.ty.is_storable(),
        Some(
            "sum" | "avg" | "variance" | "var_samp" | "var_pop" | "stddev" | "stddev_samp" | "stddev_pop",
        ) => is_number,
        Some("bit_xor") => column.ty.arithmetic == Arithmetic::Integer,
        _ => false,
    }
}

/// The columns of the rows put one after another: the used columns of the input, one column per DISTINCT argument, one
/// boolean per kind of row, and one per filter of the other calls.
struct Layout {
    columns: Vec<Column>,
    /// The columns of the input that are kept, ascending.
    used: Vec<usize>,
    arguments: Vec<Argument>,
    /// Filters of the other calls.
    filters: Vec<Option<usize>>,
    /// The rows of the input itself are among them.
    with_rows: bool,
}

impl Layout {
    fn new(aggregate: &Aggregate, columns: &[Column], arguments: Vec<Argument>, with_rows: bool) -> Layout {
        let mut used = aggregate.keys.clone();
        let mut filters = vec![];
        for call in aggregate.calls.iter().filter(|call| !is_separable(call, columns)) {
            used.extend(&call.args);
            used.extend(call.order_by.iter().map(|key| key.column));
            used.extend(call.direct_args.iter().flat_map(Expr::columns));
            if !filters.contains(&call.filter) {
                filters.push(call.filter);
            }
        }
        used.sort_unstable();
        used.dedup();
        Layout { columns: columns.to_vec(), used, arguments, filters, with_rows }
    }

    /// Where a column of the input is.
    fn position(&self, column: usize) -> usize {
        self.used.partition_point(|&used| used < column)
    }

    /// The call over the rows put one after another.
    fn call(&self, call: &AggCall, argument: Option<Argument>) -> AggCall {
        let arguments = self.used.len();
        let marks = arguments + self.arguments.len();
        let mut moved = call.clone();
        if let Some(argument) = argument {
            let index = self.arguments.iter().position(|known| *known == argument).unwrap_or_default();
            moved.args = vec![arguments + index];
            moved.order_by = vec![];
            moved.distinct = false;
            moved.filter = (self.arguments.len() > 1 || self.with_rows).then_some(marks + index);
            return moved;
        }
        let filter = self.filters.iter().position(|known| *known == call.filter).unwrap_or_default();
        moved.filter = Some(marks + self.arguments.len() + filter);
        moved.args.iter_mut().for_each(|arg| *arg = self.position(*arg));
        moved.order_by.iter_mut().for_each(|key| key.column = self.position(key.column));
        moved.direct_args =
            call.direct_args.iter().map(|expr| expr.map_columns(|column| self.position(column))).collect();
        moved
    }

    fn branches(&self, aggregate: &Aggregate) -> Vec<Plan> {
        let mut branches = vec![];
        if self.with_rows {
            let column = |position: usize| Some(Expr::column(position, &self.columns[position]));
            let filters = self.filters.iter().map(|filter| match filter {
                None => Expr::boolean(true),
                Some(filter) => Expr::column(*filter, &self.columns[*filter]),
            });
            branches.push(self.branch((*aggregate.input).clone(), column, None, filters.collect()));
        }
        for (index, (arg, filter)) in self.arguments.iter().enumerate() {
            let input = aggregate.input.clone();
            let input = match filter {
                None => input,
                Some(filter) => {
                    let predicate = Expr::column(*filter, &self.columns[*filter]);
                    Box::new(Plan::Filter(Filter { input, predicate }))
                }
            };
            let mut keys = aggregate.keys.clone();
            if !keys.contains(arg) {
                keys.push(*arg);
            }
            let place = |column: usize| keys.iter().position(|&key| key == column);
            let column = |position: usize| {
                let found = place(position).filter(|_| aggregate.keys.contains(&position))?;
                Some(Expr::column(found, &self.columns[position]))
            };
            let value = Expr::column(place(*arg).unwrap_or_default(), &self.columns[*arg]);
            let distinct = Plan::Aggregate(Aggregate { input, keys: keys.clone(), calls: vec![] });
            let nothing = vec![Expr::boolean(false); self.filters.len()];
            branches.push(self.branch(distinct, column, Some((index, value)), nothing));
        }
        branches
    }

    /// One kind of rows: `column` says what a column of the input is, NULL if nothing; `argument` which DISTINCT
    /// argument they are rows of.
    fn branch(
        &self,
        input: Plan,
        column: impl Fn(usize) -> Option<Expr>,
        argument: Option<(usize, Expr)>,
        filters: Vec<Expr>,
    ) -> Plan {
        let columns = self.used.iter().map(|&position| {
            let expr = column(position).unwrap_or_else(|| Expr::null(&self.columns[position]));
            (expr, self.columns[position].name.clone())
        });
        let is_own = |index: usize| argument.as_ref().is_some_and(|(own, _)| *own == index);
        let arguments = self.arguments.iter().enumerate().map(|(index, (arg, _))| {
            let expr = argument.as_ref().filter(|_| is_own(index)).map(|(_, value)| value.clone());
            (expr.unwrap_or_else(|| Expr::null(&self.columns[*arg])), self.columns[*arg].name.clone())
        });
        let marks = (0..self.arguments.len()).map(|index| (Expr::boolean(is_own(index)), "own".to_owned()));
        let filters = filters.into_iter().map(|filter| (filter, "counts".to_owned()));
        let exprs = columns.chain(arguments).chain(marks).chain(filters).collect();
        Plan::Project(Project { input: Box::new(input), exprs })
    }
}
