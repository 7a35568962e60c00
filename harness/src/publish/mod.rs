//! `harness report`: runs a stated selection on every PostgreSQL version that the machine offers and writes a site that
//! shows what was compared, how it went, and what was not shown. The site itself is [`crate::report`].

mod check;
mod selection;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::cluster::{SUPPORTED_MAJORS, parse_majors, wanted_backend, wanted_majors};
use crate::provision::cache::checkout;
use crate::provision::plan::{Supply, Version, supply};
use crate::provision::{debian, say};
use crate::replay::commit;
use crate::report::{About, Diff, Site, links, machine};

pub use selection::Selected;

/// What to do with reports; without a word, make one.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ReportArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    options: ReportOptions,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Action {
    /// Say what is new in a report against an older one; fails if something fails that did not.
    Diff { old: PathBuf, new: PathBuf },
    /// Follow every link, and open the pages in a browser if one can be had.
    Check {
        /// Folder of the report [default: target/report in the checkout].
        folder: Option<PathBuf>,
        /// Folder for pictures of the pages [default: target/report-screenshots in the checkout].
        #[arg(long)]
        screenshots: Option<PathBuf>,
    },
    /// Write the pages of a report again from its JSON.
    Render { folder: PathBuf },
}

/// What to run.
#[derive(Debug, Clone, clap::Args)]
struct ReportOptions {
    /// PostgreSQL major versions, such as `16,17,18`; default: $PG_TRICKLE_PG, else all supported.
    #[arg(long)]
    pg: Option<String>,
    /// Seed of all changes, rows and random queries.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these parts, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Selected>,
    /// Folder for the report [default: target/report in the checkout].
    #[arg(long)]
    out: Option<PathBuf>,
}

impl ReportArguments {
    /// Does what was asked for.
    pub fn run(&self) -> Result<ExitCode> {
        let is_right = match &self.action {
            None => self.options.make()?,
            Some(Action::Diff { old, new }) => {
                let diff = Diff::between(&Site::read(old)?, &Site::read(new)?);
                print!("{diff}");
                diff.is_acceptable()
            }
            Some(Action::Check { folder, screenshots }) => {
                let folder = folder.clone().unwrap_or_else(default_folder);
                let screenshots =
                    screenshots.clone().unwrap_or_else(|| checkout().join("target/report-screenshots"));
                check::check(&folder, &screenshots)?
            }
            Some(Action::Render { folder }) => {
                Site::read(folder)?.write_to(folder)?;
                true
            }
        };
        Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl ReportOptions {
    /// Runs the selection and writes the report. Returns whether everything was right.
    fn make(&self) -> Result<bool> {
        let clock = Instant::now();
        let named = match &self.pg {
            Some(text) => Some(parse_majors(text)?),
            None => wanted_majors()?,
        };
        debian::get_build_packages()?;
        let majors = named.clone().unwrap_or_else(|| SUPPORTED_MAJORS.to_vec());
        let versions = supply(&majors, wanted_backend()?)?;
        let mut site = Site { about: self.about(), parts: Vec::new(), not_proven: Vec::new() };
        let folder = self.out.clone().unwrap_or_else(default_folder);
        let mut is_complete = true;
        let is_left_out = |major: &u32| !majors.contains(major);
        site.not_proven
            .extend(SUPPORTED_MAJORS.into_iter().filter(is_left_out).map(selection::version_left_out));
        for version in &versions {
            if let Supply::Missing(reason) = &version.supply {
                site.lacks_version(version.major, reason);
                // A version that was asked for by name has to be there.
                is_complete &= named.is_none();
                continue;
            }
            for selected in Selected::of(&self.only) {
                is_complete &= self.add(&mut site, selected, version);
                // What is interrupted later leaves what there is.
                self.finished(&site, clock).write_to(&folder)?;
            }
        }
        let site = self.finished(&site, clock);
        site.write_to(&folder)?;
        summarize(&site, &folder)?;
        Ok(is_complete && site.is_right())
    }

    /// The site with what it does not show, and the time it took so far.
    fn finished(&self, site: &Site, since: Instant) -> Site {
        let mut site = site.clone();
        selection::not_selected(&self.only, &mut site);
        site.about.seconds = since.elapsed().as_secs_f64();
        site
    }

    /// Runs one part on one version. One that breaks off is told in the report, and the others still run.
    fn add(&self, site: &mut Site, selected: Selected, version: &Version) -> bool {
        say(format_args!("report: {} on PostgreSQL {} ...", selected.title(), version.major));
        let outcome = selected.run(site, version, self.seed);
        if let Err(error) = &outcome {
            say(format_args!("report: {} broke off: {error:#}", selected.title()));
            site.not_proven.push(selected.broken(version.major, self.seed, &format!("{error:#}")));
        }
        outcome.is_ok()
    }

    fn about(&self) -> About {
        let mut command = "./harness/run report".to_owned();
        if let Some(pg) = &self.pg {
            command += &format!(" --pg {pg}");
        }
        if !self.only.is_empty() {
            let names: Vec<&str> = self.only.iter().map(|selected| selected.word()).collect();
            command += &format!(" --only {}", names.join(","));
        }
        About {
            title: "pg_trickle: correctness report".to_owned(),
            command: format!("{command} --seed {}", self.seed),
            started: machine::now(),
            seconds: 0.0,
            commit: commit(),
            seed: self.seed,
            machine: machine::describe(),
        }
    }
}

fn default_folder() -> PathBuf {
    checkout().join("target/report")
}

/// The end of the output: what a reader of the terminal has to know.
fn summarize(site: &Site, folder: &Path) -> Result<()> {
    println!();
    for part in &site.parts {
        let counts = part.counts();
        println!(
            "{:<28} {:>6} queries {:>7} refreshes {:>7} comparisons {:>4} wrong {:>6.0} s",
            part.id,
            counts.queries,
            counts.refreshes,
            counts.compared(),
            counts.wrong,
            part.seconds
        );
    }
    for missing in &site.not_proven {
        println!(
            "not shown: {}: {} ({})",
            missing.what,
            missing.why.lines().next().unwrap_or(""),
            missing.command
        );
    }
    for (part, failure) in site.failures() {
        println!("FAILED: {}: {failure}", part.id);
    }
    let counts = site.counts();
    println!(
        "{} comparisons, {} wrong, in {:.0} s; {} pages with problems of their own",
        counts.compared(),
        counts.wrong,
        site.about.seconds,
        links::problems(folder)?.len()
    );
    println!("report: {}", folder.join("index.html").display());
    Ok(())
}
