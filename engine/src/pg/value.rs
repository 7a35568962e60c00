//! Owned values that cross between Rust and the server: parameters of statements and columns of result rows.

use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::CStr;

/// A statement parameter (`$1`, `$2`, ..).
#[derive(Debug, Clone)]
pub enum Param {
    Int(i64),
    Bool(bool),
    Text(String),
    Oid(u32),
    /// NULL of type `text`.
    NullText,
    /// NULL of type `int8`.
    NullInt,
}

impl Param {
    pub fn text(value: impl Into<String>) -> Param {
        Param::Text(value.into())
    }

    /// The text of an array.
    pub fn list<T: std::fmt::Display>(values: impl IntoIterator<Item = T>) -> Param {
        let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
        Param::Text(format!("{{{}}}", values.join(",")))
    }

    pub fn optional_text(value: Option<&str>) -> Param {
        value.map_or(Param::NullText, Param::text)
    }

    pub fn optional_int(value: Option<i64>) -> Param {
        value.map_or(Param::NullInt, Param::Int)
    }

    /// `pg_type.oid` of the parameter.
    pub(super) fn type_oid(&self) -> pg_sys::Oid {
        match self {
            Param::Int(_) | Param::NullInt => pg_sys::INT8OID,
            Param::Bool(_) => pg_sys::BOOLOID,
            Param::Text(_) | Param::NullText => pg_sys::TEXTOID,
            Param::Oid(_) => pg_sys::OIDOID,
        }
    }

    /// The value in the current memory context; None is NULL.
    pub(super) fn datum(&self) -> Option<pg_sys::Datum> {
        match self {
            Param::Int(value) => value.into_datum(),
            Param::Bool(value) => value.into_datum(),
            Param::Text(value) => value.as_str().into_datum(),
            Param::Oid(value) => pg_sys::Oid::from(*value).into_datum(),
            Param::NullText | Param::NullInt => None,
        }
    }
}

/// A column of a result row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    /// `int2`, `int4`, `int8`, `oid` and `regclass`.
    Int(i64),
    Bool(bool),
    Float(f64),
    Bytes(Vec<u8>),
    /// Every other type, by its output function.
    Text(String),
}

/// A result row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(pub Vec<Value>);

impl Row {
    pub fn optional_int(&self, column: usize) -> Option<i64> {
        match &self.0[column] {
            Value::Int(value) => Some(*value),
            Value::Null => None,
            other => panic!("column {column} is not an integer: {other:?}"),
        }
    }

    pub fn int(&self, column: usize) -> i64 {
        self.optional_int(column).unwrap_or_else(|| panic!("column {column} is NULL"))
    }

    pub fn oid(&self, column: usize) -> u32 {
        u32::try_from(self.int(column)).unwrap_or_else(|_| panic!("column {column} is not an oid"))
    }

    pub fn optional_bool(&self, column: usize) -> Option<bool> {
        match &self.0[column] {
            Value::Bool(value) => Some(*value),
            Value::Null => None,
            other => panic!("column {column} is not a boolean: {other:?}"),
        }
    }

    /// NULL counts as false.
    pub fn flag(&self, column: usize) -> bool {
        self.optional_bool(column).unwrap_or(false)
    }

    pub fn optional_text(&self, column: usize) -> Option<String> {
        match &self.0[column] {
            Value::Text(value) => Some(value.clone()),
            Value::Null => None,
            other => panic!("column {column} is not text: {other:?}"),
        }
    }

    pub fn text(&self, column: usize) -> String {
        self.optional_text(column).unwrap_or_else(|| panic!("column {column} is NULL"))
    }
}

/// Copies a datum out of server memory.
///
/// # Safety
/// `datum` is a value of type `type_oid`.
pub(super) unsafe fn decode(datum: pg_sys::Datum, is_null: bool, type_oid: pg_sys::Oid) -> Value {
    if is_null {
        return Value::Null;
    }
    // SAFETY: the caller vouches for the type; every branch copies.
    unsafe {
        match type_oid {
            pg_sys::INT2OID => Value::Int(i64::from(datum.value() as i16)),
            pg_sys::INT4OID => Value::Int(i64::from(datum.value() as i32)),
            pg_sys::INT8OID => Value::Int(datum.value() as i64),
            pg_sys::OIDOID | pg_sys::REGCLASSOID => Value::Int(i64::from(datum.value() as u32)),
            pg_sys::BOOLOID => Value::Bool(datum.value() & 0xff != 0),
            pg_sys::FLOAT8OID => Value::Float(f64::from_bits(datum.value() as u64)),
            pg_sys::BYTEAOID => Value::Bytes(Vec::<u8>::from_datum(datum, false).unwrap_or_default()),
            _ => {
                let mut output = pg_sys::InvalidOid;
                let mut is_varlena = false;
                pg_sys::getTypeOutputInfo(type_oid, &mut output, &mut is_varlena);
                let text = pg_sys::OidOutputFunctionCall(output, datum);
                Value::Text(CStr::from_ptr(text).to_string_lossy().into_owned())
            }
        }
    }
}
