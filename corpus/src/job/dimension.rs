//! Rows that are the same at every size: the classifications of the benchmark, and the keywords its queries name.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::table::{TABLES, table};
use crate::row::{Row, Value};

/// Keywords that some query names, with ids from 1. The first ones are the most frequent in the noise.
#[rustfmt::skip]
pub(super) const KEYWORDS: [&str; 33] = [
    "character-name-in-title", "sequel", "murder", "blood", "superhero", "violence", "based-on-comic",
    "marvel-comics", "10,000-mile-club", "alienation", "based-on-novel", "claw", "computer-animated-movie",
    "computer-animation", "death", "dignity", "female-nudity", "fight", "gore", "hand-to-hand-combat", "hero",
    "hospital", "laser", "loner", "magnet", "martial-arts", "marvel-cinematic-universe", "murder-in-title",
    "nerd", "revenge", "second-part", "tv-special", "web",
];

#[rustfmt::skip]
const COMP_CAST_TYPE: [&str; 4] = [
    "cast", "crew", "complete", "complete+verified",
];
#[rustfmt::skip]
const COMPANY_TYPE: [&str; 4] = [
    "distributors", "production companies", "special effects companies", "miscellaneous companies",
];
#[rustfmt::skip]
const KIND_TYPE: [&str; 7] = [
    "movie", "tv series", "tv movie", "video movie", "tv mini series", "video game", "episode",
];
#[rustfmt::skip]
const LINK_TYPE: [&str; 18] = [
    "follows", "followed by", "remake of", "remade as", "references", "referenced in", "spoofs", "spoofed in",
    "features", "featured in", "spin off from", "spin off", "version of", "similar to", "edited into",
    "edited from", "alternate language version of", "unknown link",
];
#[rustfmt::skip]
const ROLE_TYPE: [&str; 12] = [
    "actor", "actress", "producer", "writer", "cinematographer", "composer", "costume designer", "director",
    "editor", "miscellaneous crew", "production designer", "guest",
];

/// Ids 1 to 29.
#[rustfmt::skip]
const INFO_TYPE_HEAD: [&str; 29] = [
    "runtimes", "color info", "genres", "languages", "certificates", "sound mix", "tech info", "countries",
    "taglines", "keywords", "alternate versions", "crazy credits", "goofs", "soundtrack", "quotes",
    "release dates", "trivia", "locations", "mini biography", "birth notes", "birth date", "height",
    "death date", "spouse", "other works", "birth name", "salary history", "nick names", "books",
];

/// Ids 98 to 113; the names of those between are made up, as no query uses one.
#[rustfmt::skip]
const INFO_TYPE_TAIL: [&str; 16] = [
    "plot", "votes distribution", "votes", "rating", "production dates", "copyright holder", "filming dates",
    "budget", "weekend gross", "gross", "opening weekend", "rentals", "admissions", "studios", "top 250 rank",
    "bottom 10 rank",
];

/// How many kinds of information there are.
pub(super) const INFO_TYPES: i64 = 113;

/// The fixed rows of a table with ids from 1; none if all its rows are generated.
pub(super) fn rows(name: &str) -> &'static [Row] {
    static ROWS: OnceLock<BTreeMap<&str, Vec<Row>>> = OnceLock::new();
    let all = ROWS.get_or_init(|| TABLES.iter().map(|table| (table.name, make_rows(table.name))).collect());
    all.get(name).map_or(&[], Vec::as_slice)
}

fn make_rows(name: &str) -> Vec<Row> {
    let texts: Vec<String> = match name {
        "comp_cast_type" => owned(&COMP_CAST_TYPE),
        "company_type" => owned(&COMPANY_TYPE),
        "kind_type" => owned(&KIND_TYPE),
        "link_type" => owned(&LINK_TYPE),
        "role_type" => owned(&ROLE_TYPE),
        "keyword" => owned(&KEYWORDS),
        "info_type" => (1..=INFO_TYPES).map(info_type).collect(),
        _ => return Vec::new(),
    };
    let row = |(index, text): (usize, String)| {
        let mut row = Row::empty(table(name));
        row.values[0] = Value::Integer(index as i64 + 1);
        row.values[1] = Value::Text(text);
        row
    };
    texts.into_iter().enumerate().map(row).collect()
}

/// Whether a match refers to a fixed row of this table in place of one of its own.
pub(super) fn is_dimension(name: &str) -> bool {
    matches!(
        name,
        "comp_cast_type" | "company_type" | "kind_type" | "link_type" | "role_type" | "keyword" | "info_type"
    )
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn info_type(id: i64) -> String {
    match id {
        1..=29 => INFO_TYPE_HEAD[id as usize - 1].to_owned(),
        98.. => INFO_TYPE_TAIL[id as usize - 98].to_owned(),
        _ => format!("information {id}"),
    }
}
