//! Rows around the planted ones, with the sizes and skews that have been published for the IMDB snapshot.
//!
//! Sizes are rows per title. Fan-outs are heavy-tailed: a number drawn by [`Noise::skewed`] falls into `1..=2`, `3..=4`,
//! `5..=8`, ... with equal probability, which is Zipf's law with exponent one in whole numbers (no floating point, so every
//! machine draws the same). Titles are correlated: the same fifth of them is rated, has keywords and most companies.

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::dimension;
use super::plant::WORDS;
use super::table::{TABLES, table};
use crate::row::{Row, Value};

/// One title in `RATED` is rated, has keywords, and has most of the companies.
const RATED: i64 = 5;

/// The rows of one table that are neither planted nor fixed.
pub(super) struct Noise {
    titles: i64,
    rng: ChaCha8Rng,
    table: &'static str,
}

/// How many rows a table has; those of the dimensions are fixed.
pub(super) fn rows_of(name: &str, titles: u32) -> i64 {
    let titles = i64::from(titles);
    let per_thousand_titles = match name {
        "title" => 1000,
        "cast_info" => 14_335,
        "movie_info" => 5868,
        "movie_keyword" => 1789,
        "movie_companies" => 1032,
        "movie_info_idx" => 546,
        "aka_title" => 143,
        "complete_cast" => 53,
        "movie_link" => 12,
        "name" => 1648,
        "char_name" => 1242,
        "person_info" => 1172,
        "aka_name" => 357,
        "company_name" => 93,
        "keyword" => 53,
        _ => return 0,
    };
    (titles * per_thousand_titles / 1000).max(1)
}

impl Noise {
    /// The noise of a table.
    pub(super) fn new(name: &'static str, titles: u32, seed: u64) -> Self {
        let stream = TABLES.iter().position(|table| table.name == name).expect("a table") as u64;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(0x4e4f_4900_0000 + stream);
        Self { titles: i64::from(titles), rng, table: name }
    }

    /// Row number `id`, which is also its key. Rows have to be asked for in order, each once.
    pub(super) fn row(&mut self, id: i64) -> Row {
        let id = if self.table == "keyword" { id + dimension::KEYWORDS.len() as i64 } else { id };
        let mut row = Row::empty(table(self.table));
        row.set("id", Value::Integer(id));
        match self.table {
            "title" => self.title(&mut row, id),
            "cast_info" => self.cast_info(&mut row),
            "movie_info" => self.movie_info(&mut row),
            "movie_info_idx" => self.movie_info_idx(&mut row, id),
            "movie_keyword" => {
                let keywords = dimension::KEYWORDS.len() as i64 + self.rows("keyword");
                row.set("movie_id", self.rated_title());
                row.set("keyword_id", self.skewed(keywords));
            }
            "movie_companies" => self.movie_companies(&mut row),
            "movie_link" => {
                row.set("movie_id", self.rated_title());
                row.set("linked_movie_id", self.rated_title());
                row.set("link_type_id", self.between(1, 18));
            }
            "complete_cast" => {
                row.set("movie_id", self.rated_title());
                row.set("subject_id", self.between(1, 2));
                row.set("status_id", self.between(3, 4));
            }
            "aka_title" => {
                row.set("movie_id", self.between(1, self.titles));
                row.set("title", self.words());
                row.set("kind_id", self.between(1, 7));
            }
            "company_name" => self.company_name(&mut row),
            "keyword" => row.set("keyword", Value::Text(format!("{}-{id}", self.word()))),
            "name" => self.name(&mut row),
            "char_name" => {
                let name = self.pick(&["Queen", "Himself", "Iron Man", "Policeman", "The Man", "Narrator"]);
                let own = self.words();
                row.set("name", if self.chance(25) { name } else { own });
            }
            "aka_name" => {
                row.set("person_id", self.person());
                row.set("name", self.person_name());
            }
            "person_info" => {
                row.set("person_id", self.person());
                row.set("info_type_id", self.between(17, 40));
                row.set("info", self.words());
                let named = Value::text("Volker Boehm");
                let own = self.words();
                let note = if self.chance(20) { named } else { own };
                row.set("note", if self.chance(50) { note } else { Value::Null });
            }
            other => unreachable!("{other} has no noise"),
        }
        row
    }

