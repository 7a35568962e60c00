//! What is slower and what is faster than in earlier figures: from a file, or from a revision that is measured in turns
//! with the checkout.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::result::{Case, Run, Summary};
use super::statistics::{Spread, chance_of_greater, least_chance};
use crate::process::{run, run_visible};
use crate::provision::cache::{checkout, make_folder};

/// From this number of runs on a run counts as one value, its median; with fewer runs each turn does. Turns of one run
/// share what was special about it, so that they seem to prove more than they do.
const RUNS_MIN: usize = 5;

/// With what to compare, and how strictly.
#[derive(Debug, Clone, clap::Args)]
pub struct CompareArguments {
    /// A JSON file of benchmarks, or a git revision, which is built and measured in turns with the checkout.
    base: String,
    /// The JSON file to compare with it, where BASE is a file [default: what is measured now].
    #[arg(long)]
    with: Option<PathBuf>,
    /// Times that both a revision and the checkout are measured.
    #[arg(long, default_value_t = RUNS_MIN)]
    rounds: usize,
    #[command(flatten)]
    limits: Limits,
    /// Options of `bench` for the measurements, after two dashes.
    #[arg(last = true)]
    options: Vec<String>,
}

/// What makes a difference one that counts.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Limits {
    /// By how much the median must differ: 0.1 is a tenth.
    #[arg(long, default_value_t = 0.1)]
    pub tolerance: f64,
    /// How improbable the difference must be if there were none.
    #[arg(long, default_value_t = 0.01)]
    pub chance_max: f64,
}

/// What became of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Slower,
    /// It is not there any more, or its contestants are not.
    Gone,
    /// However slow it were, so few turns could not show it.
    TooFew,
    /// Its times have no rival to be divided by, and are of different machines.
    NotComparable,
    Faster,
    Same,
    New,
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Verdict::Slower => "SLOWER",
            Verdict::Gone => "GONE",
            Verdict::TooFew => "TOO FEW TURNS TO TELL",
            Verdict::NotComparable => "not comparable",
            Verdict::Faster => "faster",
            Verdict::Same => "same",
            Verdict::New => "new",
        }
    }
}

/// One case before and after.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub workload: String,
    pub case: String,
    /// Over the rival, or in milliseconds if there is none.
    pub base: Option<Spread>,
    pub new: Option<Spread>,
    pub verdict: Verdict,
}

/// All cases, what counts first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    pub lines: Vec<Line>,
}

impl Comparison {
    /// Whether nothing is slower, nothing is missing, and that could have been told.
    pub fn is_acceptable(&self) -> bool {
        let is_bad = |verdict| matches!(verdict, Verdict::Slower | Verdict::Gone | Verdict::TooFew);
        !self.lines.iter().any(|line| is_bad(line.verdict))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = |spread: &Option<Spread>| match spread {
            Some(spread) => format!("{:.3} ({:.3} to {:.3})", spread.median, spread.low, spread.high),
            None => "-".to_owned(),
        };
        for line in self.lines.iter().filter(|line| line.verdict != Verdict::Same) {
            let (base, new) = (figure(&line.base), figure(&line.new));
            writeln!(f, "{}: {} {}: {base}, then {new}", line.verdict.words(), line.workload, line.case)?;
        }
        let same = self.lines.iter().filter(|line| line.verdict == Verdict::Same).count();
        writeln!(f, "{same} of {} cases are as they were", self.lines.len())
    }
}

/// The values of a case in some runs, and whether they are ratios.
struct Values {
    values: Vec<f64>,
    is_ratio: bool,
}

/// Compares runs of the same workloads, several of each side if they were repeated.
pub fn compare(base: &[Summary], new: &[Summary], limits: Limits) -> Comparison {
    let (before, after) = (by_case(base), by_case(new));
    let is_one_machine = machines(base) == machines(new);
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
    let mut lines: Vec<Line> = names
        .into_iter()
        .map(|name| {
            let (base, new) = (before.get(&name), after.get(&name));
            let verdict = match (base, new) {
                (None, _) => Verdict::New,
                (_, None) => Verdict::Gone,
                (Some(base), Some(new)) => verdict(base, new, is_one_machine, limits),
            };
            let spread = |values: Option<&Values>| values.and_then(|values| Spread::of(&values.values));
            Line { workload: name.0, case: name.1, base: spread(base), new: spread(new), verdict }
        })
        .collect();
    lines.sort_by_key(|line| line.verdict);
    Comparison { lines }
}

