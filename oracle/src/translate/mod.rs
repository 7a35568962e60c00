//! PostgreSQL's dialect to DuckDB's, rule by rule.
//!
//! A gap between the dialects is either a rule that rewrites ([`RULES`]) or a refusal with a reason
//! ([`refusal`](self)): a query whose meaning would change silently is not compared at all. Gaps that settings close
//! (integer division, the place of NULLs) are closed where DuckDB is opened.

mod refusal;
mod rewrite;

use std::fmt;

use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// One dialect gap and its bridge.
pub struct Rule {
    pub name: &'static str,
    /// What differs, in a sentence.
    pub why: &'static str,
    /// Rewrites every place where the gap shows; returns whether there was one.
    apply: fn(&mut Statement) -> bool,
}

/// Every rewrite, in the order in which they apply.
pub const RULES: [Rule; 13] = [
    Rule {
        name: "like_operators",
        why: "PostgreSQL prints LIKE as ~~; DuckDB's ~~ has no escape character",
        apply: rewrite::like_operators,
    },
    Rule {
        name: "like_escape",
        why: "backslash escapes in PostgreSQL's LIKE by default, nothing does in DuckDB's",
        apply: rewrite::like_escape,
    },
    Rule {
        name: "schema_names",
        why: "the mirror has no schemas: public and pg_catalog are dropped from names",
        apply: rewrite::schema_names,
    },
    Rule {
        name: "reserved_words",
        why: "DuckDB reserves words that PostgreSQL does not; as column names they have to be quoted",
        apply: rewrite::reserved_words,
    },
    Rule {
        name: "empty_select_list",
        why: "DuckDB's SELECT needs an output column, also under EXISTS",
        apply: rewrite::empty_select_list,
    },
    Rule {
        name: "function_names",
        why: "the same function has another name",
        apply: rewrite::function_names,
    },
    Rule { name: "date_bin", why: "DuckDB's date_bin is time_bucket", apply: rewrite::date_bin },
    Rule {
        name: "regexp_match_groups",
        why: "DuckDB has no regexp_match; a group of its first match is regexp_extract, which gives '' for no match",
        apply: rewrite::regexp_match_groups,
    },
    Rule {
        name: "to_char_dates",
        why: "DuckDB formats dates with strftime and its codes",
        apply: rewrite::to_char_dates,
    },
    Rule {
        name: "array_literals",
        why: "DuckDB does not read '{1,2}' as an array",
        apply: rewrite::array_literals,
    },
    Rule {
        name: "numeric_without_precision",
        why: "DuckDB's numeric without precision has three decimals; double precision has more, and is compared so",
        apply: rewrite::numeric_without_precision,
    },
    Rule {
        name: "bitwise_xor",
        why: "DuckDB has a function in place of the operator #",
        apply: rewrite::bitwise_xor,
    },
    Rule {
        name: "nested_minus",
        why: "two signs in a row would be printed as the beginning of a comment",
        apply: rewrite::nested_minus,
    },
];

/// A query in DuckDB's dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    pub sql: String,
    /// Names of the rules that changed something.
    pub rules: Vec<&'static str>,
}

/// Why a query is not translated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untranslatable {
    /// The parser does not know the syntax.
    Syntax(String),
    /// Not one single query.
    NotAQuery,
    /// A construct that DuckDB lacks or understands differently.
    Construct(String),
}

impl fmt::Display for Untranslatable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Untranslatable::Syntax(message) => write!(f, "not parsed for translation: {message}"),
            Untranslatable::NotAQuery => f.write_str("not a single query"),
            Untranslatable::Construct(what) => write!(f, "no counterpart in DuckDB: {what}"),
        }
    }
}

