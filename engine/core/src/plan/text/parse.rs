//! The inverse of the printer.

use super::SHORT_TYPES;
use crate::expr::{Expr, Moment, Piece, Shape, SortKey, Time};
use crate::plan::*;
use crate::types::{Arithmetic, Column, FunctionRef, SourceId, StageId, TypeRef, Volatility};
use std::fmt;

/// Where and why a text is not a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    pub reason: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for ParseError {}

type Parsed<T> = Result<T, String>;

/// The plan that `text` is the printed form of. Blank lines and lines that start with `//` are skipped.
pub fn parse(text: &str) -> Result<Plan, ParseError> {
    let mut lines = vec![];
    for (index, line) in text.lines().enumerate() {
        let content = line.trim_start();
        if !content.is_empty() && !content.starts_with("//") {
            lines.push(Line { number: index + 1, indent: line.len() - content.len(), content });
        }
    }
    let mut lines = Lines { lines: &lines, next: 0 };
    let plan = lines.node()?;
    match lines.peek() {
        None => Ok(plan),
        Some(line) => Err(line.error("a second plan begins here")),
    }
}

#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    indent: usize,
    content: &'a str,
}

impl Line<'_> {
    fn error(&self, reason: impl Into<String>) -> ParseError {
        ParseError { line: self.number, reason: reason.into() }
    }
}

struct Lines<'a> {
    lines: &'a [Line<'a>],
    next: usize,
}

impl<'a> Lines<'a> {
    fn peek(&self) -> Option<Line<'a>> {
        self.lines.get(self.next).copied()
    }

    fn node(&mut self) -> Result<Plan, ParseError> {
        let Some(head) = self.peek() else {
            let line = self.lines.last().map_or(1, |line| line.number);
            return Err(ParseError { line, reason: "a node is missing".to_owned() });
        };
        self.next += 1;
        let mut node = Node::default();
        while let Some(line) = self.peek().filter(|line| line.indent > head.indent) {
            if line.content.starts_with("- ") {
                self.next += 1;
                node.item(line.content).map_err(|reason| line.error(reason))?;
            } else {
                node.children.push(self.node()?);
            }
        }
        node.finish(head.content).map_err(|reason| head.error(reason))
    }
}

/// What stands below a node's line, by kind.
#[derive(Default)]
struct Node {
    columns: Vec<Column>,
    ordinals: Vec<usize>,
    exprs: Vec<Expr>,
    named: Vec<(Expr, String)>,
    calls: Vec<AggCall>,
    on: Vec<Expr>,
    rows: Vec<Vec<Expr>>,
    order: Vec<SortKey>,
    limit: Option<Expr>,
    offset: Option<Expr>,
    adds: Option<Column>,
    row_calls: Vec<Expr>,
    row_item: Option<Expr>,
    window_calls: Vec<WindowCall>,
    children: Vec<Plan>,
}

impl Node {
    fn item(&mut self, line: &str) -> Parsed<()> {
        let mut text = Cursor::new(line);
        text.expect("-")?;
        if text.peek() == Some('`') {
            self.exprs.push(text.expr()?);
        } else if text.eat("on") {
            self.on.push(text.expr()?);
        } else if text.eat("limit") {
            self.limit = Some(text.expr()?);
        } else if text.eat("offset") {
            self.offset = Some(text.expr()?);
        } else if text.eat("order") {
            self.order.push(text.sort_key()?);
        } else if text.eat("call") {
            self.row_calls.push(text.expr()?);
        } else if text.eat("item") {
            self.row_item = Some(text.expr()?);
        } else if text.eat("adds") {
            let name = text.name()?;
            self.adds = Some(text.column(name)?);
        } else if text.eat("over") {
            self.window_calls.push(text.window_call()?);
        } else if text.eat("row") {
            let mut row = vec![];
            while text.peek().is_some() {
                row.push(text.expr()?);
                text.eat(",");
            }
            self.rows.push(row);
        } else {
            let name = text.name()?;
            if text.eat("=") {
                if text.peek() == Some('`') {
                    self.named.push((text.expr()?, name));
                } else {
                    self.calls.push(text.call(name)?);
                }
            } else {
                if text.eat("@") {
                    self.ordinals.push(text.number()?);
                }
                let column = text.column(name)?;
                self.columns.push(column);
            }
        }
        text.end()
    }

