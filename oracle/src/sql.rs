//! Plans as queries a user could write, for random tests on a server.
//!
//! Every node becomes one `SELECT` over derived tables with columns `c0`, `c1` and so on; correlated subqueries stay
//! correlated. This has nothing to do with how `pg_trickle_core` renders programs: what it makes of such a query is what
//! is tested. Where SQL leaves the order of rows open, it is made total over all columns.

use pg_trickle_core::expr::{Expr, Moment, Piece, SortKey, Time};
use pg_trickle_core::plan::*;
use pg_trickle_core::types::{Column, SourceId};

/// The time is a number in the interpreter: on a server, a small one that changes with every second, and not always
/// upwards.
const NOW: &str = "((EXTRACT(epoch FROM now()))::int8 % 9 - 4)::int4";

/// A query for `plan`; `table` names the base relations, whose columns have the names of `columns` of that relation.
pub fn query(plan: &Plan, table: &dyn Fn(SourceId) -> (String, Vec<Column>)) -> String {
    Writer { table, outer: vec![], recursions: vec![], aliases: 0 }.query(plan)
}

struct Writer<'a> {
    table: &'a dyn Fn(SourceId) -> (String, Vec<Column>),
    /// Aliases of the enclosing dependent joins' left sides, nearest last.
    outer: Vec<String>,
    /// Names of the enclosing recursive queries, nearest last.
    recursions: Vec<String>,
    aliases: usize,
}

/// The derived tables an expression's columns come from: alias and number of columns, in order.
type Inputs<'a> = &'a [(String, usize)];

