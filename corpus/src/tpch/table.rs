//! The eight tables: definitions, and their rows as `COPY` text.

use std::fmt;
use std::io::{self, Write};

use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};

use super::Scale;

/// `CREATE TABLE` for the eight tables and two parking places of the mutation stream.
pub const SCHEMA: &str = include_str!("../../tpch/schema.sql");

/// `CREATE INDEX` for the referencing columns; run it after loading.
pub const INDEXES: &str = include_str!("../../tpch/indexes.sql");

/// One of the eight base tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    Region,
    Nation,
    Part,
    Supplier,
    PartSupp,
    Customer,
    Orders,
    LineItem,
}

impl Table {
    /// All tables, referenced ones before those that refer to them.
    pub const ALL: [Table; 8] = [
        Table::Region,
        Table::Nation,
        Table::Part,
        Table::Supplier,
        Table::PartSupp,
        Table::Customer,
        Table::Orders,
        Table::LineItem,
    ];

    /// The table's name in the schema.
    pub fn name(self) -> &'static str {
        match self {
            Table::Region => "region",
            Table::Nation => "nation",
            Table::Part => "part",
            Table::Supplier => "supplier",
            Table::PartSupp => "partsupp",
            Table::Customer => "customer",
            Table::Orders => "orders",
            Table::LineItem => "lineitem",
        }
    }

    /// Writes the base population, one row per line as the official generator does but without the bar at the end,
    /// and returns the number of rows. No value contains a bar, a backslash or a line break, so the lines are also
    /// `COPY` text.
    pub fn write_rows(self, scale: Scale, out: &mut impl Write) -> io::Result<u64> {
        let factor = scale.factor();
        match self {
            Table::Region => write_lines(RegionGenerator::new(factor, 1, 1).iter(), out),
            Table::Nation => write_lines(NationGenerator::new(factor, 1, 1).iter(), out),
            Table::Part => write_lines(PartGenerator::new(factor, 1, 1).iter(), out),
            Table::Supplier => write_lines(SupplierGenerator::new(factor, 1, 1).iter(), out),
            Table::PartSupp => write_lines(PartSuppGenerator::new(factor, 1, 1).iter(), out),
            Table::Customer => write_lines(CustomerGenerator::new(factor, 1, 1).iter(), out),
            Table::Orders => write_lines(OrderGenerator::new(factor, 1, 1).iter(), out),
            Table::LineItem => write_lines(LineItemGenerator::new(factor, 1, 1).iter(), out),
        }
    }
}

impl From<Table> for String {
    fn from(table: Table) -> Self {
        table.name().to_owned()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn write_lines<R: fmt::Display>(rows: impl Iterator<Item = R>, out: &mut impl Write) -> io::Result<u64> {
    let mut count = 0;
    let mut line = String::new();
    for row in rows {
        use fmt::Write as _;
        line.clear();
        write!(line, "{row}").expect("writing to a string cannot fail");
        let row = line.strip_suffix('|').unwrap_or(&line);
        out.write_all(row.as_bytes())?;
        out.write_all(b"\n")?;
        count += 1;
    }
    Ok(count)
}
