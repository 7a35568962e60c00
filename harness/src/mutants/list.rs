//! The list of mutants: `corpus/mutants/*.txt`.
//!
//! ```text
//! ## name_of_the_mutant
//! What would be wrong, in a sentence.
//! file engine/core/src/delta/linear.rs
//! - text that stands in the file exactly once, perhaps over several lines
//! + text in its place
//! killed by test(a_test_that_must_fail)
//! ```
//!
//! Lines before the first heading that begin with `#` are comments. The last line is a filter of nextest.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// One wrong rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutant {
    pub name: String,
    /// What is wrong with it.
    pub meaning: String,
    /// The file it is in, from the top of the repository.
    pub file: String,
    pub text: String,
    pub replacement: String,
    /// The tests that are run first.
    pub killed_by: String,
}

/// Where the list is, from the top of the repository.
const FOLDER: &str = "corpus/mutants";

/// Reads the whole list, in the order of files and of places in them.
pub fn read(root: &Path) -> Result<Vec<Mutant>> {
    let folder = root.join(FOLDER);
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    let mut mutants = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        mutants.extend(parse(&text).with_context(|| file.display().to_string())?);
    }
    let mut names = BTreeSet::new();
    for mutant in &mutants {
        ensure!(names.insert(&mutant.name), "there are two mutants named {}", mutant.name);
    }
    Ok(mutants)
}

fn parse(text: &str) -> Result<Vec<Mutant>> {
    let (comments, records) = text.split_once("## ").context("there is no mutant")?;
    ensure!(
        comments.lines().all(|line| line.is_empty() || line.starts_with('#')),
        "text that is no comment stands before the first mutant"
    );
    records.split("\n## ").map(parse_record).collect()
}

fn parse_record(record: &str) -> Result<Mutant> {
    let (name, rest) = record.split_once('\n').context("a mutant is a name only")?;
    let part = |text: &'_ str, mark: &str| -> Result<(String, String)> {
        let (before, after) =
            text.split_once(&format!("\n{mark} ")).with_context(|| format!("{name} has no `{mark}`"))?;
        Ok((before.to_owned(), after.to_owned()))
    };
    let (meaning, rest) = part(rest, "file")?;
    let (file, rest) = part(&rest, "-")?;
    let (text, rest) = part(&rest, "+")?;
    let (replacement, killed_by) = part(&rest, "killed by")?;
    Ok(Mutant {
        name: name.trim().to_owned(),
        meaning,
        file: file.trim().to_owned(),
        text,
        replacement,
        killed_by: killed_by.trim().to_owned(),
    })
}

impl Mutant {
    /// The file's text with the mistake in it; an error if the mutant does not fit the file.
    pub fn applied(&self, original: &str) -> Result<String> {
        let places = original.matches(&self.text).count();
        if places != 1 {
            bail!(
                "mutant {}: its text stands {places} times in {}; change {FOLDER} along with the rule",
                self.name,
                self.file
            );
        }
        let mutated = original.replacen(&self.text, &self.replacement, 1);
        ensure!(mutated != original, "mutant {} changes nothing", self.name);
        Ok(mutated)
    }
}

#[cfg(test)]
mod tests {
    use super::{Mutant, parse};

    const LIST: &str = "# A comment.\n\n## one\nWhy.\nfile a.rs\n- if x {\n    y\n+ if z {\nkilled by test(t)\n\n\
                        ## two\nWhy not.\nfile b.rs\n- p\n+ q\nkilled by test(u) | test(v)\n";

    #[test]
    fn list_has_patterns_over_several_lines() {
        let mutants = parse(LIST).unwrap_or_else(|error| panic!("{error:#}"));
        assert_eq!(mutants.len(), 2);
        assert_eq!(mutants[0].text, "if x {\n    y");
        assert_eq!(mutants[0].replacement, "if z {");
        assert_eq!(mutants[1].killed_by, "test(u) | test(v)");
    }

    #[test]
    fn mutant_fits_one_place_only() {
        let mutants = parse(LIST).unwrap_or_else(|error| panic!("{error:#}"));
        let two: &Mutant = &mutants[1];
        assert_eq!(two.applied("a p b").ok().as_deref(), Some("a q b"));
        assert!(two.applied("p p").is_err());
        assert!(two.applied("x").is_err());
    }
}
