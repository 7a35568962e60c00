//! The same change at growing sizes of the tables: what a refresh takes and reads should stay as it is.

use anyhow::Result;

use super::ground::Ground;
use super::operators;
use super::result::Case;

/// The cases: every operator at every size after one change.
pub fn cases(ground: &Ground) -> Result<Vec<Case>> {
    operators::at(ground, &ground.sizes.growth_rows, &[ground.sizes.growth_changes])
}
