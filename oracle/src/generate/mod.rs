//! Random worlds, plans and changes for the laws.
//!
//! Everything is made from a list of [`Choices`]: plain numbers that proptest generates and shrinks. A shorter list and
//! smaller numbers mean a simpler object, because the simplest alternative always comes first and an exhausted list
//! answers zero. So dependent parts (columns of a plan, rows of a table) shrink together without any code of ours.

mod aggregate;
mod data;
mod expr;
mod plan;
mod recursion;
mod window;

pub use data::{Leaf, Relation, World};
pub use plan::{Fragment, plan};

use pg_trickle_core::types::TypeRef;
use proptest::prelude::*;

/// A source of decisions.
#[derive(Debug)]
pub struct Choices<'a> {
    numbers: &'a [u32],
    next: usize,
}

impl<'a> Choices<'a> {
    pub fn new(numbers: &'a [u32]) -> Choices<'a> {
        Choices { numbers, next: 0 }
    }

    /// A number below `count`; smaller ones are simpler.
    pub fn below(&mut self, count: usize) -> usize {
        let number = self.numbers.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        ((u64::from(number) * count as u64) >> 32) as usize
    }

    /// True in `percent` of 100 cases; false is simpler.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) >= 100 - percent
    }

    /// One of the items, the first being the simplest.
    pub fn one_of<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    /// An index by weights.
    pub fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut number = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            match number.checked_sub(*weight) {
                None => return index,
                Some(rest) => number = rest,
            }
        }
        0
    }
}

/// The numbers a case is made from: for the tables, their changes, and the plan over them.
#[derive(Debug, Clone)]
pub struct Seed {
    pub tables: Vec<u32>,
    pub changes: Vec<u32>,
    pub plan: Vec<u32>,
}

/// Seeds of cases of a useful size.
pub fn seeds() -> impl Strategy<Value = Seed> {
    let numbers = |max| proptest::collection::vec(any::<u32>(), max / 4..max);
    (numbers(240), numbers(300), numbers(200)).prop_map(|(tables, changes, plan)| Seed {
        tables,
        changes,
        plan,
    })
}

/// The types of generated columns, the simplest first. `numeric` without modifier has values that are equal but not
/// identical.
pub fn column_types() -> [TypeRef; 6] {
    [
        TypeRef::int4(),
        TypeRef::text(),
        TypeRef::numeric(),
        TypeRef::numeric_with(6, 2),
        TypeRef::boolean(),
        TypeRef::int8(),
    ]
}
