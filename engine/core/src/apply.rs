//! From a consolidated change to statements on the stream table.
//!
//! A keyed table is changed by key: delete, update in place, insert. A bag is changed by physical address: exactly `n`
//! of `m` identical rows, found through an index on a hash of the row and verified by identity. Rows whose net weight
//! is zero are never touched (`design.md` 3.8, `design-review.md` 13).

use crate::maintain::{ApplyOptions, Names, TableShape};
use crate::program::{Action, Counts, Identity, RelationColumn, Step};
use crate::sql::identity::{consolidate, identical};
use crate::sql::{WEIGHT, column_name, list, quote};
use crate::types::{Column, TypeRef};

/// The relation with the change of the stream table: columns `c1..cn`, `w`, consolidated.
pub const OUTPUT: &str = "pgt_output";
/// For keyed tables: one row per key with the new values and `kind`: -1 delete, 0 update, 1 insert.
const BY_KEY: &str = "pgt_apply";

/// The columns of a change relation.
pub fn change_columns(columns: &[Column]) -> Vec<RelationColumn> {
    let column = |(index, column): (usize, &Column)| RelationColumn {
        name: column_name(index),
        ty: column.ty.clone(),
    };
    let weight = RelationColumn { name: WEIGHT.to_owned(), ty: TypeRef::int8() };
    columns.iter().enumerate().map(column).chain([weight]).collect()
}

/// A step that fills [`OUTPUT`] from a derived table with columns `c1..cn, w`.
pub fn output_step(columns: &[Column], body: &str) -> Step {
    Step {
        label: "change of the stream table".to_owned(),
        identity: Identity::Owner,
        when: None,
        action: Action::Select {
            into: OUTPUT.to_owned(),
            columns: change_columns(columns),
            sql: consolidate(columns, body),
        },
    }
}

/// The difference between a query with columns `c1..cn` and the stream table, as a derived table for [`output_step`].
pub fn difference(shape: &TableShape, names: &Names, query: &str) -> String {
    let new = list((0..shape.columns.len()).map(|index| format!("q.{}", column_name(index))));
    let old = list(shape.columns.iter().map(|column| format!("st.{}", quote(&column.name))));
    format!(
        "SELECT {}1::pg_catalog.int8 AS {WEIGHT} FROM ({query}) AS q{}\nUNION ALL\nSELECT {}(-1)::pg_catalog.int8 FROM {} AS st",
        comma(&new),
        column_aliases(shape.columns.len()),
        comma(&old),
        names.stream_table
    )
}

/// `(c1, .., cn)`, or nothing for no columns.
pub fn column_aliases(width: usize) -> String {
    if width == 0 { String::new() } else { format!("({})", list((0..width).map(column_name))) }
}

fn comma(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{text}, ") }
}

/// Statements that create the index by which rows are found.
pub fn table_ddl(shape: &TableShape, names: &Names) -> Vec<String> {
    let table = &names.stream_table;
    match &shape.key {
        Some(key) if key.is_empty() => vec![],
        Some(key) if is_plain_key(shape, key) => {
            let columns = list(key.iter().map(|&column| quote(&shape.columns[column].name)));
            vec![format!("CREATE UNIQUE INDEX ON {table} ({columns})")]
        }
        Some(key) => vec![format!("CREATE INDEX ON {table} ({})", row_hash(shape, key, ""))],
        None if shape.columns.is_empty() => vec![],
        None => {
            let all: Vec<usize> = (0..shape.columns.len()).collect();
            all.chunks(MAX_ARGUMENTS)
                .take(1)
                .map(|columns| format!("CREATE INDEX ON {table} ({})", row_hash(shape, columns, "")))
                .collect()
        }
    }
}

/// PostgreSQL's limit on function arguments; a wider row is hashed by its first columns and verified by all.
pub const MAX_ARGUMENTS: usize = 100;

/// Key columns that are never NULL, have a btree order and always fit an index entry are found by a unique index on
/// themselves; others by an index on their hash.
fn is_plain_key(shape: &TableShape, key: &[usize]) -> bool {
    is_plain(key.iter().map(|&column| &shape.columns[column]))
}

/// See [`is_plain_key`].
pub fn is_plain<'a>(mut columns: impl ExactSizeIterator<Item = &'a Column>) -> bool {
    columns.len() <= 32
        && columns.all(|column| !column.nullable && column.ty.ordered && column.ty.is_compact())
}

/// The hash of some columns of the stream table under a prefix such as `st.`.
fn row_hash(shape: &TableShape, columns: &[usize], prefix: &str) -> String {
    let arguments = columns.iter().map(|&column| format!("{prefix}{}", quote(&shape.columns[column].name)));
    format!("pgtrickle.hash_v1({})", list(arguments))
}

fn change_hash(columns: &[usize], prefix: &str) -> String {
    format!(
        "pgtrickle.hash_v1({})",
        list(columns.iter().map(|&column| format!("{prefix}{}", column_name(column))))
    )
}

