//! Plans of linear and bilinear operators to blocks of SQL.
//!
//! A plan lowers to a union of flat blocks, so that a join delta reaches the planner as flat joins over base tables and
//! in-memory relations, which it may reorder freely. A part that reads only `New` state has blocks of weight 1.

use super::identity::consolidate;
use super::order::{Order, owners};
use super::probe;
use super::select::{Block, FromItem, union_all};
use super::{WEIGHT, column_name, list, quote};
use crate::expr::{Expr, Moment, Piece, Time};
use crate::plan::{
    DeltaOf, Expand, Flip, Join, OuterJoin, OuterKind, Plan, Round, RowSource, SemiJoin, Values,
};
use crate::query::SourceInfo;
use crate::types::{SourceId, StageId};

/// Where the leaves of a plan are to be found.
pub trait Relations {
    fn source(&self, source: SourceId) -> &SourceInfo;
    /// The stored copy that is read in place of a source.
    fn copy_of(&self, _source: SourceId, _alias: &str) -> Option<StoredRelation> {
        None
    }
    /// The output of a stage, read from its state under `alias`.
    fn stored(&self, stage: StageId, alias: &str) -> StoredRelation;
    /// The rows of all rounds of a recursion before the change, each with its round; without a stage, the rows of the
    /// round before.
    fn rounds(&self, round: &Round, alias: &str) -> StoredRelation;
    /// The name of the relation that holds a change.
    fn delta_name(&self, of: DeltaOf) -> String;
}

/// How to read the output of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRelation {
    pub relation: String,
    pub columns: Vec<String>,
    /// An `int8` expression that says how often each row counts; None is once.
    pub multiplicity: Option<String>,
}

/// A plan that the caller should have normalised or cut into stages first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotLowerable(pub &'static str);

/// Old states of one join that are read without consolidation, which costs something for every row that probes one.
const UNCONSOLIDATED_MAX: usize = 2;

pub struct Lowering<'a> {
    relations: &'a dyn Relations,
    aliases: usize,
}

impl<'a> Lowering<'a> {
    pub fn new(relations: &'a dyn Relations) -> Self {
        Lowering { relations, aliases: 0 }
    }

