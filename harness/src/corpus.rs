//! `harness corpus`: the files that replays read. Which there are, where they are, whether they are the pinned ones, and
//! how to get them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use pg_trickle_corpus::manifest::{self, Corpus};

use crate::process::run;
use crate::provision::cache::{cache_root, checkout, make_folder};
use crate::provision::say;

/// Arguments of `harness corpus`.
#[derive(Debug, Clone, clap::Args)]
pub struct CorpusArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Action {
    /// Say which corpora there are, where they come from, and where they are on this machine.
    List,
    /// Get what is missing into the cache: from an archive that is at hand, else from the public address.
    Fetch { names: Vec<String> },
    /// Compare every file with its checksum. A corpus that is absent counts as a failure if it is named.
    Verify { names: Vec<String> },
}

impl CorpusArguments {
    /// Does what was asked for; the exit code is a failure if a file is not the pinned one.
    pub fn run(&self) -> Result<ExitCode> {
        match &self.action {
            Action::List => {
                manifest::corpora().iter().for_each(list);
                Ok(ExitCode::SUCCESS)
            }
            Action::Fetch { names } => {
                for corpus in named(names)? {
                    println!("{}: {}", corpus.name, fetch(&corpus)?.display());
                }
                Ok(ExitCode::SUCCESS)
            }
            Action::Verify { names } => {
                let mut is_right = true;
                for corpus in named(names)? {
                    is_right &= verify(&corpus, !names.is_empty())?;
                }
                Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
        }
    }
}

/// The folder with the files of a corpus; an error that says how to get them if they are not on this machine.
pub fn folder(name: &str) -> Result<PathBuf> {
    let corpus = manifest::corpus(name).with_context(|| format!("there is no corpus {name}"))?;
    match corpus.folder(&roots()) {
        Some(folder) => Ok(folder),
        // An archive at hand needs no network.
        None if corpus.archive(&roots()).is_some() => fetch(&corpus),
        None => bail!("the files of {name} are not on this machine; get them with `{}`", command(&corpus)),
    }
}

/// What the tests leave out on this machine, with the command that gets it.
pub fn left_out_of_tests() -> Option<String> {
    folder("sqllogictest").err().map(|absent| format!("a sample of sqllogictest under mutation: {absent:#}"))
}

fn roots() -> Vec<PathBuf> {
    manifest::roots(&checkout(), &cache_root())
}

fn command(corpus: &Corpus) -> String {
    format!("./harness/run corpus fetch {}", corpus.name)
}

/// The corpora of these names; all of them without names.
fn named(names: &[String]) -> Result<Vec<Corpus>> {
    if names.is_empty() {
        return Ok(manifest::corpora());
    }
    let find = |name: &String| manifest::corpus(name).with_context(|| format!("there is no corpus {name}"));
    names.iter().map(find).collect()
}

fn list(corpus: &Corpus) {
    let place = match (corpus.folder(&roots()), corpus.archive(&roots())) {
        (Some(folder), _) => folder.display().to_string(),
        (None, Some(archive)) => format!("to be unpacked from {}", archive.display()),
        (None, None) => format!("absent; get it with `{}`", command(corpus)),
    };
    println!("{} ({} files, {})", corpus.name, corpus.files.len(), corpus.licence);
    println!("  from {} at {}", corpus.repository, corpus.commit);
    println!("  {place}");
}

/// Whether every file is the pinned one. One that is absent is wrong only if the corpus is `wanted`.
fn verify(corpus: &Corpus, wanted: bool) -> Result<bool> {
    let Some(folder) = corpus.folder(&roots()) else {
        println!("{}: absent; get it with `{}`", corpus.name, command(corpus));
        return Ok(!wanted);
    };
    let wrong = differing(corpus, &folder)?;
    for path in &wrong {
        println!("{}: {} is not the pinned file", corpus.name, folder.join(path).display());
    }
    println!(
        "{}: {} of {} files are the pinned ones",
        corpus.name,
        corpus.files.len() - wrong.len(),
        corpus.files.len()
    );
    Ok(wrong.is_empty())
}

fn differing<'a>(corpus: &'a Corpus, folder: &Path) -> Result<Vec<&'a str>> {
    let mut differing = Vec::new();
    for file in &corpus.files {
        let is_intact = file.is_intact(folder).with_context(|| format!("cannot read {}", file.path))?;
        if !is_intact {
            differing.push(file.path.as_str());
        }
    }
    Ok(differing)
}

/// Makes sure that the files are on this machine, and returns their folder. Nothing that has another checksum is kept.
fn fetch(corpus: &Corpus) -> Result<PathBuf> {
    if let Some(folder) = corpus.folder(&roots()) {
        return Ok(folder);
    }
    let parent = make_folder(cache_root().join("corpus"))?;
    let unfinished = make_folder(parent.join(format!("{}.{}.unfinished", corpus.name, std::process::id())))?;
    match corpus.archive(&roots()) {
        Some(archive) => unpack(corpus, &archive, &unfinished)?,
        None => download(corpus, &unfinished)?,
    }
    let wrong = differing(corpus, &unfinished)?;
    if !wrong.is_empty() {
        fs::remove_dir_all(&unfinished)?;
        bail!("{} of {} are not the pinned files: {}", wrong.len(), corpus.name, wrong.join(", "));
    }
    let folder = parent.join(&corpus.name);
    // Another process may have finished first, or an older manifest had other files.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::rename(&unfinished, &folder)?;
    Ok(folder)
}

fn unpack(corpus: &Corpus, archive: &Path, into: &Path) -> Result<()> {
    say(format_args!("unpacking {} ...", archive.display()));
    run(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(into).arg("--no-same-owner"))
        .with_context(|| format!("cannot unpack {}", archive.display()))?;
    if let Some(inner) = &corpus.archive_folder {
        let inner = into.join(inner);
        for entry in fs::read_dir(&inner)? {
            let entry = entry?;
            fs::rename(entry.path(), into.join(entry.file_name()))?;
        }
        fs::remove_dir(inner)?;
    }
    Ok(())
}

fn download(corpus: &Corpus, into: &Path) -> Result<()> {
    for (index, file) in corpus.files.iter().enumerate() {
        say(format_args!("{} of {}: {}", index + 1, corpus.files.len(), file.path));
        let path = into.join(&file.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let address = corpus.address(file);
        run(Command::new("curl")
            .args(["--fail", "--silent", "--show-error", "--location", "--output"])
            .arg(&path)
            .arg(&address))
        .with_context(|| format!("cannot fetch {address}"))?;
    }
    Ok(())
}
