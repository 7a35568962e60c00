//! The relational plan: one enum, small structs, columns by position.
//!
//! A plan denotes a Z-set. Leaves read the state after the change ([`Plan::Source`], [`Plan::Stored`]) or a change
//! itself ([`Plan::Delta`], weights of either sign). Row identity is byte equality of all columns; NULL equals NULL.
//! Join conditions follow SQL: a condition that is not true does not match.

mod derive;
pub mod text;
mod walk;

use crate::expr::{Expr, SortKey};
use crate::types::{Column, FunctionRef, SourceId, StageId, TypeRef};
use serde::{Deserialize, Serialize};

pub use derive::Keys;

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Plan {
    Source(Source),
    Stored(Stored),
    Delta(Delta),
    Values(Values),
    Filter(Filter),
    Project(Project),
    Join(Join),
    OuterJoin(OuterJoin),
    SemiJoin(SemiJoin),
    Aggregate(Aggregate),
    SetOp(SetOp),
    UnionAll(UnionAll),
    Recursive(Recursive),
    Round(Round),
    TopK(TopK),
    Expand(Expand),
    Repeat(Repeat),
    Window(Window),
    DependentJoin(DependentJoin),
    /// Weights with the opposite sign.
    Negate(Box<Plan>),
    Old(Old),
    Flip(Flip),
}

/// A base relation at the refresh's snapshot, every row with weight 1 (duplicates allowed).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    pub source: SourceId,
    /// For each output column, the index into [`crate::query::SourceInfo::columns`].
    pub ordinals: Vec<usize>,
    pub columns: Vec<Column>,
    /// Sets of output positions that are unique and not NULL-safe-duplicated (see `design-review.md` 13.4).
    pub keys: Vec<Vec<usize>>,
}

/// The output of a stage, read from its state after the stage has applied the change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stored {
    pub stage: StageId,
    pub columns: Vec<Column>,
    pub keys: Vec<Vec<usize>>,
}

/// A change, consolidated, in a named relation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Delta {
    pub of: DeltaOf,
    /// For each output column, the position in the named relation.
    pub ordinals: Vec<usize>,
    pub columns: Vec<Column>,
}

/// Which change a [`Delta`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DeltaOf {
    Source(SourceId),
    Stage(StageId),
    /// The delta of a subplan that several terms use, computed once.
    Shared(u32),
    /// The change of one round of a recursion: its columns, then the number of the round.
    Round(StageId),
}

/// Literal rows; `rows[i]` has one expression without columns per output column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Values {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Expr>>,
}

/// Rows for which `predicate` is true.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Filter {
    pub input: Box<Plan>,
    pub predicate: Expr,
}

/// Bag projection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Project {
    pub input: Box<Plan>,
    /// Expressions over the input's columns with the name of the output column.
    pub exprs: Vec<(Expr, String)>,
}

/// n-ary inner join; output is the concatenation of the inputs' columns, weights multiply.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Join {
    pub inputs: Vec<Plan>,
    /// Conditions over the concatenation.
    pub predicates: Vec<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OuterKind {
    Left,
    Full,
}

/// LEFT or FULL join; output is left columns then right columns, the null-extended side nullable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OuterJoin {
    pub kind: OuterKind,
    pub left: Box<Plan>,
    pub right: Box<Plan>,
    pub on: Vec<Expr>,
    /// Offset in the query text, for messages.
    pub position: Option<u32>,
}

/// Left rows with (`anti`: without) a matching right row; output is the left columns with the left weight.
///
/// The number of matches is the sum of the right weights, so the node is also right over an old state written as
/// `New - Delta`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SemiJoin {
    pub anti: bool,
    pub left: Box<Plan>,
    pub right: Box<Plan>,
    /// Conditions over left columns then right columns.
    pub on: Vec<Expr>,
}

/// GROUP BY `keys` (grouping equality, NULLs equal). Without keys: exactly one row, also for empty input.
/// Output is the key columns then one column per call. DISTINCT is an aggregate of all columns without calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Aggregate {
    pub input: Box<Plan>,
    pub keys: Vec<usize>,
    pub calls: Vec<AggCall>,
}

/// One aggregate call; arguments are columns of the input.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AggCall {
    pub function: FunctionRef,
    /// Direct arguments of an ordered-set aggregate (before WITHIN GROUP): expressions over grouping columns of the
    /// input, evaluated once per group.
    pub direct_args: Vec<Expr>,
    /// Arguments; empty for `count(*)`. For an ordered-set aggregate these are the sort expressions.
    pub args: Vec<usize>,
    pub distinct: bool,
    /// `FILTER (WHERE column)`: a boolean column of the input.
    pub filter: Option<usize>,
    pub order_by: Vec<SortKey>,
    /// `f(direct) WITHIN GROUP (ORDER BY order_by)`.
    pub within_group: bool,
    /// Called with VARIADIC on its last argument.
    pub variadic: bool,
    pub ty: TypeRef,
    /// Output column name.
    pub name: String,
    /// Offset in the query text, for messages.
    pub position: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SetOpKind {
    Union,
    Intersect,
    Except,
}