    pub fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    /// The plan as a union of blocks; no block means the empty relation.
    pub fn lower(&mut self, plan: &Plan) -> Result<Vec<Block>, NotLowerable> {
        Ok(match plan {
            Plan::Source(source) => {
                let info = self.relations.source(source.source);
                let alias = self.alias();
                if let Some(copy) = self.relations.copy_of(source.source, &alias) {
                    let columns = source.ordinals.iter().map(|&ordinal| copy.columns[ordinal].clone());
                    let columns = columns.collect();
                    return Ok(vec![self.stored(StoredRelation { columns, ..copy }, alias)]);
                }
                let column =
                    |&ordinal: &usize| format!("{alias}.{}", quote(&info.columns[ordinal].column.name));
                vec![Block {
                    columns: source.ordinals.iter().map(column).collect(),
                    from: vec![FromItem::Plain { relation: info.name.clone(), alias: alias.clone() }],
                    ..Block::default()
                }]
            }
            Plan::Stored(stored) => {
                let alias = self.alias();
                let relation = self.relations.stored(stored.stage, &alias);
                vec![self.stored(relation, alias)]
            }
            Plan::Round(round) => {
                let alias = self.alias();
                let relation = self.relations.rounds(round, &alias);
                let from = vec![FromItem::Plain { relation: relation.relation, alias }];
                let weight = relation.multiplicity.into_iter().collect();
                vec![Block { from, columns: relation.columns, weight, ..Block::default() }]
            }
            Plan::Delta(delta) => {
                let alias = self.alias();
                let column = |&ordinal: &usize| format!("{alias}.{}", column_name(ordinal));
                vec![Block {
                    columns: delta.ordinals.iter().map(column).collect(),
                    weight: vec![format!("{alias}.{WEIGHT}")],
                    from: vec![FromItem::Plain {
                        relation: self.relations.delta_name(delta.of),
                        alias: alias.clone(),
                    }],
                    ..Block::default()
                }]
            }
            Plan::Values(values) => self.values(values),
            Plan::Filter(filter) => {
                let mut blocks = self.lower(&filter.input)?;
                for block in &mut blocks {
                    block.conditions.push(substitute(&filter.predicate, &block.columns));
                }
                blocks
            }
            Plan::Project(project) => {
                let mut blocks = self.lower(&project.input)?;
                for block in &mut blocks {
                    block.columns =
                        project.exprs.iter().map(|(expr, _)| substitute(expr, &block.columns)).collect();
                }
                blocks
            }
            Plan::Join(join) => self.join(join)?,
            Plan::OuterJoin(join) => vec![self.outer_join(join)?],
            Plan::SemiJoin(join) => self.semi_join(join)?,
            Plan::Expand(expand) => {
                let mut blocks = self.lower(&expand.input)?;
                for block in &mut blocks {
                    self.expand(expand, block);
                }
                blocks
            }
            Plan::Repeat(repeat) => {
                let mut blocks = self.lower(&repeat.input)?;
                for block in &mut blocks {
                    let count = substitute(&repeat.count, &block.columns);
                    if block.is_plain() {
                        block.from.push(self.copies(&count));
                    } else {
                        block.weight.push(count);
                    }
                }
                blocks
            }
            Plan::UnionAll(union) => {
                let mut blocks = vec![];
                for input in &union.inputs {
                    blocks.extend(self.lower(input)?);
                }
                blocks
            }
            Plan::Negate(input) => {
                let mut blocks = self.lower(input)?;
                for block in &mut blocks {
                    block.weight.push("(-1)::pg_catalog.int8".to_owned());
                }
                blocks
            }
            Plan::Old(old) => {
                let mut blocks = self.lower(&old.new)?;
                blocks.extend(self.lower(&Plan::Negate(old.delta.clone()))?);
                blocks
            }
            Plan::Flip(flip) => self.flip(flip)?,
            Plan::Aggregate(_) => return Err(NotLowerable("aggregate")),
            Plan::SetOp(_) => return Err(NotLowerable("set operation")),
            Plan::Recursive(_) => return Err(NotLowerable("recursive query")),
            Plan::TopK(_) => return Err(NotLowerable("top-k")),
            Plan::Window(_) => return Err(NotLowerable("window function")),
            Plan::DependentJoin(_) => return Err(NotLowerable("dependent join")),
        })
    }

    /// A stored relation, each row as often as it counts.
    fn stored(&mut self, relation: StoredRelation, alias: String) -> Block {
        let mut from = vec![FromItem::Plain { relation: relation.relation, alias }];
        from.extend(relation.multiplicity.map(|multiplicity| self.copies(&multiplicity)));
        Block { from, columns: relation.columns, ..Block::default() }
    }

    /// An item of FROM that repeats what stands before it.
    fn copies(&mut self, count: &str) -> FromItem {
        let relation = format!("LATERAL pg_catalog.generate_series(1::pg_catalog.int8, {count})");
        FromItem::Plain { relation, alias: self.alias() }
    }

