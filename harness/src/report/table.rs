//! Tables. A wide one scrolls by itself, not with the page.

use super::html::Html;

/// One cell.
pub(super) struct Cell {
    text: String,
    class: &'static str,
    title: String,
    link: Option<String>,
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), class: "", title: String::new(), link: None }
    }

    /// A figure; figures of a column end at one line.
    pub(super) fn figure(text: impl ToString) -> Cell {
        Cell { class: "n", ..Cell::text(text.to_string()) }
    }

    /// A count, of which zero is not worth a look.
    pub(super) fn count(count: usize) -> Cell {
        let class = if count == 0 { "n unknown" } else { "n" };
        Cell { class, ..Cell::text(grouped(count)) }
    }

    /// Milliseconds, if there are any.
    pub(super) fn ms(ms: Option<f64>) -> Cell {
        Cell::figure(ms.map_or("–".to_owned(), |ms| format!("{ms:.1}")))
    }

    pub(super) fn good(self) -> Cell {
        Cell { class: "good", ..self }
    }

    pub(super) fn bad(self) -> Cell {
        Cell { class: "bad", ..self }
    }

    pub(super) fn dim(self) -> Cell {
        Cell { class: "unknown", ..self }
    }

    /// Text that may take several lines.
    pub(super) fn prose(text: impl Into<String>) -> Cell {
        Cell { class: "prose", ..Cell::text(text) }
    }

    pub(super) fn to(self, target: impl Into<String>) -> Cell {
        Cell { link: Some(target.into()), ..self }
    }

    /// What is shown to who points at it.
    pub(super) fn with_title(self, title: impl Into<String>) -> Cell {
        Cell { title: title.into(), ..self }
    }

    fn show(&self, name: &str, row: &mut Html) {
        let all: [(&str, &dyn std::fmt::Display); 2] = [("class", &self.class), ("title", &self.title)];
        let attributes: Vec<_> = all.into_iter().filter(|(_, value)| !value.to_string().is_empty()).collect();
        row.element(name, &attributes, |cell| match &self.link {
            Some(target) => cell.link(target, &self.text),
            None => cell.text(&self.text),
        });
    }
}

/// A table with a heading for each column; the first cell of a row is its heading.
pub(super) fn table(page: &mut Html, heads: &[&str], rows: impl IntoIterator<Item = Vec<Cell>>) {
    page.element("div", &[("class", &"wide")], |wide| {
        wide.element("table", &[], |table| {
            table.element("thead", &[], |head| {
                head.element("tr", &[], |row| heads.iter().for_each(|text| row.leaf("th", &[], text)));
            });
            table.element("tbody", &[], |body| {
                for cells in rows {
                    body.element("tr", &[], |row| {
                        for (index, cell) in cells.iter().enumerate() {
                            cell.show(if index == 0 { "th" } else { "td" }, row);
                        }
                    });
                }
            });
        });
    });
}

/// A count with its thousands apart: `12 345`.
pub(super) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(123), "123");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
    }
}
