//! What is new in one report against another.

use std::fmt;

use super::explanation::How;
use super::site::Site;
use super::verdicts::{self, Finding, Time};

/// A refresh counts as slower if it takes at least this times as long,
pub const SLOWER_FACTOR: f64 = 1.5;

/// and at least this many milliseconds longer: what is below both is noise of the machine.
pub const SLOWER_MS: f64 = 5.0;

/// The differences from an older report to a newer one, each named by part and query.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Diff {
    pub newly_failing: Vec<String>,
    pub newly_refused: Vec<String>,
    /// Maintained in a worse way than before.
    pub worse: Vec<String>,
    pub newly_slower: Vec<String>,
    /// In the older report only.
    pub gone: Vec<String>,
    /// In the newer report only.
    pub new: Vec<String>,
    /// No longer failing.
    pub repaired: Vec<String>,
}

impl Diff {
    /// From `old` to `new`. A part that is in one of them only is told as a whole.
    pub fn between(old: &Site, new: &Site) -> Diff {
        let (before, after) = (verdicts::of(old), verdicts::of(new));
        let mut diff = Diff::default();
        for (part, findings) in &after {
            let Some(earlier) = before.get(part) else {
                diff.new.push(part.clone());
                let failing = findings.iter().filter(|(_, finding)| finding.is_failing);
                diff.newly_failing.extend(failing.map(|(name, _)| format!("{part}, {name}")));
                continue;
            };
            for (name, finding) in findings {
                diff.compare(&format!("{part}, {name}"), earlier.get(name), finding);
            }
            diff.gone.extend(
                earlier
                    .keys()
                    .filter(|name| !findings.contains_key(*name))
                    .map(|name| format!("{part}, {name}")),
            );
        }
        diff.gone.extend(before.keys().filter(|part| !after.contains_key(*part)).cloned());
        diff.failing_parts(old, new);
        diff
    }

    /// Whether nothing fails that did not fail before.
    pub fn is_acceptable(&self) -> bool {
        self.newly_failing.is_empty()
    }

    fn compare(&mut self, name: &str, before: Option<&Finding>, after: &Finding) {
        let failed = before.is_some_and(|before| before.is_failing);
        match (failed, after.is_failing) {
            (false, true) => self.newly_failing.push(name.to_owned()),
            (true, false) => self.repaired.push(name.to_owned()),
            _ => {}
        }
        let Some(before) = before else {
            self.new.push(name.to_owned());
            return;
        };
        match (before.how, after.how) {
            (Some(how), Some(How::Refused)) if how != How::Refused => {
                let reason = after.refused.as_deref().unwrap_or("");
                self.newly_refused.push(format!("{name}: {reason}"));
            }
            (Some(how), Some(now)) if how < now => {
                self.worse.push(format!("{name}: {}, was {}", now.words(), how.words()));
            }
            _ => {}
        }
        if let (Time(Some(before)), Time(Some(after))) = (before.refresh_ms, after.refresh_ms)
            && after >= before * SLOWER_FACTOR
            && after >= before + SLOWER_MS
        {
            self.newly_slower.push(format!("{name}: {after:.1} ms, was {before:.1} ms"));
        }
    }

    /// Failures that are not about one query: a part that failed and did not before.
    fn failing_parts(&mut self, old: &Site, new: &Site) {
        let failed =
            |site: &Site, id: &str| site.parts.iter().any(|part| part.id == id && !part.failures.is_empty());
        for part in new.parts.iter().filter(|part| failed(new, &part.id) && !failed(old, &part.id)) {
            self.newly_failing.push(format!(
                "{}: {}",
                part.id,
                part.failures[0].lines().next().unwrap_or("")
            ));
        }
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slower = format!("newly slower (by {SLOWER_FACTOR} times and {SLOWER_MS} ms at least)");
        let lists = [
            ("newly failing", &self.newly_failing),
            ("newly refused", &self.newly_refused),
            ("maintained in a worse way", &self.worse),
            (slower.as_str(), &self.newly_slower),
            ("gone", &self.gone),
            ("new", &self.new),
            ("repaired", &self.repaired),
        ];
        for (title, list) in lists {
            writeln!(f, "{title}: {}", list.len())?;
            for line in list {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}
