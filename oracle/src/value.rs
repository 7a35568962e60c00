//! SQL values, as far as laws need them: NULL, booleans, integers, exact decimals with their display scale, text, arrays.
//!
//! Two notions of sameness, as in the product. *Identity* is structural equality (`1.5` and `1.50` differ) and is what
//! rows of a Z-set are told apart by. *Grouping* equality is that of the type's `=` with NULL equal to NULL; see
//! [`Value::class`].

use std::cmp::Ordering;
use std::fmt;

/// A value. The derived order is that of identity: total, and without meaning in SQL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    Null,
    Bool(bool),
    /// `int2`, `int4`, `int8`.
    Int(i64),
    Numeric(Decimal),
    Text(String),
    Array(Vec<Value>),
    /// What a scalar subquery with several rows yields: nothing that can be looked at. PostgreSQL raises the error where
    /// the value is used, which may be nowhere.
    TooManyRows,
}

/// `mantissa / 10^scale`, shown with `scale` fractional digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Decimal {
    pub mantissa: i128,
    pub scale: u32,
}

/// A row of a relation.
pub type Row = Vec<Value>;

impl Value {
    pub fn is_null(&self) -> bool {
        *self == Value::Null
    }

    /// The representative of the value's class under grouping equality: decimals without trailing zeros.
    pub fn class(&self) -> Value {
        match self {
            Value::Numeric(decimal) => Value::Numeric(decimal.trimmed()),
            Value::Array(elements) => Value::Array(elements.iter().map(Value::class).collect()),
            other => other.clone(),
        }
    }

    /// SQL comparison of two non-NULL values by the default btree class; None if either is NULL.
    pub fn compare(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Null, _) | (_, Value::Null) => None,
            (Value::Int(left), Value::Numeric(right)) => Some(Decimal::from(*left).compare(right)),
            (Value::Numeric(left), Value::Int(right)) => Some(left.compare(&Decimal::from(*right))),
            (Value::Numeric(left), Value::Numeric(right)) => Some(left.compare(right)),
            (left, right) => Some(left.class().cmp(&right.class())),
        }
    }
}

/// The class of every value of a row; see [`Value::class`].
pub fn classes(row: &[Value]) -> Row {
    row.iter().map(Value::class).collect()
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Decimal {
        Decimal { mantissa: value.into(), scale: 0 }
    }
}

impl Decimal {
    pub fn new(mantissa: i128, scale: u32) -> Decimal {
        Decimal { mantissa, scale }
    }

    /// Parses `-12.50`.
    pub fn parse(text: &str) -> Option<Decimal> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let mantissa = format!("{whole}{fraction}").parse().ok()?;
        Some(Decimal { mantissa, scale: fraction.len() as u32 })
    }

    /// The same number without trailing zeros.
    pub fn trimmed(&self) -> Decimal {
        let mut trimmed = *self;
        while trimmed.scale > 0 && trimmed.mantissa % 10 == 0 {
            trimmed = Decimal { mantissa: trimmed.mantissa / 10, scale: trimmed.scale - 1 };
        }
        trimmed
    }

    /// The number with `scale` fractional digits, half away from zero; None on overflow.
    pub fn rescaled(&self, scale: u32) -> Option<Decimal> {
        if scale >= self.scale {
            let mantissa = self.mantissa.checked_mul(10_i128.checked_pow(scale - self.scale)?)?;
            return Some(Decimal { mantissa, scale });
        }
        let unit = 10_i128.checked_pow(self.scale - scale)?;
        Some(Decimal { mantissa: divide_rounding(self.mantissa, unit), scale })
    }

    pub fn compare(&self, other: &Decimal) -> Ordering {
        match self.aligned(other) {
            Some((left, right, _)) => left.cmp(&right),
            None => self.trimmed().mantissa.cmp(&other.trimmed().mantissa),
        }
    }

    pub fn add(&self, other: &Decimal) -> Option<Decimal> {
        let (left, right, scale) = self.aligned(other)?;
        Some(Decimal { mantissa: left.checked_add(right)?, scale })
    }

    pub fn subtract(&self, other: &Decimal) -> Option<Decimal> {
        self.add(&Decimal { mantissa: other.mantissa.checked_neg()?, scale: other.scale })
    }

    pub fn multiply(&self, other: &Decimal) -> Option<Decimal> {
        let mantissa = self.mantissa.checked_mul(other.mantissa)?;
        Some(Decimal { mantissa, scale: self.scale + other.scale })
    }

    /// Quotient with at least 16 fractional digits, half away from zero. None on overflow or division by zero.
    ///
    /// PostgreSQL chooses more digits for small quotients; laws only need a function of the two numbers.
    pub fn divide(&self, other: &Decimal) -> Option<Decimal> {
        if other.mantissa == 0 {
            return None;
        }
        let scale = self.scale.max(other.scale).max(16);
        let numerator = self.mantissa.checked_mul(10_i128.checked_pow(scale + other.scale - self.scale)?)?;
        Some(Decimal { mantissa: divide_rounding(numerator, other.mantissa), scale })
    }

    fn aligned(&self, other: &Decimal) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        Some((self.rescaled(scale)?.mantissa, other.rescaled(scale)?.mantissa, scale))
    }
}