impl Writer<'_> {
    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("x{}", self.aliases)
    }

    /// The plan as a derived table: SQL for FROM, and its alias with the number of columns.
    fn derived(&mut self, plan: &Plan) -> (String, (String, usize)) {
        let (query, alias) = (self.query(plan), self.alias());
        (format!("({query}) AS {alias}"), (alias, plan.columns().len()))
    }

    fn query(&mut self, plan: &Plan) -> String {
        match plan {
            Plan::Source(source) => {
                let (table, columns) = (self.table)(source.source);
                let alias = self.alias();
                let items =
                    source.ordinals.iter().map(|&ordinal| format!("{alias}.{}", columns[ordinal].name));
                format!("SELECT {} FROM {table} AS {alias}", named(items))
            }
            Plan::Values(values) => self.values(values),
            Plan::Filter(filter) => {
                let (from, input) = self.derived(&filter.input);
                let predicate = self.expr(&filter.predicate, std::slice::from_ref(&input));
                format!("SELECT {} FROM {from} WHERE {predicate}", all(&[input]))
            }
            Plan::Project(project) => {
                let (from, input) = self.derived(&project.input);
                let input = [input];
                let items = project.exprs.iter().map(|(expr, _)| self.expr(expr, &input));
                format!("SELECT {} FROM {from}", named(items))
            }
            Plan::Join(join) => {
                let derived: Vec<_> = join.inputs.iter().map(|input| self.derived(input)).collect();
                let (from, inputs): (Vec<String>, Vec<_>) = derived.into_iter().unzip();
                let on = self.conditions(&join.predicates, &inputs);
                format!("SELECT {} FROM {} WHERE {on}", all(&inputs), from.join(", "))
            }
            Plan::OuterJoin(join) => {
                let ((left, left_input), (right, right_input)) =
                    (self.derived(&join.left), self.derived(&join.right));
                let inputs = [left_input, right_input];
                let on = self.conditions(&join.on, &inputs);
                let kind = if join.kind == OuterKind::Left { "LEFT" } else { "FULL" };
                format!("SELECT {} FROM {left} {kind} JOIN {right} ON {on}", all(&inputs))
            }
            Plan::SemiJoin(join) => {
                let ((left, left_input), (right, right_input)) =
                    (self.derived(&join.left), self.derived(&join.right));
                let on = self.conditions(&join.on, &[left_input.clone(), right_input]);
                let not = if join.anti { "NOT " } else { "" };
                let exists = format!("{not}EXISTS (SELECT 1 FROM {right} WHERE {on})");
                format!("SELECT {} FROM {left} WHERE {exists}", all(&[left_input]))
            }
            Plan::Aggregate(aggregate) => self.aggregate(aggregate),
            Plan::SetOp(set_op) => {
                let kind = match set_op.kind {
                    SetOpKind::Union => "UNION",
                    SetOpKind::Intersect => "INTERSECT",
                    SetOpKind::Except => "EXCEPT",
                };
                let all = if set_op.all { " ALL" } else { "" };
                format!("({}) {kind}{all} ({})", self.query(&set_op.left), self.query(&set_op.right))
            }
            Plan::UnionAll(union) => {
                let inputs: Vec<String> =
                    union.inputs.iter().map(|input| format!("({})", self.query(input))).collect();
                inputs.join(" UNION ALL ")
            }
            Plan::Recursive(recursive) => self.recursive(recursive),
            Plan::Round(round) => {
                let name = self.recursions.last().expect("a round stands in a recursion").clone();
                format!("SELECT {} FROM {name}", all(&[(name.clone(), round.columns.len())]))
            }
            Plan::TopK(top) => self.top_k(top),
            Plan::Expand(expand) => self.expand(expand),
            Plan::Repeat(repeat) => {
                let (from, input) = self.derived(&repeat.input);
                let input = [input];
                let count = self.expr(&repeat.count, &input);
                format!("SELECT {} FROM {from}, LATERAL generate_series(1, {count})", all(&input))
            }
            Plan::Window(window) => self.window(window),
            Plan::DependentJoin(join) => self.dependent_join(join),
            Plan::Stored(_) | Plan::Delta(_) | Plan::Negate(_) | Plan::Old(_) | Plan::Flip(_) => {
                unreachable!("a user's query reads no state and no change")
            }
        }
    }

    fn recursive(&mut self, recursive: &Recursive) -> String {
        let (name, base) = (self.alias(), self.query(&recursive.base));
        self.recursions.push(name.clone());
        let step = self.query(&recursive.step);
        self.recursions.pop();
        let width = recursive.base.columns().len();
        let columns: Vec<String> = (0..width).map(|column| format!("c{column}")).collect();
        let union = if recursive.all { "UNION ALL" } else { "UNION" };
        let columns = columns.join(", ");
        let items = all(&[(name.clone(), width)]);
        format!("WITH RECURSIVE {name} ({columns}) AS (({base}) {union} ({step})) SELECT {items} FROM {name}")
    }

    fn values(&mut self, values: &Values) -> String {
        let types = values.columns.iter().map(|column| format!("NULL::{}", column.ty.name));
        let mut queries = vec![format!("SELECT {} WHERE false", named(types))];
        for row in &values.rows {
            let items = row.iter().map(|expr| self.expr(expr, &[]));
            queries.push(format!("SELECT {}", named(items)));
        }
        queries.join(" UNION ALL ")
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> String {
        let (from, input) = self.derived(&aggregate.input);
        let column = |&position: &usize| format!("{}.c{position}", input.0);
        let keys: Vec<String> = aggregate.keys.iter().map(column).collect();
        if aggregate.calls.is_empty() {
            return format!("SELECT DISTINCT {} FROM {from}", named(keys));
        }
        let calls: Vec<String> = aggregate.calls.iter().map(|call| aggregate_call(call, &input.0)).collect();
        let group_by = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
        format!("SELECT {} FROM {from}{group_by}", named(keys.into_iter().chain(calls)))
    }

    fn top_k(&mut self, top: &TopK) -> String {
        let (from, input) = self.derived(&top.input);
        let alias = &input.0;
        let mut order: Vec<String> = top.order.iter().map(|key| sort_key(key, alias)).collect();
        if !top.with_ties {
            order.extend((0..input.1).map(|column| format!("{alias}.c{column}")));
        }
        let order = order.join(", ");
        let bound = |expr: &Option<Expr>| expr.as_ref().map(|expr| self.expr(expr, &[]));
        let (limit, offset) = (bound(&top.limit), bound(&top.offset));
        let items = all(std::slice::from_ref(&input));
        let partition: Vec<String> =
            top.partition.iter().map(|column| format!("{alias}.c{column}")).collect();
        if partition.is_empty() {
            let offset = offset.map(|offset| format!(" OFFSET ({offset})")).unwrap_or_default();
            let limit = match limit {
                None => String::new(),
                Some(limit) if top.with_ties => format!(" FETCH FIRST ({limit}) ROWS WITH TIES"),
                Some(limit) => format!(" LIMIT ({limit})"),
            };
            return format!("SELECT {items} FROM {from} ORDER BY {order}{offset}{limit}");
        }
        let is_first = limit.as_deref() == Some("(1::pg_catalog.int8)") && offset.is_none() && !top.with_ties;
        let partition = partition.join(", ");
        if is_first {
            return format!(
                "SELECT DISTINCT ON ({partition}) {items} FROM {from} ORDER BY {partition}, {order}"
            );
        }
        let function = if top.with_ties { "rank" } else { "row_number" };
        let offset = offset.unwrap_or_else(|| "0".to_owned());
        let until = limit.map(|limit| format!(" AND r.n <= {offset} + {limit}")).unwrap_or_default();
        let columns = named((0..input.1).map(|column| format!("r.c{column}")));
        format!(
            "SELECT {columns} FROM (SELECT {items}, {function}() OVER (PARTITION BY {partition} ORDER BY {order}) AS n \
             FROM {from}) AS r WHERE r.n > {offset}{until}"
        )
    }

    fn expand(&mut self, expand: &Expand) -> String {
        let (from, input) = self.derived(&expand.input);
        let alias = self.alias();
        let inputs = [input.clone(), (alias.clone(), expand.columns.len())];
        let item = match &expand.rows {
            RowSource::Functions { calls, ordinality } => {
                let calls: Vec<String> =
                    calls.iter().map(|call| self.expr(call, std::slice::from_ref(&input))).collect();
                let calls = calls.join(", ");
                format!("ROWS FROM ({calls}){}", if *ordinality { " WITH ORDINALITY" } else { "" })
            }
            RowSource::Item(item) => self.expr(item, std::slice::from_ref(&input)),
        };
        let names: Vec<String> = (0..expand.columns.len()).map(|column| format!("c{column}")).collect();
        let item = format!("LATERAL {item} AS {alias} ({})", names.join(", "));
        match &expand.left {
            None => format!("SELECT {} FROM {from}, {item}", all(&inputs)),
            Some(on) => {
                let on = self.conditions(on, &inputs);
                format!("SELECT {} FROM {from} LEFT JOIN {item} ON {on}", all(&inputs))
            }
        }
    }

    fn window(&mut self, window: &Window) -> String {
        let (from, input) = self.derived(&window.input);
        let alias = input.0.clone();
        let columns = (0..input.1).map(|column| format!("{alias}.c{column}"));
        let mut order: Vec<String> = window.order.iter().map(|key| sort_key(key, &alias)).collect();
        if depends_on_row_order(window) {
            order.extend(columns.clone());
        }
        let partition: Vec<String> =
            window.partition.iter().map(|column| format!("{alias}.c{column}")).collect();
        let clause = |words: &str, items: &[String]| match items {
            [] => String::new(),
            items => format!("{words} {} ", items.join(", ")),
        };
        let over = clause("PARTITION BY", &partition) + &clause("ORDER BY", &order);
        let inputs = [input];
        let calls = window.calls.iter().map(|call| {
            let args: Vec<String> = call.args.iter().map(|arg| self.expr(arg, &inputs)).collect();
            let args = if call.star { "*".to_owned() } else { args.join(", ") };
            let filter = call.filter.as_ref().map(|filter| self.expr(filter, &inputs));
            let filter = filter.map(|filter| format!(" FILTER (WHERE {filter})")).unwrap_or_default();
            let frame = self.frame(&call.frame);
            format!("{}({args}){filter} OVER ({over}{frame})", call.function.name)
        });
        format!("SELECT {} FROM {from}", named(columns.chain(calls)))
    }

    fn frame(&self, frame: &Frame) -> String {
        let mode = match frame.mode {
            FrameMode::Rows => "ROWS",
            FrameMode::Range => "RANGE",
            FrameMode::Groups => "GROUPS",
        };
        let bound = |bound: &FrameBound| match bound {
            FrameBound::UnboundedPreceding => "UNBOUNDED PRECEDING".to_owned(),
            FrameBound::Preceding(offset) => format!("{} PRECEDING", self.expr(offset, &[])),
            FrameBound::CurrentRow => "CURRENT ROW".to_owned(),
            FrameBound::Following(offset) => format!("{} FOLLOWING", self.expr(offset, &[])),
            FrameBound::UnboundedFollowing => "UNBOUNDED FOLLOWING".to_owned(),
        };
        let exclude = match frame.exclude {
            FrameExclusion::Nothing => "NO OTHERS",
            FrameExclusion::CurrentRow => "CURRENT ROW",
            FrameExclusion::Group => "GROUP",
            FrameExclusion::Ties => "TIES",
        };
        format!("{mode} BETWEEN {} AND {} EXCLUDE {exclude}", bound(&frame.start), bound(&frame.end))
    }

    fn dependent_join(&mut self, join: &DependentJoin) -> String {
        let (left, left_input) = self.derived(&join.left);
        self.outer.push(left_input.0.clone());
        let (right, right_input) = self.derived(&join.right);
        let right_query = right.rsplit_once(" AS ").map_or(right.as_str(), |(query, _)| query);
        self.outer.pop();
        let inputs = [left_input.clone(), right_input.clone()];
        let columns = all(std::slice::from_ref(&left_input));
        let added = format!("AS c{}", left_input.1);
        match join.kind {
            DependentKind::Inner => {
                let on = self.conditions(&join.on, &inputs);
                format!("SELECT {} FROM {left}, LATERAL {right} WHERE {on}", all(&inputs))
            }
            DependentKind::Left => {
                let on = self.conditions(&join.on, &inputs);
                format!("SELECT {} FROM {left} LEFT JOIN LATERAL {right} ON {on}", all(&inputs))
            }
            DependentKind::Mark if join.on.is_empty() => {
                format!("SELECT {columns}, EXISTS {right_query} {added} FROM {left}")
            }
            DependentKind::Mark => {
                // `x = ANY (..)` where the only condition is an equality of one column of each side, else the
                // three-valued condition itself.
                let on: Vec<String> = join.on.iter().map(|on| self.expr(on, &inputs)).collect();
                let test = match self.equality_sides(&join.on, &inputs) {
                    Some((left, right_column)) => {
                        format!("{left} = ANY (SELECT {right_column} FROM {right})")
                    }
                    None => format!("true = ANY (SELECT ({}) FROM {right})", on.join(" AND ")),
                };
                format!("SELECT {columns}, ({test}) {added} FROM {left}")
            }
            DependentKind::Scalar => format!("SELECT {columns}, {right_query} {added} FROM {left}"),
            DependentKind::Array => format!("SELECT {columns}, ARRAY{right_query} {added} FROM {left}"),
        }
    }

    /// The operands of a single equality between a left and a right column.
    fn equality_sides(&self, on: &[Expr], inputs: Inputs) -> Option<(String, String)> {
        let [on] = on else { return None };
        let (Piece::Column(first), Piece::Column(second)) = on.equality()? else { return None };
        let width = inputs[0].1;
        (*first < width && *second >= width).then(|| (column(*first, inputs), column(*second, inputs)))
    }

    fn conditions(&self, conditions: &[Expr], inputs: Inputs) -> String {
        if conditions.is_empty() {
            return "true".to_owned();
        }
        let conditions: Vec<String> = conditions.iter().map(|each| self.expr(each, inputs)).collect();
        conditions.join(" AND ")
    }

    fn expr(&self, expr: &Expr, inputs: Inputs) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Time(Time::Read(Moment::Now)) => NOW.to_owned(),
            Piece::Time(Time::Read(Moment::Then)) => unreachable!("only a change looks back in time"),
            Piece::Time(Time::Open) => "(".to_owned(),
            Piece::Time(Time::Operator { operator, .. }) => format!(" {operator} "),
            Piece::Time(Time::Close) => ")".to_owned(),
            Piece::Column(position) => column(*position, inputs),
            Piece::Outer(depth, position) => {
                format!("{}.c{position}", self.outer[self.outer.len() - *depth as usize])
            }
        };
        expr.pieces.iter().map(piece).collect()
    }
}

