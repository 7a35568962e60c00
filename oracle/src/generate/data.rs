//! Base relations with small domains, and valid changes of them.

use super::{Choices, column_types};
use crate::eval::Env;
use crate::scalar::Clock;
use crate::value::{Decimal, Row, Value};
use crate::zset::ZSet;
use pg_trickle_core::delta::Changed;
use pg_trickle_core::plan::{DeltaOf, Plan, Source, Stored};
use pg_trickle_core::types::{Arithmetic, Column, SourceId, StageId, TypeRef};
use std::fmt;

/// What a leaf of a plan can read, before and after a change.
#[derive(Debug, Clone)]
pub struct Relation {
    pub leaf: Leaf,
    pub columns: Vec<Column>,
    /// The relation is keyed by its first column.
    pub is_keyed: bool,
    pub old: ZSet,
    /// The consolidated change.
    pub delta: ZSet,
    /// The relation counts as changed, perhaps by an empty delta.
    pub is_changed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf {
    Source(SourceId),
    Stage(StageId),
}

/// The relations of a case.
#[derive(Debug, Clone)]
pub struct World {
    pub relations: Vec<Relation>,
    /// The times of the frontier and of the refresh. Time may go backwards, or stand still.
    pub clock: Clock,
}

impl World {
    /// Relations from `tables`, their changes from `changes`. With `stages`, some relations are stored stages.
    pub fn new(tables: &mut Choices, changes: &mut Choices, stages: bool) -> World {
        let count = 1 + tables.below(4);
        let mut relations = vec![];
        for index in 0..count {
            let is_stage = stages && tables.percent(25);
            let leaf = match is_stage {
                true => Leaf::Stage(StageId(index as u32)),
                false => Leaf::Source(SourceId(index as u32)),
            };
            relations.push(relation(leaf, tables));
        }
        for relation in &mut relations {
            change(relation, changes);
        }
        let then = time(changes);
        World { relations, clock: Clock { then, now: time(changes) } }
    }

    /// One relation of integers with partitions of some size, of which the change touches one or two rows.
    pub fn of_partitions(tables: &mut Choices, changes: &mut Choices) -> World {
        let column = |(index, name): (usize, &str)| Column {
            name: name.to_owned(),
            ty: TypeRef::int4(),
            nullable: index > 0,
            fixed_scale: None,
        };
        let columns = ["a", "b", "c"].into_iter().enumerate().map(column).collect();
        let is_keyed = tables.percent(60);
        let leaf = Leaf::Source(SourceId(0));
        let mut relation =
            Relation { leaf, columns, is_keyed, old: ZSet::new(), delta: ZSet::new(), is_changed: true };
        let row = |choices: &mut Choices| {
            let place = Value::Int(choices.below(24) as i64);
            let partition = choices.one_of(&[Value::Int(0), Value::Int(0), Value::Int(0), Value::Int(1)]);
            let value = if choices.percent(15) { Value::Null } else { Value::Int(choices.below(4) as i64) };
            vec![place, partition, value]
        };
        for _ in 0..5 + tables.below(10) {
            let row = row(tables);
            if relation.may_insert(&relation.old, &row) {
                relation.old.insert(row, 1);
            }
        }
        let mut state = relation.old.clone();
        for _ in 0..1 + changes.below(2) {
            let existing = state.iter().nth(changes.below(state.len().max(1))).map(|(row, _)| row.clone());
            let inserted = row(changes);
            let (removed, added) = match (changes.below(3), existing) {
                (1, Some(row)) => (Some(row), None),
                (2, Some(row)) => {
                    let mut moved = row.clone();
                    moved[2] = inserted[2].clone();
                    (Some(row), Some(moved))
                }
                _ => (None, Some(inserted)),
            };
            removed.into_iter().for_each(|row| state.insert(row, -1));
            for row in added.into_iter().filter(|row| relation.may_insert(&state, row)).collect::<Vec<_>>() {
                state.insert(row, 1);
            }
        }
        relation.delta = state.minus(&relation.old);
        World { relations: vec![relation], clock: Clock::default() }
    }