fn divide_rounding(numerator: i128, denominator: i128) -> i128 {
    let (quotient, rest) = (numerator / denominator, numerator % denominator);
    if rest.unsigned_abs() * 2 < denominator.unsigned_abs() {
        return quotient;
    }
    quotient + numerator.signum() * denominator.signum()
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.scale == 0 {
            return write!(f, "{}", self.mantissa);
        }
        let width = self.scale as usize + 1;
        let digits = format!("{:0width$}", self.mantissa.unsigned_abs());
        let (whole, fraction) = digits.split_at(digits.len() - self.scale as usize);
        let sign = if self.mantissa < 0 { "-" } else { "" };
        write!(f, "{sign}{whole}.{fraction}")
    }
}

/// The text PostgreSQL shows for the value; NULL as `NULL`, text in quotes.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Value::Null => write!(f, "NULL"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Numeric(value) => write!(f, "{value}"),
            Value::Text(value) => write!(f, "'{}'", value.replace('\'', "''")),
            Value::Array(elements) => {
                let elements: Vec<String> = elements.iter().map(Value::to_string).collect();
                write!(f, "{{{}}}", elements.join(","))
            }
            Value::TooManyRows => write!(f, "<more than one row>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn decimals_keep_their_display_scale() {
        assert_eq!(decimal("1.50").to_string(), "1.50");
        assert_eq!(decimal("-0.05").to_string(), "-0.05");
        assert_eq!(decimal("5.123").subtract(&decimal("2.123")).unwrap().to_string(), "3.000");
        assert_eq!(decimal("1.5").multiply(&decimal("2.00")).unwrap().to_string(), "3.000");
        assert_ne!(Value::Numeric(decimal("1.5")), Value::Numeric(decimal("1.50")));
        assert_eq!(Value::Numeric(decimal("1.5")).class(), Value::Numeric(decimal("1.50")).class());
    }

    #[test]
    fn rounding_is_half_away_from_zero() {
        assert_eq!(decimal("2.345").rescaled(2).unwrap().to_string(), "2.35");
        assert_eq!(decimal("-2.345").rescaled(2).unwrap().to_string(), "-2.35");
        assert_eq!(decimal("1").divide(&decimal("3")).unwrap().to_string(), "0.3333333333333333");
        assert_eq!(decimal("1").divide(&decimal("0")), None);
    }

    #[test]
    fn integers_compare_with_decimals() {
        assert_eq!(Value::Int(2).compare(&Value::Numeric(decimal("2.00"))), Some(Ordering::Equal));
        assert_eq!(Value::Int(2).compare(&Value::Null), None);
    }
}