/// Translates one query.
pub fn translate(sql: &str) -> Result<Translation, Untranslatable> {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql)
        .map_err(|error| Untranslatable::Syntax(error.to_string()))?;
    let mut statement = match (statements.pop(), statements.is_empty()) {
        (Some(statement @ Statement::Query(_)), true) => statement,
        _ => return Err(Untranslatable::NotAQuery),
    };
    let rules = RULES.iter().filter(|rule| (rule.apply)(&mut statement)).map(|rule| rule.name).collect();
    // What a rule has bridged is no obstacle any more.
    if let Some(construct) = refusal::find(&statement) {
        return Err(Untranslatable::Construct(construct));
    }
    Ok(Translation { sql: statement.to_string(), rules })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One example per rule: the rule, PostgreSQL's text, DuckDB's text.
    const EXAMPLES: [(&str, &str, &str); 13] = [
        (
            "like_operators",
            "SELECT 1 FROM t WHERE a ~~ 'x%' AND b !~~* 'y'",
            "SELECT 1 FROM t WHERE a LIKE 'x%' AND b NOT ILIKE 'y'",
        ),
        (
            "like_escape",
            "SELECT a LIKE b, a LIKE 'x\\_%', a LIKE 'x%' FROM t",
            "SELECT a LIKE b ESCAPE '\\', a LIKE 'x\\_%' ESCAPE '\\', a LIKE 'x%' FROM t",
        ),
        ("schema_names", "SELECT pg_catalog.upper(t.a) FROM public.t", "SELECT upper(t.a) FROM t"),
        ("reserved_words", "SELECT at, t.pivot FROM t", "SELECT \"at\", t.\"pivot\" FROM t"),
        (
            "empty_select_list",
            "SELECT 1 WHERE EXISTS (SELECT FROM t)",
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM t)",
        ),
        ("function_names", "SELECT every(a), btrim(b) FROM t", "SELECT bool_and(a), trim(b) FROM t"),
        (
            "date_bin",
            "SELECT date_bin('10 seconds', a, TIMESTAMP '2000-01-01') FROM t",
            "SELECT time_bucket(INTERVAL '10 seconds', a, TIMESTAMP '2000-01-01') FROM t",
        ),
        (
            "regexp_match_groups",
            "SELECT (regexp_match(a, 'x(.*)'))[1] FROM t",
            "SELECT CASE WHEN regexp_matches(a, 'x(.*)') THEN regexp_extract(a, 'x(.*)', 1) END FROM t",
        ),
        (
            "to_char_dates",
            "SELECT to_char(a, 'YYYY-MM-DD HH24:MI') FROM t",
            "SELECT strftime(a, '%Y-%m-%d %H:%M') FROM t",
        ),
        ("array_literals", "SELECT '{1,2}'::int[]", "SELECT [1, 2]::INT[]"),
        (
            "numeric_without_precision",
            "SELECT a::numeric, CAST(b AS numeric(5,2)) FROM t",
            "SELECT a::DOUBLE PRECISION, CAST(b AS NUMERIC(5,2)) FROM t",
        ),
        ("bitwise_xor", "SELECT a # b FROM t", "SELECT xor(a, b) FROM t"),
        ("nested_minus", "SELECT - - - a, a - - b FROM t", "SELECT -(-(-a)), a - -b FROM t"),
    ];

    #[test]
    fn every_rule_has_an_example_and_does_what_it_shows() {
        for (rule, (name, postgres, duckdb)) in RULES.iter().zip(EXAMPLES) {
            assert_eq!(rule.name, name);
            let translation = translate(postgres).expect(postgres);
            assert_eq!(translation.sql, duckdb, "{name}");
            assert_eq!(translation.rules, [name], "{postgres}");
        }
    }

    #[test]
    fn plain_queries_are_left_alone() {
        let sql = "SELECT a, sum(b) AS s FROM t WHERE c LIKE '%x' GROUP BY a ORDER BY s DESC LIMIT 3";
        assert_eq!(translate(sql), Ok(Translation { sql: sql.to_owned(), rules: Vec::new() }));
    }

    #[test]
    fn recursion_is_the_same_in_both() {
        for union in ["UNION", "UNION ALL"] {
            let sql = format!(
                "WITH RECURSIVE r AS (SELECT 1 AS x {union} SELECT e.b FROM e JOIN r ON e.a = r.x) SELECT x FROM r"
            );
            assert_eq!(translate(&sql), Ok(Translation { sql, rules: Vec::new() }));
        }
    }

    #[test]
    fn constructs_without_counterpart_are_refused_by_name() {
        for (sql, part) in [
            ("SELECT now()", "now"),
            ("SELECT jsonb_agg(a) FROM t", "jsonb_agg"),
            ("SELECT ctid FROM t", "ctid"),
            ("SELECT t.xmin FROM t", "xmin"),
            ("SELECT a FROM t ORDER BY a FETCH FIRST 3 ROWS WITH TIES", "WITH TIES"),
            ("SELECT a SIMILAR TO 'b' FROM t", "SIMILAR TO"),
            ("SELECT a::char(3) FROM t", "CHAR(3)"),
            ("SELECT a::varchar(3) FROM t", "VARCHAR(3)"),
            ("SELECT a @> b FROM t", "@>"),
            ("SELECT to_char(a, 'Day') FROM t", "to_char"),
            ("SELECT CURRENT_DATE", "current_date"),
        ] {
            match translate(sql) {
                Err(Untranslatable::Construct(what)) => assert!(what.contains(part), "{sql}: {what}"),
                other => panic!("{sql}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_not_one_query_is_refused() {
        assert_eq!(translate("DELETE FROM t"), Err(Untranslatable::NotAQuery));
        assert_eq!(translate("SELECT 1; SELECT 2"), Err(Untranslatable::NotAQuery));
        assert!(matches!(translate("SELECT (1"), Err(Untranslatable::Syntax(_))));
    }
}
