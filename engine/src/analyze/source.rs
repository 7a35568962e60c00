//! Base relations: which there are, whether they can be sources, which of their columns are read.

use super::{AnalyzeError, Stop, Walked, property};
use crate::pg::node;
use crate::pg::{facts, parse};
use pg_trickle_core::plan::{Plan, Source};
use pg_trickle_core::query::{Construct, SourceColumn, SourceIndex, SourceInfo, SourceKind, Unsupported};
use pg_trickle_core::refusal::Refusal;
use pg_trickle_core::types::{Column, SourceId};
use pgrx::pg_sys;
use std::collections::BTreeSet;

/// The sources of a query, numbered as first met.
#[derive(Default)]
pub struct Sources {
    drafts: Vec<Draft>,
}

struct Draft {
    relation: facts::Relation,
    /// Read without ONLY.
    with_children: bool,
    kind: SourceKind,
    used: BTreeSet<i16>,
}

/// A leaf of the plan and what stands above it.
pub struct Read {
    pub source: Source,
    /// Of the leaf's columns, in order.
    pub attnums: Vec<i16>,
    /// Virtual generated columns that are read.
    pub computed: Vec<Generated>,
}

/// A column that is computed from stored columns of its relation, which are columns of entry 1 in the expression.
pub struct Generated {
    pub attnum: i16,
    pub name: String,
    pub expression: node::Tree,
}

/// The stored columns whose changes can change a column.
fn stored_columns(attribute: &facts::Attribute) -> Vec<i16> {
    let Some(expression) = attribute.generation else { return vec![attribute.attnum] };
    let mut found = vec![];
    node::walk(expression, &mut |part, _| {
        found.extend(node::cast::<pg_sys::Var>(part).map(|var| var.varattno));
        node::Walk::Into
    });
    found
}

impl Draft {
    fn is_inherited(&self) -> bool {
        self.with_children && self.relation.has_children && self.kind != SourceKind::PartitionedTable
    }

    fn column(&self, attribute: &facts::Attribute) -> Column {
        Column {
            name: attribute.name.clone(),
            ty: facts::type_ref(attribute.oid, attribute.typmod, attribute.collation),
            // Before 18 an inheritance child may drop the constraint. Nobody enforces that of a foreign table.
            nullable: !attribute.not_null || self.is_inherited() || self.kind == SourceKind::ForeignTable,
            fixed_scale: property::typmod_scale(attribute.oid, attribute.typmod),
        }
    }

    /// Keys among these attributes, as indexes into them. A parent's key says nothing of its inheritance children.
    fn keys(&self, attnums: &[i16]) -> Vec<Vec<usize>> {
        let position = |attnum: &i16| attnums.iter().position(|known| known == attnum);
        let keys = self.relation.keys.iter().filter(|_| !self.is_inherited());
        let mut keys: Vec<Vec<usize>> = keys.filter_map(|key| key.iter().map(position).collect()).collect();
        keys.sort_by_key(Vec::len);
        keys
    }

    /// Indexes that begin with one of these attributes, which they give as indexes into them. A parent's index does not
    /// hold the rows of its inheritance children.
    fn indexes(&self, attnums: &[i16]) -> Vec<SourceIndex> {
        let indexes = self.relation.indexes.iter().filter(|_| !self.is_inherited());
        let described = indexes.filter_map(|index| {
            let known =
                index.columns.iter().map_while(|attnum| attnums.iter().position(|known| known == attnum));
            let columns: Vec<usize> = known.collect();
            let is_unique = index.is_unique && columns.len() == index.columns.len();
            (!columns.is_empty()).then_some(SourceIndex { columns, is_unique })
        });
        described.collect()
    }

