//! Planted rows: whole matches of a query, and near misses.
//!
//! A match is a row for every relation of the join, with values that meet every condition and ids that no other match
//! uses; only the fixed rows ([`dimension`]) are shared. A near miss is a match in which exactly one condition fails, so
//! one update brings it in.

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::dimension;
use super::spec::{Condition, Place, Spec, Test};
use crate::row::{Row, Value};

/// Matches per query before the first change.
pub(super) const MATCHES: usize = 3;

/// Ids of planted rows begin here, far above those of the noise; each match has [`IDS`] of them.
const FIRST_ID: i64 = 1_000_000_000;
const IDS: i64 = 64;

/// A row for every relation of a query's join.
#[derive(Debug, Clone)]
pub struct Match {
    pub rows: Vec<Row>,
}

/// A match in which one condition fails.
#[derive(Debug, Clone)]
pub struct NearMiss {
    pub rows: Vec<Row>,
    /// Which condition fails.
    pub condition: usize,
    /// The row that differs from a match, and what it would be in one.
    pub relation: usize,
    pub mended: Row,
}

/// What is planted for one query.
#[derive(Debug, Clone)]
pub struct Planted {
    pub matches: Vec<Match>,
    pub near_misses: Vec<NearMiss>,
}

/// Rows of a match that are its own, not fixed ones.
pub(super) fn own(rows: &[Row]) -> impl Iterator<Item = &Row> {
    rows.iter().filter(|row| !dimension::is_dimension(row.table.name))
}

/// What is planted for query number `query` before the first change.
pub(super) fn plant(spec: &Spec, query: usize, seed: u64) -> Planted {
    // No query has as many conditions as there are numbers for it here.
    let numbers = 32 * query as i64;
    let matches: Vec<Match> =
        (0..MATCHES).map(|index| matching(spec, numbers + index as i64, seed, None)).collect();
    let near_misses = (0..spec.conditions.len())
        .filter_map(|condition| near_miss(spec, numbers + (MATCHES + condition) as i64, seed, condition))
        .collect();
    Planted { matches, near_misses }
}

/// The match that the changes of cycle `cycle` bring: its texts come before all that earlier cycles brought.
pub(super) fn arriving(spec: &Spec, query: usize, seed: u64, cycle: u32) -> Match {
    let number = 32 * 128 + i64::from(cycle) * 128 + query as i64;
    matching(spec, number, seed, Some(99_999 - cycle % 90_000))
}

/// The match of that number. Free texts begin with `rank`, if there is one.
fn matching(spec: &Spec, number: i64, seed: u64, rank: Option<u32>) -> Match {
    let mut maker = Maker::new(spec, number, seed, rank);
    let rows = maker.rows();
    Match { rows }
}

/// A match with one condition broken; `None` if the condition can only be broken through a second row or condition.
fn near_miss(spec: &Spec, number: i64, seed: u64, condition: usize) -> Option<NearMiss> {
    let mut maker = Maker::new(spec, number, seed, None);
    let rows = maker.rows();
    let places = spec.conditions[condition].places();
    for _ in 0..200 {
        let mut broken = rows.clone();
        let relation = places.choose(&mut maker.rng)?.relation;
        let (_, table) = spec.relations[relation];
        if dimension::is_dimension(table.name) {
            // The row that refers to a fixed row refers to another one.
            let other = dimension::rows(table.name).choose(&mut maker.rng)?.clone();
            let class = spec.classes.iter().find(|class| class.contains(&Place { relation, column: 0 }))?;
            let from = *class.iter().find(|place| place.relation != relation)?;
            broken[from.relation].values[from.column] = other.values[0].clone();
            broken[relation] = other;
            if breaks_only(spec, &broken, condition) {
                let mended = rows[from.relation].clone();
                return Some(NearMiss { rows: broken, condition, relation: from.relation, mended });
            }
        } else {
            for place in places.iter().filter(|place| place.relation == relation) {
                broken[relation].values[place.column] = maker.any_value(*place);
            }
            if breaks_only(spec, &broken, condition) {
                let mended = rows[relation].clone();
                return Some(NearMiss { rows: broken, condition, relation, mended });
            }
        }
    }
    None
}

fn breaks_only(spec: &Spec, rows: &[Row], broken: usize) -> bool {
    let as_wanted = |(index, condition): (usize, &Condition)| condition.holds(rows) == (index != broken);
    spec.joins(rows) && spec.conditions.iter().enumerate().all(as_wanted)
}

/// Makes the rows of one match.
struct Maker<'a> {
    spec: &'a Spec,
    rng: ChaCha8Rng,
    next_id: i64,
    rank: Option<u32>,
}

impl<'a> Maker<'a> {
    fn new(spec: &'a Spec, number: i64, seed: u64, rank: Option<u32>) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(0x4a4f_4200_0000 + number as u64);
        Self { spec, rng, next_id: FIRST_ID + number * IDS, rank }
    }

    fn id(&mut self) -> Value {
        self.next_id += 1;
        Value::Integer(self.next_id)
    }

