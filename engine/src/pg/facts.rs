//! What the server's catalogs say of types, functions, operators and relations.

use super::exec::Executor;
use super::snapshot::Snapshot;
use super::value::Param;
use super::{compat, node};
use pg_trickle_core::types::{Arithmetic, FunctionRef, TypeRef, Volatility};
use pgrx::pg_sys::{self, Oid};

/// Strategy number of `=` in a btree operator family, and of the support function that says whether equal means
/// identical (`BTEqualStrategyNumber`, `BTEQUALIMAGE_PROC`).
const EQUAL_STRATEGY: i32 = 3;
const EQUAL_IMAGE_SUPPORT: i16 = 4;
/// Objects with smaller OIDs are the server's own (`FirstNormalObjectId`).
const FIRST_USER_OID: u32 = 16384;

/// The type with everything rules need to know of it.
pub fn type_ref(oid: Oid, typmod: i32, collation: Oid) -> TypeRef {
    let flags = pg_sys::TYPECACHE_EQ_OPR
        | pg_sys::TYPECACHE_LT_OPR
        | pg_sys::TYPECACHE_HASH_PROC
        | pg_sys::TYPECACHE_BTREE_OPFAMILY;
    // SAFETY: the type exists, an expression has it; cache entries live for the session and are copied at once.
    let (family, input_type, eq, lt, hash, base) = unsafe {
        let entry = &*pg_sys::lookup_type_cache(oid, flags as i32);
        (
            entry.btree_opf,
            entry.btree_opintype,
            entry.eq_opr,
            entry.lt_opr,
            entry.hash_proc,
            pg_sys::getBaseType(oid),
        )
    };
    let ordered = eq != Oid::INVALID && lt != Oid::INVALID;
    // SAFETY: syscache look-ups by a valid type OID.
    let own_collation = unsafe { pg_sys::get_typcollation(oid) };
    let equal_image = ordered
        && if base == pg_sys::NUMERICOID {
            base_typmod(oid, typmod) >= 0
        } else {
            (base != pg_sys::BPCHAROID || base_typmod(oid, typmod) >= 0)
                && equal_is_identical(family, input_type, collation)
        };
    TypeRef {
        oid: oid.to_u32(),
        typmod,
        collation: collation.to_u32(),
        name: type_name(oid, typmod),
        collation_name: (collation != Oid::INVALID && collation != own_collation)
            .then(|| collation_name(collation)),
        equal_image,
        ordered,
        hashable: hash != Oid::INVALID,
        arithmetic: match base {
            pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID => Arithmetic::Integer,
            pg_sys::NUMERICOID => Arithmetic::Numeric,
            pg_sys::FLOAT4OID | pg_sys::FLOAT8OID => Arithmetic::Float,
            _ => Arithmetic::None,
        },
    }
}

/// The modifier that values of the type have: a domain's own, if it has one.
pub fn base_typmod(oid: Oid, typmod: i32) -> i32 {
    let mut typmod = typmod;
    // SAFETY: walks from a domain to its base type; updates the modifier in place.
    unsafe { pg_sys::getBaseTypeAndTypmod(oid, &mut typmod) };
    typmod
}

/// The type under its domains.
pub fn base_type(oid: Oid) -> Oid {
    // SAFETY: syscache look-up by a valid type OID.
    unsafe { pg_sys::getBaseType(oid) }
}

/// The type of arrays of a type, unless it is an array or a row itself, which an array does not hold as one element.
pub fn array_of_scalars(oid: Oid) -> Option<Oid> {
    let base = base_type(oid);
    // SAFETY: syscache look-ups by a valid type OID.
    unsafe {
        let is_scalar = pg_sys::get_element_type(base) == Oid::INVALID
            && pg_sys::get_typtype(base) as u8 != pg_sys::TYPTYPE_COMPOSITE;
        let array = pg_sys::get_array_type(oid);
        (is_scalar && array != Oid::INVALID).then_some(array)
    }
}