    fn info(&self) -> SourceInfo {
        let attnums: Vec<i16> = self.used.iter().copied().collect();
        let only = if self.with_children { "" } else { "ONLY " };
        let columns =
            self.relation.attributes.iter().filter(|attribute| self.used.contains(&attribute.attnum));
        SourceInfo {
            relid: self.relation.relid.to_u32(),
            name: format!("{only}{}", self.relation.name),
            kind: self.kind,
            columns: columns
                .map(|attribute| SourceColumn { attnum: attribute.attnum, column: self.column(attribute) })
                .collect(),
            keys: self.keys(&attnums),
            indexes: self.indexes(&attnums),
        }
    }
}

impl Sources {
    /// All relations of a rewritten query at any depth, with the columns that the query text or a view mentions.
    pub fn all_of(query: &mut pg_sys::Query) -> Result<Sources, AnalyzeError> {
        let mut sources = Sources::default();
        let mut refused = None;
        let mut see = |found: node::Tree, _: u32| {
            if let Some(query) = node::cast::<pg_sys::Query>(found) {
                let infos = node::list::<pg_sys::RTEPermissionInfo>(query.rteperminfos);
                for entry in node::list::<pg_sys::RangeTblEntry>(query.rtable) {
                    if let Err(error) = sources.add(entry, &infos) {
                        refused.get_or_insert(error);
                    }
                }
            }
            node::Walk::Into
        };
        node::walk(std::ptr::from_mut(query).cast(), &mut see);
        refused.map_or(Ok(sources), Err)
    }

