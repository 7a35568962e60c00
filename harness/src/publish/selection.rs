//! The parts of the published report: what each runs, of what size, and what it leaves out.

use std::time::Instant;

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use pg_trickle_corpus::job::Job;
use pg_trickle_corpus::nexmark::{Nexmark, Shape};
use pg_trickle_corpus::tpch::{Scale, Tpch};
use pg_trickle_corpus::workload::Workload;

use crate::cluster::{ClusterOptions, StartedCluster};
use crate::fuzz::{Extent, Ground};
use crate::provision::plan::Version;
use crate::replay::sqllogictest::{self, SltOptions};
use crate::replay::{Mode, ReplayOptions, commit, replay, settings};
use crate::report::{Content, NotProven, Part, RandomRun, Site};
use crate::slt::run_every_script;

const TPCH_SCALE: f64 = 0.01;
const JOB_TITLES: u32 = 200;

/// Of the 339 forms of JOB's queries, one of this many, which rotates through the three forms. A refresh of many tables
/// plans for seconds.
const JOB_STEP: usize = 4;
const NEXMARK_EVENTS: u32 = 10_000;
const BATCH_ROWS: u32 = 500;
const SAMPLE: usize = 400;

/// Modes with the cycles of changes in each.
const MODES: [(Mode, u32); 3] = [(Mode::Auto, 5), (Mode::Differential, 3), (Mode::Full, 2)];

/// One round of random queries; its number is fixed so that the same seed gives the same verdicts.
const RANDOM: Extent = Extent { queries: 200, batches: 25 };

/// A part of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Selected {
    Tpch,
    Nexmark,
    Job,
    Sqllogictest,
    Scripts,
    Random,
}

impl Selected {
    /// Those that were asked for, in the order of the report; all if none was.
    pub(super) fn of(only: &[Selected]) -> impl Iterator<Item = Selected> {
        let all = Selected::value_variants().iter().copied();
        all.filter(move |selected| only.is_empty() || only.contains(selected))
    }

    /// As on the command line.
    pub(super) fn word(self) -> &'static str {
        match self {
            Selected::Tpch => "tpch",
            Selected::Nexmark => "nexmark",
            Selected::Job => "job",
            Selected::Sqllogictest => "sqllogictest",
            Selected::Scripts => "scripts",
            Selected::Random => "random",
        }
    }

    /// As in the report.
    pub(super) fn title(self) -> &'static str {
        match self {
            Selected::Tpch => "TPC-H",
            Selected::Nexmark => "Nexmark",
            Selected::Job => "Join Order Benchmark",
            Selected::Sqllogictest => "sqllogictest",
            Selected::Scripts => "The project's own scripts",
            Selected::Random => "Random queries and histories",
        }
    }

    /// Runs it on one server and adds what it finds.
    pub(super) fn run(self, site: &mut Site, version: &Version, seed: u64) -> Result<()> {
        let nexmark = |is_keyless: bool, cycles: u32| {
            let shape = Shape { events: NEXMARK_EVENTS, batch_rows: BATCH_ROWS, cycles, is_keyless };
            Nexmark::new(shape, seed)
        };
        match self {
            Selected::Tpch => {
                let scale = Scale::new(TPCH_SCALE).map_err(|reason| anyhow!("{reason}"))?;
                for (mode, cycles) in MODES {
                    add_replay(site, &Tpch::new(scale, seed), version, mode, cycles, seed)?;
                }
            }
            Selected::Nexmark => {
                for (mode, cycles) in MODES {
                    add_replay(site, &nexmark(false, cycles), version, mode, cycles, seed)?;
                }
                add_replay(site, &nexmark(true, 3), version, Mode::Auto, 3, seed)?;
            }
            Selected::Job => add_job(site, version, seed)?,
            Selected::Sqllogictest => add_sqllogictest(site, version, seed)?,
            Selected::Scripts => add_scripts(site, version)?,
            Selected::Random => add_random(site, version, seed)?,
        }
        Ok(())
    }

    /// That it broke off.
    pub(super) fn broken(self, major: u32, seed: u64, reason: &str) -> NotProven {
        NotProven {
            what: format!("{} on PostgreSQL {major}", self.title()),
            why: format!("it broke off: {reason}"),
            command: format!("./harness/run report --only {} --pg {major} --seed {seed}", self.word()),
        }
    }

    /// What a greater run would show.
    fn beyond(self) -> NotProven {
        let (why, command) = match self {
            Selected::Tpch => (
                format!("replayed at scale {TPCH_SCALE} only"),
                "./harness/run replay tpch --scale 1 --cycles 10 --report target/tpch",
            ),
            Selected::Nexmark => (
                format!("replayed with {NEXMARK_EVENTS} events only"),
                "./harness/run replay nexmark --events 1000000 --batch-rows 5000 --report target/nexmark",
            ),
            Selected::Job => (
                format!(
                    "one of {JOB_STEP} forms of its queries, with {JOB_TITLES} titles, in mode AUTO"
                ),
                "./harness/run replay job --titles 20000 --cycles 10 --report target/job",
            ),
            Selected::Sqllogictest => (
                format!("a sample of {SAMPLE} of SQLite's queries"),
                "./harness/run replay sqllogictest --all",
            ),
            Selected::Scripts => (
                "they show each statement and each error once, with one writer at a time; concurrent sessions, crashes, \
                 restarts and the scheduler have tests of their own, which are not part of this report"
                    .to_owned(),
                "./harness/run test",
            ),
            Selected::Random => (
                format!("one round of {} queries per PostgreSQL version", RANDOM.queries),
                "./harness/run fuzz --minutes 600 --pg 16,17,18",
            ),
        };
        NotProven { what: self.title().to_owned(), why, command: command.to_owned() }
    }
}

