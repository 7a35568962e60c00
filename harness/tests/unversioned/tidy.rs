//! Rules of the house that must not drift. Each message is `path:line: what is wrong`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use pg_trickle_core::refusal::{Refusal, Scope};
use pg_trickle_harness::cluster::test_database;
use pg_trickle_harness::compatibility::{self, Refused};

/// Folders outside `engine/src/pg` that name the server's bindings, with the reason. The list only gets shorter.
const BINDINGS_ALLOWED: &[(&str, &str)] = &[
    ("engine/src/analyze/", "walks the analysed query, whose nodes are the bindings' own types"),
    ("engine/src/api/events.rs", "the Oid of an event trigger's argument is part of the SQL signature"),
    ("engine/src/error.rs", "the error report type"),
    ("engine/src/capture/job.rs", "the entry point of a worker"),
    ("engine/src/worker/launcher.rs", "the entry point of a worker"),
    ("engine/src/worker/scheduler.rs", "the entry point of a worker"),
];

/// Words that say nothing about what is in a file.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc"];

/// Files of `delta` and `stage` that are not about one operator: no page of their own.
const NOT_OPERATORS: &[&str] = &["mod", "accumulator"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files that git knows or would know, so that build output and ignored files are left out.
fn files() -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .context("cannot list the files of the repository")?;
    ensure!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().filter(|path| root().join(path).is_file()).map(str::to_owned).collect())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| path.to_owned())
}

/// Lines of files with one of the endings, with path and number.
fn lines(endings: &[&str]) -> Result<Vec<(String, usize, String)>> {
    let mut all = Vec::new();
    for path in files()? {
        if !endings.iter().any(|ending| path.ends_with(ending)) {
            continue;
        }
        for (index, line) in read(&path)?.lines().enumerate() {
            all.push((path.clone(), index + 1, line.to_owned()));
        }
    }
    Ok(all)
}

fn report(problems: &[String]) -> Result<()> {
    ensure!(problems.is_empty(), "\n{}", problems.join("\n"));
    Ok(())
}

#[test]
fn bindings_are_named_in_their_folder_only() -> Result<()> {
    let mut problems = Vec::new();
    let mut used = BTreeSet::new();
    for (path, number, line) in lines(&[".rs"])? {
        if !path.starts_with("engine/src/") || path.starts_with("engine/src/pg/") || !line.contains("pg_sys")
        {
            continue;
        }
        match BINDINGS_ALLOWED.iter().find(|(allowed, _)| path.starts_with(allowed)) {
            Some((allowed, _)) => {
                used.insert(*allowed);
            }
            None => problems.push(format!("{path}:{number}: `pg_sys` outside engine/src/pg")),
        }
    }
    for (allowed, _) in BINDINGS_ALLOWED {
        if !used.contains(allowed) {
            problems.push(format!("{allowed}: does not name `pg_sys` any more; take it off the list"));
        }
    }
    report(&problems)
}

#[test]
fn unsafe_code_is_in_its_folder_only() -> Result<()> {
    let mut problems = Vec::new();
    for (path, number, line) in lines(&[".rs"])? {
        let code = line.split("//").next().unwrap_or_default();
        let is_allowed = path.starts_with("engine/src/pg/")
            || BINDINGS_ALLOWED.iter().any(|(allowed, _)| path.starts_with(allowed));
        if path.starts_with("engine/") && !is_allowed && code.contains("unsafe {") {
            problems.push(format!("{path}:{number}: `unsafe` outside engine/src/pg"));
        }
    }
    let core = read("engine/core/src/lib.rs")?;
    ensure!(core.contains("#![forbid(unsafe_code)]"), "engine/core does not forbid unsafe code");
    report(&problems)
}

#[test]
fn file_names_say_what_is_inside() -> Result<()> {
    let mut problems = Vec::new();
    for path in files()? {
        let parts = Path::new(&path).components().map(|part| part.as_os_str().to_string_lossy().into_owned());
        for part in parts {
            let stem = part.split('.').next().unwrap_or_default().to_lowercase();
            if EMPTY_NAMES.contains(&stem.as_str()) {
                problems.push(format!("{path}:1: `{stem}` says nothing about what is inside"));
            }
        }
    }
    report(&problems)
}