    /// A quarter movies, three fifths games and episodes; half of all after 2001.
    fn title(&mut self, row: &mut Row, id: i64) {
        let kind = match self.rng.random_range(0..1000) {
            0..262 => 1,
            262..385 => 2 + id % 3,
            385..400 => 6,
            _ => 7,
        };
        let year = match self.rng.random_range(0..100) {
            0..6 => self.rng.random_range(1880..1946),
            6..19 => self.rng.random_range(1946..1973),
            19..31 => self.rng.random_range(1973..1991),
            31..41 => self.rng.random_range(1991..1999),
            41..56 => self.rng.random_range(1999..2005),
            56..61 => 2007,
            _ => self.rng.random_range(2005..=2019),
        };
        let named = ["Champion", "Loser", "Murder", "Movie", "Money", "Vampire", "Saw", "Jason", "One Piece"];
        let (named, words) = (self.pick_text(&named), self.text());
        let title = if self.chance(20) { format!("{named} {words}") } else { words };
        row.set("title", Value::Text(title));
        row.set("kind_id", Value::Integer(kind));
        row.set("production_year", if self.chance(3) { Value::Null } else { Value::Integer(year) });
        if kind == 7 {
            row.set("episode_of_id", self.between(1, self.titles));
            row.set("season_nr", self.between(1, 9));
            row.set("episode_nr", self.between(1, 130));
        }
    }

    fn cast_info(&mut self, row: &mut Row) {
        let role = match self.rng.random_range(0..100) {
            0..35 => 1,
            35..80 => self.rng.random_range(2..=7),
            80..83 => 9,
            83..92 => 8,
            _ => self.rng.random_range(10..=11),
        };
        let voices = ["(voice)", "(voice) (uncredited)", "(voice: English version)", "(uncredited)"];
        let writers =
            ["(writer)", "(head writer)", "(story)", "(written by)", "(producer)", "(executive producer)"];
        let note = if role <= 2 { self.pick(&voices) } else { self.pick(&writers) };
        row.set("movie_id", self.between(1, self.titles * 92 / 100));
        row.set("person_id", self.person());
        row.set("role_id", Value::Integer(role));
        row.set("note", if self.chance(30) { note } else { Value::Null });
        if role <= 2 {
            row.set("person_role_id", self.between(1, self.rows("char_name")));
        }
    }

    fn movie_info(&mut self, row: &mut Row) {
        let kind = match self.rng.random_range(0..1000) {
            0..205 => 16,
            205..308 => 3,
            308..402 => 7,
            402..490 => 4,
            490..577 => 2,
            577..631 => 1,
            631..664 => 5,
            664..689 => 17,
            689..711 => 98,
            711..760 => 8,
            _ => self.rng.random_range(6..=71),
        };
        let info = match kind {
            16 => {
                let (country, year) =
                    (self.pick_text(&["USA", "Japan", "Germany"]), self.rng.random_range(1990..=2013));
                Value::Text(format!("{country}:{} May {year}", self.rng.random_range(1..=28)))
            }
            3 => self.pick(&["Drama", "Horror", "Action", "Thriller", "Comedy", "Family", "Western", "War"]),
            4 => self.pick(&["English", "German", "Swedish", "Danish", "French"]),
            8 => self.pick(&["USA", "Germany", "Sweden", "Denmark", "Bulgaria", "France"]),
            _ => self.words(),
        };
        row.set("movie_id", self.between(1, self.titles));
        row.set("info_type_id", Value::Integer(kind));
        row.set("info", info);
        row.set("note", if self.chance(10) { Value::text("(internet)") } else { Value::Null });
    }