/// True if rows that tie may have different results. Generated windows are such that a total order then has the same
/// meaning as theirs (`generate::window`).
fn depends_on_row_order(window: &Window) -> bool {
    let depends = |call: &WindowCall| {
        let function = call.function.builtin.as_deref();
        let is_of_rows = matches!(
            function,
            Some(
                "row_number"
                    | "ntile"
                    | "lag"
                    | "lead"
                    | "first_value"
                    | "last_value"
                    | "nth_value"
                    | "array_agg"
            )
        );
        is_of_rows || call.frame.mode == FrameMode::Rows
    };
    window.calls.iter().any(depends)
}

fn column(position: usize, inputs: Inputs) -> String {
    let mut rest = position;
    for (alias, width) in inputs {
        if rest < *width {
            return format!("{alias}.c{rest}");
        }
        rest -= width;
    }
    unreachable!("an expression uses a column its inputs do not have")
}

/// Items with the names `c0`, `c1` and so on.
fn named(items: impl IntoIterator<Item = String>) -> String {
    let named: Vec<String> =
        items.into_iter().enumerate().map(|(index, item)| format!("{item} AS c{index}")).collect();
    named.join(", ")
}

/// All columns of the inputs, renamed in order.
fn all(inputs: Inputs) -> String {
    named(
        inputs.iter().flat_map(|(alias, width)| (0..*width).map(move |column| format!("{alias}.c{column}"))),
    )
}

fn sort_key(key: &SortKey, alias: &str) -> String {
    let direction = if key.descending { "DESC" } else { "ASC" };
    let nulls = if key.nulls_first { "FIRST" } else { "LAST" };
    format!("{alias}.c{} {direction} NULLS {nulls}", key.column)
}

fn aggregate_call(call: &AggCall, alias: &str) -> String {
    let args: Vec<String> = call.args.iter().map(|arg| format!("{alias}.c{arg}")).collect();
    let mut order: Vec<String> = call.order_by.iter().map(|key| sort_key(key, alias)).collect();
    // An array shows the order of its elements, so it has to be total.
    if call.function.builtin.as_deref() == Some("array_agg") && !(call.distinct && !order.is_empty()) {
        order.extend(args.iter().cloned());
    }
    let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
    let filter = call.filter.map(|filter| format!(" FILTER (WHERE {alias}.c{filter})")).unwrap_or_default();
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let args = if args.is_empty() { "*".to_owned() } else { args.join(", ") };
    format!("{}({distinct}{args}{order}){filter}", call.function.name)
}
