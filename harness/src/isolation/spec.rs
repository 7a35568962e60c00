//! The language of `.spec` files.
//!
//! ```text
//! # comment
//! setup { SQL }                      run first, in a session of its own; any number of blocks
//! session a
//!   setup { SQL }                    run when the session opens
//!   step a1 { SQL }
//!   step a2 { SQL } expect { 1|x }   rows in this order, columns separated by `|`, NULL as `NULL`
//!   step a3 { \compare st }          in this session's transaction, `st` equals its query right now
//! permutation a1 b1~ a2 b1! b2=40001
//! permutation rr: a1 b1=40001        only at REPEATABLE READ (`rc:` only at READ COMMITTED)
//! ```
//!
//! A step of a permutation is a step's name with what is expected of it: nothing more (it runs to its end and
//! succeeds), `~` (it waits for another session), `?` (it may wait), `=STATE` (it fails with this SQLSTATE), or a
//! combination such as `~=STATE`.
//! `name!` says that a step that waits ends here; a session's next step, and the end, wait for it in any case. `$db` in SQL
//! stands for the database's name, for what has to be unique in a server, such as names of prepared transactions.

use anyhow::{Context, Result, bail, ensure};

/// A parsed file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spec {
    pub setups: Vec<String>,
    pub sessions: Vec<SessionSpec>,
    pub permutations: Vec<Permutation>,
}

/// A session and its steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionSpec {
    pub name: String,
    pub setups: Vec<String>,
    pub steps: Vec<Step>,
}

/// One step: what is run, and the rows expected, if the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub name: String,
    pub sql: String,
    pub expected: Option<Vec<String>>,
}

/// One order of steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permutation {
    /// `rc`, `rr`, or none for both.
    pub only: Option<String>,
    pub moves: Vec<Move>,
    /// The line of the file it begins at.
    pub line: usize,
}

/// One element of a permutation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Starts a step.
    Run { step: String, waits: Waits, state: Option<String> },
    /// A waiting step ends.
    Ends { step: String },
}

/// Whether a step waits for another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    No,
    Yes,
    Maybe,
}

impl Spec {
    /// Reads a file's content.
    pub fn parse(text: &str) -> Result<Spec> {
        let mut reader = Reader { text, position: 0 };
        let mut spec = Spec::default();
        while let Some(word) = reader.word() {
            let line = reader.line();
            match word {
                "setup" => {
                    let block = reader.block()?;
                    match spec.sessions.last_mut() {
                        Some(session) => session.setups.push(block),
                        None => spec.setups.push(block),
                    }
                }
                "session" => {
                    let name = reader.word().context("a session needs a name")?.to_owned();
                    spec.sessions.push(SessionSpec { name, ..SessionSpec::default() });
                }
                "step" => {
                    let name = reader.word().context("a step needs a name")?.to_owned();
                    let sql = reader.block()?;
                    let expected = reader.expectation()?;
                    ensure!(spec.step(&name).is_none(), "line {line}: step {name} is there twice");
                    let session = spec.sessions.last_mut().context("a step before the first session")?;
                    session.steps.push(Step { name, sql, expected });
                }
                "permutation" => spec.permutations.push(reader.permutation(line)?),
                other => bail!("line {line}: unexpected `{other}`"),
            }
        }
        for permutation in &spec.permutations {
            for step in permutation.moves.iter().map(Move::step) {
                ensure!(spec.step(step).is_some(), "line {}: there is no step {step}", permutation.line);
            }
        }
        ensure!(!spec.permutations.is_empty(), "there is no permutation");
        Ok(spec)
    }

    /// A step and the index of its session.
    pub fn step(&self, name: &str) -> Option<(usize, &Step)> {
        self.sessions.iter().enumerate().find_map(|(index, session)| {
            session.steps.iter().find(|step| step.name == name).map(|step| (index, step))
        })
    }
}

impl Waits {
    fn mark(self) -> &'static str {
        match self {
            Waits::No => "",
            Waits::Yes => "~",
            Waits::Maybe => "?",
        }
    }
}

impl Permutation {
    /// The permutation as the file has it.
    pub fn text(&self) -> String {
        let mut words: Vec<String> = self.only.iter().map(|only| format!("{only}:")).collect();
        for one in &self.moves {
            words.push(match one {
                Move::Run { step, waits, state } => {
                    let state = state.as_ref().map(|state| format!("={state}")).unwrap_or_default();
                    format!("{step}{}{state}", waits.mark())
                }
                Move::Ends { step } => format!("{step}!"),
            });
        }
        words.join(" ")
    }
}