/// The steps that bring the stream table from its old contents to old contents plus [`OUTPUT`].
pub fn apply_steps(shape: &TableShape, names: &Names, options: ApplyOptions) -> Vec<Step> {
    match &shape.key {
        Some(key) => keyed(shape, key, names, options),
        None => bag(shape, names),
    }
}

fn keyed(shape: &TableShape, key: &[usize], names: &Names, options: ApplyOptions) -> Vec<Step> {
    let table = &names.stream_table;
    let columns = &shape.columns;
    let values = (0..columns.len()).map(|index| {
        let name = column_name(index);
        format!("pg_catalog.any_value(o.{name}) FILTER (WHERE o.{WEIGHT} > 0) AS {name}")
    });
    let keys = key.iter().enumerate().map(|(index, &column)| {
        let name = column_name(column);
        let ordered = columns[column].ty.ordered;
        // A key is grouped by its equality; a type without one is told apart by its image.
        if ordered {
            format!("o.{name} AS k{}", index + 1)
        } else {
            format!("pg_catalog.any_value(o.{name}) AS k{}", index + 1)
        }
    });
    let kind = format!(
        "(CASE WHEN pg_catalog.bool_and(o.{WEIGHT} < 0) THEN -1 WHEN pg_catalog.bool_and(o.{WEIGHT} > 0) THEN 1 ELSE 0 END)::pg_catalog.int4 AS kind"
    );
    let valid = format!(
        "(pg_catalog.bool_and(o.{WEIGHT} IN (-1, 1)) AND pg_catalog.count(*) FILTER (WHERE o.{WEIGHT} > 0) <= 1 AND pg_catalog.count(*) FILTER (WHERE o.{WEIGHT} < 0) <= 1) AS valid"
    );
    let group_by = list(key.iter().map(|&column| {
        let name = format!("o.{}", column_name(column));
        if columns[column].ty.ordered { name } else { format!("pgtrickle.image({name})") }
    }));
    let group_by = if key.is_empty() {
        "HAVING pg_catalog.count(*) > 0".to_owned()
    } else {
        format!("GROUP BY {group_by}")
    };
    let by_key_columns = (0..columns.len())
        .map(|index| RelationColumn { name: column_name(index), ty: columns[index].ty.clone() })
        .chain(key.iter().enumerate().map(|(index, &column)| RelationColumn {
            name: format!("k{}", index + 1),
            ty: columns[column].ty.clone(),
        }))
        .chain([
            RelationColumn { name: "kind".to_owned(), ty: TypeRef::int4() },
            RelationColumn { name: "valid".to_owned(), ty: TypeRef::boolean() },
        ])
        .collect();
    let by_key =
        format!("SELECT {} FROM {OUTPUT} o {group_by}", list(values.chain(keys).chain([kind, valid])));

    let condition = key_condition(shape, key);
    let column_names = list(columns.iter().map(|column| quote(&column.name)));
    let new_values = list((0..columns.len()).map(|index| format!("a.{}", column_name(index))));
    let count =
        |condition: &str| Some(format!("SELECT pg_catalog.count(*) FROM {BY_KEY} a WHERE {condition}"));

    let mut steps = vec![
        owner_step(
            "changes by key",
            Action::Select { into: BY_KEY.to_owned(), columns: by_key_columns, sql: by_key },
        ),
        owner_step(
            "one row per key",
            Action::Check {
                sql: format!("SELECT EXISTS (SELECT 1 FROM {BY_KEY} a WHERE NOT a.valid)"),
                message: "the change has more than one row for a key".to_owned(),
            },
        ),
    ];
    let delete =
        |kind: &str| format!("DELETE FROM {table} AS st USING {BY_KEY} AS a WHERE {kind} AND {condition}");
    steps.push(owner_step(
        "delete",
        Action::Modify { sql: delete("a.kind = -1"), expect: count("a.kind = -1"), counts: Counts::Deleted },
    ));
    if options.has_extra_unique {
        // One statement, so that neither the unique constraint nor a foreign key to the table sees a state between. It
        // inserts nothing unless every row to be replaced was there, so that the row count tells a missing one.
        steps.push(owner_step(
            "replace",
            Action::Modify {
                sql: format!(
                    "WITH gone AS ({} RETURNING 1) INSERT INTO {table} ({column_names}) SELECT {new_values} FROM {BY_KEY} AS a WHERE a.kind = 0 AND (SELECT pg_catalog.count(*) FROM gone) = (SELECT pg_catalog.count(*) FROM {BY_KEY} AS x WHERE x.kind = 0)",
                    delete("a.kind = 0")
                ),
                expect: count("a.kind = 0"),
                counts: Counts::Updated,
            },
        ));
    } else {
        let assigned: Vec<String> = (0..columns.len())
            .filter(|column| !key.contains(column) || !columns[*column].ty.equal_image)
            .map(|column| format!("{} = a.{}", quote(&columns[column].name), column_name(column)))
            .collect();
        if !assigned.is_empty() {
            steps.push(owner_step(
                "update",
                Action::Modify {
                    sql: format!(
                        "UPDATE {table} AS st SET {} FROM {BY_KEY} AS a WHERE a.kind = 0 AND {condition}",
                        list(assigned)
                    ),
                    expect: count("a.kind = 0"),
                    counts: Counts::Updated,
                },
            ));
        }
    }
    steps.push(owner_step(
        "insert",
        Action::Modify {
            sql: format!(
                "INSERT INTO {table} ({column_names}) SELECT {new_values} FROM {BY_KEY} AS a WHERE a.kind = 1"
            ),
            expect: count("a.kind = 1"),
            counts: Counts::Inserted,
        },
    ));
    steps
}