    /// Adds the rows that belong to each row of `block`, as a lateral item after its own items. The outer form stands in
    /// a subquery of its own: null-extension then concerns nothing but this item.
    fn expand(&mut self, expand: &Expand, block: &mut Block) {
        let item = match &expand.rows {
            RowSource::Functions { calls, ordinality } => {
                let calls = list(calls.iter().map(|call| substitute(call, &block.columns)));
                format!("ROWS FROM ({calls}){}", if *ordinality { " WITH ORDINALITY" } else { "" })
            }
            RowSource::Item(item) => substitute(item, &block.columns),
        };
        let names = || (0..expand.columns.len()).map(column_name);
        let alias = self.alias();
        let of = |alias: &str| names().map(|name| format!("{alias}.{name}")).collect::<Vec<_>>();
        let relation = match &expand.left {
            None => format!("LATERAL {item}"),
            Some(on) => {
                let (one, inner) = (self.alias(), self.alias());
                let columns: Vec<String> = block.columns.iter().cloned().chain(of(&inner)).collect();
                let on = on.iter().map(|condition| substitute(condition, &columns)).collect::<Vec<_>>();
                let on = if on.is_empty() { "true".to_owned() } else { on.join(" AND ") };
                format!(
                    "LATERAL (SELECT {} FROM (SELECT) AS {one} LEFT JOIN {item} AS {inner} ({}) ON ({on}))",
                    list(of(&inner)),
                    list(names())
                )
            }
        };
        block.columns.extend(of(&alias));
        let names = if expand.columns.is_empty() { String::new() } else { format!(" ({})", list(names())) };
        block.from.push(FromItem::Plain { relation, alias: format!("{alias}{names}") });
    }

    /// The plan as one block: itself if it has one, else a subquery over the union.
    pub fn single(&mut self, plan: &Plan) -> Result<Block, NotLowerable> {
        let mut blocks = self.lower(plan)?;
        if blocks.len() == 1 {
            return Ok(blocks.remove(0));
        }
        Ok(self.subquery(&blocks, plan.columns().len()))
    }

    /// Blocks as one derived table.
    fn subquery(&mut self, blocks: &[Block], width: usize) -> Block {
        let weighted = blocks.iter().any(|block| !block.is_plain());
        let alias = self.alias();
        Block {
            columns: (0..width).map(|column| format!("{alias}.{}", column_name(column))).collect(),
            weight: if weighted { vec![format!("{alias}.{WEIGHT}")] } else { vec![] },
            from: vec![FromItem::Plain { relation: format!("({})", union_all(blocks, weighted)), alias }],
            ..Block::default()
        }
    }

    fn values(&mut self, values: &Values) -> Vec<Block> {
        let row = |row: &Vec<Expr>| row.iter().map(|expr| substitute(expr, &[])).collect::<Vec<_>>();
        if let [only] = values.rows.as_slice() {
            return vec![Block { columns: row(only), ..Block::default() }];
        }
        values.rows.iter().map(|literal| Block { columns: row(literal), ..Block::default() }).collect()
    }

    fn join(&mut self, join: &Join) -> Result<Vec<Block>, NotLowerable> {
        let order = Order::new(join);
        let mut joined = Block { follows_change: order.follows_change(), ..Block::default() };
        let mut placed: Vec<Option<Vec<String>>> = vec![None; join.inputs.len()];
        let mut pending = join.predicates.clone();
        while let Some(next) = order.next(&placed) {
            if matches!(join.inputs[next], Plan::Old(_)) {
                self.place_old(join, next, &mut placed, &mut pending, &mut joined)?;
                continue;
            }
            let block = self.single(&join.inputs[next])?;
            joined.from.extend(block.from);
            joined.conditions.extend(block.conditions);
            joined.weight.extend(block.weight);
            placed[next] = Some(block.columns);
        }
        joined.columns = placed.into_iter().flatten().flatten().collect();
        for predicate in &pending {
            let condition = substitute(predicate, &joined.columns);
            joined.conditions.push(condition);
        }
        Ok(vec![joined])
    }