#[test]
fn nothing_is_left_undone() -> Result<()> {
    // Put together, so that this file does not contain them.
    let words = [["TO", "DO"], ["FIX", "ME"], ["todo", "!("], ["unimplemented", "!("], ["#[ign", "ore"]]
        .map(|word| word.concat());
    let mut problems = Vec::new();
    for (path, number, line) in lines(&[".rs", ".sql", ".md", ".toml", ".sh", ".slt", ".spec", ".yml"])? {
        for word in &words {
            if line.contains(word.as_str()) {
                problems.push(format!("{path}:{number}: `{word}`"));
            }
        }
    }
    report(&problems)
}

#[test]
fn tests_wait_for_conditions_instead_of_time() -> Result<()> {
    let sleep = ["thread::", "sleep"].concat();
    let mut problems = Vec::new();
    let mut last_loop = (String::new(), 0);
    for (path, number, line) in lines(&[".rs"])? {
        if line.contains("while ") || line.contains("loop {") {
            last_loop = (path.clone(), number);
        }
        // Between two looks at a condition it has its place.
        let is_between_looks = last_loop.0 == path && last_loop.1 + 4 > number;
        if path.starts_with("harness/tests/") && line.contains(&sleep) && !is_between_looks {
            problems.push(format!("{path}:{number}: a sleep where a condition belongs"));
        }
    }
    report(&problems)
}

#[test]
fn every_rule_has_its_page() -> Result<()> {
    let mut problems = Vec::new();
    for folder in ["engine/core/src/delta", "engine/core/src/stage"] {
        for entry in fs::read_dir(root().join(folder))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let Some(operator) = name.strip_suffix(".rs") else { continue };
            if NOT_OPERATORS.contains(&operator) {
                continue;
            }
            let page = format!("docs/operators/{operator}.md");
            if !root().join(&page).is_file() {
                problems.push(format!("{folder}/{name}:1: there is no {page}"));
            }
        }
    }
    report(&problems)
}