    fn rows(&mut self) -> Vec<Row> {
        let tests = self.tests();
        let mut rows: Vec<Row> = Vec::new();
        for (relation, (_, table)) in self.spec.relations.iter().enumerate() {
            let row = if dimension::is_dimension(table.name) {
                let fixed = dimension::rows(table.name);
                let kept: Vec<&Row> = fixed
                    .iter()
                    .filter(|row| of(&tests, relation).all(|(column, test)| test.holds(&row.values[column])))
                    .collect();
                let found = kept.choose(&mut self.rng);
                (*found.unwrap_or_else(|| panic!("{}: no fixed row of {}", self.spec.key, table.name)))
                    .clone()
            } else {
                let mut row = Row::empty(table);
                for column in 0..table.columns.len() {
                    let wanted: Vec<&Test> =
                        of(&tests, relation).filter(|(of, _)| *of == column).map(|(_, test)| test).collect();
                    row.values[column] = self.value(Place { relation, column }, &wanted);
                }
                row
            };
            rows.push(row);
        }
        for class in &self.spec.classes {
            let fixed = class
                .iter()
                .find(|place| dimension::is_dimension(self.spec.relations[place.relation].1.name));
            let value = match fixed {
                Some(place) => rows[place.relation].values[place.column].clone(),
                None => self.id(),
            };
            for place in class {
                rows[place.relation].values[place.column] = value.clone();
            }
        }
        debug_assert!(self.spec.joins(&rows));
        rows
    }

    /// The conditions as tests that all have to hold, after a choice among alternatives.
    fn tests(&mut self) -> Vec<(Place, Test)> {
        let mut open: Vec<&Condition> = self.spec.conditions.iter().collect();
        let mut tests = Vec::new();
        while let Some(condition) = open.pop() {
            match condition {
                Condition::Test(place, test) => tests.push((*place, test.clone())),
                Condition::All(parts) => open.extend(parts),
                Condition::Any(parts) => open.push(parts.choose(&mut self.rng).expect("an alternative")),
            }
        }
        tests
    }

    /// A value for a column that meets every one of `tests`.
    fn value(&mut self, place: Place, tests: &[&Test]) -> Value {
        if tests.is_empty() {
            return self.free_value(place);
        }
        for _ in 0..500 {
            let value = self.candidate(place, tests);
            if tests.iter().all(|test| test.holds(&value)) {
                return value;
            }
        }
        panic!("{}: no value for column {place:?} meets {tests:?}", self.spec.key)
    }

    /// A value that meets one of `tests`, and often the others.
    fn candidate(&mut self, place: Place, tests: &[&Test]) -> Value {
        let test = *tests.choose(&mut self.rng).expect("a test");
        match test {
            Test::Equal(value) => value.clone(),
            Test::In(values) => values.choose(&mut self.rng).expect("a list is not empty").clone(),
            Test::Like(_) => Value::Text(self.text_like(tests)),
            Test::IsNull => Value::Null,
            Test::Between(Value::Integer(low), Value::Integer(high)) => {
                Value::Integer(self.rng.random_range(*low..=*high))
            }
            Test::Above(Value::Integer(low)) => Value::Integer(low + self.rng.random_range(1..=9)),
            Test::AtLeast(Value::Integer(low)) => Value::Integer(low + self.rng.random_range(0..=9)),
            Test::Below(Value::Integer(high)) => Value::Integer(high - self.rng.random_range(1..=9)),
            _ => match self.free_value(place) {
                Value::Null => Value::Text(self.words()),
                value => value,
            },
        }
    }

    /// A text that matches the patterns among `tests`, one inside the other.
    fn text_like(&mut self, tests: &[&Test]) -> String {
        let mut patterns: Vec<&str> = tests
            .iter()
            .filter_map(|test| match test {
                Test::Like(pattern) => Some(pattern.as_str()),
                _ => None,
            })
            .collect();
        patterns.shuffle(&mut self.rng);
        let mut text = String::new();
        for (index, pattern) in patterns.iter().enumerate() {
            let is_last = index + 1 == patterns.len();
            let mut parts = pattern.split('%');
            let begin = if index == 0 && pattern.starts_with('%') { self.lead() } else { String::new() };
            text += &begin;
            text += parts.next().unwrap_or_default();
            for (part_index, part) in parts.enumerate() {
                // In front of digits a space, which some patterns ask for and none forbids.
                if part_index == 0 && !pattern.starts_with('%') && index == 0 {
                    text += &format!(" {}", self.lead());
                }
                text += part;
            }
            text += if is_last { "" } else { " " };
        }
        text + &format!(" {}", self.rng.random_range(0..10))
    }

    /// What a free text begins with: in an arriving match, something that sorts before all earlier ones.
    fn lead(&mut self) -> String {
        match self.rank {
            Some(rank) => format!("!{rank:05} "),
            None => format!("{} ", self.word()),
        }
    }

    fn words(&mut self) -> String {
        format!("{}{} {}", self.lead(), self.word(), self.rng.random_range(0..1000))
    }

