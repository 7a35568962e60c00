//! Files that are finished, kept on disk, so that a long replay that was interrupted goes on where it was.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::result::{FileRun, FileTiming};
use crate::provision::cache::make_folder;

/// One finished piece of work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Finished {
    pub run: FileRun,
    pub timing: FileTiming,
}

/// The file that finished pieces are appended to, if they are kept.
pub(super) struct State {
    file: Option<Mutex<File>>,
}

impl State {
    /// Starts anew, or goes on with what is there if it belongs to `command`: then what is finished comes back.
    pub(super) fn open(path: Option<&Path>, command: &str, resumes: bool) -> Result<(State, Vec<Finished>)> {
        let Some(path) = path else { return Ok((State { file: None }, Vec::new())) };
        if let Some(folder) = path.parent() {
            make_folder(folder.to_path_buf())?;
        }
        if !resumes {
            let mut file = File::create(path).with_context(|| path.display().to_string())?;
            writeln!(file, "{}", serde_json::to_string(command)?)?;
            return Ok((State { file: Some(Mutex::new(file)) }, Vec::new()));
        }
        let text = fs::read_to_string(path)
            .with_context(|| format!("nothing to resume: cannot read {}", path.display()))?;
        let mut lines = text.lines();
        let of: String = serde_json::from_str(lines.next().unwrap_or_default())
            .with_context(|| format!("{} does not say which command it is of", path.display()))?;
        if of != command {
            bail!("{} is of another replay: {of}", path.display());
        }
        // The last line may have been cut off.
        let finished = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
        let file = File::options().append(true).open(path)?;
        Ok((State { file: Some(Mutex::new(file)) }, finished))
    }

    /// Keeps what is finished.
    pub(super) fn keep(&self, finished: &Finished) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let line = serde_json::to_string(finished)?;
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        // Begins with a newline, so that a line that was cut off does not take this one with it.
        writeln!(file, "\n{line}")?;
        Ok(file.flush()?)
    }
}
