//! The Join Order Benchmark's generator: every query has matches and near misses, and rows and changes are pinned.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use pg_trickle_corpus::job::{Job, QUERIES, Spec, TABLES, specs};
use pg_trickle_corpus::manifest::{self, hexadecimal};
use pg_trickle_corpus::row::Row;
use pg_trickle_corpus::workload::Workload;
use sha2::{Digest, Sha256};

fn holding(spec: &Spec, rows: &[Row]) -> Vec<usize> {
    (0..spec.conditions.len()).filter(|&index| spec.conditions[index].holds(rows)).collect()
}

#[test]
fn every_query_has_matches_and_each_near_miss_fails_one_condition() {
    let job = Job::new(10, 1);
    let (mut queries, mut without) = (0, Vec::new());
    for (spec, planted) in job.planted() {
        queries += 1;
        let all: Vec<usize> = (0..spec.conditions.len()).collect();
        assert_eq!(planted.matches.len(), 3, "{}", spec.key);
        for found in &planted.matches {
            assert!(spec.joins(&found.rows), "{}", spec.key);
            assert_eq!(holding(spec, &found.rows), all, "{}", spec.key);
        }
        for miss in &planted.near_misses {
            assert!(spec.joins(&miss.rows), "{}", spec.key);
            let but_one: Vec<usize> = all.iter().copied().filter(|&index| index != miss.condition).collect();
            assert_eq!(holding(spec, &miss.rows), but_one, "{}", spec.key);
        }
        let missed: BTreeSet<usize> = planted.near_misses.iter().map(|miss| miss.condition).collect();
        without.extend(
            all.iter().filter(|index| !missed.contains(index)).map(|index| format!("{} {index}", spec.key)),
        );
    }
    assert_eq!(queries, 113);
    // Conditions that follow from others of the same query, as IS NOT NULL does from LIKE, cannot fail alone.
    assert!(without.len() == 24, "{} conditions have no near miss: {without:?}", without.len());
}

#[test]
fn specs_name_every_relation_and_every_literal_of_the_texts() {
    for (spec, (key, text)) in specs().iter().zip(QUERIES) {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(spec.key, key);
        for (alias, table) in &spec.relations {
            assert!(words.contains(&format!("{} AS {alias}", table.name)), "{key}: {alias}");
        }
        let from = &words[words.find(" FROM ").expect("FROM")..words.find(" WHERE ").expect("WHERE")];
        assert_eq!(from.matches(" AS ").count(), spec.relations.len(), "{key}");
        let literals = words.matches('\'').count() / 2;
        let written = format!("{:?}", spec.conditions).matches("Text(").count()
            + format!("{:?}", spec.conditions).matches("ike(").count();
        assert_eq!(written, literals, "{key}");
    }
}

#[test]
fn keys_are_distinct_and_rows_are_pinned() {
    let job = Job::new(100, 1);
    let mut found = Vec::new();
    for table in &TABLES {
        let mut text = Vec::new();
        let count = job.write_rows(table.name, &mut text).expect("writing to memory");
        let text = String::from_utf8(text).expect("text");
        let keys: HashSet<&str> = text.lines().map(|line| line.split('\t').next().expect("a key")).collect();
        assert_eq!(keys.len() as u64, count, "{}", table.name);
        assert!(text.lines().all(|line| line.split('\t').count() == table.columns.len()), "{}", table.name);
        found.push(format!(
            "{} {count} {}",
            table.name,
            &hexadecimal(&Sha256::digest(text.as_bytes()))[..16]
        ));
    }
    assert_eq!(found, PINNED);
}

const PINNED: [&str; 21] = [
    "comp_cast_type 4 c54833c3279bc692",
    "company_type 4 efcec3ac09996170",
    "info_type 113 b8ea55a4368a9f64",
    "kind_type 7 220342a7012740a6",
    "link_type 18 76fa6269f06772d8",
    "role_type 12 7f9655e2de0e3e34",
    "keyword 38 bc53f50ebe4b4b32",
    "company_name 729 e5230d83445f05b9",
    "name 661 1cc19f424a83622e",
    "char_name 364 dbb6165414627863",
    "title 1179 3abdf4290404b3a6",
    "aka_name 280 46a19d2e522b5ad9",
    "aka_title 50 ef87390bafb96fb2",
    "cast_info 1951 1e5195a664c8cef3",
    "complete_cast 267 9d0e80fd289e2317",
    "movie_companies 877 8427b9a2ff598b61",
    "movie_info 1202 4abae585c9db5c10",
    "movie_info_idx 515 869d23c6bde8b93e",
    "movie_keyword 873 279b9c82813a5560",
    "movie_link 182 bde89c777189f4e6",
    "person_info 196 d9e7d27b1652d055",
];

#[test]
fn changes_are_pinned_and_reach_every_query() {
    let job = Job::new(100, 1);
    let text = |number| format!("{:?}", job.cycle(number));
    assert_eq!(text(3), text(3));
    assert_ne!(text(3), format!("{:?}", Job::new(100, 2).cycle(3)));
    let digest = hexadecimal(&Sha256::digest(text(3).as_bytes()));
    assert_eq!(&digest[..16], "c6182adec79bb22e");
    let aimed: BTreeMap<String, usize> =
        job.cycle(5).transactions.into_iter().map(|change| (change.name, change.statements.len())).collect();
    assert!(QUERIES.iter().all(|(key, _)| aimed[&format!("aimed at {key}")] >= 3), "{aimed:?}");
}

#[test]
fn variants_of_a_query_are_three_and_have_names_of_their_own() {
    let queries = Job::new(1, 1).queries();
    let names: HashSet<&str> = queries.iter().map(|query| query.name.as_str()).collect();
    assert_eq!((queries.len(), names.len()), (339, 339));
    let bag = queries.iter().find(|query| query.name == "job_1a_bag").expect("1a");
    assert!(
        bag.sql.starts_with("SELECT mc.note AS production_note,\n       t.title AS movie_title,"),
        "{}",
        bag.sql
    );
    assert!(
        queries.iter().all(|query| query.label.ends_with("bag") != query.sql.contains("MIN(")
            || query.label.ends_with("count"))
    );
}

#[test]
fn shipped_files_are_the_pinned_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("job");
    let job = manifest::corpus("job").expect("listed");
    assert_eq!(job.files.len(), QUERIES.len());
    for file in &job.files {
        assert!(file.is_intact(&folder).expect("readable"), "{}", file.path);
    }
}
