//! A report as a folder: what was run on which servers, each part with a page and its JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::counts::Counts;
use super::random::RandomRun;
use super::run::{Report, ServerRun};
use super::scripts::ScriptsRun;
use super::{front_page, query_page, random_page, replay_page, scripts_page, sqllogictest_page};
use crate::replay::sqllogictest::result::SltServer;

/// Everything that a run of one or more corpora found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Site {
    pub about: About,
    pub parts: Vec<Part>,
    /// What this report does not show, and what would.
    pub not_proven: Vec<NotProven>,
}

/// Where, when and how a report was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    pub title: String,
    /// The command that makes it again.
    pub command: String,
    pub started: String,
    /// Seconds that it took.
    pub seconds: f64,
    /// Commit of the checkout, with a mark if it had changes.
    pub commit: String,
    pub seed: u64,
    /// Processor, memory, system, and the versions of what was compared with.
    pub machine: BTreeMap<String, String>,
}

/// Something that the report does not show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotProven {
    pub what: String,
    pub why: String,
    /// The command that would show it.
    pub command: String,
}

/// A corpus on one server in one mode.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    /// The name of its page: `tpch-18-auto`.
    pub id: String,
    /// `TPC-H replay`.
    pub title: String,
    pub pg_major: u32,
    /// As `server_version` says.
    pub server_version: String,
    /// The refresh mode asked for.
    pub mode: String,
    pub size: String,
    /// None where nothing depends on it.
    pub seed: Option<u64>,
    /// The command that runs this part again.
    pub command: String,
    pub commit: String,
    pub seconds: f64,
    pub settings: BTreeMap<String, String>,
    /// Everything that makes it a failure, one line each.
    pub failures: Vec<String>,
    pub content: Content,
}

/// What was run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Content {
    Replay(Box<ServerRun>),
    Scripts(ScriptsRun),
    Random(RandomRun),
    Sqllogictest(SltServer),
}

/// The front page as data: the site without the contents of its parts.
#[derive(Debug, Serialize, Deserialize)]
struct Front {
    about: About,
    counts: Counts,
    parts: Vec<PartLine>,
    not_proven: Vec<NotProven>,
}

/// A part on the front page.
#[derive(Debug, Serialize, Deserialize)]
struct PartLine {
    id: String,
    title: String,
    pg_major: u32,
    mode: String,
    counts: Counts,
    failures: Vec<String>,
}

impl Part {
    /// What it comes to.
    pub fn counts(&self) -> Counts {
        match &self.content {
            Content::Replay(run) => Counts::of_replay(run),
            Content::Scripts(run) => run.counts(),
            Content::Random(run) => run.counts(),
            Content::Sqllogictest(run) => sqllogictest_page::counts(run),
        }
    }

    /// The name of the file of its page.
    pub(super) fn page(&self) -> String {
        format!("{}.html", self.id)
    }

    fn html(&self, site: &Site) -> String {
        match &self.content {
            Content::Replay(run) => replay_page::page(site, self, run),
            Content::Scripts(run) => scripts_page::page(site, self, run),
            Content::Random(run) => random_page::page(site, self, run),
            Content::Sqllogictest(run) => sqllogictest_page::page(site, self, run),
        }
    }
}

impl Site {
    /// A site of one replay. A server that was not there is among what is not proven.
    pub fn of_report(report: &Report) -> Site {
        let about = About {
            title: report.title.clone(),
            command: report.command.clone(),
            started: report.started.clone(),
            seconds: report.runs.iter().map(|run| run.seconds).sum(),
            commit: report.commit.clone(),
            seed: report.seed,
            machine: super::machine::describe(),
        };
        let mut site = Site { about, parts: Vec::new(), not_proven: Vec::new() };
        site.add(report);
        site
    }

