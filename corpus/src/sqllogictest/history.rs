//! When each chosen query of a file is a stream table, and when it is refreshed.
//!
//! A query is judged by its recorded result where it stands in the file. Its stream table is created before that, when
//! everything that it reads is there: while its tables are as empty as they can be, or after some of the changes. It ends
//! before something that it reads is dropped, else with the file.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::record::Record;
use super::sample::choose;
use super::statement::{Effect, words};

/// Refreshes between creation and the query's place in the file.
const REFRESHES_BEFORE: usize = 3;

/// Refreshes between that place and the end.
const REFRESHES_AFTER: usize = 1;

/// The plan of one file. Places are numbers of records: something at place `n` happens before record `n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// In the order of their queries.
    pub lives: Vec<Life>,
    /// Views that some life reads; other views need not be created.
    views: BTreeSet<String>,
}

/// One query as a stream table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The record of the query, also the place at which it is judged by its recorded result.
    pub query: usize,
    /// Where the stream table is created.
    pub birth: usize,
    /// Where it is refreshed, beside its query's place.
    pub refreshes: Vec<usize>,
    /// Where it ends: the record that drops something it reads, or the number of records.
    pub death: usize,
    /// The tables that it reads, also through views, by name.
    pub tables: Vec<String>,
    /// The views that it reads, each with its query, after those that it reads itself.
    pub views: Vec<(String, String)>,
}

/// A table or view from its creation to its end.
struct Relation {
    name: String,
    created: usize,
    dropped: Option<usize>,
    /// The query, if it is a view.
    query: Option<String>,
    /// Relations that a view reads.
    reads: Vec<usize>,
}

impl History {
    /// Lays out the lives of the `chosen` queries.
    pub fn new(records: &[Record], chosen: &[usize], rng: &mut ChaCha8Rng) -> History {
        let mut scope = Scope::default();
        let mut changes = Vec::new();
        let mut closures: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (place, record) in records.iter().enumerate() {
            match record {
                Record::Statement(statement) if statement.succeeds => match Effect::of(&statement.sql) {
                    Effect::Change => changes.push(place),
                    effect => scope.apply(effect, place),
                },
                Record::Query(query) if chosen.binary_search(&place).is_ok() => {
                    closures.insert(place, scope.closure(&query.sql));
                }
                _ => {}
            }
        }
        let lives: Vec<Life> = closures
            .iter()
            .map(|(&query, closure)| scope.life(query, closure, &changes, records.len(), rng))
            .collect();
        let views = lives.iter().flat_map(|life| life.views.iter().map(|(name, _)| name.clone())).collect();
        History { lives, views }
    }

    /// Whether the statement at a place has to be run: views that nobody reads are left out, and so is what is recorded
    /// to fail, since it need not fail here.
    pub fn plays(&self, record: &Record) -> bool {
        match record {
            Record::Statement(statement) if statement.succeeds => match Effect::of(&statement.sql) {
                Effect::CreateView { name, .. } | Effect::DropView(name) => self.views.contains(&name),
                _ => true,
            },
            _ => false,
        }
    }
}

/// Relations so far, and which of them are there now.
#[derive(Default)]
struct Scope {
    relations: Vec<Relation>,
    live: BTreeMap<String, usize>,
}

impl Scope {
    fn apply(&mut self, effect: Effect, place: usize) {
        match effect {
            Effect::CreateTable(name) => self.create(name, None, place),
            Effect::CreateView { name, query } => self.create(name, Some(query), place),
            Effect::DropTable(name) | Effect::DropView(name) => {
                if let Some(&relation) = self.live.get(&name) {
                    self.end(relation, place);
                }
            }
            Effect::Change | Effect::Other => {}
        }
    }

    fn create(&mut self, name: String, query: Option<String>, place: usize) {
        if self.live.contains_key(&name) {
            return;
        }
        let reads = query.as_deref().map_or_else(Vec::new, |query| self.named(query));
        self.live.insert(name.clone(), self.relations.len());
        self.relations.push(Relation { name, created: place, dropped: None, query, reads });
    }

    /// Ends a relation and the views over it.
    fn end(&mut self, ended: usize, place: usize) {
        self.relations[ended].dropped = Some(place);
        self.live.retain(|_, relation| *relation != ended);
        let above: Vec<usize> = self.live.values().copied().collect();
        for view in above {
            if self.relations[view].reads.contains(&ended) && self.relations[view].dropped.is_none() {
                self.end(view, place);
            }
        }
    }