impl Move {
    fn step(&self) -> &str {
        match self {
            Move::Run { step, .. } | Move::Ends { step } => step,
        }
    }

    fn parse(word: &str) -> Move {
        if let Some(step) = word.strip_suffix('!') {
            return Move::Ends { step: step.to_owned() };
        }
        let (name, state) = match word.split_once('=') {
            Some((name, state)) => (name, Some(state.to_owned())),
            None => (word, None),
        };
        let waits = match name.chars().last() {
            Some('~') => Waits::Yes,
            Some('?') => Waits::Maybe,
            _ => Waits::No,
        };
        Move::Run { step: name.trim_end_matches(['~', '?']).to_owned(), waits, state }
    }
}

/// The keywords that end a permutation.
const KEYWORDS: [&str; 4] = ["setup", "session", "step", "permutation"];

struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn line(&self) -> usize {
        self.text[..self.position].matches('\n').count() + 1
    }

    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.position += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.position += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn peek(&mut self) -> Option<&'a str> {
        self.skip();
        self.rest().split(|c: char| c.is_whitespace()).next().filter(|word| !word.is_empty())
    }

    fn word(&mut self) -> Option<&'a str> {
        let word = self.peek()?;
        self.position += word.len();
        Some(word)
    }

    /// A block in braces; braces inside it have to be balanced.
    fn block(&mut self) -> Result<String> {
        self.skip();
        ensure!(self.rest().starts_with('{'), "line {}: expected a block", self.line());
        let mut depth = 0;
        for (index, character) in self.rest().char_indices() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let block = self.rest()[1..index].trim().to_owned();
                self.position += index + 1;
                return Ok(block);
            }
        }
        bail!("line {}: the block does not end", self.line())
    }

    fn expectation(&mut self) -> Result<Option<Vec<String>>> {
        if self.peek() != Some("expect") {
            return Ok(None);
        }
        self.word();
        let block = self.block()?;
        Ok(Some(block.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()))
    }

    fn permutation(&mut self, line: usize) -> Result<Permutation> {
        let only = match self.peek() {
            Some("rc:" | "rr:") => self.word().map(|word| word.trim_end_matches(':').to_owned()),
            _ => None,
        };
        let mut moves = Vec::new();
        while let Some(word) = self.peek() {
            if KEYWORDS.contains(&word) {
                break;
            }
            moves.push(Move::parse(word));
            self.word();
        }
        ensure!(!moves.is_empty(), "line {line}: an empty permutation");
        Ok(Permutation { only, moves, line })
    }
}

#[cfg(test)]
mod tests {
    use super::{Move, Spec};

    #[test]
    fn spec_is_read_with_its_expectations() {
        let text = "
            # a comment
            setup { CREATE TABLE t (a int[] DEFAULT '{1,2}'); }
            session a
              setup { SET x = 1 }
              step a1 { BEGIN; }
              step a2 { SELECT 1, NULL; } expect { 1|NULL }
            session b
              step b1 { SELECT 2; }
            permutation a1 b1~ a2 b1! # the end
            permutation rr: b1~=40001 a1=23505
        ";
        let spec = Spec::parse(text).expect("a valid file");
        assert_eq!(spec.setups, ["CREATE TABLE t (a int[] DEFAULT '{1,2}');"]);
        assert_eq!(spec.sessions[0].setups, ["SET x = 1"]);
        assert_eq!(spec.sessions[0].steps[1].expected, Some(vec!["1|NULL".to_owned()]));
        assert_eq!(spec.permutations[0].moves[3], Move::Ends { step: "b1".to_owned() });
        assert_eq!(spec.permutations[0].only, None);
        assert_eq!(spec.permutations[1].only.as_deref(), Some("rr"));
        assert_eq!(spec.permutations[1].text(), "rr: b1~=40001 a1=23505");
        assert_eq!(spec.step("b1").map(|(session, _)| session), Some(1));
    }

    #[test]
    fn permutation_with_an_unknown_step_is_refused() {
        assert!(Spec::parse("session a step a1 { SELECT 1 } permutation a2").is_err());
        assert!(Spec::parse("session a step a1 { SELECT 1 }").is_err());
        assert!(Spec::parse("session a step a1 { SELECT 1 ").is_err());
    }
}