/// The types a type without domains is made of: an array's elements, a range's bounds, a composite type's columns.
pub fn parts(oid: Oid) -> Vec<Oid> {
    // SAFETY: syscache look-ups by a valid type OID; the descriptor is released after its columns are copied.
    unsafe {
        let element = pg_sys::get_element_type(oid);
        let range = pg_sys::get_multirange_range(oid);
        let bound = pg_sys::get_range_subtype(if range == Oid::INVALID { oid } else { range });
        let mut parts: Vec<Oid> = [element, bound].into_iter().filter(|part| *part != Oid::INVALID).collect();
        if pg_sys::get_typtype(oid) as u8 == pg_sys::TYPTYPE_COMPOSITE {
            let descriptor = pg_sys::lookup_rowtype_tupdesc(oid, -1);
            for index in 0..(*descriptor).natts as usize {
                let attribute = &*compat::attribute(descriptor, index);
                if !attribute.attisdropped {
                    parts.push(attribute.atttypid);
                }
            }
            if (*descriptor).tdrefcount >= 0 {
                pg_sys::DecrTupleDescRefCount(descriptor);
            }
        }
        parts
    }
}

fn equal_is_identical(family: Oid, input_type: Oid, collation: Oid) -> bool {
    // SAFETY: the support function takes the operator class's input type and the collation; that is how the server
    // itself calls it to decide on deduplication in indexes.
    unsafe {
        let support = pg_sys::get_opfamily_proc(family, input_type, input_type, EQUAL_IMAGE_SUPPORT);
        support != Oid::INVALID
            && pg_sys::OidFunctionCall1Coll(support, collation, pg_sys::Datum::from(input_type)).value() != 0
    }
}

/// Schema-qualified text of a type with its modifier.
pub fn type_name(oid: Oid, typmod: i32) -> String {
    let flags = pg_sys::FORMAT_TYPE_TYPEMOD_GIVEN | pg_sys::FORMAT_TYPE_FORCE_QUALIFY;
    // SAFETY: the type exists.
    node::text(unsafe { pg_sys::format_type_extended(oid, typmod, flags as pg_sys::bits16) })
}

/// True for types a table column cannot have.
pub fn is_pseudo_type(oid: Oid) -> bool {
    // SAFETY: syscache look-up by a valid type OID.
    unsafe { pg_sys::get_typtype(oid) as u8 == pg_sys::TYPTYPE_PSEUDO }
}

fn collation_name(oid: Oid) -> String {
    // SAFETY: the collation exists; the tuple is released after its fields are copied.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::COLLOID as i32, oid.into());
        if tuple.is_null() {
            return String::new();
        }
        let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_collation>();
        let name = node::text((*form).collname.data.as_ptr());
        let schema = (*form).collnamespace;
        pg_sys::ReleaseSysCache(tuple);
        qualified(schema, &name)
    }
}

/// `schema.name`, quoted as necessary.
fn qualified(schema: Oid, name: &str) -> String {
    let name = std::ffi::CString::new(name).unwrap_or_default();
    // SAFETY: both strings are NUL-terminated; the result is copied.
    unsafe {
        node::text(pg_sys::quote_qualified_identifier(pg_sys::get_namespace_name(schema), name.as_ptr()))
    }
}

/// The function's name.
pub fn function_ref(oid: Oid) -> FunctionRef {
    // SAFETY: the function exists, an expression calls it.
    let (schema, name) = unsafe { (pg_sys::get_func_namespace(oid), node::text(pg_sys::get_func_name(oid))) };
    FunctionRef {
        oid: oid.to_u32(),
        name: qualified(schema, &name),
        builtin: (schema == pg_sys::PG_CATALOG_NAMESPACE.into()).then_some(name),
    }
}

/// The function with its argument types, for messages: `random()`.
pub fn function_signature(oid: Oid) -> String {
    // SAFETY: the function exists.
    node::text(unsafe { pg_sys::format_procedure(oid) })
}