    /// Adds a replay: a part per server.
    pub fn add(&mut self, report: &Report) {
        for run in &report.runs {
            match &run.missing {
                Some(reason) => self.lacks_version(run.pg_major, reason),
                None => self.parts.push(Part {
                    id: format!("{}-{}-{}", report.name, run.pg_major, report.mode.to_lowercase()),
                    title: report.title.clone(),
                    pg_major: run.pg_major,
                    server_version: run.server_version.clone(),
                    mode: report.mode.clone(),
                    size: report.size.clone(),
                    seed: Some(report.seed),
                    command: report.command.clone(),
                    commit: report.commit.clone(),
                    seconds: run.seconds,
                    settings: run.settings.clone(),
                    failures: run.failures.clone(),
                    content: Content::Replay(Box::new(run.clone())),
                }),
            }
        }
    }

    /// Notes that a PostgreSQL version could not be had.
    pub fn lacks_version(&mut self, major: u32, reason: &str) {
        let missing = NotProven {
            what: format!("PostgreSQL {major}"),
            why: format!("this machine has none: {reason}"),
            command: format!("./harness/run provision --pg {major} && ./harness/run report --pg {major}"),
        };
        if !self.not_proven.contains(&missing) {
            self.not_proven.push(missing);
        }
    }

    /// What everything comes to.
    pub fn counts(&self) -> Counts {
        let mut all = Counts::default();
        self.parts.iter().for_each(|part| all += &part.counts());
        all
    }

    /// Failures of all parts, with the name of the part.
    pub fn failures(&self) -> Vec<(&Part, &str)> {
        self.parts
            .iter()
            .flat_map(|part| part.failures.iter().map(move |line| (part, line.as_str())))
            .collect()
    }

    /// Whether every part succeeded.
    pub fn is_right(&self) -> bool {
        self.parts.iter().all(|part| part.failures.is_empty())
    }

    /// Writes the pages and their JSON into a folder, which is made if need be. Files of an earlier report that this
    /// one does not have are removed.
    pub fn write_to(&self, folder: &Path) -> Result<()> {
        make_empty(folder)?;
        let line = |part: &Part| PartLine {
            id: part.id.clone(),
            title: part.title.clone(),
            pg_major: part.pg_major,
            mode: part.mode.clone(),
            counts: part.counts(),
            failures: part.failures.clone(),
        };
        let front = Front {
            about: self.about.clone(),
            counts: self.counts(),
            parts: self.parts.iter().map(line).collect(),
            not_proven: self.not_proven.clone(),
        };
        write(folder, "index", &front_page::page(self), &serde_json::to_value(front)?)?;
        for part in &self.parts {
            write(folder, &part.id, &part.html(self), &serde_json::to_value(part)?)?;
            if let Content::Replay(run) = &part.content {
                for query in &run.queries {
                    let twin = json!({ "part": part.id, "title": part.title, "server": run.server(), "query": query });
                    write(
                        folder,
                        &query_page::name(part, query),
                        &query_page::page(part, run, query),
                        &twin,
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Reads what [`Site::write_to`] wrote.
    pub fn read(folder: &Path) -> Result<Site> {
        let front: Front = read(folder, "index")?;
        let parts = front.parts.iter().map(|part| read(folder, &part.id)).collect::<Result<_>>()?;
        Ok(Site { about: front.about, parts, not_proven: front.not_proven })
    }
}

/// Makes a folder, in which no page of an earlier report is left.
pub(super) fn make_empty(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    remove_pages(folder)
}

/// Writes a page and its twin.
pub(super) fn write(folder: &Path, name: &str, page: &str, twin: &Value) -> Result<()> {
    for (ending, content) in [("html", page), ("json", &serde_json::to_string_pretty(twin)?)] {
        let path = folder.join(format!("{name}.{ending}"));
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T> {
    let path = folder.join(format!("{name}.json"));
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a report's", path.display()))
}

/// Removes the pages of an earlier report: those that have a twin.
fn remove_pages(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let page = entry?.path();
        let twin = page.with_extension("json");
        if page.extension().is_some_and(|ending| ending == "html") && twin.is_file() {
            fs::remove_file(page)?;
            fs::remove_file(twin)?;
        }
    }
    Ok(())
}
