//! How a stream table is maintained, as the extension itself explains it, and what the second oracle was asked.

use serde::{Deserialize, Serialize};

use pg_trickle_oracle::translate::{RULES, translate};

/// How the rows of a stream table follow its sources, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The work of a refresh follows the change.
    Delta,
    /// The keys or partitions that a change touches are computed anew.
    AffectedKeys,
    /// Maintained from its changes, but for a change of some source all rows of another are read.
    Scan,
    /// Each refresh evaluates the query.
    Recomputed,
    /// There is no stream table.
    Refused,
}

impl How {
    pub const ALL: [How; 5] = [How::Delta, How::AffectedKeys, How::Scan, How::Recomputed, How::Refused];

    /// In a table.
    pub fn words(self) -> &'static str {
        match self {
            How::Delta => "delta",
            How::AffectedKeys => "affected keys",
            How::Scan => "delta with a scan",
            How::Recomputed => "recomputed",
            How::Refused => "refused",
        }
    }
}

/// `pgtrickle.explain_stream_table(name, 'json')`, as far as a report shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explanation {
    pub query: String,
    /// The columns by which rows are found; none for a bag.
    pub key: Option<Vec<String>>,
    pub state_tables: Vec<String>,
    /// The plan of the result over stages and sources, and of each stage.
    pub plan: Option<String>,
    pub stages: Vec<String>,
    pub sources: Vec<Source>,
}

/// A source of a stream table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Source {
    pub name: String,
    pub captured: bool,
    pub polled: bool,
    pub work: Option<Work>,
    /// What a refresh after a change of this source alone does.
    pub steps: Vec<Step>,
}

/// How the work of a refresh grows, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Work {
    pub class: String,
    pub reasons: Vec<String>,
}

/// A statement of a refresh.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    pub label: String,
    pub sql: String,
}

impl Explanation {
    /// By the worst of the sources.
    pub fn how(&self) -> How {
        let of = |work: &Work| match work.class.as_str() {
            "follows the change" => How::Delta,
            "affected partitions" => How::AffectedKeys,
            _ => How::Scan,
        };
        self.sources.iter().filter_map(|source| source.work.as_ref()).map(of).max().unwrap_or(How::Delta)
    }
}

/// How the query came to the second oracle.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Translation {
    /// The rules that changed its text.
    pub rules: Vec<String>,
    /// Why it has no counterpart there.
    pub refused: Option<String>,
}

impl Translation {
    /// Of a query in PostgreSQL's dialect.
    pub fn of(sql: &str) -> Self {
        match translate(sql) {
            Ok(found) => Self { rules: found.rules.into_iter().map(str::to_owned).collect(), refused: None },
            Err(reason) => Self { rules: Vec::new(), refused: Some(reason.to_string()) },
        }
    }

    /// The rules, each with the difference between the engines that it bridges.
    pub fn notes(&self) -> Vec<String> {
        let why = |name: &String| RULES.iter().find(|rule| rule.name == name).map_or("", |rule| rule.why);
        self.rules.iter().map(|name| format!("{name}: {}", why(name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Explanation, How, Source, Work};

    #[test]
    fn worst_source_tells_how_a_table_is_maintained() {
        let source = |class: &str| Source {
            name: String::new(),
            captured: true,
            polled: false,
            work: Some(Work { class: class.to_owned(), reasons: Vec::new() }),
            steps: Vec::new(),
        };
        let of = |classes: &[&str]| {
            let sources = classes.iter().map(|class| source(class)).collect();
            let (query, key, state_tables) = (String::new(), None, Vec::new());
            Explanation { query, key, state_tables, plan: None, stages: Vec::new(), sources }.how()
        };
        assert_eq!(of(&["follows the change"]), How::Delta);
        assert_eq!(of(&["affected partitions", "follows the change"]), How::AffectedKeys);
        assert_eq!(of(&["affected partitions", "scan"]), How::Scan);
    }
}