/// The name of a built-in function, None for others.
pub fn builtin_name(oid: Oid) -> Option<String> {
    // SAFETY: syscache look-ups by a valid function OID.
    unsafe {
        (pg_sys::get_func_namespace(oid) == pg_sys::PG_CATALOG_NAMESPACE.into())
            .then(|| node::text(pg_sys::get_func_name(oid)))
    }
}

/// True if the function's last parameter is VARIADIC and an array. In an analysed call such a function always has the
/// array, whether the user wrote one or a list. Not so with VARIADIC "any", where a window function never learns of an array
/// that it is one.
pub fn takes_array(function: Oid) -> bool {
    // SAFETY: the function exists.
    let element = unsafe { pg_sys::get_func_variadictype(function) };
    element != Oid::INVALID && element != pg_sys::ANYOID
}

/// `pg_proc.provolatile`.
pub fn volatility(function: Oid) -> Volatility {
    // SAFETY: the function exists.
    match unsafe { pg_sys::func_volatile(function) } as u8 {
        b'i' => Volatility::Immutable,
        b's' => Volatility::Stable,
        _ => Volatility::Volatile,
    }
}

/// `pg_proc.proisstrict`.
pub fn is_strict(function: Oid) -> bool {
    // SAFETY: the function exists.
    unsafe { pg_sys::func_strict(function) }
}

/// The function behind an operator.
pub fn operator_function(operator: Oid) -> Oid {
    // SAFETY: syscache look-up by a valid operator OID.
    unsafe { pg_sys::get_opcode(operator) }
}

/// The name of a built-in operator, None for others.
pub fn builtin_operator(operator: Oid) -> Option<String> {
    // SAFETY: syscache look-up by a valid operator OID.
    (operator.to_u32() < FIRST_USER_OID).then(|| node::text(unsafe { pg_sys::get_opname(operator) }))
}

/// True if the operator is the equality of the default btree class of either operand's type.
pub fn is_default_equality(operator: Oid, left: Oid, right: Oid) -> bool {
    [left, right].into_iter().all(|oid| {
        // SAFETY: the types and the operator exist.
        unsafe {
            let family = (*pg_sys::lookup_type_cache(oid, pg_sys::TYPECACHE_BTREE_OPFAMILY as i32)).btree_opf;
            family != Oid::INVALID && pg_sys::get_op_opfamily_strategy(operator, family) == EQUAL_STRATEGY
        }
    })
}

/// Direction of a sort operator on a type, and its text if it is not the type's default one.
pub fn sort_operator(operator: Oid, oid: Oid) -> (bool, Option<String>) {
    let flags = (pg_sys::TYPECACHE_LT_OPR | pg_sys::TYPECACHE_GT_OPR) as i32;
    // SAFETY: the type and the operator exist.
    unsafe {
        let entry = &*pg_sys::lookup_type_cache(oid, flags);
        if operator == entry.lt_opr {
            (false, None)
        } else if operator == entry.gt_opr {
            (true, None)
        } else {
            (false, Some(operator_text(operator)))
        }
    }
}

/// The operator that is true where this one is false.
pub fn negator(operator: Oid) -> Option<Oid> {
    // SAFETY: syscache look-up by a valid operator OID.
    Some(unsafe { pg_sys::get_negator(operator) }).filter(|negator| *negator != Oid::INVALID)
}

/// The operator as it can stand between two operands under any search path.
pub fn operator_text(operator: Oid) -> String {
    // SAFETY: the operator exists; the tuple is released after its fields are copied.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::OPEROID as i32, operator.into());
        if tuple.is_null() {
            return String::new();
        }
        let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_operator>();
        let name = node::text((*form).oprname.data.as_ptr());
        let schema = (*form).oprnamespace;
        pg_sys::ReleaseSysCache(tuple);
        let schema = node::text(pg_sys::quote_identifier(pg_sys::get_namespace_name(schema)));
        format!("OPERATOR({schema}.{name})")
    }
}

