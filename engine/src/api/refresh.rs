//! Manual refresh.

use crate::catalog::definition;
use crate::catalog::known;
use crate::error::{OrReport, Result};
use crate::refresh::Initiator;
use crate::refresh::wave::{self, OnFailure, Options};
use pgrx::prelude::*;

/// `pgtrickle.refresh_stream_table(name)`: brings a stream table and everything upstream of it to one snapshot.
#[pg_extern(volatile, parallel_unsafe)]
fn refresh_stream_table(name: Option<&str>) {
    refresh(name).or_report();
}

fn refresh(name: Option<&str>) -> Result<()> {
    let known = known::resolve("name", name, known::fixed_view().as_ref())?;
    definition::check_owner(&known.stream_table)?;
    let targets = [known.stream_table.pgt_id];
    let wave = wave::begin(&targets, Initiator::Manual)?;
    wave.run(&targets, Options { on_failure: OnFailure::Raise, force: false })?;
    Ok(())
}
