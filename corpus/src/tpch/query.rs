//! The 22 queries, with parameters under which their results are worth comparing.
//!
//! Texts are the official templates. Edits: q1 loses the precision of its interval, q15 reads a `WITH` query in place of
//! a view, q2, q3, q10, q18 and q21 get the row limits that the specification states in words.
//!
//! A query with a limit is not a function of its tables when rows tie at the cut. A stream table resolves ties by all
//! columns, in order; [`Query::oracle_sql`] is the query written that way, and is what a result is compared with.

use tpchgen::q_and_a::QueryAndAnswer;

use super::Scale;

/// How many queries there are.
pub const COUNT: u8 = 22;

/// One of the 22 queries at one scale.
#[derive(Debug, Clone)]
pub struct Query {
    /// 1 to 22.
    pub number: u8,
    /// The values in place of `:1`, `:2` ...
    pub parameters: Vec<String>,
    /// The specification's validation values.
    pub validation: Vec<String>,
    /// Without row limit; ends in its ORDER BY if it has one.
    body: String,
    limit: Option<u32>,
}

impl Query {
    /// The query with the parameters this corpus uses at `scale`; panics unless `number` is 1 to 22.
    pub fn new(number: u8, scale: Scale) -> Self {
        let validation = validation_values(number, scale);
        let parameters = small_scale_values(number, scale).unwrap_or_else(|| validation.clone());
        Self::with_parameters(number, parameters, validation)
    }

    /// The query with the specification's validation values; panics unless `number` is 1 to 22.
    pub fn validation(number: u8, scale: Scale) -> Self {
        let validation = validation_values(number, scale);
        Self::with_parameters(number, validation.clone(), validation)
    }

    /// All queries, in order.
    pub fn all(scale: Scale) -> Vec<Query> {
        (1..=COUNT).map(|number| Query::new(number, scale)).collect()
    }

    /// The name of its stream table: `tpch_q1` to `tpch_q22`.
    pub fn name(&self) -> String {
        format!("tpch_q{}", self.number)
    }

    /// The defining query as a user writes it.
    pub fn sql(&self) -> String {
        match self.limit {
            Some(limit) => format!("{}\nlimit {limit}", self.body),
            None => self.body.clone(),
        }
    }

    /// The query whose result is the only right one: where there is a limit, the ORDER BY goes on through every column.
    pub fn oracle_sql(&self) -> String {
        match self.limit {
            Some(limit) => format!("{},\n\t{}\nlimit {limit}", self.body, tie_break(self.number)),
            None => self.body.clone(),
        }
    }

    /// The row limit, if the query has one.
    pub fn limit(&self) -> Option<u32> {
        self.limit
    }

    /// Whether the parameters differ from the validation values.
    pub fn is_adjusted(&self) -> bool {
        self.parameters != self.validation
    }

    /// The official answer at scale 1 with the validation values: column names, then the rows, cells trimmed.
    /// The key column of q11's answer is cut to four characters in the source; its values are right.
    pub fn official_answer(number: u8) -> (Vec<String>, Vec<Vec<String>>) {
        let source = QueryAndAnswer::new(i32::from(number), 1.0).expect("there are 22 queries");
        let mut lines = source
            .answer()
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
        let header = lines.next().unwrap_or_default();
        (header, lines.collect())
    }

    fn with_parameters(number: u8, parameters: Vec<String>, validation: Vec<String>) -> Self {
        let body = substitute(&edited_template(number), &parameters);
        Self { number, parameters, validation, body, limit: row_limit(number) }
    }
}

/// The template without its final semicolon, in a form that is one SELECT.
fn edited_template(number: u8) -> String {
    let source = QueryAndAnswer::new(i32::from(number), 1.0).expect("there are 22 queries");
    let text = source.query().trim().trim_end_matches(';').to_owned();
    match number {
        1 => text.replace("day (3)", "day"),
        15 => view_to_with(&text),
        _ => text,
    }
}