/// UNION (distinct), INTERSECT [ALL], EXCEPT [ALL] of two inputs with equal column types. UNION ALL is [`UnionAll`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SetOp {
    pub kind: SetOpKind,
    pub all: bool,
    pub left: Box<Plan>,
    pub right: Box<Plan>,
    /// Offset in the query text, for messages.
    pub position: Option<u32>,
}

/// Sum of Z-sets with equal column types; names are those of the first input.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UnionAll {
    pub inputs: Vec<Plan>,
}

/// `WITH RECURSIVE r AS (base UNION [ALL] step)`, as PostgreSQL evaluates it: round 0 is `base`; every further round is
/// `step` over the rows of the round before, which it reads as [`Round`]; there are rounds until one is empty. The rows are
/// those of all rounds. Without `all`, a row that an earlier round has, or that a round has already (grouping
/// equality), is left out of the round. Base and step have equal column types.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recursive {
    pub all: bool,
    pub base: Box<Plan>,
    pub step: Box<Plan>,
    /// What the query calls it, for messages.
    pub name: String,
    /// Offset in the query text, for messages.
    pub position: Option<u32>,
}

/// The rows of the round before, inside the step of the nearest [`Recursive`] around it. With a stage: the rows of all
/// rounds of that recursion before the change, the number of the round being a last column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Round {
    pub of: Option<StageId>,
    pub columns: Vec<Column>,
}

/// The first rows per partition. The order is always total here: ties are broken by the images of all columns
/// (`design-review.md` 8.4), unless `with_ties`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TopK {
    pub input: Box<Plan>,
    pub partition: Vec<usize>,
    pub order: Vec<SortKey>,
    /// `int8` expression over partition columns that are the same, byte by byte, for all rows of a partition; NULL and
    /// None are no limit.
    pub limit: Option<Expr>,
    pub offset: Option<Expr>,
    pub with_ties: bool,
    /// Offset in the query text, for messages.
    pub position: Option<u32>,
}

/// For each input row, the rows of an item of FROM that reads no table, hence a function of the row: input columns, then
/// the item's. Linear, like a projection: an input row's weight is that of all its rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Expand {
    pub input: Box<Plan>,
    pub rows: RowSource,
    /// The item's columns.
    pub columns: Vec<Column>,
    /// `LEFT JOIN LATERAL item ON ..`: conditions over input columns then the item's. An input row for which no row of
    /// the item satisfies them appears once, with NULLs. None is `CROSS JOIN LATERAL`.
    pub left: Option<Vec<Expr>>,
    /// Offset in the query text, for messages.
    pub position: Option<u32>,
}

/// The item of FROM that an [`Expand`] evaluates for each row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RowSource {
    /// `ROWS FROM (calls) [WITH ORDINALITY]`: the n-th row holds the n-th row of every call, NULLs for calls that have
    /// fewer rows; the ordinality is a last column that counts from 1. A call's text may end in a column definition
    /// list.
    Functions { calls: Vec<Expr>, ordinality: bool },
    /// Anything else, as text: a table function such as `XMLTABLE(..)`, or a bracketed query without tables.
    Item(Expr),
}

/// Each input row as often as `count` says, an `int8` over the input's columns that is neither NULL nor negative.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Repeat {
    pub input: Box<Plan>,
    pub count: Expr,
}

/// Window functions over one partitioning (by grouping equality, NULLs equal) and order: every row of the input, with one
/// more column per call. Calls over windows that differ in the frame only are in one node: they see the same order of
/// rows. A query with further windows has a node for each, one over the other.
///
/// Rows that tie in `order` are peers; among themselves they are ordered by the images of all columns of the input
/// (`design-review.md` 8.4), so that what depends on the order of rows is a function of the multiset.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    pub input: Box<Plan>,
    pub partition: Vec<usize>,
    pub order: Vec<SortKey>,
    pub calls: Vec<WindowCall>,
}

/// Which rows around the current one a window function sees.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Frame {
    pub mode: FrameMode,
    pub start: FrameBound,
    pub end: FrameBound,
    pub exclude: FrameExclusion,
}

/// What the offsets of a frame count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FrameMode {
    Rows,
    /// Distances of values of the only sort key.
    Range,
    /// Groups of peers.
    Groups,
}

/// One end of a frame. Offsets are expressions without columns, or over partition columns that are the same, byte by byte,
/// for all rows of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FrameBound {
    UnboundedPreceding,
    Preceding(Expr),
    CurrentRow,
    Following(Expr),
    UnboundedFollowing,
}