    fn add(
        &mut self,
        entry: &pg_sys::RangeTblEntry,
        infos: &[&pg_sys::RTEPermissionInfo],
    ) -> Result<(), AnalyzeError> {
        if !entry.securityQuals.is_null() {
            return Err(AnalyzeError::RowSecurity(facts::relation(entry.relid).name));
        }
        if entry.rtekind != pg_sys::RTEKind::RTE_RELATION {
            return Ok(());
        }
        let index = self.index(entry)?;
        let info = (entry.perminfoindex as usize).checked_sub(1).and_then(|index| infos.get(index));
        if let Some(info) = info {
            // Members are attribute numbers moved up so that system columns are not negative.
            for member in node::members(info.selectedCols) {
                match member + pg_sys::FirstLowInvalidHeapAttributeNumber {
                    0 => self.use_all(index),
                    attnum @ 1.. => self.use_column(index, attnum as i16),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The index of the relation an entry reads, new or known.
    fn index(&mut self, entry: &pg_sys::RangeTblEntry) -> Result<usize, AnalyzeError> {
        let with_children = entry.inh || entry.relkind as u8 == b'p';
        let known = self
            .drafts
            .iter()
            .position(|draft| draft.relation.relid == entry.relid && draft.with_children == with_children);
        if let Some(index) = known {
            return Ok(index);
        }
        let relation = facts::relation(entry.relid);
        let mut kind = kind(&relation)?;
        if with_children && relation.has_children && facts::has_foreign_member(entry.relid.to_u32()) {
            // No trigger sees what changes there.
            kind = SourceKind::ForeignTable;
        }
        // ONLY means something where there are children to leave out.
        let with_children = with_children || !relation.has_children;
        let known = self
            .drafts
            .iter()
            .position(|draft| draft.relation.relid == entry.relid && draft.with_children == with_children);
        Ok(known.unwrap_or_else(|| {
            self.drafts.push(Draft { relation, with_children, kind, used: BTreeSet::new() });
            self.drafts.len() - 1
        }))
    }

    fn use_column(&mut self, index: usize, attnum: i16) {
        let draft = &mut self.drafts[index];
        let attribute = draft.relation.attributes.iter().find(|attribute| attribute.attnum == attnum);
        draft.used.extend(attribute.into_iter().flat_map(stored_columns));
    }

    fn use_all(&mut self, index: usize) {
        let draft = &mut self.drafts[index];
        draft.used.extend(draft.relation.attributes.iter().flat_map(stored_columns));
    }

    /// Reads columns of a relation; `used` holds attribute numbers, 0 for all of them. The leaf's ordinals are
    /// attribute numbers until [`Sources::finish`]. Virtual generated columns come with what they are computed from.
    pub fn read(&mut self, entry: &pg_sys::RangeTblEntry, used: &BTreeSet<i16>) -> Walked<Read> {
        if let Some(&system) = used.iter().find(|attnum| **attnum < 0) {
            return Err(Stop::system_column(system, None));
        }
        let index = self.index(entry).map_err(Stop::Refused)?;
        let draft = &self.drafts[index];
        let is_read = |attnum: i16| used.contains(&0) || used.contains(&attnum);
        let asked: Vec<&facts::Attribute> =
            draft.relation.attributes.iter().filter(|attribute| is_read(attribute.attnum)).collect();
        let mut stored: BTreeSet<i16> =
            asked.iter().flat_map(|attribute| stored_columns(attribute)).collect();
        if stored.is_empty() {
            // Only the number of rows matters. A key column changes least; a relation without columns has rows too.
            let first = draft.relation.attributes.iter().find(|attribute| attribute.generation.is_none());
            let key = draft.relation.keys.iter().flatten().next().copied();
            stored.extend(key.or_else(|| first.map(|attribute| attribute.attnum)));
        }
        let attnums: Vec<i16> = stored.iter().copied().collect();
        let attributes =
            draft.relation.attributes.iter().filter(|attribute| stored.contains(&attribute.attnum));
        let source = Source {
            source: SourceId(index as u32),
            ordinals: attnums.iter().map(|attnum| *attnum as usize).collect(),
            columns: attributes.map(|attribute| draft.column(attribute)).collect(),
            keys: draft.keys(&attnums),
        };
        let computed = asked.iter().filter_map(|attribute| {
            Some(Generated {
                attnum: attribute.attnum,
                name: attribute.name.clone(),
                expression: attribute.generation?,
            })
        });
        let read = Read { source, attnums, computed: computed.collect() };
        self.drafts[index].used.extend(stored);
        Ok(read)
    }

    /// Turns the attribute numbers in the plan's leaves into ordinals, now that all used columns are known.
    pub fn finish(self, plan: &mut Plan) -> Vec<SourceInfo> {
        let sources = self.described();
        set_ordinals(plan, &sources);
        sources
    }

    /// The sources with the columns used.
    pub fn described(&self) -> Vec<SourceInfo> {
        self.drafts.iter().map(Draft::info).collect()
    }
}

fn set_ordinals(plan: &mut Plan, sources: &[SourceInfo]) {
    if let Plan::Source(source) = plan {
        let columns = &sources[source.source.0 as usize].columns;
        for ordinal in &mut source.ordinals {
            let attnum = *ordinal;
            *ordinal = columns.iter().position(|column| column.attnum as usize == attnum).unwrap_or_default();
        }
    }
    for child in plan.children_mut() {
        set_ordinals(child, sources);
    }
}

fn kind(relation: &facts::Relation) -> Result<SourceKind, AnalyzeError> {
    let name = || relation.name.clone();
    if relation.is_system {
        return Err(AnalyzeError::SystemSource(name()));
    }
    if relation.is_temporary {
        return Err(AnalyzeError::TemporarySource(name()));
    }
    match relation.kind {
        b'r' => Ok(SourceKind::Table),
        b'p' => Ok(SourceKind::PartitionedTable),
        b'm' => Ok(SourceKind::MaterializedView),
        b'f' => Ok(SourceKind::ForeignTable),
        _ => Err(AnalyzeError::NotATable(name())),
    }
}

/// The reason why a plan may not be run in place of the query: a relation beneath a view that the user could not
/// read himself.
pub fn unreadable(planned: &pg_sys::PlannedStmt) -> Option<Unsupported> {
    let relation = parse::unreadable_relations(planned).into_iter().next()?;
    let name = facts::relation(relation).name;
    Some(Unsupported {
        construct: Construct { name: format!("view over {name}"), position: None },
        reason: Refusal::UnreadableView,
    })
}