/// The value of a constant as text.
pub fn constant_text(constant: &pg_sys::Const) -> Option<String> {
    if constant.constisnull {
        return None;
    }
    let mut output = Oid::INVALID;
    let mut is_varlena = false;
    // SAFETY: the type exists and the value is one of it.
    unsafe {
        pg_sys::getTypeOutputInfo(constant.consttype, &mut output, &mut is_varlena);
        Some(node::text(pg_sys::OidOutputFunctionCall(output, constant.constvalue)))
    }
}

/// A relation as the catalogs describe it.
pub struct Relation {
    pub relid: Oid,
    /// Schema-qualified, quoted.
    pub name: String,
    pub kind: u8,
    pub is_temporary: bool,
    pub is_system: bool,
    pub has_children: bool,
    pub attributes: Vec<Attribute>,
    /// Attribute numbers of unique keys without NULLs (`design-review.md` 13.4), in index order.
    pub keys: Vec<Vec<i16>>,
    pub indexes: Vec<Index>,
}

/// A valid, non-partial index on columns by their types' default equality.
pub struct Index {
    /// Attribute numbers, as far as the index is on plain columns.
    pub columns: Vec<i16>,
    /// No two rows are equal in all the columns, which are all there are.
    pub is_unique: bool,
}

/// A live column of a relation.
pub struct Attribute {
    pub attnum: i16,
    pub name: String,
    pub oid: Oid,
    pub typmod: i32,
    pub collation: Oid,
    /// Declared NOT NULL by a valid constraint.
    pub not_null: bool,
    /// For a virtual generated column, the expression over columns of entry 1 that it stands for.
    pub generation: Option<node::Tree>,
}

/// Reads the description of a relation that the analysed query has locked.
pub fn relation(relid: Oid) -> Relation {
    // SAFETY: the relation is locked by the analysis of the query that names it, so it exists and does not change;
    // it is closed without releasing that lock. Everything is copied before it is closed.
    unsafe {
        let open = pg_sys::RelationIdGetRelation(relid);
        let form = &*(*open).rd_rel;
        let name = node::text(form.relname.data.as_ptr());
        let kind = form.relkind as u8;
        let attributes = attributes(open);
        let is_indexable = matches!(kind, b'r' | b'p' | b'm');
        let keys = if is_indexable { keys(open, &attributes) } else { vec![] };
        let indexes = if is_indexable { indexes(open, &attributes) } else { vec![] };
        let found = Relation {
            relid,
            name: qualified(form.relnamespace, &name),
            kind,
            is_temporary: form.relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP,
            is_system: relid.to_u32() < FIRST_USER_OID || is_own_schema(form.relnamespace),
            has_children: form.relhassubclass,
            attributes,
            keys,
            indexes,
        };
        pg_sys::RelationClose(open);
        found
    }
}

/// Whether a foreign table is among the partitions and inheritance children of a relation.
pub fn has_foreign_member(relid: u32) -> bool {
    Executor::new(Snapshot::latest())
        .fixed_rows(include_str!("../../../sql/queries/capture_targets.sql"), &[Param::Oid(relid)])
        .iter()
        .any(|row| row.text(1) == "f")
}

/// The schemas whose tables belong to the extension itself.
fn is_own_schema(schema: Oid) -> bool {
    // SAFETY: syscache look-up by a valid namespace OID.
    let name = node::text(unsafe { pg_sys::get_namespace_name(schema) });
    matches!(name.as_str(), "pgtrickle" | "pgtrickle_state" | "pgtrickle_changes")
}

/// # Safety
/// `open` is an open, locked relation.
unsafe fn attributes(open: pg_sys::Relation) -> Vec<Attribute> {
    // SAFETY: by contract; the accessors hide where each version keeps attributes.
    unsafe {
        let descriptor = (*open).rd_att;
        (0..(*descriptor).natts as usize)
            .filter_map(|index| {
                let attribute = &*compat::attribute(descriptor, index);
                (!attribute.attisdropped).then(|| Attribute {
                    attnum: attribute.attnum,
                    name: node::text(attribute.attname.data.as_ptr()),
                    oid: attribute.atttypid,
                    typmod: attribute.atttypmod,
                    collation: attribute.attcollation,
                    not_null: attribute.attnotnull && compat::not_null_is_valid(descriptor, index),
                    generation: compat::generation(open, attribute),
                })
            })
            .collect()
    }
}

