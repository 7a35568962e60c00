//! Small vocabulary: identifiers, types, columns.

use serde::{Deserialize, Serialize};

/// A source of a query: an index into [`crate::query::Query::sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceId(pub u32);

/// A stage of a maintained query, numbered bottom-up from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StageId(pub u32);

/// What the server says of a type, as far as rules need it. Filled in by the front end; rules never ask a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TypeRef {
    /// `pg_type.oid`.
    pub oid: u32,
    /// Type modifier, -1 if none.
    pub typmod: i32,
    /// Collation OID of the value, 0 if the type is not collatable.
    pub collation: u32,
    /// Schema-qualified SQL text with modifier, usable in a cast and as a column type, e.g. `numeric(15,2)`.
    pub name: String,
    /// Schema-qualified, quoted collation name if it is not the type's default collation.
    pub collation_name: Option<String>,
    /// Two equal values are always byte-equal: the type's default btree class says so through its `equalimage`
    /// support function for this collation, or the type is `numeric` with a modifier. Where this is false a column
    /// is compared and grouped through `pgtrickle.image(..)` when identity is meant.
    pub equal_image: bool,
    /// The type has a default btree operator class: `=`, `<` exist and mean grouping equality and order.
    pub ordered: bool,
    /// The type has a default hash operator class.
    pub hashable: bool,
    /// What arithmetic on the type is exact.
    pub arithmetic: Arithmetic,
}

/// Whether sums of a type can be inverted exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Arithmetic {
    /// `int2`, `int4`, `int8`.
    Integer,
    /// `numeric`.
    Numeric,
    /// `float4`, `float8`: addition is not associative.
    Float,
    /// Everything else.
    None,
}

/// A column of a relation. Columns are addressed by position; the name serves display and the user's table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    pub ty: TypeRef,
    /// False only if provably never NULL.
    pub nullable: bool,
    /// For `numeric`: every value is provably displayed with this many fractional digits (NaN aside).
    pub fixed_scale: Option<u16>,
}

/// A function as the analysed query names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FunctionRef {
    /// `pg_proc.oid`.
    pub oid: u32,
    /// Schema-qualified, quoted name.
    pub name: String,
    /// The bare name if the function lives in `pg_catalog`; rules recognise built-ins by it.
    pub builtin: Option<String>,
}

/// `pg_proc.provolatile`, the worst over an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

impl TypeRef {
    fn builtin(oid: u32, name: &str, arithmetic: Arithmetic) -> TypeRef {
        TypeRef {
            oid,
            typmod: -1,
            collation: 0,
            name: format!("pg_catalog.{name}"),
            collation_name: None,
            equal_image: arithmetic != Arithmetic::Numeric,
            ordered: true,
            hashable: true,
            arithmetic,
        }
    }

    /// `int8`.
    pub fn int8() -> TypeRef {
        TypeRef::builtin(20, "int8", Arithmetic::Integer)
    }

    /// `int4`.
    pub fn int4() -> TypeRef {
        TypeRef::builtin(23, "int4", Arithmetic::Integer)
    }

    /// `bool`.
    pub fn boolean() -> TypeRef {
        TypeRef::builtin(16, "bool", Arithmetic::None)
    }

    /// `numeric` without modifier.
    pub fn numeric() -> TypeRef {
        TypeRef::builtin(1700, "numeric", Arithmetic::Numeric)
    }

    /// `numeric(precision, scale)`.
    pub fn numeric_with(precision: u16, scale: u16) -> TypeRef {
        TypeRef {
            // The modifier as the server packs it: precision above scale, offset by the size of a varlena header.
            typmod: ((i32::from(precision) << 16) | i32::from(scale)) + 4,
            name: format!("pg_catalog.numeric({precision},{scale})"),
            equal_image: true,
            ..TypeRef::numeric()
        }
    }

    /// `text` of the default collation.
    pub fn text() -> TypeRef {
        TypeRef { collation: 100, ..TypeRef::builtin(25, "text", Arithmetic::None) }
    }

    /// `bytea`.
    pub fn bytea() -> TypeRef {
        TypeRef::builtin(17, "bytea", Arithmetic::None)
    }

    /// `tid`, the physical address of a row.
    pub fn tid() -> TypeRef {
        TypeRef::builtin(27, "tid", Arithmetic::None)
    }

    /// Values are always small enough for a btree index entry, whatever the data.
    pub fn is_compact(&self) -> bool {
        // bool, "char", int8, int2, int4, oid, float4, float8, date, time, timestamp, timestamptz, interval, timetz,
        // numeric, uuid, macaddr, inet, cidr, money
        const COMPACT: &[u32] = &[
            16, 18, 20, 21, 23, 26, 700, 701, 1082, 1083, 1114, 1184, 1186, 1266, 1700, 2950, 829, 869, 650,
            790,
        ];
        COMPACT.contains(&self.oid)
    }

    /// A table can have a column of the type: it is no pseudo-type, such as that of `ROW(..)`.
    pub fn is_storable(&self) -> bool {
        // unknown, record, record[], cstring, void
        const PSEUDO: &[u32] = &[705, 2249, 2287, 2275, 2278];
        !PSEUDO.contains(&self.oid)
    }

    /// Column definition text: type and collation.
    pub fn definition(&self) -> String {
        match &self.collation_name {
            Some(collation) => format!("{} COLLATE {collation}", self.name),
            None => self.name.clone(),
        }
    }
}