    /// Places an old state as a lateral item that probes the new state by index and takes the change back. A plain
    /// append would lose the index path, so the change is fenced and the conditions stand inside
    /// (`design-review.md` 4.1, 4.2).
    ///
    /// A row that came with the change stands in it twice, with opposite weights, so `k` of them would let through `2^k`
    /// rows that cancel in the end. All but the first few are consolidated for each row before them.
    fn place_old(
        &mut self,
        join: &Join,
        index: usize,
        placed: &mut [Option<Vec<String>>],
        pending: &mut Vec<Expr>,
        joined: &mut Block,
    ) -> Result<(), NotLowerable> {
        let Plan::Old(old) = &join.inputs[index] else { return Ok(()) };
        let mut arms = self.lower(&old.new)?;
        let mut fenced = self.single(&Plan::Negate(old.delta.clone()))?;
        let alias = self.alias();
        let inner = self.alias();
        let width = old.new.columns().len();
        let names = |alias: &str| {
            (0..width).map(|column| format!("{alias}.{}", column_name(column))).collect::<Vec<_>>()
        };
        // What does not concern this input stays outside the fence: inside, the inputs before it would meet as a cross
        // product first.
        for predicate in reachable(join, placed, pending) {
            joined.conditions.push(substitute(&predicate, &concatenation(join, placed)));
        }
        placed[index] = Some(names(&inner));
        let predicates = reachable(join, placed, pending);
        let columns = concatenation(join, placed);
        let first = owners(join).partition_point(|&owner| owner < index);
        let of_change = |column: usize| column.checked_sub(first).filter(|&column| column < width);
        let met = probe::meets(&predicates, &columns, &fenced, of_change);
        fenced.conditions.extend(met);
        let conditions: Vec<String> =
            predicates.iter().map(|predicate| substitute(predicate, &columns)).collect();
        let conditions = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        arms.iter_mut().for_each(|arm| {
            if arm.is_plain() {
                arm.weight.push("1::pg_catalog.int8".to_owned());
            }
        });
        let outputs = list(names(&inner).into_iter().chain([format!("{inner}.{WEIGHT}")]));
        let rows = format!(
            "SELECT {outputs} FROM ({} UNION ALL ({} OFFSET 0)) {inner}{conditions}",
            union_all(&arms, true),
            fenced.select(true),
        );
        let olds = placed.iter().zip(&join.inputs);
        let olds = olds.filter(|(placed, input)| placed.is_some() && matches!(input, Plan::Old(_)));
        let rows = if olds.count() > UNCONSOLIDATED_MAX {
            consolidate(&old.new.columns(), &rows)
        } else {
            format!("{rows} OFFSET 0")
        };
        joined.from.push(FromItem::Plain { relation: format!("LATERAL ({rows})"), alias: alias.clone() });
        joined.weight.push(format!("{alias}.{WEIGHT}"));
        placed[index] = Some(names(&alias));
        Ok(())
    }

    /// An outer join of new states. A side that may be NULL-extended must be plain, and so must the other: the rows of a
    /// left join have the weight of their left row, whatever is on the right.
    fn outer_join(&mut self, join: &OuterJoin) -> Result<Block, NotLowerable> {
        let left = self.join_side(&join.left)?;
        let right = self.join_side(&join.right)?;
        if !right.is_plain() || (join.kind == OuterKind::Full && !left.is_plain()) {
            return Err(NotLowerable("outer join of changes"));
        }
        let columns: Vec<String> = left.columns.iter().chain(&right.columns).cloned().collect();
        let on = join.on.iter().map(|predicate| substitute(predicate, &columns)).collect::<Vec<_>>();
        let on = if on.is_empty() { "true".to_owned() } else { on.join(" AND ") };
        let keyword = match join.kind {
            OuterKind::Left => "LEFT",
            OuterKind::Full => "FULL",
        };
        let text = format!("({} {keyword} JOIN {} ON ({on}))", item_text(&left), item_text(&right));
        Ok(Block { from: vec![FromItem::Joined(text)], columns, weight: left.weight, ..Block::default() })
    }

    /// One side of an outer join: a single FROM item whose columns are plain references.
    fn join_side(&mut self, plan: &Plan) -> Result<Block, NotLowerable> {
        let block = self.single(plan)?;
        if block.from.len() == 1
            && block.conditions.is_empty()
            && block.columns.iter().all(|column| is_reference(column))
        {
            return Ok(block);
        }
        Ok(self.subquery(&[block], plan.columns().len()))
    }