/// That nobody asked for a PostgreSQL version.
pub(super) fn version_left_out(major: u32) -> NotProven {
    NotProven {
        what: format!("PostgreSQL {major}"),
        why: "it was not asked for".to_owned(),
        command: format!("./harness/run report --pg {major}"),
    }
}

/// Notes what was not run, and what what was run leaves out.
pub(super) fn not_selected(only: &[Selected], site: &mut Site) {
    for &selected in Selected::value_variants() {
        if only.is_empty() || only.contains(&selected) {
            site.not_proven.push(selected.beyond());
        } else {
            site.not_proven.push(NotProven {
                what: selected.title().to_owned(),
                why: "it was not asked for".to_owned(),
                command: format!("./harness/run report --only {}", selected.word()),
            });
        }
    }
}

fn add_replay(
    site: &mut Site,
    workload: &dyn Workload,
    version: &Version,
    mode: Mode,
    cycles: u32,
    seed: u64,
) -> Result<()> {
    let options = ReplayOptions { cycles, pg: vec![version.major], mode, seed, ..ReplayOptions::default() };
    site.add(&replay(workload, &options)?);
    Ok(())
}

fn add_job(site: &mut Site, version: &Version, seed: u64) -> Result<()> {
    let job = Job::new(JOB_TITLES, seed);
    let options = ReplayOptions {
        cycles: 2,
        pg: vec![version.major],
        seed,
        queries: job.queries().into_iter().step_by(JOB_STEP).map(|query| query.name).collect(),
        ..ReplayOptions::default()
    };
    site.add(&replay(&job, &options)?);
    Ok(())
}

/// A part without contents of its own.
fn part(selected: Selected, version: &Version, seed: Option<u64>, content: Content) -> Part {
    let again = seed.map_or(String::new(), |seed| format!(" --seed {seed}"));
    Part {
        id: format!("{}-{}", selected.word(), version.major),
        title: selected.title().to_owned(),
        pg_major: version.major,
        server_version: String::new(),
        mode: String::new(),
        size: String::new(),
        seed,
        command: format!("./harness/run report --only {} --pg {}{again}", selected.word(), version.major),
        commit: commit(),
        seconds: 0.0,
        settings: Default::default(),
        failures: Vec::new(),
        content,
    }
}

/// An absent corpus is no failure: the report says how to get it.
fn add_sqllogictest(site: &mut Site, version: &Version, seed: u64) -> Result<()> {
    let selected = Selected::Sqllogictest;
    if let Err(reason) = crate::corpus::folder(selected.word()) {
        let missing = NotProven {
            what: selected.title().to_owned(),
            why: format!("{reason:#}"),
            command: "./harness/run corpus fetch sqllogictest && ./harness/run report --only sqllogictest"
                .to_owned(),
        };
        if !site.not_proven.contains(&missing) {
            site.not_proven.push(missing);
        }
        return Ok(());
    }
    let options = SltOptions { sample: SAMPLE, seed, pg: vec![version.major], ..SltOptions::default() };
    let (report, timing) = sqllogictest::replay(&options)?;
    for server in report.servers {
        site.parts.push(Part {
            server_version: server.server_version.clone(),
            mode: report.mode.clone(),
            size: format!("a sample of {SAMPLE} queries"),
            command: report.command.clone(),
            failures: server.failures(),
            seconds: timing.seconds,
            ..part(selected, version, Some(seed), Content::Sqllogictest(server))
        });
    }
    Ok(())
}

fn add_scripts(site: &mut Site, version: &Version) -> Result<()> {
    let clock = Instant::now();
    let options = ClusterOptions::default().set("max_connections", 200);
    let cluster = StartedCluster::start(version, &options)?.into_cluster();
    let mut session = cluster.connect("postgres")?;
    let run = run_every_script(&cluster)?;
    site.parts.push(Part {
        server_version: session.query_one("SHOW server_version", &[])?.get(0),
        size: format!("{} scripts", run.scripts.len()),
        settings: settings(&mut session)?,
        failures: run.failures(),
        seconds: clock.elapsed().as_secs_f64(),
        ..part(Selected::Scripts, version, None, Content::Scripts(run))
    });
    Ok(())
}

fn add_random(site: &mut Site, version: &Version, seed: u64) -> Result<()> {
    let clock = Instant::now();
    let ground = Ground::prepare(version)?;
    let mut session = ground.connect()?;
    let run = RandomRun { server: version.supply.to_string(), rounds: vec![ground.round(seed, RANDOM)?] };
    site.parts.push(Part {
        server_version: session.query_one("SHOW server_version", &[])?.get(0),
        size: format!("{} cases of each random test", RANDOM.queries),
        settings: settings(&mut session)?,
        failures: run.failures(),
        seconds: clock.elapsed().as_secs_f64(),
        ..part(Selected::Random, version, Some(seed), Content::Random(run))
    });
    Ok(())
}