    /// A rated title has three rows: votes, their distribution, and the rating.
    fn movie_info_idx(&mut self, row: &mut Row, id: i64) {
        let kind = 99 + (id - 1) % 3;
        let title = ((id - 1) / 3 * RATED) % self.titles + 1;
        let info = match kind {
            100 => self.rng.random_range(5..=90_000).to_string(),
            101 => format!("{}.{}", self.rng.random_range(1..=9), self.rng.random_range(0..=9)),
            _ => format!("{:010}", self.rng.random_range(0..=9_999_999_999_i64)),
        };
        row.set("movie_id", Value::Integer(title));
        row.set("info_type_id", Value::Integer(kind));
        row.set("info", Value::Text(info));
    }

    fn movie_companies(&mut self, row: &mut Row) {
        let notes = [
            "(2006) (USA) (TV)",
            "(2007) (worldwide) (all media)",
            "(presents)",
            "(co-production)",
            "(1994) (VHS)",
        ];
        let note = self.pick(&notes);
        let movie = if self.chance(70) { self.rated_title() } else { self.between(1, self.titles) };
        row.set("movie_id", movie);
        row.set("company_id", self.skewed(self.rows("company_name")));
        row.set("company_type_id", self.between(1, 2));
        row.set("note", if self.chance(55) { note } else { Value::Null });
    }

    fn company_name(&mut self, row: &mut Row) {
        let country = match self.rng.random_range(0..100) {
            0..38 => Value::text("[us]"),
            38..75 => self.pick(&["[de]", "[gb]", "[fr]", "[jp]", "[pl]", "[ru]", "[nl]", "[sm]"]),
            75..80 => Value::Null,
            _ => self.pick(&["[se]", "[dk]", "[in]", "[es]"]),
        };
        let (named, words) = (self.pick_text(&["Film", "Warner", "Lionsgate", "YouTube"]), self.text());
        row.set("name", Value::Text(if self.chance(25) { format!("{named} {words}") } else { words }));
        row.set("country_code", country);
    }

    fn name(&mut self, row: &mut Row) {
        let letter = char::from(self.rng.random_range(b'A'..=b'Z'));
        row.set("name", self.person_name());
        row.set(
            "gender",
            match self.rng.random_range(0..10) {
                0..5 => Value::text("m"),
                5..8 => Value::text("f"),
                _ => Value::Null,
            },
        );
        row.set("name_pcode_cf", Value::Text(format!("{letter}{}", self.rng.random_range(100..=999))));
    }

    fn rows(&self, name: &str) -> i64 {
        rows_of(name, u32::try_from(self.titles).expect("a count of titles"))
    }

    fn between(&mut self, low: i64, high: i64) -> Value {
        Value::Integer(self.rng.random_range(low..=high.max(low)))
    }

    fn rated_title(&mut self) -> Value {
        let index = self.rng.random_range(0..=(self.titles - 1) / RATED);
        Value::Integer(index * RATED + 1)
    }

    fn person(&mut self) -> Value {
        if self.chance(40) { self.skewed(self.rows("name")) } else { self.between(1, self.rows("name")) }
    }

    /// A number from 1 to `most`, small ones more often.
    fn skewed(&mut self, most: i64) -> Value {
        let octaves = i64::BITS - most.leading_zeros();
        let high = 1_i64 << self.rng.random_range(1..=octaves);
        Value::Integer(self.rng.random_range(high / 2 + 1..=high).min(most))
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn word(&mut self) -> &'static str {
        WORDS.choose(&mut self.rng).expect("there are words")
    }

    fn text(&mut self) -> String {
        format!("{} {} {}", self.word(), self.word(), self.rng.random_range(0..1000))
    }

    fn words(&mut self) -> Value {
        Value::Text(self.text())
    }

    fn person_name(&mut self) -> Value {
        let first = self
            .pick_text(&["Angela", "Bert", "Tim", "Robert", "Yoko", "Anna", "Xaver", "Zoe", "Ben", "Dora"]);
        Value::Text(format!("{} {}, {first}", self.word(), self.rng.random_range(0..100)))
    }

    fn pick_text(&mut self, from: &[&'static str]) -> &'static str {
        from.choose(&mut self.rng).expect("a choice")
    }

    fn pick(&mut self, from: &[&'static str]) -> Value {
        Value::text(self.pick_text(from))
    }
}