    fn semi_join(&mut self, join: &SemiJoin) -> Result<Vec<Block>, NotLowerable> {
        let mut blocks = self.lower(&join.left)?;
        for block in &mut blocks {
            match &*join.right {
                Plan::Old(old) => {
                    let matches = self.bounded_matches(block, &old.new, &old.delta, &join.on)?;
                    let compare = if join.anti { "" } else { "NOT " };
                    block.conditions.push(format!("{compare}{}", matches.none_before()));
                }
                right => {
                    let exists = self.exists(&block.columns, right, &join.on)?;
                    block.conditions.push(if join.anti { format!("NOT {exists}") } else { exists });
                }
            }
        }
        Ok(blocks)
    }

    /// A condition: some row of `right` matches a row with `left` columns.
    fn exists(&mut self, left: &[String], right: &Plan, on: &[Expr]) -> Result<String, NotLowerable> {
        let mut right = self.single(right)?;
        let columns = concatenated(left, &right);
        right.conditions.extend(on.iter().map(|predicate| substitute(predicate, &columns)));
        if right.is_plain() {
            return Ok(format!("EXISTS (SELECT 1{})", right.from_where()));
        }
        let (weight, from_where) = (right.weight_sql(), right.from_where());
        Ok(format!("coalesce((SELECT pg_catalog.sum({weight}){from_where}), 0) > 0"))
    }

    /// Adds two lateral items to `block`: the net weight `s` of the matches in `delta` and the number `n` of matches in
    /// `new`, counted no further than `s + 1` (`design-review.md` 5.2).
    fn bounded_matches(
        &mut self,
        block: &mut Block,
        new: &Plan,
        delta: &Plan,
        on: &[Expr],
    ) -> Result<Matches, NotLowerable> {
        let mut changed = self.single(delta)?;
        let net = self.alias();
        let outside = block.columns.len();
        let columns = concatenated(&block.columns, &changed);
        let met = probe::meets(on, &columns, &changed, |column| column.checked_sub(outside));
        changed.conditions.extend(met);
        let sum = correlated(changed, &block.columns, on, |changed| {
            let weight = changed.weight_sql();
            format!(
                "SELECT coalesce(pg_catalog.sum({weight}), 0)::pg_catalog.int8 AS s{}",
                changed.from_where()
            )
        });
        block.from.push(FromItem::Plain { relation: format!("LATERAL ({sum})"), alias: net.clone() });
        let present = self.single(new)?;
        let count = self.alias();
        let counted = correlated(present, &block.columns, on, |present| {
            format!(
                "SELECT pg_catalog.count(*) AS n FROM (SELECT 1{} LIMIT greatest({net}.s, 0) + 1) z",
                present.from_where()
            )
        });
        block.from.push(FromItem::Plain { relation: format!("LATERAL ({counted})"), alias: count.clone() });
        Ok(Matches { net: format!("{net}.s"), count: format!("{count}.n") })
    }

    /// See [`Flip`]. With equality conditions the flips are found from the distinct keys of the delta; without a flip
    /// no row of the left side is read.
    fn flip(&mut self, flip: &Flip) -> Result<Vec<Block>, NotLowerable> {
        let width = flip.left.columns().len();
        let keys: Vec<(usize, usize)> = flip.on.iter().filter_map(|on| key_pair(on, width)).collect();
        if !keys.is_empty() && keys.len() == flip.on.len() {
            return Ok(vec![self.flip_by_key(flip, &keys)?]);
        }
        let mut block = self.single(&flip.left)?;
        if !keys.is_empty() {
            let delta = self.single(&flip.delta)?;
            let alias = self.alias();
            let distinct = keys.iter().map(|(_, right)| &delta.columns[*right]).enumerate();
            let distinct = list(distinct.map(|(index, sql)| format!("{sql} AS {}", column_name(index))));
            let relation = format!("(SELECT DISTINCT {distinct}{})", delta.from_where());
            for (index, (left, _)) in keys.iter().enumerate() {
                block.conditions.push(format!("{} = {alias}.{}", block.columns[*left], column_name(index)));
            }
            block.from.insert(0, FromItem::Plain { relation, alias });
        }
        let matches = self.bounded_matches(&mut block, &flip.right, &flip.delta, &flip.on)?;
        block.conditions.push(matches.flips());
        block.weight.push(matches.flip());
        Ok(vec![block])
    }