    /// Takes the change for granted and makes another one.
    pub fn advance(&mut self, changes: &mut Choices) {
        for relation in &mut self.relations {
            relation.old = relation.new_state();
            relation.delta = ZSet::new();
            change(relation, changes);
        }
        self.clock = Clock { then: self.clock.now, now: time(changes) };
    }

    /// The contents before the change.
    pub fn old(&self) -> Env {
        let env = self.env(|relation| relation.old.clone());
        Env { clock: Clock { now: self.clock.then, then: self.clock.then }, ..env }
    }

    /// The contents after the change, and the change.
    pub fn new_state(&self) -> Env {
        let mut env = self.env(Relation::new_state);
        for relation in self.relations.iter().filter(|relation| relation.is_changed) {
            let of = match relation.leaf {
                Leaf::Source(source) => DeltaOf::Source(source),
                Leaf::Stage(stage) => DeltaOf::Stage(stage),
            };
            env.deltas.insert(of, relation.delta.clone());
        }
        env
    }

    /// What the delta rules are told has changed.
    pub fn changed(&self) -> Changed {
        let mut changed = Changed { time: true, ..Changed::default() };
        for relation in self.relations.iter().filter(|relation| relation.is_changed) {
            match relation.leaf {
                Leaf::Source(source) => changed.sources.insert(source),
                Leaf::Stage(stage) => changed.stages.insert(stage),
            };
        }
        changed
    }

    fn env(&self, contents: impl Fn(&Relation) -> ZSet) -> Env {
        let mut env = Env { clock: self.clock, ..Env::default() };
        for relation in &self.relations {
            match relation.leaf {
                Leaf::Source(source) => env.sources.insert(source, contents(relation)),
                Leaf::Stage(stage) => env.stages.insert(stage, contents(relation)),
            };
        }
        env
    }
}

/// A time near the values of columns.
fn time(choices: &mut Choices) -> i64 {
    choices.below(9) as i64 - 3
}

impl Relation {
    pub fn new_state(&self) -> ZSet {
        self.old.plus(&self.delta)
    }

