//! What a replay has to know of a statement: whether it changes rows or relations, and which relations it names.
//!
//! The corpus's SQL is plain: names without quotes or schemas, no statement in a statement. Words are enough.

/// What a statement does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    CreateTable(String),
    /// A view, and the query it stands for.
    CreateView {
        name: String,
        query: String,
    },
    DropTable(String),
    DropView(String),
    /// Changes rows.
    Change,
    /// Anything else: indexes, and what only some engine knows.
    Other,
}

impl Effect {
    /// The effect of a statement.
    pub fn of(sql: &str) -> Effect {
        let words = words(sql);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let named = |name: &[&str]| name.first().map(|name| (*name).to_owned());
        let relation = match words.as_slice() {
            ["create", "table", name @ ..] => named(name).map(Effect::CreateTable),
            ["create", "view", name @ ..] => match (named(name), query_of_view(sql)) {
                (Some(name), Some(query)) => Some(Effect::CreateView { name, query }),
                _ => None,
            },
            ["drop", "table", "if", "exists", name @ ..] => named(name).map(Effect::DropTable),
            ["drop", "table", name @ ..] => named(name).map(Effect::DropTable),
            ["drop", "view", "if", "exists", name @ ..] => named(name).map(Effect::DropView),
            ["drop", "view", name @ ..] => named(name).map(Effect::DropView),
            ["insert" | "delete" | "update" | "replace" | "truncate", ..] => Some(Effect::Change),
            _ => None,
        };
        relation.unwrap_or(Effect::Other)
    }
}

/// The text after `AS` in `CREATE VIEW name AS query`.
fn query_of_view(sql: &str) -> Option<String> {
    let mut rest = sql;
    loop {
        let start = rest.find(|letter: char| letter.is_ascii_alphabetic())?;
        rest = &rest[start..];
        let end = rest.find(|letter: char| !is_of_word(letter)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.eq_ignore_ascii_case("as") {
            return Some(after.trim().to_owned());
        }
        rest = after;
    }
}

/// The names and key words of a statement, in lower case and in order; what is in quotes is left out.
pub fn words(sql: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in sql.split('\'').enumerate() {
        if index % 2 == 0 {
            let found = part.split(|letter: char| !is_of_word(letter)).filter(|word| !word.is_empty());
            words.extend(found.map(str::to_ascii_lowercase));
        }
    }
    words
}

fn is_of_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// The statement with which PostgreSQL drops the relation: together with the views over it, which SQLite leaves behind
/// and the file drops later.
pub fn drop_with_views(effect: &Effect) -> Option<String> {
    match effect {
        Effect::DropTable(name) => Some(format!("DROP TABLE IF EXISTS {name} CASCADE")),
        Effect::DropView(name) => Some(format!("DROP VIEW IF EXISTS {name} CASCADE")),
        _ => None,
    }
}

/// Whether a query reads a table.
pub fn has_from(sql: &str) -> bool {
    words(sql).iter().any(|word| word == "from")
}

/// A query without its outermost ORDER BY, which does not change which rows it has unless a LIMIT follows.
pub fn without_order(sql: &str) -> String {
    let mut depth = 0;
    let mut order = None;
    let mut is_quoted = false;
    let bytes = sql.as_bytes();
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'\'' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'o' | b'O' if depth == 0 && (index == 0 || !is_of_word(bytes[index - 1] as char)) => {
                let first: Vec<String> = words(&sql[index..]).into_iter().take(2).collect();
                if first == ["order", "by"] {
                    order = Some(index);
                }
            }
            _ => {}
        }
    }
    match order {
        Some(index) if !words(&sql[index..]).iter().any(|word| word == "limit" || word == "offset") => {
            sql[..index].trim_end().to_owned()
        }
        _ => sql.to_owned(),
    }
}

/// The definition of the stream table for a query: its columns get names, which the corpus's own lack or have twice.
pub fn definition(sql: &str, columns: usize) -> String {
    let names: Vec<String> = (1..=columns).map(|number| format!("c{number}")).collect();
    format!("SELECT * FROM ({}) AS t({})", without_order(sql), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_told_by_the_first_words() {
        assert_eq!(Effect::of("CREATE TABLE tab0(pk INTEGER)"), Effect::CreateTable("tab0".to_owned()));
        let query = "SELECT pk FROM tab0 AS x".to_owned();
        assert_eq!(
            Effect::of("CREATE VIEW View_1 AS SELECT pk FROM tab0 AS x"),
            Effect::CreateView { name: "view_1".to_owned(), query }
        );
        assert_eq!(Effect::of("DROP VIEW IF EXISTS view_1"), Effect::DropView("view_1".to_owned()));
        assert_eq!(Effect::of("DROP TABLE tab0"), Effect::DropTable("tab0".to_owned()));
        assert_eq!(Effect::of("INSERT INTO tab1 SELECT * FROM tab0"), Effect::Change);
        assert_eq!(Effect::of("CREATE UNIQUE INDEX i ON tab0 (a)"), Effect::Other);
    }

    #[test]
    fn what_is_dropped_takes_the_views_over_it_along() {
        let dropped = |sql: &str| drop_with_views(&Effect::of(sql));
        assert_eq!(dropped("DROP TABLE tab0").as_deref(), Some("DROP TABLE IF EXISTS tab0 CASCADE"));
        assert_eq!(dropped("DROP VIEW v").as_deref(), Some("DROP VIEW IF EXISTS v CASCADE"));
        assert_eq!(dropped("DROP INDEX i"), None);
    }

    #[test]
    fn words_leave_out_what_is_quoted() {
        assert_eq!(
            words("SELECT a FROM Tab0 WHERE b='from tab1'"),
            ["select", "a", "from", "tab0", "where", "b"]
        );
        assert!(has_from("SELECT 1 FROM t") && !has_from("SELECT 'from'"));
    }

    #[test]
    fn only_the_outermost_order_goes() {
        assert_eq!(without_order("SELECT a FROM t\n ORDER BY 1,2"), "SELECT a FROM t");
        for kept in [
            "SELECT * FROM (SELECT a FROM t ORDER BY a) AS x",
            "SELECT a FROM t ORDER BY a LIMIT 3",
            "SELECT border FROM t WHERE a = ' order by '",
        ] {
            assert_eq!(without_order(kept), kept);
        }
        assert_eq!(
            definition("SELECT a, a FROM t ORDER BY a", 2),
            "SELECT * FROM (SELECT a, a FROM t) AS t(c1, c2)"
        );
    }
}
