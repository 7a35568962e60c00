//! Statements that are for the runner, not for the server.
//!
//! | statement | effect |
//! |---|---|
//! | `\compare on`, `\compare off` | compare after each change, or not |
//! | `\compare` | refresh and compare now |
//! | `\check` | compare now without a refresh |
//! | `\verify` | refresh, compare, and verify hidden state |
//! | `\oracle NAME QUERY` | compare a stream table with this query: the one in which ties are broken |
//! | `\by-value NAME` | compare numbers of a stream table by value: it shows representatives of equal values |
//! | `\every-mode NAME QUERY` | create stream tables `NAME_differential`, `NAME_auto` and `NAME_full` |
//! | `\notices` | the notices of this session since the last `\notices`, one row each; for `query` |
//! | `\inventory` | remember what is in the catalogs |
//! | `\unchanged` | fail if the catalogs are not what the last `\inventory` saw |

/// A statement for the runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Comparing(bool),
    Compare,
    Check,
    Verify,
    Oracle { name: String, query: String },
    ByValue { name: String },
    EveryMode { name: String, query: String },
    Notices,
    Inventory,
    Unchanged,
}

impl Command {
    /// Reads a statement; `None` if it is SQL.
    pub fn parse(statement: &str) -> Option<Result<Command, String>> {
        let text = statement.trim().strip_prefix('\\')?;
        let (word, rest) = match text.split_once(char::is_whitespace) {
            Some((word, rest)) => (word, rest.trim()),
            None => (text, ""),
        };
        let command = match (word, rest) {
            ("compare", "on") => Command::Comparing(true),
            ("compare", "off") => Command::Comparing(false),
            ("compare", "") => Command::Compare,
            ("check", "") => Command::Check,
            ("verify", "") => Command::Verify,
            ("notices", "") => Command::Notices,
            ("inventory", "") => Command::Inventory,
            ("unchanged", "") => Command::Unchanged,
            ("by-value", name) if !name.is_empty() => Command::ByValue { name: name.to_owned() },
            ("oracle", rest) => match rest.split_once(char::is_whitespace) {
                Some((name, query)) => {
                    Command::Oracle { name: name.to_owned(), query: query.trim().to_owned() }
                }
                None => return Some(Err("\\oracle takes a name and a query".to_owned())),
            },
            ("every-mode", rest) => match rest.split_once(char::is_whitespace) {
                Some((name, query)) => {
                    Command::EveryMode { name: name.to_owned(), query: query.trim().to_owned() }
                }
                None => return Some(Err("\\every-mode takes a name and a query".to_owned())),
            },
            _ => return Some(Err(format!("unknown command: \\{text}"))),
        };
        Some(Ok(command))
    }
}

#[cfg(test)]
mod tests {
    use super::Command;

    #[test]
    fn statement_with_a_backslash_is_a_command() {
        assert_eq!(Command::parse("\\compare off"), Some(Ok(Command::Comparing(false))));
        assert_eq!(
            Command::parse("\\oracle st SELECT 1\nLIMIT 1"),
            Some(Ok(Command::Oracle { name: "st".to_owned(), query: "SELECT 1\nLIMIT 1".to_owned() }))
        );
        assert_eq!(Command::parse("SELECT 1"), None);
        assert!(Command::parse("\\compares").is_some_and(|command| command.is_err()));
    }
}
