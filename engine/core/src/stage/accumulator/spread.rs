//! Variance and standard deviation over exact types, with the text PostgreSQL prints (`design-review.md` 12.3).
//!
//! ```text
//! variance = (n * sum(x^2) - sum(x)^2) / (n * (n - 1))        in numeric; 0 if the numerator is not positive
//! deviation = round(sqrt(round(v, scale(v) + 20)), scale(v))  v the variance
//! ```
//!
//! `n * n` for a population. The standard deviation is not the rounded root of the variance: it is rounded once.

/// The result from the number of values, their sum and the sum of their squares.
pub(super) fn result(sample: bool, root: bool, count: &str, sum: &str, squares: &str) -> String {
    let n = format!("{count}::pg_catalog.numeric");
    let numerator = format!("({n} * {squares} - {sum} * {sum})");
    let (least, denominator) =
        if sample { (2, format!("({n} * ({n} - 1))")) } else { (1, format!("({n} * {n})")) };
    let zero = "0::pg_catalog.numeric";
    let variance = format!(
        "(CASE WHEN {count} < {least} THEN NULL WHEN {numerator} <= 0 THEN {zero} ELSE {numerator} / {denominator} END)"
    );
    if !root {
        return variance;
    }
    // 0 stands for a numerator that is not positive; the scale of NaN is NULL.
    format!(
        "(SELECT CASE WHEN z.v IN (0, 'NaN') THEN z.v ELSE pg_catalog.round(pg_catalog.sqrt(pg_catalog.round(z.v, \
         pg_catalog.scale(z.v) + 20)), pg_catalog.scale(z.v)) END FROM (SELECT {variance} AS v) z)"
    )
}