    /// A leaf that reads the relation; sources may be read with other columns in another order.
    pub fn plan(&self, choices: &mut Choices) -> Plan {
        let keys = |ordinals: &[usize]| match ordinals.iter().position(|&ordinal| ordinal == 0) {
            Some(position) if self.is_keyed => vec![vec![position]],
            _ => vec![],
        };
        match self.leaf {
            Leaf::Stage(stage) => {
                let all: Vec<usize> = (0..self.columns.len()).collect();
                Plan::Stored(Stored { stage, columns: self.columns.clone(), keys: keys(&all) })
            }
            Leaf::Source(source) => {
                let mut ordinals: Vec<usize> = (0..self.columns.len()).collect();
                if ordinals.len() > 1 && choices.percent(30) {
                    let dropped = choices.below(ordinals.len());
                    ordinals.remove(dropped);
                    ordinals.reverse();
                }
                let columns = ordinals.iter().map(|&ordinal| self.columns[ordinal].clone()).collect();
                let keys = keys(&ordinals);
                Plan::Source(Source { source, ordinals, columns, keys })
            }
        }
    }
}

fn relation(leaf: Leaf, choices: &mut Choices) -> Relation {
    let is_keyed = choices.percent(40);
    let count = 1 + choices.below(3);
    let columns: Vec<Column> = (0..count)
        .map(|index| {
            let ty = match index {
                0 => TypeRef::int4(),
                _ => column_types()[choices.weighted(&[5, 3, 3, 1, 2, 1])].clone(),
            };
            Column {
                name: char::from(b'a' + index as u8).to_string(),
                nullable: (index > 0 || !is_keyed) && !choices.percent(30),
                fixed_scale: (ty.typmod >= 0 && ty.arithmetic == Arithmetic::Numeric).then_some(2),
                ty,
            }
        })
        .collect();
    let mut relation =
        Relation { leaf, columns, is_keyed, old: ZSet::new(), delta: ZSet::new(), is_changed: false };
    for _ in 0..choices.below(7) {
        let row = row(&relation.columns, choices);
        let copies = 1 + choices.weighted(&[6, 2, 1]) as i64;
        if relation.may_insert(&relation.old, &row) {
            relation.old.insert(row, if is_keyed { 1 } else { copies });
        }
    }
    relation
}

impl Relation {
    fn may_insert(&self, state: &ZSet, row: &Row) -> bool {
        !self.is_keyed || state.iter().all(|(other, _)| other[0] != row[0])
    }
}

/// Gives the relation a change: rows inserted, deleted, moved, touched several times, changed there and back.
fn change(relation: &mut Relation, choices: &mut Choices) {
    relation.is_changed = choices.weighted(&[2, 8]) == 1;
    if !relation.is_changed {
        return;
    }
    let mut state = relation.old.clone();
    for _ in 0..choices.below(6) {
        let existing = match state.len() {
            0 => None,
            count => state.iter().nth(choices.below(count)).map(|(row, weight)| (row.clone(), weight)),
        };
        match (choices.weighted(&[4, 4, 4, 1]), existing) {
            (1, Some((row, weight))) => {
                let all = choices.percent(50);
                state.insert(row, if all { -weight } else { -1 });
            }
            (2, Some((row, _))) => {
                let position = choices.below(row.len());
                let mut moved = row.clone();
                moved[position] = value(&relation.columns[position], choices);
                let mut without = state.clone();
                without.insert(row, -1);
                if relation.may_insert(&without, &moved) {
                    without.insert(moved, 1);
                    state = without;
                }
            }
            (3, Some((row, weight))) => {
                // There and back: cancels in the consolidated change.
                state.insert(row.clone(), -weight);
                state.insert(row, weight);
            }
            _ => {
                let row = row(&relation.columns, choices);
                if relation.may_insert(&state, &row) {
                    state.insert(row, 1);
                }
            }
        }
    }
    relation.delta = state.minus(&relation.old);
}

fn row(columns: &[Column], choices: &mut Choices) -> Row {
    columns.iter().map(|column| value(column, choices)).collect()
}

/// A value of a small domain, so that rows meet.
fn value(column: &Column, choices: &mut Choices) -> Value {
    if column.nullable && choices.percent(22) {
        return Value::Null;
    }
    constant(&column.ty, choices)
}

/// A non-NULL value of the type.
pub(super) fn constant(ty: &TypeRef, choices: &mut Choices) -> Value {
    let decimal = |mantissa, scale| Value::Numeric(Decimal::new(mantissa, scale));
    match (ty.oid, ty.typmod) {
        (25, _) => Value::Text(choices.one_of(&["a", "b", "A"]).to_owned()),
        (16, _) => Value::Bool(choices.percent(50)),
        (1700, -1) => choices.one_of(&[decimal(1, 0), decimal(15, 1), decimal(150, 2), decimal(10, 1)]),
        (1700, _) => choices.one_of(&[decimal(100, 2), decimal(150, 2), decimal(-25, 2)]),
        _ => Value::Int(choices.one_of(&[0, 1, 2, 3])),
    }
}

/// The relations with their rows before the change and the change, for counterexamples.
impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for relation in &self.relations {
            let name = match relation.leaf {
                Leaf::Source(source) => format!("source {}", source.0),
                Leaf::Stage(stage) => format!("stage {}", stage.0),
            };
            let columns: Vec<String> = relation
                .columns
                .iter()
                .map(|column| {
                    let not_null = if column.nullable { "" } else { " not null" };
                    format!("{} {}{not_null}", column.name, column.ty.name)
                })
                .collect();
            let key = if relation.is_keyed { " key (a)" } else { "" };
            let changed = if relation.is_changed { "" } else { " [unchanged]" };
            writeln!(f, "{name} ({}){key}{changed}\n{}", columns.join(", "), relation.old)?;
            if relation.is_changed {
                writeln!(f, "  change\n{}", relation.delta)?;
            }
        }
        Ok(())
    }
}