    fn flip_by_key(&mut self, flip: &Flip, keys: &[(usize, usize)]) -> Result<Block, NotLowerable> {
        let delta = self.single(&flip.delta)?;
        let key_columns: Vec<&String> = keys.iter().map(|(_, right)| &delta.columns[*right]).collect();
        let outputs =
            key_columns.iter().enumerate().map(|(index, sql)| format!("{sql} AS {}", column_name(index)));
        let net = format!("pg_catalog.sum({})::pg_catalog.int8 AS s", delta.weight_sql());
        let mut not_null = delta.clone();
        // A composite key with a NULL field matches; IS NOT NULL would not say that it is there.
        not_null.conditions.extend(key_columns.iter().map(|sql| format!("{sql} IS DISTINCT FROM NULL")));
        // By position: a key that is a constant number would be taken for one.
        let positions = (1..=keys.len()).map(|position| position.to_string());
        let grouped = format!(
            "(SELECT {}{} GROUP BY {} HAVING pg_catalog.sum({}) <> 0)",
            list(outputs.chain([net])),
            not_null.from_where(),
            list(positions),
            delta.weight_sql()
        );
        let group = self.alias();
        let mut present = self.single(&flip.right)?;
        for (index, (_, right)) in keys.iter().enumerate() {
            present.conditions.push(format!("{} = {group}.{}", present.columns[*right], column_name(index)));
        }
        let counted = format!(
            "LATERAL (SELECT pg_catalog.count(*) AS n FROM (SELECT 1{} LIMIT greatest({group}.s, 0) + 1) z)",
            present.from_where()
        );
        let count = self.alias();
        let matches = Matches { net: format!("{group}.s"), count: format!("{count}.n") };
        let mut flips = Block {
            from: vec![
                FromItem::Plain { relation: grouped, alias: group.clone() },
                FromItem::Plain { relation: counted, alias: count },
            ],
            conditions: vec![matches.flips()],
            columns: (0..keys.len()).map(|index| format!("{group}.{}", column_name(index))).collect(),
            weight: vec![matches.flip()],
            ..Block::default()
        };
        let mut block = self.single(&flip.left)?;
        for (index, (left, _)) in keys.iter().enumerate() {
            flips.conditions.push(format!("{} = {group}.{}", block.columns[*left], column_name(index)));
        }
        flips.from.append(&mut block.from);
        flips.conditions.append(&mut block.conditions);
        flips.weight.append(&mut block.weight);
        flips.columns = block.columns;
        Ok(flips)
    }
}

/// Takes the conditions out of `pending` whose columns are all placed and that were not reachable before.
fn reachable(join: &Join, placed: &[Option<Vec<String>>], pending: &mut Vec<Expr>) -> Vec<Expr> {
    let owners = owners(join);
    pending
        .extract_if(.., |predicate| {
            predicate.columns().iter().all(|&column| placed[owners[column]].is_some())
        })
        .collect()
}

/// The columns of all inputs; those of inputs not placed yet are empty and must not be referred to.
fn concatenation(join: &Join, placed: &[Option<Vec<String>>]) -> Vec<String> {
    let inputs = join.inputs.iter().zip(placed);
    inputs
        .flat_map(|(input, columns)| {
            columns.clone().unwrap_or_else(|| vec![String::new(); input.columns().len()])
        })
        .collect()
}