/// What EXCLUDE takes out of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FrameExclusion {
    Nothing,
    CurrentRow,
    /// The current row and its peers.
    Group,
    /// The peers of the current row.
    Ties,
}

impl FrameBound {
    /// How far away the bound is, if that is said.
    pub fn offset(&self) -> Option<&Expr> {
        match self {
            FrameBound::Preceding(offset) | FrameBound::Following(offset) => Some(offset),
            FrameBound::UnboundedPreceding | FrameBound::CurrentRow | FrameBound::UnboundedFollowing => None,
        }
    }

    /// The same, to change it.
    pub fn offset_mut(&mut self) -> Option<&mut Expr> {
        match self {
            FrameBound::Preceding(offset) | FrameBound::Following(offset) => Some(offset),
            FrameBound::UnboundedPreceding | FrameBound::CurrentRow | FrameBound::UnboundedFollowing => None,
        }
    }
}

impl Frame {
    /// The offsets of its ends.
    pub fn offsets(&self) -> impl Iterator<Item = &Expr> {
        [&self.start, &self.end].into_iter().filter_map(FrameBound::offset)
    }
}

impl Default for Frame {
    /// `RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW`, as SQL has it.
    fn default() -> Frame {
        Frame {
            mode: FrameMode::Range,
            start: FrameBound::UnboundedPreceding,
            end: FrameBound::CurrentRow,
            exclude: FrameExclusion::Nothing,
        }
    }
}

/// One call of a window function, or of an aggregate as one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WindowCall {
    pub function: FunctionRef,
    /// Arguments over the columns of the input.
    pub args: Vec<Expr>,
    /// An aggregate without arguments, called with `*`.
    pub star: bool,
    /// `FILTER (WHERE condition)`, for aggregates.
    pub filter: Option<Expr>,
    pub frame: Frame,
    pub ty: TypeRef,
    /// Output column name.
    pub name: String,
    /// Offset in the query text, for messages.
    pub position: Option<u32>,
}

impl WindowCall {
    /// Arguments, filter, and the offsets of the frame.
    pub fn expressions(&self) -> impl Iterator<Item = &Expr> {
        self.args.iter().chain(&self.filter).chain(self.frame.offsets())
    }

    /// [`WindowCall::expressions`], to change them.
    pub fn expressions_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        let ends = [&mut self.frame.start, &mut self.frame.end];
        let offsets = ends.into_iter().filter_map(FrameBound::offset_mut);
        self.args.iter_mut().chain(&mut self.filter).chain(offsets)
    }
}

/// How a dependent join combines a left row with the right side evaluated for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DependentKind {
    /// LATERAL: left columns then right columns.
    Inner,
    /// LEFT JOIN LATERAL .. ON `on`.
    Left,
    /// `[NOT] EXISTS`, `IN`, `op ANY`, `op ALL`: left columns then one boolean, true if some right row satisfies
    /// `on`, NULL if none does but for some it is NULL (never NULL for EXISTS, whose `on` is empty).
    Mark,
    /// Scalar subquery: left columns then the only column of the right side, NULL if there is no row; more than one
    /// row is the error "more than one row returned by a subquery used as an expression".
    Scalar,
    /// ARRAY(subquery): left columns then the array of the right side's only visible column in its order.
    Array,
}

/// For each left row, the right side with [`crate::expr::Piece::Outer`] references of depth 1 bound to that row.
/// `on` ranges over left columns then right columns. Normalisation removes every one of these.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DependentJoin {
    pub kind: DependentKind,
    pub left: Box<Plan>,
    pub right: Box<Plan>,
    pub on: Vec<Expr>,
    /// Name and type of the column a `Mark`, `Scalar` or `Array` adds.
    pub adds: Option<Column>,
    /// Offset in the query text, for messages.
    pub position: Option<u32>,
}

/// The state of a subplan before the change: `new - delta`. A node of its own because rendering must not turn it into
/// an append that loses index access (`design-review.md` 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Old {
    pub new: Box<Plan>,
    pub delta: Box<Plan>,
}

/// Change of existence: each left row `l` (state after the change) with weight
/// `w(l) * ([matches before = 0] - [matches after = 0])`, for the rows of `left` that match some row in the support of
/// `delta`. `right` is the right side after the change, `delta` its change. Output is the left columns.
///
/// This is `L(new) * (n_old - n_new)` in the notation of `design-review.md` 5: positive where a row begins to match.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flip {
    pub left: Box<Plan>,
    pub right: Box<Plan>,
    pub delta: Box<Plan>,
    /// Conditions over left columns then right columns.
    pub on: Vec<Expr>,
}