/// # Safety
/// `open` is an open, locked relation.
unsafe fn keys(open: pg_sys::Relation, attributes: &[Attribute]) -> Vec<Vec<i16>> {
    let mut found = vec![];
    // SAFETY: by contract; indexes are opened with the lock a reader takes and closed keeping it.
    unsafe {
        for index in node::oids(pg_sys::RelationGetIndexList(open)) {
            let lock = pg_sys::AccessShareLock as i32;
            let opened = pg_sys::index_open(index, lock);
            let form = &*(*opened).rd_index;
            if form.indisunique
                && form.indisvalid
                && form.indimmediate
                && pg_sys::RelationGetIndexPredicate(opened).is_null()
            {
                let columns = form.indkey.values.as_slice(form.indnkeyatts as usize);
                let plain = columns.iter().enumerate().all(|(position, attnum)| {
                    attributes.iter().any(|attribute| {
                        attribute.attnum == *attnum
                            && attribute.not_null
                            && *(*opened).rd_indcollation.add(position) == attribute.collation
                            && *(*opened).rd_opfamily.add(position) == default_family(attribute.oid)
                    })
                });
                if plain {
                    found.push(columns.to_vec());
                }
            }
            pg_sys::index_close(opened, pg_sys::NoLock as i32);
        }
    }
    found
}

/// # Safety
/// `open` is an open, locked relation.
unsafe fn indexes(open: pg_sys::Relation, attributes: &[Attribute]) -> Vec<Index> {
    let mut found = vec![];
    // SAFETY: by contract; indexes are opened with the lock a reader takes and closed keeping it.
    unsafe {
        for index in node::oids(pg_sys::RelationGetIndexList(open)) {
            let opened = pg_sys::index_open(index, pg_sys::AccessShareLock as i32);
            let form = &*(*opened).rd_index;
            let method = (*(*opened).rd_rel).relam;
            let is_plain = |position: usize, attnum: i16| {
                attributes.iter().any(|attribute| {
                    let family = match method {
                        pg_sys::BTREE_AM_OID => default_family(attribute.oid),
                        pg_sys::HASH_AM_OID => default_hash_family(attribute.oid),
                        _ => Oid::INVALID,
                    };
                    attribute.attnum == attnum
                        && family != Oid::INVALID
                        && *(*opened).rd_indcollation.add(position) == attribute.collation
                        && *(*opened).rd_opfamily.add(position) == family
                })
            };
            if form.indisvalid && pg_sys::RelationGetIndexPredicate(opened).is_null() {
                let all = form.indkey.values.as_slice(form.indnkeyatts as usize);
                let plain =
                    all.iter().enumerate().take_while(|(position, attnum)| is_plain(*position, **attnum));
                let columns: Vec<i16> = plain.map(|(_, attnum)| *attnum).collect();
                if !columns.is_empty() {
                    let is_unique = form.indisunique && form.indimmediate && columns.len() == all.len();
                    found.push(Index { columns, is_unique });
                }
            }
            pg_sys::index_close(opened, pg_sys::NoLock as i32);
        }
    }
    found
}

fn default_family(oid: Oid) -> Oid {
    // SAFETY: the type exists, a column has it.
    unsafe { (*pg_sys::lookup_type_cache(oid, pg_sys::TYPECACHE_BTREE_OPFAMILY as i32)).btree_opf }
}

fn default_hash_family(oid: Oid) -> Oid {
    // SAFETY: the type exists, a column has it.
    unsafe { (*pg_sys::lookup_type_cache(oid, pg_sys::TYPECACHE_HASH_OPFAMILY as i32)).hash_opf }
}