    fn word(&mut self) -> &'static str {
        WORDS.choose(&mut self.rng).expect("there are words")
    }

    /// A value for a column about which no condition says anything.
    fn free_value(&mut self, place: Place) -> Value {
        let (_, table) = self.spec.relations[place.relation];
        let column = table.columns[place.column];
        match (table.name, column) {
            (_, "id") => self.id(),
            (_, "kind_id") => Value::Integer(self.rng.random_range(1..=7)),
            (_, "production_year") => Value::Integer(self.rng.random_range(1930..=2015)),
            (_, "info_type_id") => Value::Integer(self.rng.random_range(1..=dimension::INFO_TYPES)),
            (_, "company_type_id") => Value::Integer(self.rng.random_range(1..=2)),
            (_, "role_id") => Value::Integer(self.rng.random_range(1..=11)),
            (_, "link_type_id") => Value::Integer(self.rng.random_range(1..=18)),
            (_, "subject_id") => Value::Integer(self.rng.random_range(1..=2)),
            (_, "status_id") => Value::Integer(self.rng.random_range(3..=4)),
            (_, "keyword_id") => Value::Integer(self.rng.random_range(1..=dimension::KEYWORDS.len() as i64)),
            (_, "person_role_id" | "episode_of_id" | "imdb_id" | "season_nr" | "nr_order") => Value::Null,
            (_, "episode_nr") => Value::Integer(self.rng.random_range(1..=120)),
            (_, name) if name.ends_with("_id") => self.id(),
            ("movie_info_idx", "info") => {
                Value::Text(format!("{}.{}", self.rng.random_range(1..=9), self.rng.random_range(0..=9)))
            }
            ("company_name", "country_code") => {
                Value::text(*["[fr]", "[it]", "[gb]"].choose(&mut self.rng).expect("some"))
            }
            ("name", "gender") => Value::text(*["m", "f"].choose(&mut self.rng).expect("two")),
            (_, "name_pcode_cf") => {
                let letter = char::from(self.rng.random_range(b'A'..=b'Z'));
                Value::Text(format!("{letter}{}", self.rng.random_range(100..=999)))
            }
            (_, "title" | "name" | "info") => Value::Text(self.words()),
            (_, "note") => match self.rng.random_range(0..3) {
                0 => Value::Null,
                _ => Value::Text(format!("({})", self.words())),
            },
            _ => Value::Null,
        }
    }

    /// A value that need not meet anything: NULL, one that says nothing, one that meets some of the query's conditions on
    /// the column, or one that such a condition names.
    fn any_value(&mut self, place: Place) -> Value {
        let tests = self.spec.conditions.iter().flat_map(flattened).filter(|(of, _)| *of == place);
        let tests: Vec<Test> = tests.map(|(_, test)| test).collect();
        match self.rng.random_range(0..8) {
            0 => Value::Null,
            1 | 2 => self.free_value(place),
            3..=5 => {
                let mut some: Vec<Test> = Vec::new();
                for test in &tests {
                    if self.rng.random_range(0..3) > 0 {
                        some.push(match test {
                            Test::NotLike(pattern) => Test::Like(pattern.clone()),
                            other => other.clone(),
                        });
                    }
                }
                match some.as_slice() {
                    [] => self.free_value(place),
                    some => self.candidate(place, &some.iter().collect::<Vec<_>>()),
                }
            }
            _ => {
                let named = match tests.choose(&mut self.rng) {
                    Some(
                        Test::NotEqual(value) | Test::Equal(value) | Test::Above(value) | Test::Below(value),
                    ) => value.clone(),
                    Some(Test::NotLike(pattern)) => Value::Text(pattern.replace('%', "")),
                    Some(Test::Between(low, _)) => low.clone(),
                    Some(Test::AtLeast(Value::Integer(low))) => Value::Integer(low - 1),
                    Some(Test::IsNull) => Value::text("(a note)"),
                    _ => self.free_value(place),
                };
                // One beside the bound: just outside it, or just inside.
                match named {
                    Value::Integer(number) => Value::Integer(number + self.rng.random_range(-1..=1)),
                    named => named,
                }
            }
        }
    }
}

/// The tests on the columns of one relation.
fn of(tests: &[(Place, Test)], relation: usize) -> impl Iterator<Item = (usize, &Test)> {
    tests
        .iter()
        .filter(move |(place, _)| place.relation == relation)
        .map(|(place, test)| (place.column, test))
}

fn flattened(condition: &Condition) -> Vec<(Place, Test)> {
    match condition {
        Condition::Test(place, test) => vec![(*place, test.clone())],
        Condition::Any(parts) | Condition::All(parts) => parts.iter().flat_map(flattened).collect(),
    }
}

/// Words for titles and names; none contains what a condition looks for.
pub(super) const WORDS: [&str; 32] = [
    "river", "house", "winter", "night", "garden", "silent", "colour", "moon", "letter", "road", "mirror",
    "island", "summer", "stone", "orchid", "bridge", "window", "lantern", "harbour", "forest", "valley",
    "echo", "shadow", "feather", "thunder", "crown", "violet", "cedar", "falcon", "ember", "cinder",
    "willow",
];