fn verdict(base: &Values, new: &Values, is_one_machine: bool, limits: Limits) -> Verdict {
    if base.is_ratio != new.is_ratio || !base.is_ratio && !is_one_machine {
        return Verdict::NotComparable;
    }
    if least_chance(base.values.len(), new.values.len()) > limits.chance_max {
        return Verdict::TooFew;
    }
    let exceeds = |less: &[f64], more: &[f64]| {
        let (Some(less_spread), Some(more_spread)) = (Spread::of(less), Spread::of(more)) else {
            return false;
        };
        more_spread.median > less_spread.median * (1.0 + limits.tolerance)
            && chance_of_greater(less, more) <= limits.chance_max
    };
    if exceeds(&base.values, &new.values) {
        Verdict::Slower
    } else if exceeds(&new.values, &base.values) {
        Verdict::Faster
    } else {
        Verdict::Same
    }
}

fn machines(summaries: &[Summary]) -> Vec<&BTreeMap<String, String>> {
    let mut all: Vec<_> = summaries.iter().flat_map(|one| &one.runs).map(|run| &run.about.machine).collect();
    all.sort();
    all.dedup();
    all
}

/// The values of each case, by the names of workload and case.
fn by_case(summaries: &[Summary]) -> BTreeMap<(String, String), Values> {
    let mut found: BTreeMap<(String, String), Vec<Values>> = BTreeMap::new();
    for (run, case) in summaries.iter().flat_map(|one| &one.runs).flat_map(cases) {
        if let Some((_, rival, values)) = case.ratios() {
            let name = (run.workload.clone(), case.name.clone());
            found.entry(name).or_default().push(Values { values, is_ratio: rival.is_some() });
        }
    }
    found.into_iter().map(|(name, runs)| (name, merged(runs))).collect()
}

/// The values of one case in several runs.
fn merged(runs: Vec<Values>) -> Values {
    let is_ratio = runs.iter().all(|run| run.is_ratio);
    let values = if runs.len() >= RUNS_MIN {
        runs.iter().filter_map(|run| Some(Spread::of(&run.values)?.median)).collect()
    } else {
        runs.into_iter().flat_map(|run| run.values).collect()
    };
    Values { values, is_ratio }
}

fn cases(run: &Run) -> impl Iterator<Item = (&Run, &Case)> {
    run.cases.iter().map(move |case| (run, case))
}

impl CompareArguments {
    /// Compares; `folder` is where measurements go.
    pub fn run(&self, folder: &Path) -> Result<Comparison> {
        let file = Path::new(&self.base);
        if file.is_file() {
            let base = Summary::read(file)?;
            let new = match &self.with {
                Some(path) => Summary::read(path)?,
                None => self.measured(&checkout(), folder)?,
            };
            return Ok(compare(&[base], &[new], self.limits));
        }
        ensure!(self.with.is_none(), "{} is no file; --with is for files", self.base);
        let revision = Checkout::of(&self.base, folder)?;
        let (mut base, mut new) = (Vec::new(), Vec::new());
        for round in 1..=self.rounds {
            println!("round {round} of {}:", self.rounds);
            let mut sides = [
                (&revision.folder, folder.join(format!("base-{round}")), &mut base),
                (&checkout(), folder.join(format!("checkout-{round}")), &mut new),
            ];
            // What grows warm or busy with time is then nobody's advantage.
            if round % 2 == 0 {
                sides.reverse();
            }
            for (sources, figures, side) in sides {
                side.push(self.measured(sources, &figures)?);
            }
        }
        Ok(compare(&base, &new, self.limits))
    }

    /// What this program measures of the extension in another folder: the workloads are then the same.
    fn measured(&self, sources: &Path, folder: &Path) -> Result<Summary> {
        let folder = make_folder(folder.to_path_buf())?;
        let program = std::env::current_exe().context("cannot find this program")?;
        run_visible(
            Command::new(program)
                .arg("bench")
                .args(&self.options)
                .arg("--out")
                .arg(&folder)
                .env("PG_TRICKLE_ROOT", sources),
        )?;
        Summary::read(&folder.join(Summary::FILE))
    }
}

/// A revision in a folder of its own, which goes with the value.
struct Checkout {
    folder: PathBuf,
}

