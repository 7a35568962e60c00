//! What a definition leads to beneath its text: views, functions, operators, types.

use crate::pg::exec::Executor;
use crate::pg::invalidation::{self, Watch};
use crate::pg::snapshot::Snapshot;
use crate::pg::value::Param;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// What a definition means to the server.
pub struct Meaning {
    /// Changes whenever a view that the definition reads, or a function or operator it calls, is replaced.
    pub fingerprint: String,
    watch: Watch,
}

impl Meaning {
    /// Whether nothing that the definition leads to has changed since.
    pub fn is_current(&self) -> bool {
        self.watch.is_current()
    }
}

thread_local! {
    /// By the view that holds the definition.
    static KNOWN: RefCell<HashMap<u32, Rc<Meaning>>> = RefCell::default();
}

/// What the definition that a view holds means now; the fingerprint is empty if the view is gone.
///
/// Not as a refresh's snapshot shows it, which may be older than what the server runs: it executes functions as they
/// are.
pub fn load(query_view: u32) -> Rc<Meaning> {
    let known = KNOWN.with_borrow(|known| known.get(&query_view).cloned());
    if let Some(known) = known.filter(|known| known.is_current()) {
        return known;
    }
    let meaning = Rc::new(read(query_view));
    KNOWN.with_borrow_mut(|known| {
        known.retain(|_, old| old.is_current());
        known.insert(query_view, meaning.clone());
    });
    meaning
}

fn read(query_view: u32) -> Meaning {
    let since = invalidation::count();
    let row = Executor::new(Snapshot::latest())
        .fixed_row(include_str!("../../../sql/queries/definition_meaning.sql"), &[Param::Oid(query_view)]);
    let text = |column| row.as_ref().and_then(|row| row.optional_text(column)).unwrap_or_default();
    let oids = |column| -> Vec<u32> { text(column).split(',').filter_map(|oid| oid.parse().ok()).collect() };
    Meaning { fingerprint: text(0), watch: Watch::new(&oids(1), &oids(2), &oids(3), since) }
}
