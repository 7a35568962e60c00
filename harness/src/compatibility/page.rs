//! The page itself.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use super::construct::{Construct, GROUPS, Group, SOURCES};
use super::creation::{Creation, MODES, Script};
use crate::cluster::SUPPORTED_MAJORS;
use crate::slt::scripts;

/// A reason for which a query is not maintained from its changes.
pub struct Refused {
    /// Its text, with `{}` where it names something.
    pub text: String,
    /// No mode takes the query.
    pub in_every_mode: bool,
}

const INTRODUCTION: &str = "\
# Compatibility

Which constructs are maintained in which mode on which PostgreSQL version. Each mark is a link to a script that creates a stream table
with the construct in that mode and compares it with its query after every change; the scripts run on every version with every change of
the code. The page is made from the scripts, and a test fails when it is not what they prove. What is missing in a row has no script.

DIFFERENTIAL is maintained from its changes or refused; AUTO is maintained from its changes or recomputed; FULL is recomputed. More on what
is maintained how: [limits](limits.md); on the comparisons of a run: the correctness report, `./harness/run report`.
";

/// The page, made from the scripts of a checkout and the reasons of refusals.
pub fn page(root: &Path, refused: &[Refused]) -> Result<String> {
    let mut all = Vec::new();
    for folder in ["corpus/sql", "corpus/regress"] {
        for path in scripts(&root.join(folder))? {
            let path = path.strip_prefix(root)?.to_string_lossy().into_owned();
            all.push(Script::read(root, &path)?);
        }
    }
    // Scripts that are about a construct in every mode are better proofs than those that use it on the way.
    all.sort_by_key(|script| !script.path.starts_with("corpus/sql/mode/"));
    let mut page = INTRODUCTION.to_owned();
    for group in GROUPS {
        table(&mut page, group, &|construct, creation, _, _| (construct.is_in)(&creation.query), &all);
    }
    table(
        &mut page,
        &SOURCES,
        &|construct, _, script, major| script.definitions.get(&major).is_some_and(construct.is_in),
        &all,
    );
    refusals(&mut page, refused, &all);
    Ok(page)
}

/// Whether a creation of a script shows a construct on a version.
type Shows<'a> = &'a dyn Fn(&Construct, &Creation, &Script, u32) -> bool;

fn table(page: &mut String, group: &Group, shows: Shows, all: &[Script]) {
    // Writing to a string cannot fail.
    let _ = writeln!(page, "\n## {}\n", group.title);
    let heads = MODES.iter().flat_map(|mode| SUPPORTED_MAJORS.map(|major| format!(" {mode} {major} |")));
    let _ = writeln!(page, "| |{}", heads.collect::<String>());
    let _ = writeln!(page, "|---|{}", ":-:|".repeat(MODES.len() * SUPPORTED_MAJORS.len()));
    for construct in group.constructs {
        let mut line = format!("| {} |", construct.name);
        for mode in MODES {
            for major in SUPPORTED_MAJORS {
                let proof = all.iter().find(|script| {
                    let fits =
                        |creation: &&Creation| creation.mode == mode && creation.majors.contains(&major);
                    script
                        .creations
                        .iter()
                        .filter(fits)
                        .any(|creation| shows(construct, creation, script, major))
                });
                let cell = proof.map_or("–".to_owned(), |script| format!("[✓](../{})", script.path));
                let _ = write!(line, " {cell} |");
            }
        }
        let _ = writeln!(page, "{line}");
    }
}

fn refusals(page: &mut String, refused: &[Refused], all: &[Script]) {
    let kinds = [
        (
            false,
            "Not maintained from changes",
            "DIFFERENTIAL refuses these; AUTO recomputes them and says so ([script](../corpus/sql/shape/fallback.slt)).",
        ),
        (true, "Refused in every mode", "No mode takes these."),
    ];
    for (in_every_mode, title, prose) in kinds {
        let _ = writeln!(
            page,
            "\n## {title}\n\n{prose} Each reason with a script in which the extension gives it.\n"
        );
        for one in refused.iter().filter(|one| one.in_every_mode == in_every_mode) {
            let proof = all.iter().find(|script| script.expected.iter().any(|line| fits(&one.text, line)));
            let Some(script) = proof else { continue };
            let _ = writeln!(page, "- [{}](../{})", one.text.replace("{}", ".."), script.path);
        }
    }
}

/// Whether a line has the parts of the text around its `{}`, in order.
fn fits(text: &str, line: &str) -> bool {
    let mut rest = line;
    text.split("{}").all(|part| match rest.find(part) {
        Some(place) => {
            rest = &rest[place + part.len()..];
            true
        }
        None => false,
    })
}