/// `st` is the row that `a` names, by an index condition.
fn key_condition(shape: &TableShape, key: &[usize]) -> String {
    if key.is_empty() {
        return "true".to_owned();
    }
    let keyed = |index: usize| format!("a.k{}", index + 1);
    let plain = is_plain_key(shape, key);
    let mut conditions: Vec<String> = key
        .iter()
        .enumerate()
        .map(|(index, &column)| {
            let left = format!("st.{}", quote(&shape.columns[column].name));
            if !shape.columns[column].ty.ordered {
                return identical(&left, &keyed(index), &shape.columns[column]);
            }
            crate::sql::identity::grouping_equal(&left, &keyed(index), &shape.columns[column])
        })
        .collect();
    if !plain {
        let arguments = list((0..key.len()).map(keyed));
        conditions.insert(0, format!("{} = pgtrickle.hash_v1({arguments})", row_hash(shape, key, "st.")));
    }
    conditions.join(" AND ")
}

fn bag(shape: &TableShape, names: &Names) -> Vec<Step> {
    let table = &names.stream_table;
    let columns = &shape.columns;
    let all: Vec<usize> = (0..columns.len()).collect();
    let hashed: Vec<usize> = all.iter().copied().take(MAX_ARGUMENTS).collect();
    let mut same = vec![];
    if !columns.is_empty() {
        same.push(format!("{} = {}", row_hash(shape, &hashed, "g."), change_hash(&hashed, "d.")));
    }
    same.extend(columns.iter().enumerate().map(|(index, column)| {
        let left = format!("g.{}", quote(&column.name));
        identical(&left, &format!("d.{}", column_name(index)), column)
    }));
    let same = if same.is_empty() { "true".to_owned() } else { same.join(" AND ") };
    let column_names = list(columns.iter().map(|column| quote(&column.name)));
    let values = list(all.iter().map(|&index| format!("d.{}", column_name(index))));
    let into = if columns.is_empty() { String::new() } else { format!(" ({column_names})") };
    let total = |sign: &str| {
        Some(format!(
            "SELECT coalesce(pg_catalog.sum(pg_catalog.abs(d.{WEIGHT})), 0)::pg_catalog.int8 FROM {OUTPUT} d WHERE d.{WEIGHT} {sign} 0"
        ))
    };
    vec![
        owner_step(
            "delete",
            Action::Modify {
                sql: format!(
                    "DELETE FROM {table} AS st USING (SELECT z.t, z.c FROM {OUTPUT} AS d CROSS JOIN LATERAL (SELECT g.tableoid AS t, g.ctid AS c FROM {table} AS g WHERE {same} LIMIT -d.{WEIGHT}) AS z WHERE d.{WEIGHT} < 0) AS x WHERE st.ctid = x.c AND st.tableoid = x.t"
                ),
                expect: total("<"),
                counts: Counts::Deleted,
            },
        ),
        owner_step(
            "insert",
            Action::Modify {
                sql: format!(
                    "INSERT INTO {table}{into} SELECT {values} FROM {OUTPUT} AS d CROSS JOIN LATERAL pg_catalog.generate_series(1::pg_catalog.int8, d.{WEIGHT}) AS g WHERE d.{WEIGHT} > 0"
                ),
                expect: total(">"),
                counts: Counts::Inserted,
            },
        ),
    ]
}

/// Fills an empty stream table from a query with columns `c1..cn`.
pub fn populate_step(shape: &TableShape, names: &Names, query: &str) -> Step {
    let column_names = list(shape.columns.iter().map(|column| quote(&column.name)));
    let into = if shape.columns.is_empty() { String::new() } else { format!(" ({column_names})") };
    Step {
        label: "populate".to_owned(),
        identity: Identity::Owner,
        when: None,
        action: Action::Modify {
            sql: format!("INSERT INTO {}{into} {query}", names.stream_table),
            expect: None,
            counts: Counts::Inserted,
        },
    }
}

fn owner_step(label: &str, action: Action) -> Step {
    Step { label: label.to_owned(), identity: Identity::Owner, when: Some(OUTPUT.to_owned()), action }
}