    fn child(&mut self) -> Parsed<Box<Plan>> {
        if self.children.is_empty() {
            return Err("an input is missing".to_owned());
        }
        Ok(Box::new(self.children.remove(0)))
    }

    fn finish(mut self, head: &str) -> Parsed<Plan> {
        let mut text = Cursor::new(head);
        let kind = text.word();
        let plan = match kind.as_str() {
            "Source" => {
                text.expect("s")?;
                let source = SourceId(text.number()?);
                let keys = text.keys()?;
                Plan::Source(Source { source, ordinals: self.ordinals, columns: self.columns, keys })
            }
            "Stored" => {
                text.expect("g")?;
                let stage = StageId(text.number()?);
                let keys = text.keys()?;
                Plan::Stored(Stored { stage, columns: self.columns, keys })
            }
            "Delta" => {
                let of = match () {
                    () if text.eat("s") => DeltaOf::Source(SourceId(text.number()?)),
                    () if text.eat("g") => DeltaOf::Stage(StageId(text.number()?)),
                    () if text.eat("r") => DeltaOf::Round(StageId(text.number()?)),
                    () => {
                        text.expect("x")?;
                        DeltaOf::Shared(text.number()?)
                    }
                };
                Plan::Delta(Delta { of, ordinals: self.ordinals, columns: self.columns })
            }
            "Values" => Plan::Values(Values { columns: self.columns, rows: self.rows }),
            "Filter" => {
                let input = self.child()?;
                let predicate = self.exprs.pop().ok_or("a predicate is missing")?;
                Plan::Filter(Filter { input, predicate })
            }
            "Project" => Plan::Project(Project { input: self.child()?, exprs: self.named }),
            "Join" => {
                let inputs = std::mem::take(&mut self.children);
                Plan::Join(Join { inputs, predicates: self.on })
            }
            "LeftJoin" | "FullJoin" => {
                let kind = if kind == "LeftJoin" { OuterKind::Left } else { OuterKind::Full };
                let position = text.at()?;
                let (left, right) = (self.child()?, self.child()?);
                return self
                    .done(text, Plan::OuterJoin(OuterJoin { kind, left, right, on: vec![], position }));
            }
            "SemiJoin" | "AntiJoin" => {
                let (left, right) = (self.child()?, self.child()?);
                let anti = kind == "AntiJoin";
                return self.done(text, Plan::SemiJoin(SemiJoin { anti, left, right, on: vec![] }));
            }
            "Aggregate" => {
                text.expect("by")?;
                let keys = text.numbers()?;
                Plan::Aggregate(Aggregate { input: self.child()?, keys, calls: self.calls })
            }
            "Union" | "Intersect" | "Except" => {
                let kind = match kind.as_str() {
                    "Union" => SetOpKind::Union,
                    "Intersect" => SetOpKind::Intersect,
                    _ => SetOpKind::Except,
                };
                let all = text.eat("all");
                let position = text.at()?;
                let (left, right) = (self.child()?, self.child()?);
                return self.done(text, Plan::SetOp(SetOp { kind, all, left, right, position }));
            }
            "UnionAll" => Plan::UnionAll(UnionAll { inputs: std::mem::take(&mut self.children) }),
            "Recursive" => {
                let all = text.eat("all");
                let name = text.name()?;
                let position = text.at()?;
                let (base, step) = (self.child()?, self.child()?);
                Plan::Recursive(Recursive { all, base, step, name, position })
            }
            "Round" => {
                let of = if text.eat("g") { Some(StageId(text.number()?)) } else { None };
                Plan::Round(Round { of, columns: self.columns })
            }
            "TopK" => {
                text.expect("by")?;
                let partition = text.numbers()?;
                let with_ties = text.eat("with");
                if with_ties {
                    text.expect("ties")?;
                }
                let (position, input) = (text.at()?, self.child()?);
                let (order, limit, offset) = (self.order, self.limit, self.offset);
                Plan::TopK(TopK { input, partition, order, limit, offset, with_ties, position })
            }
            "Expand" => {
                let input = self.child()?;
                let left = text.eat("left").then_some(self.on);
                let ordinality = text.eat("ordinality");
                let position = text.at()?;
                let rows = match self.row_item {
                    Some(item) => RowSource::Item(item),
                    None => RowSource::Functions { calls: self.row_calls, ordinality },
                };
                Plan::Expand(Expand { input, rows, columns: self.columns, left, position })
            }
            "Repeat" => {
                let input = self.child()?;
                let count = self.exprs.pop().ok_or("a count is missing")?;
                Plan::Repeat(Repeat { input, count })
            }
            "Window" => {
                text.expect("by")?;
                let (partition, input) = (text.numbers()?, self.child()?);
                let (order, calls) = (self.order, self.window_calls);
                Plan::Window(Window { input, partition, order, calls })
            }
            "DependentJoin" => {
                let kind = match text.word().as_str() {
                    "inner" => DependentKind::Inner,
                    "left" => DependentKind::Left,
                    "mark" => DependentKind::Mark,
                    "scalar" => DependentKind::Scalar,
                    "array" => DependentKind::Array,
                    other => return Err(format!("no dependent join is called `{other}`")),
                };
                let position = text.at()?;
                let (left, right) = (self.child()?, self.child()?);
                let adds = self.adds.take();
                let join = DependentJoin { kind, left, right, on: vec![], adds, position };
                return self.done(text, Plan::DependentJoin(join));
            }
            "Negate" => Plan::Negate(self.child()?),
            "Old" => {
                let (new, delta) = (self.child()?, self.child()?);
                return self.done(text, Plan::Old(Old { new, delta }));
            }
            "Flip" => {
                let (left, right, delta) = (self.child()?, self.child()?, self.child()?);
                return self.done(text, Plan::Flip(Flip { left, right, delta, on: vec![] }));
            }
            other => return Err(format!("no node is called `{other}`")),
        };
        text.end()?;
        if self.children.is_empty() { Ok(plan) } else { Err("the node has too many inputs".to_owned()) }
    }

