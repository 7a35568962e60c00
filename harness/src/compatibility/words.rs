//! A query as words, for recognising constructs: letters in capitals, literals and comments left out.

/// The words of a query, in order. A string literal is `'`, a number is `0`, a quoted name is as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words(Vec<String>);

impl Words {
    pub(super) fn of(sql: &str) -> Words {
        let mut words = Vec::new();
        let mut rest = sql;
        while let Some(first) = rest.chars().next() {
            let length = match first {
                _ if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
                '\'' => closing(rest, '\''),
                '"' => closing(rest, '"'),
                c if c.is_alphanumeric() || c == '_' => {
                    rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len())
                }
                c => c.len_utf8(),
            };
            let (word, after) = rest.split_at(length);
            match first {
                '\'' => words.push("'".to_owned()),
                c if c.is_ascii_digit() => words.push("0".to_owned()),
                c if c.is_whitespace() || word.starts_with("--") => {}
                _ => words.push(word.to_uppercase()),
            }
            rest = after;
        }
        Words(words)
    }

    /// Whether these words, separated by blanks, follow each other somewhere.
    pub(super) fn has(&self, phrase: &str) -> bool {
        self.places(phrase).next().is_some()
    }

    /// Whether one of the phrases is there.
    pub(super) fn has_any(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.has(phrase))
    }

    /// Whether the phrase is there with none of `before` before it.
    pub(super) fn has_without(&self, before: &[&str], phrase: &str) -> bool {
        self.places(phrase).any(|place| place == 0 || !before.contains(&self.0[place - 1].as_str()))
    }

    /// Whether the phrase is there with none of `after` after it.
    pub(super) fn has_unless(&self, phrase: &str, after: &[&str]) -> bool {
        let length = phrase.split(' ').count();
        self.places(phrase)
            .any(|place| self.0.get(place + length).is_none_or(|next| !after.contains(&next.as_str())))
    }

    /// Whether a function of this name is called with `OVER` after its arguments.
    pub(super) fn has_window(&self, function: &str) -> bool {
        self.places(&format!("{function} (")).any(|place| {
            let mut depth = 0;
            let mut rest = self.0[place + 1..].iter().skip_while(|word| {
                depth += i32::from(*word == "(") - i32::from(*word == ")");
                depth > 0
            });
            rest.next();
            rest.next().is_some_and(|word| word == "OVER")
        })
    }

    fn places(&self, phrase: &str) -> impl Iterator<Item = usize> {
        let wanted: Vec<&str> = phrase.split(' ').collect();
        self.0
            .windows(wanted.len())
            .enumerate()
            .filter(move |(_, words)| words.iter().zip(&wanted).all(|(word, wanted)| word == wanted))
            .map(|(place, _)| place)
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// The length of a quoted piece at the beginning of a text.
fn closing(text: &str, quote: char) -> usize {
    text[1..].find(quote).map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::Words;

    #[test]
    fn literals_and_comments_are_no_words() {
        let words = Words::of("select a.b, 'LEFT JOIN' from t -- RIGHT JOIN\nwhere x >= 1.5");
        assert_eq!(words.0, ["SELECT", "A.B", ",", "'", "FROM", "T", "WHERE", "X", ">", "=", "0"]);
        assert!(!words.has("LEFT JOIN") && words.has("WHERE X"));
    }

    #[test]
    fn what_stands_before_and_after_counts() {
        let words = Words::of("SELECT sum(x) OVER w, count(*) FROM a UNION ALL SELECT 1 FROM a LEFT JOIN b");
        assert!(words.has_window("SUM") && !words.has_window("COUNT"));
        assert!(!words.has_unless("UNION", &["ALL"]) && !words.has_without(&["LEFT"], "JOIN"));
    }
}
