//! The scale factor, and what follows from it.

use std::fmt;
use std::str::FromStr;

use tpchgen::generators::OrderGenerator;

/// A TPC-H scale factor: 1 is 1 500 000 orders and 6 001 215 lineitems, about a gigabyte.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale(f64);

impl Scale {
    /// The smallest scale that has a whole refresh set (one order) and a row in every table.
    pub const MIN: f64 = 0.001;
    /// Beyond this the 32-bit row counts of the generator end.
    pub const MAX: f64 = 100.0;

    /// A scale factor, or why it is none.
    pub fn new(factor: f64) -> Result<Self, String> {
        if (Self::MIN..=Self::MAX).contains(&factor) {
            Ok(Self(factor))
        } else {
            Err(format!("scale factor {factor} is not between {} and {}", Self::MIN, Self::MAX))
        }
    }

    /// The factor as a number.
    pub fn factor(self) -> f64 {
        self.0
    }

    /// Orders in the base population.
    pub fn orders(self) -> i64 {
        OrderGenerator::calculate_row_count(self.0, 1, 1)
    }

    /// Rows of a table whose size at scale 1 is `at_scale_1` (customer 150 000, part 200 000, supplier 10 000).
    pub fn rows(self, at_scale_1: i64) -> i64 {
        ((at_scale_1 as f64) * self.0) as i64
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Scale {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let factor: f64 = text.parse().map_err(|_| format!("{text:?} is not a scale factor"))?;
        Self::new(factor)
    }
}