/// q15 creates a view, selects from it and drops it; the view's query becomes a `WITH` query.
fn view_to_with(script: &str) -> String {
    let mut statements = script.split(';').map(str::trim);
    let (view, select) = (statements.next().unwrap_or_default(), statements.next().unwrap_or_default());
    let definition = view.strip_prefix("create view revenue:s ").unwrap_or(view);
    let (columns, query) = definition.split_once(" as\n").unwrap_or(("", definition));
    format!("with revenue {columns} as (\n{query}\n)\n{}", select.replace("revenue:s", "revenue"))
}

/// Puts values in place of placeholders, the highest number first, since `:1` is the beginning of `:10`.
fn substitute(template: &str, values: &[String]) -> String {
    values
        .iter()
        .enumerate()
        .rev()
        .fold(template.to_owned(), |text, (index, value)| text.replace(&format!(":{}", index + 1), value))
}

fn row_limit(number: u8) -> Option<u32> {
    match number {
        2 | 18 | 21 => Some(100),
        3 => Some(10),
        10 => Some(20),
        _ => None,
    }
}

/// The output columns that the query's own ORDER BY leaves out, by position in the output.
fn tie_break(number: u8) -> &'static str {
    match number {
        2 => "p_mfgr,\n\ts_address,\n\ts_phone,\n\ts_comment",
        3 => "l_orderkey,\n\to_shippriority",
        10 => "c_custkey,\n\tc_name,\n\tc_acctbal,\n\tn_name,\n\tc_address,\n\tc_phone,\n\tc_comment",
        18 => "c_name,\n\tc_custkey,\n\to_orderkey,\n\tsum(l_quantity)",
        21 => "s_name",
        other => unreachable!("q{other} has no row limit"),
    }
}

fn validation_values(number: u8, scale: Scale) -> Vec<String> {
    let fraction;
    let values: &[&str] = match number {
        1 => &["90"],
        2 => &["15", "BRASS", "EUROPE"],
        3 => &["BUILDING", "1995-03-15"],
        4 => &["1993-07-01"],
        5 => &["ASIA", "1994-01-01"],
        6 => &["1994-01-01", "0.06", "24"],
        7 => &["FRANCE", "GERMANY"],
        8 => &["BRAZIL", "AMERICA", "ECONOMY ANODIZED STEEL"],
        9 => &["green"],
        10 => &["1993-10-01"],
        11 => {
            fraction = format!("{:.10}", 0.0001 / scale.factor());
            &["GERMANY", &fraction]
        }
        12 => &["MAIL", "SHIP", "1994-01-01"],
        13 => &["special", "requests"],
        14 => &["1995-09-01"],
        15 => &["1996-01-01"],
        16 => &["Brand#45", "MEDIUM POLISHED", "49", "14", "23", "45", "19", "3", "36", "9"],
        17 => &["Brand#23", "MED BOX"],
        18 => &["300"],
        19 => &["Brand#12", "Brand#23", "Brand#34", "1", "10", "20"],
        20 => &["forest", "1994-01-01", "CANADA"],
        21 => &["SAUDI ARABIA"],
        22 => &["13", "31", "23", "29", "30", "18", "17"],
        other => panic!("there is no TPC-H query {other}"),
    };
    values.iter().map(|&value| value.to_owned()).collect()
}

/// Values for small scales, where the validation values give an empty result or one too small to be worth comparing:
/// at scale 0.01 there is one supplier in SAUDI ARABIA, no lineitem of a MED BOX of Brand#23 below its average, and so on.
fn small_scale_values(number: u8, scale: Scale) -> Option<Vec<String>> {
    if scale.factor() >= 0.05 {
        return None;
    }
    let values: &[&str] = match number {
        8 => &["UNITED STATES", "AMERICA", "ECONOMY ANODIZED STEEL"],
        11 => &["GERMANY", "0.0030000000"],
        17 => &["Brand#44", "WRAP CAN"],
        18 => &["250"],
        20 => &["frosted", "1994-01-01", "UNITED STATES"],
        21 => &["MOZAMBIQUE"],
        _ => return None,
    };
    Some(values.iter().map(|&value| value.to_owned()).collect())
}
