//! Which queries of which files are replayed, and in what pieces.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use pg_trickle_corpus::sqllogictest::{parse, sample};

use super::SltOptions;

/// Stream tables that one database has at a time at most.
const QUERIES_PER_PART: usize = 250;

/// A table is as much effort as so many statements: files with many tables join many.
const TABLE_EFFORT: usize = 500;

/// A piece of work: some queries of one file, replayed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub file: PathBuf,
    /// Path below the corpus's folder.
    pub path: String,
    /// From 1.
    pub part: usize,
    /// Queries of the file.
    pub queries: usize,
    /// Of two jobs the one with more takes longer, as a rule.
    pub effort: usize,
    /// Records of the chosen queries, in order.
    pub chosen: Vec<usize>,
}

/// The queries that a file offers and has.
struct Offer {
    candidates: Vec<usize>,
    queries: usize,
    effort: usize,
}

/// The jobs of a replay, those that take longest first.
pub(super) fn jobs(folder: &Path, options: &SltOptions) -> Result<Vec<Job>> {
    let paths = files(folder, options.files.as_deref())?;
    let offers = offers(folder, &paths, options)?;
    let counts: Vec<usize> = offers.iter().map(|offer| offer.candidates.len()).collect();
    let shares = if options.all { counts.clone() } else { sample::shares(&counts, options.sample) };
    let mut jobs = Vec::new();
    for ((path, offer), share) in paths.iter().zip(&offers).zip(shares) {
        let mut rng = sample::generator(options.seed, &format!("{path}/sample"));
        let chosen = sample::choose(&offer.candidates, share, &mut rng);
        for (index, part) in chosen.chunks(QUERIES_PER_PART).enumerate() {
            jobs.push(Job {
                file: folder.join(path),
                path: path.clone(),
                part: index + 1,
                queries: offer.queries,
                effort: offer.effort,
                chosen: part.to_vec(),
            });
        }
    }
    jobs.sort_by_key(|job| std::cmp::Reverse(job.effort));
    Ok(jobs)
}

/// Paths of the files below `folder` that the pattern means, sorted.
fn files(folder: &Path, pattern: Option<&str>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(open) = folders.pop() {
        for entry in std::fs::read_dir(&open).with_context(|| open.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "test") {
                let below = path.strip_prefix(folder)?.to_string_lossy().into_owned();
                if pattern.is_none_or(|pattern| is_meant(&below, pattern)) {
                    found.push(below);
                }
            }
        }
    }
    if found.is_empty() {
        bail!("no file of sqllogictest matches `{}`", pattern.unwrap_or("*"));
    }
    found.sort();
    Ok(found)
}

/// Whether the parts of a pattern between its asterisks occur in the path, in their order.
fn is_meant(path: &str, pattern: &str) -> bool {
    let mut rest = path;
    pattern.split('*').all(|part| match rest.find(part) {
        Some(place) => {
            rest = &rest[place + part.len()..];
            true
        }
        None => false,
    })
}

/// Reads all files, with as many threads as there are jobs.
fn offers(folder: &Path, paths: &[String], options: &SltOptions) -> Result<Vec<Offer>> {
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<(usize, Result<Offer>)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs() {
            scope.spawn(|| {
                while let Some((index, path)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    paths.get(index).map(|path| (index, path))
                } {
                    let offer = offer(&folder.join(path), path, options).with_context(|| path.clone());
                    found.lock().unwrap_or_else(PoisonError::into_inner).push((index, offer));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, offer)| offer).collect()
}

fn offer(file: &Path, path: &str, options: &SltOptions) -> Result<Offer> {
    let records = parse(&std::fs::read_to_string(file)?).map_err(anyhow::Error::msg)?;
    let queries = sample::queries(&records);
    let count = queries.len();
    let effort = records.len() - count + TABLE_EFFORT * sample::tables(&records).len();
    let mut rng = sample::generator(options.seed, &format!("{path}/constants"));
    let candidates = if options.all { queries } else { sample::candidates(&records, &mut rng) };
    Ok(Offer { candidates, queries: count, effort })
}

#[cfg(test)]
mod tests {
    use super::is_meant;

    #[test]
    fn pattern_is_a_part_of_the_path_or_several() {
        assert!(is_meant("index/delete/10/slt_good_0.test", "delete"));
        assert!(is_meant("index/delete/10/slt_good_0.test", "index/*/10/"));
        assert!(!is_meant("index/delete/10/slt_good_0.test", "delete*index"));
    }
}