    /// Relations that are there and that a query may name.
    fn named(&self, sql: &str) -> Vec<usize> {
        let mut found: Vec<usize> =
            words(sql).iter().filter_map(|word| self.live.get(word).copied()).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Everything that a query reads, also through views.
    fn closure(&self, sql: &str) -> BTreeSet<usize> {
        let mut open = self.named(sql);
        let mut closure = BTreeSet::new();
        while let Some(relation) = open.pop() {
            if closure.insert(relation) {
                open.extend(&self.relations[relation].reads);
            }
        }
        closure
    }

    fn life(
        &self,
        query: usize,
        closure: &BTreeSet<usize>,
        changes: &[usize],
        end: usize,
        rng: &mut ChaCha8Rng,
    ) -> Life {
        let relations: Vec<&Relation> = closure.iter().map(|&index| &self.relations[index]).collect();
        let first = relations.iter().map(|relation| relation.created + 1).max().unwrap_or(0);
        let death = relations.iter().filter_map(|relation| relation.dropped).min().unwrap_or(end);
        let between = |from: usize, to: usize| -> Vec<usize> {
            let range =
                changes.partition_point(|&place| place < from)..changes.partition_point(|&place| place < to);
            changes[range].iter().map(|place| place + 1).collect()
        };
        // A query without tables has nothing to wait for, and nothing to follow.
        let (before, first) =
            if relations.is_empty() { (vec![], query) } else { (between(first, query), first) };
        let birth = match before.len() {
            0 => first,
            _ if rng.random_bool(0.5) => first,
            count => before[rng.random_range(0..count)],
        };
        let mut refreshes = choose(&between(birth, query), REFRESHES_BEFORE, rng);
        if !relations.is_empty() {
            let after = between(query, death);
            refreshes.extend(choose(&after, REFRESHES_AFTER, rng));
            refreshes.extend(after.last());
        }
        refreshes.retain(|&place| place != query);
        refreshes.sort_unstable();
        refreshes.dedup();
        let (views, tables): (Vec<&Relation>, Vec<&Relation>) =
            relations.into_iter().partition(|relation| relation.query.is_some());
        let view = |view: &Relation| (view.name.clone(), view.query.clone().unwrap_or_default());
        Life {
            query,
            birth,
            refreshes,
            death,
            tables: tables.into_iter().map(|table| table.name.clone()).collect(),
            views: views.into_iter().map(view).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{generator, queries};
    use super::*;
    use crate::sqllogictest::parse;

    fn file(lines: &[&str]) -> Vec<Record> {
        let record = |line: &&str| match line.starts_with("SELECT") {
            true => format!("query I rowsort\n{line}\n----\n1\n\n"),
            false => format!("statement ok\n{line}\n\n"),
        };
        parse(&lines.iter().map(record).collect::<String>()).expect("a file")
    }

    fn lives(lines: &[&str], seed: u64) -> History {
        let records = file(lines);
        History::new(&records, &queries(&records), &mut generator(seed, "test"))
    }

    const TABLE_TWICE: [&str; 11] = [
        "CREATE TABLE a(x INTEGER)",
        "INSERT INTO a VALUES(1)",
        "INSERT INTO a VALUES(2)",
        "SELECT x FROM a",
        "DELETE FROM a WHERE x = 1",
        "SELECT x + 1 FROM a",
        "DROP TABLE a",
        "CREATE TABLE a(x INTEGER)",
        "INSERT INTO a VALUES(3)",
        "SELECT x FROM a",
        "INSERT INTO a VALUES(4)",
    ];

    #[test]
    fn stream_table_lives_while_what_it_reads_is_there() {
        for seed in 0..20 {
            let history = lives(&TABLE_TWICE, seed);
            let bounds: Vec<(usize, usize)> =
                history.lives.iter().map(|life| (life.query, life.death)).collect();
            assert_eq!(bounds, [(3, 6), (5, 6), (9, 11)]);
            for life in &history.lives {
                let first = if life.query == 9 { 8 } else { 1 };
                assert!((first..=life.query).contains(&life.birth), "{life:?}");
                let inside = life.birth + 1..=life.death;
                assert!(life.refreshes.iter().all(|place| inside.contains(place) && *place != life.query));
                assert_eq!(life.tables, ["a"]);
            }
            // Changes after the query's place are followed to the last.
            assert_eq!(history.lives[2].refreshes.last(), Some(&11));
        }
    }

    #[test]
    fn some_are_created_over_empty_tables_and_some_later() {
        let births: BTreeSet<usize> = (0..20).map(|seed| lives(&TABLE_TWICE, seed).lives[0].birth).collect();
        assert!(births.contains(&1) && births.len() > 1, "{births:?}");
    }

    #[test]
    fn view_ends_with_its_table_and_counts_as_read() {
        let history = lives(
            &[
                "CREATE TABLE a(x INTEGER)",
                "CREATE VIEW v AS SELECT x FROM a",
                "CREATE VIEW w AS SELECT x FROM v",
                "CREATE VIEW idle AS SELECT x FROM a",
                "SELECT x FROM w",
                "DROP VIEW v",
                "SELECT x FROM a",
            ],
            1,
        );
        let life = &history.lives[0];
        assert_eq!((life.birth, life.death), (3, 5));
        assert_eq!(life.tables, ["a"]);
        let names: Vec<&str> = life.views.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["v", "w"]);
        assert_eq!(history.lives[1].death, 7);
        let played =
            file(&["CREATE VIEW idle AS SELECT x FROM a", "DROP VIEW v", "DROP TABLE a", "SELECT 1"]);
        assert_eq!(
            played.iter().map(|record| history.plays(record)).collect::<Vec<_>>(),
            [false, true, true, false]
        );
    }

    #[test]
    fn query_without_tables_lives_at_its_place() {
        let history = lives(
            &["CREATE TABLE a(x INTEGER)", "INSERT INTO a VALUES(1)", "SELECT 1", "INSERT INTO a VALUES(2)"],
            1,
        );
        assert_eq!((history.lives[0].birth, history.lives[0].death), (2, 4));
        assert!(history.lives[0].refreshes.is_empty());
    }
}
