//! Plans as text, and back.
//!
//! One node per line, its items (columns, expressions, conditions) below it with a dash, then its inputs, two spaces
//! further in:
//!
//! ```text
//! SemiJoin
//!   - on `(#0 = #2)` bool nullable strict equality
//!   Filter
//!     - `(#1 > 5)` bool nullable strict
//!     Source s0 key 0
//!       - id @0 int4
//!       - price @2 numeric(15,2) nullable scale 2
//!   Delta s1
//!     - id @0 int4
//! ```
//!
//! In expressions `#0` is column 0 of the input and `^1.0` column 0 of the nearest outer query; `\N` is the time of the
//! refresh, `\F` that of the frontier, and `\( a \:op\:notop\: b \)` a comparison with it; `##`, `^^`, `` \` ``, `\\`
//! and `\n` stand for the characters themselves. A type is a short name where that says all, else the whole record.
//! The text is complete: [`parse`] gives back an equal plan. Tests, logs and `explain` use this one form.

mod parse;
mod print;

pub use parse::{ParseError, parse};

use super::Plan;
use crate::types::TypeRef;
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut text = String::new();
        print::plan(self, 0, &mut text);
        f.write_str(text.trim_end())
    }
}

/// A name and the type it stands for.
type ShortType = (&'static str, fn() -> TypeRef);

/// Types that have a short name. Collatable ones have their default collation.
const SHORT_TYPES: [ShortType; 7] = [
    ("int4", TypeRef::int4),
    ("int8", TypeRef::int8),
    ("text", TypeRef::text),
    ("bool", TypeRef::boolean),
    ("numeric", TypeRef::numeric),
    ("tid", TypeRef::tid),
    ("bytea", TypeRef::bytea),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Expr;
    use crate::plan::{Filter, Source};
    use crate::types::{Column, SourceId};

    fn source() -> Plan {
        let column = |name: &str, ty| Column { name: name.into(), ty, nullable: true, fixed_scale: None };
        let other = TypeRef { collation_name: Some("public.\"it's\"".into()), ..TypeRef::text() };
        Plan::Source(Source {
            source: SourceId(3),
            ordinals: vec![4, 0, 1],
            columns: vec![
                column("plain", TypeRef::int4()),
                column("not \"plain\"\n", other),
                column("", TypeRef::numeric_with(15, 2)),
            ],
            keys: vec![vec![0], vec![1, 2], vec![]],
        })
    }

    #[test]
    fn odd_names_and_types_survive() {
        let plan = source();
        assert_eq!(parse(&plan.to_string()), Ok(plan.clone()), "{plan}");
    }

    #[test]
    fn operators_that_look_like_slots_survive() {
        let mut predicate = Expr::boolean(true);
        predicate.pieces = vec![
            crate::expr::Piece::Column(0),
            crate::expr::Piece::Text(" #> '{^`\\}' ^ 1\n".into()),
            crate::expr::Piece::Outer(2, 10),
            crate::expr::Piece::Text("5".into()),
            crate::expr::Piece::Text("6".into()),
        ];
        let plan = Plan::Filter(Filter { input: Box::new(source()), predicate });
        assert_eq!(parse(&plan.to_string()), Ok(plan.clone()), "{plan}");
    }

    #[test]
    fn errors_name_the_line() {
        let error = parse("Filter\n  - `true` bool\n  Sauce s0").unwrap_err();
        assert_eq!(error.to_string(), "line 3: no node is called `Sauce`");
        assert!(parse("Filter").is_err());
        assert!(parse("Source s0\nSource s1").is_err());
        assert!(parse("").is_err());
    }
}