#[test]
fn every_page_has_its_rule() -> Result<()> {
    let mut problems = Vec::new();
    for entry in fs::read_dir(root().join("docs/operators"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(operator) = name.strip_suffix(".md").filter(|name| *name != "README") else { continue };
        let is_there = ["delta", "normalize", "stage"]
            .iter()
            .any(|folder| root().join(format!("engine/core/src/{folder}/{operator}.rs")).is_file());
        if !is_there {
            problems.push(format!("docs/operators/{name}:1: there is no rule of that name"));
        }
    }
    report(&problems)
}

#[test]
fn engine_finds_its_scripts_through_the_link() -> Result<()> {
    let target = fs::read_link(root().join("engine/sql")).context("engine/sql is not a symbolic link")?;
    assert_eq!(target, Path::new("../sql"));
    Ok(())
}

#[test]
fn top_level_is_fixed() -> Result<()> {
    const ALLOWED: &[&str] = &[
        "Cargo.toml",
        "Cargo.lock",
        "engine",
        "oracle",
        "corpus",
        "harness",
        "benches",
        "sql",
        "docs",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "justfile",
        "rustfmt.toml",
        "deny.toml",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ];
    let found: BTreeSet<String> =
        files()?.iter().map(|path| path.split('/').next().unwrap_or_default().to_owned()).collect();
    let problems: Vec<String> = found
        .iter()
        .filter(|name| !name.starts_with('.') && !ALLOWED.contains(&name.as_str()))
        .map(|name| format!("{name}:1: does not belong at the top level"))
        .collect();
    report(&problems)
}

#[test]
fn every_setting_is_documented() -> Result<()> {
    let page = read("docs/settings.md")?;
    let database = test_database()?;
    let rows = database.connect()?.query(
        "SELECT name FROM pg_catalog.pg_settings WHERE name LIKE 'pg\\_trickle.%' ORDER BY name",
        &[],
    )?;
    ensure!(rows.len() > 10, "only {} settings are registered", rows.len());
    let problems: Vec<String> = rows
        .iter()
        .map(|row| row.get::<_, String>(0))
        .filter(|name| !page.contains(&format!("`{name}`")) && !page.contains(&format!("`{}`", &name[11..])))
        .map(|name| format!("docs/settings.md:1: `{name}` is missing"))
        .collect();
    report(&problems)
}

/// The conditions of the engine's own error tables, in the words of PostgreSQL's list of error codes.
#[test]
fn every_error_is_documented() -> Result<()> {
    let page = read("docs/errors.md")?.to_lowercase();
    let mut problems = BTreeSet::new();
    for path in ["engine/src/error.rs", "engine/src/analyze/error.rs"] {
        if !root().join(path).is_file() {
            continue;
        }
        for (index, line) in read(path)?.lines().enumerate() {
            let Some((_, name)) = line.split_once("ERRCODE_") else { continue };
            let name: String = name.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
            let words = name.trim_start_matches("T_R_").to_lowercase().replace('_', " ");
            if !page.contains(&words) {
                problems.insert(format!("{path}:{}: `{words}` is not in docs/errors.md", index + 1));
            }
        }
    }
    report(&problems.into_iter().collect::<Vec<_>>())
}

/// The marks around a list in `docs/limits.md`, and what it lists.
const REFUSALS: &[(&str, Scope)] =
    &[("refused in every mode", Scope::EveryMode), ("not differential", Scope::Differential)];

/// The page of limits lists every reason for which the classifier refuses a query, and no other. With
/// `REWRITE_LIMITS=1` the lists are written anew.
#[test]
fn page_of_limits_lists_every_refusal() -> Result<()> {
    let mut page = read("docs/limits.md")?;
    let original = page.clone();
    for (mark, scope) in REFUSALS {
        let (before, rest) = page
            .split_once(&format!("<!-- {mark} -->\n"))
            .with_context(|| format!("docs/limits.md has no list `{mark}`"))?;
        let (_, after) = rest.split_once("<!-- end -->").context("a list of docs/limits.md has no end")?;
        let refusals = Refusal::ALL.iter().filter(|refusal| refusal.scope() == *scope);
        let lines: String =
            refusals.map(|refusal| format!("- {}\n", refusal.text().replace("{}", ".."))).collect();
        page = format!("{before}<!-- {mark} -->\n{lines}<!-- end -->{after}");
    }
    if page == original {
        return Ok(());
    }
    if std::env::var_os("REWRITE_LIMITS").is_some() {
        fs::write(root().join("docs/limits.md"), page)?;
        return Ok(());
    }
    let different = page.lines().zip(original.lines()).find(|(made, found)| made != found);
    anyhow::bail!("docs/limits.md is not what REWRITE_LIMITS=1 makes of it; first difference: {different:?}")
}

/// `docs/compatibility.md` is what the scripts prove. With `REWRITE_COMPATIBILITY=1` it is written anew.
#[test]
fn page_of_compatibility_is_what_scripts_prove() -> Result<()> {
    let refused = Refusal::ALL.iter().filter(|refusal| refusal.scope() != Scope::Guard).map(|refusal| {
        Refused { text: refusal.text().to_owned(), in_every_mode: refusal.scope() == Scope::EveryMode }
    });
    let made = compatibility::page(&root(), &refused.collect::<Vec<_>>())?;
    let path = root().join("docs/compatibility.md");
    if fs::read_to_string(&path).is_ok_and(|found| found == made) {
        return Ok(());
    }
    if std::env::var_os("REWRITE_COMPATIBILITY").is_some() {
        fs::write(path, made)?;
        return Ok(());
    }
    anyhow::bail!("docs/compatibility.md is not what REWRITE_COMPATIBILITY=1 makes of it")
}

/// Each refusal that is not only a guard is provoked by a script, which shows its text.
#[test]
fn every_refusal_has_an_example() -> Result<()> {
    let scripts: Vec<String> = lines(&[".slt"])?
        .into_iter()
        .filter(|(_, _, line)| !line.starts_with('#'))
        .map(|(_, _, line)| line)
        .collect();
    let shows = |line: &str, refusal: &Refusal| {
        let mut rest = line;
        refusal.text().split("{}").all(|part| match rest.find(part) {
            Some(place) => {
                rest = &rest[place + part.len()..];
                true
            }
            None => false,
        })
    };
    let problems: Vec<String> = Refusal::ALL
        .iter()
        .filter(|refusal| refusal.scope() != Scope::Guard)
        .filter(|refusal| !scripts.iter().any(|line| shows(line, refusal)))
        .map(|refusal| format!("engine/core/src/refusal.rs: no script provokes {refusal:?}: {refusal}"))
        .collect();
    report(&problems)
}

/// Each mutant of the rules fits its file, so that `harness mutants` can be run at any time.
#[test]
fn every_mutant_fits_its_file() -> Result<()> {
    let mutants = pg_trickle_harness::mutants::list::read(&root())?;
    ensure!(mutants.len() >= 40, "only {} mutants are listed", mutants.len());
    let mut problems = Vec::new();
    for mutant in &mutants {
        let applied = read(&mutant.file).and_then(|text| mutant.applied(&text));
        if let Err(error) = applied {
            problems.push(format!("{}:1: {error:#}", mutant.file));
        }
    }
    report(&problems)
}