impl Checkout {
    fn of(revision: &str, folder: &Path) -> Result<Checkout> {
        let folder = make_folder(folder.to_path_buf())?.join("base");
        let checkout_of = Checkout { folder: folder.clone() };
        let add = ["worktree", "add", "--force", "--detach"];
        run(Command::new("git").arg("-C").arg(checkout()).args(add).arg(&folder).arg(revision))
            .with_context(|| format!("{revision} is neither a file nor a revision"))?;
        Ok(checkout_of)
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let remove = ["worktree", "remove", "--force"];
        if let Err(error) = run(Command::new("git").arg("-C").arg(checkout()).args(remove).arg(&self.folder))
        {
            eprintln!("harness: {} is left behind: {error:#}", self.folder.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::result::{Contestant, Cycle, RECOMPUTE, STREAM_TABLE};
    use super::*;
    use crate::report::About;

    const LIMITS: Limits = Limits { tolerance: 0.1, chance_max: 0.01 };

    /// A run of one case on a machine, in which the rival always takes 10 ms.
    fn summary(case: &str, times: &[f64], has_rival: bool, machine: &str) -> Summary {
        let cycles = |times: &[f64]| times.iter().map(|&ms| Cycle { ms, ..Cycle::default() }).collect();
        let mut contestants = vec![Contestant { cycles: cycles(times), ..Contestant::named(STREAM_TABLE) }];
        if has_rival {
            let rival = vec![10.0; times.len()];
            contestants.push(Contestant { cycles: cycles(&rival), ..Contestant::named(RECOMPUTE) });
        }
        let about = About {
            title: String::new(),
            command: String::new(),
            started: String::new(),
            seconds: 0.0,
            commit: String::new(),
            seed: 1,
            machine: BTreeMap::from([("processor".to_owned(), machine.to_owned())]),
        };
        Summary {
            runs: vec![Run {
                workload: "tpch".to_owned(),
                about,
                pg_major: 18,
                server_version: String::new(),
                backend: String::new(),
                settings: BTreeMap::new(),
                warm_up: 0,
                cases: vec![Case { name: case.to_owned(), contestants, ..Case::default() }],
            }],
        }
    }

    fn only(base: &[Summary], new: &[Summary]) -> Verdict {
        let comparison = compare(base, new, LIMITS);
        assert_eq!(comparison.lines.len(), 1, "{comparison}");
        comparison.lines[0].verdict
    }

    const USUAL: [f64; 5] = [1.0, 1.1, 0.9, 1.05, 0.95];

    /// One run in which the usual times are multiplied.
    fn usual(factor: f64) -> [Summary; 1] {
        [summary("q1", &USUAL.map(|ms| factor * ms), true, "a")]
    }

    #[test]
    fn twice_the_time_is_slower_and_half_of_it_faster() {
        assert_eq!(only(&usual(1.0), &usual(2.0)), Verdict::Slower);
        assert_eq!(only(&usual(2.0), &usual(1.0)), Verdict::Faster);
        assert_eq!(only(&usual(1.0), &usual(1.0)), Verdict::Same);
        assert!(!compare(&usual(1.0), &usual(2.0), LIMITS).is_acceptable());
        assert!(compare(&usual(2.0), &usual(1.0), LIMITS).is_acceptable());
    }

    #[test]
    fn so_few_turns_that_nothing_could_be_told_are_not_acceptable() {
        let three = |factor: f64| [summary("q1", &[factor, 1.1 * factor, 0.9 * factor], true, "a")];
        assert_eq!(only(&three(1.0), &three(100.0)), Verdict::TooFew);
        assert!(!compare(&three(1.0), &three(1.0), LIMITS).is_acceptable());
    }

    #[test]
    fn a_little_more_or_a_single_bad_turn_is_nothing() {
        assert_eq!(only(&usual(1.0), &usual(1.05)), Verdict::Same);
        let one_bad = [summary("q1", &[1.0, 1.1, 9.0, 1.05, 0.95], true, "a")];
        assert_eq!(only(&usual(1.0), &one_bad), Verdict::Same);
    }

    #[test]
    fn repeated_runs_count_by_their_medians() {
        // Every run has one turn that is far off.
        let runs = |factor: f64| -> Vec<Summary> {
            USUAL.iter().map(|ms| summary("q1", &[ms * factor, ms * factor, 50.0], true, "a")).collect()
        };
        assert_eq!(only(&runs(1.0), &runs(1.5)), Verdict::Slower);
        assert_eq!(only(&runs(1.0), &runs(1.0)), Verdict::Same);
    }

    #[test]
    fn case_that_is_gone_is_not_acceptable_and_a_new_one_is() {
        let other = [summary("q2", &USUAL, true, "a")];
        let both = compare(&usual(1.0), &other, LIMITS);
        assert_eq!(
            both.lines.iter().map(|line| line.verdict).collect::<Vec<_>>(),
            [Verdict::Gone, Verdict::New]
        );
        assert!(!both.is_acceptable());
        assert!(compare(&[Summary::default()], &other, LIMITS).is_acceptable());
    }

    #[test]
    fn bare_times_of_two_machines_are_not_compared_and_ratios_are() {
        let twice = USUAL.map(|ms| 2.0 * ms);
        let on = |machine: &str, times: &[f64], has_rival| [summary("q1", times, has_rival, machine)];
        assert_eq!(only(&on("a", &USUAL, false), &on("b", &twice, false)), Verdict::NotComparable);
        assert_eq!(only(&on("a", &USUAL, false), &on("a", &twice, false)), Verdict::Slower);
        assert_eq!(only(&on("a", &USUAL, true), &on("b", &twice, true)), Verdict::Slower);
    }
}