/// Names of the two numbers that decide existence before and after.
struct Matches {
    /// Net weight of the matches in the delta.
    net: String,
    /// Matches after the change, counted up to `net + 1`.
    count: String,
}

impl Matches {
    /// No match before: `s >= 0` and exactly `s` matches now.
    fn none_before(&self) -> String {
        format!("({net} >= 0 AND {count} = {net})", net = self.net, count = self.count)
    }

    /// Existence differs. With `s = 0` it cannot.
    fn flips(&self) -> String {
        format!(
            "{net} <> 0 AND ({before}) <> ({count} = 0)",
            net = self.net,
            before = self.none_before(),
            count = self.count
        )
    }

    /// +1 where matches appear, -1 where they vanish.
    fn flip(&self) -> String {
        format!("(CASE WHEN {} = 0 THEN -1 ELSE 1 END)::pg_catalog.int8", self.count)
    }
}

/// The condition's columns (left position, right position) if it equates a left with a right column.
fn key_pair(on: &Expr, width: usize) -> Option<(usize, usize)> {
    match on.equality()? {
        (Piece::Column(left), Piece::Column(right)) if *left < width && *right >= width => {
            Some((*left, right - width))
        }
        (Piece::Column(right), Piece::Column(left)) if *left < width && *right >= width => {
            Some((*left, right - width))
        }
        _ => None,
    }
}

/// Renders a subquery over `inner` whose conditions `on` also see `outer` columns.
fn correlated(
    mut inner: Block,
    outer: &[String],
    on: &[Expr],
    render: impl FnOnce(&Block) -> String,
) -> String {
    let columns = concatenated(outer, &inner);
    inner.conditions.extend(on.iter().map(|predicate| substitute(predicate, &columns)));
    render(&inner)
}

/// The columns that a condition over an outer row and a block's row ranges over.
fn concatenated(outer: &[String], inner: &Block) -> Vec<String> {
    outer.iter().chain(&inner.columns).cloned().collect()
}

fn item_text(block: &Block) -> String {
    match &block.from[0] {
        FromItem::Plain { relation, alias } => format!("{relation} AS {alias}"),
        FromItem::Joined(text) => text.clone(),
    }
}

/// The expression's text with its slots filled by `columns`.
pub fn substitute(expr: &Expr, columns: &[String]) -> String {
    let bare = expr.pieces.len() == 1;
    let mut text = String::new();
    for piece in &expr.pieces {
        match piece {
            Piece::Text(part) => text += part,
            Piece::Time(time) => text += &time_text(time),
            Piece::Column(position) => {
                let column = &columns[*position];
                // A whole-row or field selection after a bare reference stays valid; anything composed is fenced.
                if bare || is_reference(column) { text += column } else { text += &format!("({column})") }
            }
            // Normalisation removes dependent joins, so no outer reference reaches SQL; an impossible name makes a
            // violation fail in the parser instead of reading a wrong column.
            Piece::Outer(depth, position) => text += &format!("pgtrickle_outer_{depth}.c{position}"),
        }
    }
    text
}

/// Both times are functions, so the planner sees their values and knows how little lies between them.
fn time_text(time: &Time) -> String {
    match time {
        Time::Read(Moment::Now) => "pg_catalog.now()".to_owned(),
        Time::Read(Moment::Then) => "pgtrickle.frontier_time()".to_owned(),
        Time::Open => "(".to_owned(),
        Time::Operator { operator, .. } => format!(" {operator} "),
        Time::Close => ")".to_owned(),
    }
}

/// True for `alias.column`. A bare word or number is a constant, which an outer join must not show in the place of NULL.
fn is_reference(sql: &str) -> bool {
    sql.split_once('.').is_some_and(|(alias, _)| alias.starts_with(|c: char| c.is_ascii_alphabetic()))
        && sql.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '"'))
}
