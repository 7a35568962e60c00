//! The constructs of the matrix, and how each is recognised in a query.

use super::words::Words;

/// A row of the matrix.
pub(super) struct Construct {
    pub name: &'static str,
    pub is_in: fn(&Words) -> bool,
}

/// Constructs that belong together.
pub(super) struct Group {
    pub title: &'static str,
    pub constructs: &'static [Construct],
}

macro_rules! group {
    ($title:literal, $($name:literal: $is_in:expr),* $(,)?) => {
        Group { title: $title, constructs: &[$(Construct { name: $name, is_in: $is_in }),*] }
    };
}

/// Operators before a subquery that gives one value.
const BEFORE_SCALAR: &[&str] =
    &["= ( SELECT", "> ( SELECT", "< ( SELECT", "+ ( SELECT", "* ( SELECT", "SELECT ( SELECT"];

/// The rows of the matrix, in order.
pub(super) const GROUPS: &[Group] = &[
    group!["Rows",
        "WHERE": |q| q.has("WHERE"),
        "CASE": |q| q.has("CASE"),
        "VALUES": |q| q.has("( VALUES"),
        "DISTINCT": |q| q.has("SELECT DISTINCT") && !q.has("DISTINCT ON"),
        "DISTINCT ON": |q| q.has("SELECT DISTINCT ON"),
        "ORDER BY .. LIMIT": |q| q.has("LIMIT"),
        "OFFSET": |q| q.has("OFFSET"),
        "FETCH FIRST .. WITH TIES": |q| q.has("WITH TIES"),
    ],
    group!["Joins",
        "inner join": |q| q.has_without(&["LEFT", "RIGHT", "FULL", "OUTER", "CROSS", "NATURAL", "ANTI"], "JOIN"),
        "CROSS JOIN": |q| q.has("CROSS JOIN"),
        "NATURAL JOIN": |q| q.has("NATURAL"),
        "JOIN .. USING": |q| q.has("USING ("),
        "LEFT JOIN": |q| q.has_any(&["LEFT JOIN", "LEFT OUTER JOIN"]),
        "RIGHT JOIN": |q| q.has_any(&["RIGHT JOIN", "RIGHT OUTER JOIN"]),
        "FULL JOIN": |q| q.has_any(&["FULL JOIN", "FULL OUTER JOIN"]),
        "LATERAL subquery": |q| q.has("LATERAL ( SELECT"),
    ],
    group!["Subqueries",
        "in FROM": |q| q.has_any(&["FROM ( SELECT", "JOIN ( SELECT"]),
        "EXISTS": |q| q.has_without(&["NOT"], "EXISTS ("),
        "NOT EXISTS": |q| q.has("NOT EXISTS ("),
        "IN": |q| q.has_without(&["NOT"], "IN ( SELECT"),
        "NOT IN": |q| q.has("NOT IN ( SELECT"),
        "ANY": |q| q.has_any(&["ANY ( SELECT", "SOME ( SELECT"]),
        "ALL": |q| q.has("ALL ( SELECT") && q.has_any(&["= ALL (", "> ALL (", "< ALL ("]),
        "scalar": |q| q.has_any(BEFORE_SCALAR),
        "ARRAY(..)": |q| q.has("ARRAY ( SELECT"),
        "WITH": |q| q.has("AS ( SELECT") && q.has("WITH") && !q.has("WITH RECURSIVE"),
        "WITH RECURSIVE": |q| q.has("WITH RECURSIVE"),
        "SEARCH": |q| q.has_any(&["SEARCH DEPTH", "SEARCH BREADTH"]),
        "CYCLE": |q| q.has("CYCLE") && q.has("WITH RECURSIVE"),
    ],
    group!["Aggregation",
        "GROUP BY": |q| q.has("GROUP BY"),
        "HAVING": |q| q.has("HAVING"),
        "GROUPING SETS": |q| q.has("GROUPING SETS"),
        "ROLLUP": |q| q.has("ROLLUP ("),
        "CUBE": |q| q.has("CUBE ("),
        "without GROUP BY": |q| q.has("SELECT COUNT ( * )") && !q.has("GROUP BY") && !q.has("OVER"),
        "count": |q| q.has("COUNT ("),
        "sum": |q| q.has("SUM ("),
        "avg": |q| q.has("AVG ("),
        "min, max": |q| q.has_any(&["MIN (", "MAX ("]),
        "variance, stddev": |q| q.has_any(&["STDDEV (", "VARIANCE (", "STDDEV_POP (", "VAR_POP ("]),
        "bool_and, bool_or": |q| q.has_any(&["BOOL_AND (", "BOOL_OR ("]),
        "string_agg, array_agg": |q| q.has_any(&["STRING_AGG (", "ARRAY_AGG ("]),
        "jsonb_agg, jsonb_object_agg": |q| q.has_any(&["JSONB_AGG (", "JSONB_OBJECT_AGG ("]),
        "any_value": |q| q.has("ANY_VALUE ("),
        "DISTINCT arguments": |q| q.has("( DISTINCT"),
        "FILTER": |q| q.has("FILTER ("),
        "WITHIN GROUP": |q| q.has("WITHIN GROUP"),
    ],
    group!["Set operations",
        "UNION": |q| q.has_unless("UNION", &["ALL"]) && !q.has("WITH RECURSIVE"),
        "UNION ALL": |q| q.has("UNION ALL") && !q.has("WITH RECURSIVE"),
        "INTERSECT": |q| q.has_unless("INTERSECT", &["ALL"]),
        "INTERSECT ALL": |q| q.has("INTERSECT ALL"),
        "EXCEPT": |q| q.has_unless("EXCEPT", &["ALL"]),
        "EXCEPT ALL": |q| q.has("EXCEPT ALL"),
    ],
    group!["Window functions",
        "row_number": |q| q.has_window("ROW_NUMBER"),
        "rank, dense_rank": |q| q.has_window("RANK") || q.has_window("DENSE_RANK"),
        "ntile, cume_dist, percent_rank": |q| {
            ["NTILE", "CUME_DIST", "PERCENT_RANK"].iter().any(|function| q.has_window(function))
        },
        "lag, lead": |q| q.has_window("LAG") || q.has_window("LEAD"),
        "first_value, last_value, nth_value": |q| {
            ["FIRST_VALUE", "LAST_VALUE", "NTH_VALUE"].iter().any(|function| q.has_window(function))
        },
        "aggregates": |q| ["SUM", "COUNT", "AVG", "MIN", "MAX"].iter().any(|function| q.has_window(function)),
        "ROWS frame": |q| q.has_any(&["ROWS BETWEEN", "ROWS 0", "ROWS UNBOUNDED"]),
        "RANGE frame": |q| q.has_any(&["RANGE BETWEEN", "RANGE '", "RANGE 0", "RANGE UNBOUNDED"]),
        "GROUPS frame": |q| q.has_any(&["GROUPS BETWEEN", "GROUPS 0"]),
        "EXCLUDE": |q| q.has_any(&["EXCLUDE CURRENT", "EXCLUDE GROUP", "EXCLUDE TIES"]),
    ],
    group!["Functions that return rows",
        "generate_series": |q| q.has("GENERATE_SERIES ("),
        "unnest": |q| q.has("UNNEST ("),
        "WITH ORDINALITY": |q| q.has("WITH ORDINALITY"),
        "ROWS FROM": |q| q.has("ROWS FROM"),
        "jsonb_array_elements": |q| q.has("JSONB_ARRAY_ELEMENTS ("),
        "JSON_TABLE": |q| q.has("JSON_TABLE ("),
        "XMLTABLE": |q| q.has("XMLTABLE ("),
    ],
    group!["Time",
        "now()": |q| q.has("NOW ( )"),
        "current_date": |q| q.has("CURRENT_DATE"),
    ],
];

/// Kinds of sources, by the statement of the script that makes the source.
pub(super) const SOURCES: Group = group!["Sources",
    "partitioned table": |s| s.has("PARTITION BY") && s.has("CREATE TABLE"),
    "table with inheritance": |s| s.has("INHERITS ("),
    "stored generated column": |s| s.has("GENERATED ALWAYS AS (") && s.has("STORED"),
    "virtual generated column": |s| s.has("GENERATED ALWAYS AS (") && s.has("VIRTUAL"),
    "view": |s| s.has("CREATE VIEW"),
    "materialized view, polled": |s| s.has("CREATE MATERIALIZED VIEW"),
    "foreign table, polled": |s| s.has("CREATE FOREIGN TABLE"),
];