    /// The plan with its conditions, if nothing is left over.
    fn done(self, text: Cursor, mut plan: Plan) -> Parsed<Plan> {
        if !self.children.is_empty() {
            return Err("the node has too many inputs".to_owned());
        }
        match &mut plan {
            Plan::OuterJoin(node) => node.on = self.on,
            Plan::SemiJoin(node) => node.on = self.on,
            Plan::DependentJoin(node) => node.on = self.on,
            Plan::Flip(node) => node.on = self.on,
            _ => {}
        }
        text.end()?;
        Ok(plan)
    }
}

/// The rest of a line.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Cursor<'a> {
        Cursor { rest: text.trim() }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn skip(&mut self, length: usize) {
        self.rest = self.rest[length..].trim_start();
    }

    /// Takes `token` if it comes next; a word only as a whole (single letters may be followed by a number).
    fn eat(&mut self, token: &str) -> bool {
        let Some(after) = self.rest.strip_prefix(token) else { return false };
        let runs_on =
            |c: char| c.is_ascii_alphabetic() || c == '_' || (c.is_ascii_digit() && token.len() > 1);
        let is_word = token.chars().all(|c| c.is_ascii_alphabetic());
        if is_word && after.chars().next().is_some_and(runs_on) {
            return false;
        }
        self.skip(token.len());
        true
    }

    fn expect(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) { Ok(()) } else { Err(format!("`{token}` is expected before `{}`", self.rest)) }
    }

    fn end(&self) -> Parsed<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(format!("`{}` is not understood", self.rest)) }
    }

    fn run(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let length = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        let (run, _) = self.rest.split_at(length);
        self.skip(length);
        run
    }

    fn word(&mut self) -> String {
        self.run(|c| c.is_ascii_alphanumeric() || c == '_').to_owned()
    }

    fn number<T: std::str::FromStr>(&mut self) -> Parsed<T> {
        let before = self.rest;
        let digits = self.run(|c| c.is_ascii_digit() || c == '-');
        digits.parse().map_err(|_| format!("a number is expected before `{before}`"))
    }

    /// `0,1` or `()`.
    fn numbers(&mut self) -> Parsed<Vec<usize>> {
        if self.eat("()") {
            return Ok(vec![]);
        }
        let mut numbers = vec![self.number()?];
        while self.eat(",") {
            numbers.push(self.number()?);
        }
        Ok(numbers)
    }

    fn keys(&mut self) -> Parsed<Vec<Vec<usize>>> {
        let mut keys = vec![];
        while self.eat("key") {
            keys.push(self.numbers()?);
        }
        Ok(keys)
    }

    fn at(&mut self) -> Parsed<Option<u32>> {
        if self.eat("at") { self.number().map(Some) } else { Ok(None) }
    }

    fn name(&mut self) -> Parsed<String> {
        if self.peek() == Some('"') {
            return self.quoted();
        }
        match self.word() {
            word if word.is_empty() => Err(format!("a name is expected before `{}`", self.rest)),
            word => Ok(word),
        }
    }

    fn quoted(&mut self) -> Parsed<String> {
        let mut chars = self.rest.char_indices();
        let mut text = String::new();
        if chars.next().map(|(_, c)| c) != Some('"') {
            return Err(format!("a quoted name is expected before `{}`", self.rest));
        }
        while let Some((index, c)) = chars.next() {
            match c {
                '"' => {
                    self.skip(index + 1);
                    return Ok(text);
                }
                '\\' => text.push(unescaped(chars.next().map(|(_, c)| c))?),
                c => text.push(c),
            }
        }
        Err("a quote is not closed".to_owned())
    }

    fn flags(&mut self) -> Parsed<(bool, Option<u16>)> {
        let nullable = self.eat("nullable");
        let scale = if self.eat("scale") { Some(self.number()?) } else { None };
        Ok((nullable, scale))
    }

    fn column(&mut self, name: String) -> Parsed<Column> {
        let ty = self.ty()?;
        let (nullable, fixed_scale) = self.flags()?;
        Ok(Column { name, ty, nullable, fixed_scale })
    }

    fn expr(&mut self) -> Parsed<Expr> {
        let pieces = self.pieces()?;
        let ty = self.ty()?;
        let (nullable, fixed_scale) = self.flags()?;
        let strict = self.eat("strict");
        let volatility = match () {
            () if self.eat("stable") => Volatility::Stable,
            () if self.eat("volatile") => Volatility::Volatile,
            () => Volatility::Immutable,
        };
        let shape = match () {
            () if self.eat("column") => Shape::Column,
            () if self.eat("constant") => Shape::Constant,
            () if self.eat("equality") => Shape::Equality,
            () => Shape::Opaque,
        };
        Ok(Expr { pieces, ty, volatility, nullable, strict, fixed_scale, shape })
    }

    fn pieces(&mut self) -> Parsed<Vec<Piece>> {
        let mut chars = self.rest.char_indices().peekable();
        if chars.next().map(|(_, c)| c) != Some('`') {
            return Err(format!("an expression is expected before `{}`", self.rest));
        }
        let mut pieces = vec![];
        let mut text: Option<String> = None;
        let digits = |chars: &mut std::iter::Peekable<std::str::CharIndices>| {
            let mut digits = String::new();
            while let Some((_, c)) = chars.next_if(|(_, c)| c.is_ascii_digit()) {
                digits.push(c);
            }
            digits.parse::<usize>().map_err(|_| "a slot has no number".to_owned())
        };
        while let Some((index, c)) = chars.next() {
            let is_slot = matches!(c, '#' | '^') && chars.next_if(|(_, next)| *next == c).is_none();
            if is_slot || c == '`' {
                pieces.extend(text.take().map(Piece::Text));
            }
            match c {
                '`' => {
                    self.skip(index + 1);
                    return Ok(pieces);
                }
                '#' if is_slot => pieces.push(Piece::Column(digits(&mut chars)?)),
                '^' if is_slot => {
                    let depth = digits(&mut chars)?;
                    if chars.next().map(|(_, c)| c) != Some('.') {
                        return Err("an outer slot is written `^depth.column`".to_owned());
                    }
                    pieces.push(Piece::Outer(depth as u32, digits(&mut chars)?));
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('|') => {
                        pieces.extend(text.take().map(Piece::Text));
                        text = Some(String::new());
                    }
                    Some(kind @ ('N' | 'F' | '(' | ')' | ':')) => {
                        pieces.extend(text.take().map(Piece::Text));
                        pieces.push(Piece::Time(time(kind, &mut chars)?));
                    }
                    escaped => text.get_or_insert_default().push(unescaped(escaped)?),
                },
                c => text.get_or_insert_default().push(c),
            }
        }
        Err("an expression is not closed".to_owned())
    }

    fn sort_key(&mut self) -> Parsed<SortKey> {
        let column = self.number()?;
        let descending = self.eat("desc");
        let nulls_first = self.eat("nulls");
        if nulls_first {
            self.expect("first")?;
        }
        let using = if self.eat("using") { Some(self.quoted()?) } else { None };
        Ok(SortKey { column, descending, nulls_first, using })
    }

    fn call(&mut self, name: String) -> Parsed<AggCall> {
        let function = self.function()?;
        let args = self.numbers()?;
        let mut direct_args = vec![];
        while self.eat("direct") {
            direct_args.push(self.expr()?);
        }
        let distinct = self.eat("distinct");
        let within_group = self.eat("within");
        let variadic = self.eat("variadic");
        let filter = if self.eat("filter") { Some(self.number()?) } else { None };
        let mut order_by = vec![];
        while self.eat("order") {
            order_by.push(self.sort_key()?);
        }
        let ty = self.ty()?;
        let position = self.at()?;
        Ok(AggCall {
            function,
            direct_args,
            args,
            distinct,
            filter,
            order_by,
            within_group,
            variadic,
            ty,
            name,
            position,
        })
    }

    fn frame(&mut self) -> Parsed<Frame> {
        let mode = match self.word().as_str() {
            "rows" => FrameMode::Rows,
            "range" => FrameMode::Range,
            "groups" => FrameMode::Groups,
            other => return Err(format!("no mode of a frame is called `{other}`")),
        };
        let start = self.frame_bound()?;
        self.expect("to")?;
        let end = self.frame_bound()?;
        let mut exclude = FrameExclusion::Nothing;
        if self.eat("exclude") {
            exclude = match self.word().as_str() {
                "current" => FrameExclusion::CurrentRow,
                "group" => FrameExclusion::Group,
                "ties" => FrameExclusion::Ties,
                other => return Err(format!("no part of a frame is called `{other}`")),
            };
        }
        Ok(Frame { mode, start, end, exclude })
    }

    fn frame_bound(&mut self) -> Parsed<FrameBound> {
        Ok(match self.word().as_str() {
            "current" => FrameBound::CurrentRow,
            "preceding" => FrameBound::Preceding(self.expr()?),
            "following" => FrameBound::Following(self.expr()?),
            "unbounded" if self.eat("preceding") => FrameBound::UnboundedPreceding,
            "unbounded" => {
                self.expect("following")?;
                FrameBound::UnboundedFollowing
            }
            other => return Err(format!("no bound of a frame is called `{other}`")),
        })
    }

    fn window_call(&mut self) -> Parsed<WindowCall> {
        let name = self.name()?;
        self.expect("=")?;
        let function = self.function()?;
        let star = self.eat("star");
        let mut args = vec![];
        while self.eat("arg") {
            args.push(self.expr()?);
        }
        let filter = if self.eat("filter") { Some(self.expr()?) } else { None };
        let frame = if self.eat("frame") { self.frame()? } else { Frame::default() };
        let (ty, position) = (self.ty()?, self.at()?);
        Ok(WindowCall { function, args, star, filter, frame, ty, name, position })
    }

    fn function(&mut self) -> Parsed<FunctionRef> {
        let is_quoted = self.peek() == Some('"');
        let name = self.name()?;
        self.expect("/")?;
        let oid = self.number()?;
        // The name of a built-in is written bare, or in quotes with what it is after it.
        if !is_quoted {
            return Ok(FunctionRef { oid, name: format!("pg_catalog.{name}"), builtin: Some(name) });
        }
        let builtin = if self.eat("=") { Some(self.name()?) } else { None };
        Ok(FunctionRef { oid, name, builtin })
    }

    fn ty(&mut self) -> Parsed<TypeRef> {
        let word = self.word();
        if word == "numeric" && self.eat("(") {
            let precision = self.number()?;
            self.expect(",")?;
            let scale = self.number()?;
            self.expect(")")?;
            return Ok(TypeRef::numeric_with(precision, scale));
        }
        if word == "type" {
            return self.whole_type();
        }
        let short = SHORT_TYPES.iter().find(|(name, _)| *name == word);
        short.map(|(_, ty)| ty()).ok_or_else(|| format!("no type is called `{word}`"))
    }

    fn whole_type(&mut self) -> Parsed<TypeRef> {
        self.expect("(")?;
        let name = self.quoted()?;
        let (oid, typmod, collation) = (self.number()?, self.number()?, self.number()?);
        let collation_name = if self.eat("collate") { Some(self.quoted()?) } else { None };
        let (equal_image, ordered, hashable) = (self.eat("image"), self.eat("ordered"), self.eat("hashable"));
        let arithmetic = match () {
            () if self.eat("integer") => Arithmetic::Integer,
            () if self.eat("numeric") => Arithmetic::Numeric,
            () if self.eat("float") => Arithmetic::Float,
            () => Arithmetic::None,
        };
        self.expect(")")?;
        Ok(TypeRef {
            oid,
            typmod,
            collation,
            name,
            collation_name,
            equal_image,
            ordered,
            hashable,
            arithmetic,
        })
    }
}

type Chars<'a> = std::iter::Peekable<std::str::CharIndices<'a>>;

/// A piece that has to do with time; its first character has been read.
fn time(kind: char, chars: &mut Chars<'_>) -> Parsed<Time> {
    let mut operator = || {
        let mut text = String::new();
        loop {
            match chars.next() {
                Some((_, '\\')) if chars.next_if(|(_, c)| *c == ':').is_some() => return Ok(text),
                Some((_, c)) => text.push(c),
                None => return Err("an operator is not finished".to_owned()),
            }
        }
    };
    Ok(match kind {
        'N' => Time::Read(Moment::Now),
        'F' => Time::Read(Moment::Then),
        '(' => Time::Open,
        ')' => Time::Close,
        _ => Time::Operator {
            operator: operator()?,
            negator: Some(operator()?).filter(|negator| !negator.is_empty()),
        },
    })
}

fn unescaped(c: Option<char>) -> Parsed<char> {
    match c {
        Some('n') => Ok('\n'),
        Some('r') => Ok('\r'),
        Some(c) => Ok(c),
        None => Err("an escape is not finished".to_owned()),
    }
}
