//! How many fractional digits a sum shows: as many as the value with the most of them, among the values that are left.
//!
//! ```text
//! z = sum over the values of w * 10^(-12 * scale(x))        largest scale = ceil(min_scale(z) / 12)
//! ```
//!
//! The sum is a histogram of scales in one number: block i of twelve digits counts the values that show i fractional
//! digits. It is linear, so a removal undoes an insertion, and its last digit that is not 0 lies in the block of the
//! largest scale there is (`design-review.md` 12.4). Values that show [`MAX`] digits or more are left to recomputation.

/// Scales from here on have no block: a numeric has room for 16383 fractional digits.
pub(super) const MAX: u32 = 1_000;

/// The term of one value; any will do for those that are left to recomputation, NaN and infinities among them.
pub(super) fn term(value: &str) -> String {
    let digits = format!("pg_catalog.scale({value})");
    format!(
        "pg_catalog.concat('1e-', CASE WHEN {digits} < {MAX} THEN 12 * {digits} ELSE 0 END)::pg_catalog.numeric"
    )
}

/// The largest scale in a histogram.
pub(super) fn largest(histogram: &str) -> String {
    format!("((pg_catalog.min_scale({histogram}) + 11) / 12)")
}
