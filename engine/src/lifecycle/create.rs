//! Creating a stream table.
//!
//! 1. In the caller's transaction: analyse, classify, check rights. Nothing is written.
//! 2. Capture is installed and the new consumer registered, committed before the snapshot exists.
//! 3. The table, its definition and its states are created; under a new snapshot, upstream stream tables are refreshed
//!    and the table is populated; the snapshot becomes its frontier.

use crate::analyze;
use crate::capture::install::{self, Wanted};
use crate::catalog;
use crate::catalog::definition::{self, Mode};
use crate::catalog::known;
use crate::catalog::meaning;
use crate::error::{Error, Result};
use crate::guc::Settings;
use crate::pg::exec::Executor;
use crate::pg::lock::{self, Mode as LockMode};
use crate::pg::relation::{self, QualifiedName, quote_identifier};
use crate::pg::snapshot::Snapshot;
use crate::pg::value::Param;
use crate::pg::{security, shmem, spi};
use crate::refresh::wave::{self, OnFailure, Options};
use crate::refresh::{Initiator, compiled, member};
use pg_trickle_core::maintain::{self, Maintenance, Names, TableShape};
use pg_trickle_core::query::{Analyzed, Construct, SourceInfo, SourceKind, StableClass, Unsupported};
use pg_trickle_core::refusal::Refusal;
use pg_trickle_core::schedule::Schedule;
use pg_trickle_core::stage::polled::is_polled;
use pg_trickle_core::types::Volatility;
use std::collections::BTreeMap;

/// Validated arguments of `create_stream_table`.
#[derive(Debug, Clone)]
pub struct NewStreamTable {
    pub name: QualifiedName,
    pub query: String,
    pub schedule: Schedule,
    /// As the user wrote it.
    pub schedule_text: String,
    pub mode: Mode,
    pub initialize: bool,
    pub diamond_consistency: Option<String>,
    pub diamond_schedule_policy: Option<String>,
    pub cdc_mode: Option<String>,
    pub append_only: bool,
    pub pooler_compatibility_mode: bool,
    pub sla_ms: Option<i64>,
    /// An existing stream table of that name is not an error.
    pub if_not_exists: bool,
}

/// Settings that results depend on (`design-review.md` 9.2); `search_path` is pinned instead.
const RECORDED_SETTINGS: &[&str] = &[
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "extra_float_digits",
    "bytea_output",
    "xmloption",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "default_text_search_config",
];

/// Creates a stream table.
pub fn create(new: &NewStreamTable) -> Result<()> {
    shmem::wake_scheduler_at_commit();
    let schema = new.name.creation_schema();
    let display_name = format!("{schema}.{}", new.name.name);
    if let Some(existing) = relation::find(&schema, &new.name.name) {
        let executor = Executor::new(Snapshot::latest());
        if new.if_not_exists && definition::by_relid(&executor, existing).is_some() {
            pgrx::notice!("stream table \"{display_name}\" already exists, skipping");
            return Ok(());
        }
        return Err(Error::NameTaken { name: display_name });
    }
    let owner = security::current_user();
    let analyzed = analyze::analyze(&new.query)?;
    refuse_volatile(&analyzed, &new.query)?;
    for warning in &analyzed.warnings {
        pgrx::notice!("{warning}");
    }
    let catalog = catalog::definitions_relation();
    let pgt_id = catalog::as_extension(|| {
        let executor = Executor::new(Snapshot::latest());
        executor.fixed_row("SELECT pg_catalog.nextval('pgtrickle.pgt_id_seq'::pg_catalog.regclass)", &[])
    })
    .expect("a function returns a row")
    .int(0);
    // Shows the scheduler that the creator is alive: rows committed for this id are not orphans.
    lock::claim(catalog, pgt_id, true);

    let wanted = wanted_capture(&analyzed)?;
    let names = definition::names(&schema, &new.name.name, pgt_id);
    let support = classify(&analyzed, &names);
    let polled: Vec<&SourceInfo> =
        analyzed.sources.iter().filter(|source| new.mode != Mode::Full && is_polled(source)).collect();
    announce(&support, &polled, new)?;
    check_trigger_rights(&wanted, owner)?;
    install_capture(pgt_id, &wanted)?;

    let born = Born { pgt_id, schema, names, owner };
    define(new, &analyzed, &wanted, &support, &born)?;
    if new.initialize {
        populate(&born, &wanted)?;
    }
    Ok(())
}

/// Identity of the stream table being created.
struct Born {
    pgt_id: i64,
    schema: String,
    names: Names,
    owner: u32,
}

/// What the query allows.
struct Support {
    maintenance: std::result::Result<Maintenance, Unsupported>,
    /// Every source is captured and nothing but sources changes the result: refreshes without pending changes are
    /// no-ops.
    is_captured: bool,
}

fn refuse_volatile(analyzed: &Analyzed, query: &str) -> Result<()> {
    if analyzed.volatility != Volatility::Volatile {
        return Ok(());
    }
    let construct = analyzed.volatile_construct.as_ref();
    let name = construct.map_or_else(|| "a volatile function".to_owned(), |construct| construct.name.clone());
    let position = construct
        .and_then(|construct| construct.position)
        .map_or_else(String::new, |position| format!(" at {}", place(query, position)));
    Err(Error::InvalidQuery {
        reason: Refusal::VolatileQuery.of(&[&format!("{name}{position}")]),
        hint: Some("The same query must give the same result on the same data.".to_owned()),
    })
}

/// `line 2, column 5` of a byte offset.
pub fn place(query: &str, position: u32) -> String {
    let before = query.get(..position as usize).unwrap_or(query);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    format!("line {line}, column {column}")
}

/// What must be captured of which source; sources that cannot be captured are left out.
fn wanted_capture(analyzed: &Analyzed) -> Result<Vec<Wanted>> {
    let executor = Executor::new(Snapshot::latest());
    let mut wanted: BTreeMap<u32, Wanted> = BTreeMap::new();
    for source in &analyzed.sources {
        if is_polled(source) {
            continue;
        }
        let stream_table = definition::by_relid(&executor, source.relid).map(|found| found.pgt_id);
        let entry = wanted.entry(source.relid).or_insert_with(|| Wanted {
            source: source.relid,
            columns: Vec::new(),
            stream_table,
        });
        entry.columns.extend(source.columns.iter().map(|column| column.attnum));
        entry.columns.sort_unstable();
        entry.columns.dedup();
    }
    Ok(wanted.into_values().collect())
}

fn classify(analyzed: &Analyzed, names: &Names) -> Support {
    let is_polling = analyzed.sources.iter().any(is_polled);
    let of_class = |class| analyzed.stable_constructs.iter().find(|construct| construct.class == class);
    let (restless, timed) = (of_class(StableClass::Other), of_class(StableClass::Time));
    let maintenance = if let Some(unsupported) = unpolled(analyzed) {
        Err(unsupported)
    } else if let Some(stable) = restless {
        Err(Unsupported { construct: stable.construct.clone(), reason: Refusal::Stable })
    } else {
        compiled::maintenance(analyzed, names, &[])
    };
    let is_captured = !is_polling && restless.is_none() && timed.is_none();
    Support { maintenance, is_captured }
}

/// The source whose changes nobody records and nobody is allowed to look for, if there is one.
pub fn unpolled(analyzed: &Analyzed) -> Option<Unsupported> {
    let settings = Settings::current();
    analyzed.sources.iter().find_map(|source| {
        let reason = match source.kind {
            SourceKind::MaterializedView if !settings.matview_polling => Refusal::MaterializedView,
            SourceKind::ForeignTable if !settings.foreign_table_polling => Refusal::ForeignTable,
            _ => return None,
        };
        let construct = Construct { name: format!("source {}", source.name), position: None };
        Some(Unsupported { construct, reason })
    })
}

/// Explicit DIFFERENTIAL refuses what cannot be maintained; AUTO says that it falls back.
fn announce(support: &Support, polled: &[&SourceInfo], new: &NewStreamTable) -> Result<()> {
    let Err(unsupported) = &support.maintenance else {
        for source in polled {
            pgrx::notice!(
                "every refresh compares {} with a stored copy of it: its changes are not captured",
                source.name
            );
        }
        return Ok(());
    };
    let position = unsupported.construct.position.map(|position| place(&new.query, position));
    match new.mode {
        Mode::Differential => Err(Error::NotDifferential {
            construct: unsupported.construct.name.clone(),
            position,
            reason: unsupported.reason.to_string(),
        }),
        Mode::Auto => {
            let at = position.map_or_else(String::new, |position| format!(" at {position}"));
            pgrx::notice!(
                "stream table will be refreshed in FULL mode because of {}{at}: {}",
                unsupported.construct.name,
                unsupported.reason
            );
            Ok(())
        }
        Mode::Full => Ok(()),
    }
}

/// Putting a trigger on a table slows its writers: that needs the right to do so, unless it is there already.
fn check_trigger_rights(wanted: &[Wanted], owner: u32) -> Result<()> {
    let executor = Executor::new(Snapshot::latest());
    for wanted in wanted.iter().filter(|wanted| wanted.stream_table.is_none()) {
        if security::may_create_trigger(wanted.source, owner)
            || catalog::as_extension(|| install::is_installed(&executor, wanted))
        {
            continue;
        }
        let name = relation::qualified_name(wanted.source).unwrap_or_default();
        return Err(Error::InsufficientPrivilege {
            message: format!("permission denied to capture changes of table {name}"),
            hint: format!("Its owner can allow it with GRANT TRIGGER ON {name}."),
        });
    }
    Ok(())
}

/// Sees to it that capture is in place and the consumer registered before any snapshot of the new table exists.
fn install_capture(pgt_id: i64, wanted: &[Wanted]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    if crate::capture::job::run(pgt_id, wanted)? {
        return Ok(());
    }
    // No worker could ever do it: the sources exist in this transaction only, or this transaction itself holds the
    // lock the worker would wait for.
    pgrx::notice!("capture is installed in this transaction: writers of the sources wait until it ends");
    let catalog = catalog::definitions_relation();
    for wanted in wanted {
        match wanted.stream_table {
            Some(upstream) => {
                lock::claim(catalog, upstream, true);
            }
            None => install::lock_tree(wanted.source),
        }
        lock::check_not_in_use(wanted.source, c"create_stream_table");
    }
    catalog::as_extension(|| {
        let executor = Executor::new(Snapshot::latest());
        for wanted in wanted {
            install::install(&executor, wanted);
            install::register_consumer(&executor, wanted, pgt_id);
            // Nothing may be collected before the registration is visible to the collector.
            for buffer in crate::capture::buffer::generations(&executor, wanted.source) {
                lock::relation(buffer.relid, LockMode::Maintain);
            }
        }
    });
    Ok(())
}

/// Creates the relations and the catalog rows.
fn define(
    new: &NewStreamTable,
    analyzed: &Analyzed,
    wanted: &[Wanted],
    support: &Support,
    born: &Born,
) -> Result<()> {
    let view = format!("pgtrickle_state.q_{}", born.pgt_id);
    let table = &born.names.stream_table;
    let owner = security::role_name(born.owner);
    catalog::ddl_as_extension(|| {
        spi::ddl(&format!("CREATE VIEW {view} AS {}", analyzed.text));
        spi::ddl(&format!("ALTER VIEW {view} OWNER TO {}", quote_identifier(&owner)));
    });
    // As the user: the right to create a table in the schema is his own.
    spi::ddl(&format!("CREATE TABLE {table} AS SELECT * FROM {view} WITH NO DATA"));
    let relid = relation::find(&born.schema, &new.name.name).expect("the table was just created");
    let query_view =
        relation::find("pgtrickle_state", &format!("q_{}", born.pgt_id)).expect("the view was just created");
    // States and indexes are made for the plan of the stored text, which later refreshes compile.
    let maintenance = stored_maintenance(query_view, born)?;
    let shape = match &maintenance {
        Ok(maintenance) => maintenance.shape().clone(),
        Err(_) => TableShape { columns: analyzed.columns.clone(), key: None },
    };
    let keeps_state = new.mode != Mode::Full && support.maintenance.is_ok();
    let state = match &maintenance {
        Ok(maintenance) if keeps_state => Some(maintenance),
        _ => None,
    };
    let state_tables = state.map_or_else(Vec::new, Maintenance::state_tables);
    catalog::ddl_as_extension(|| {
        spi::ddl_all(maintain::table_ddl(&shape, &born.names));
        spi::ddl_all([
            format!("ALTER TABLE {table} REPLICA IDENTITY FULL"),
            format!(
                "CREATE TRIGGER pgt_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} \
                 FOR EACH STATEMENT EXECUTE FUNCTION pgtrickle.guard()"
            ),
            format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER pgt_guard"),
        ]);
        relation::depend_automatically(query_view, relid);
        if let Some(maintenance) = state {
            create_states(maintenance, relid, born.owner);
        }
    });
    let row = DefinitionRow { relid, query_view, shape: &shape, state_tables: &state_tables };
    catalog::as_extension(|| register(new, analyzed, wanted, support, born, &row));
    Ok(())
}

/// Creates the state tables of a stream table; they go with it and can be read by its owner. The caller runs as the
/// extension's owner.
pub fn create_states(maintenance: &Maintenance, stream_table: u32, owner: u32) {
    let owner = quote_identifier(&security::role_name(owner));
    spi::ddl_all(maintenance.state_ddl());
    for table in maintenance.state_tables() {
        spi::ddl_all([
            format!("ALTER TABLE {table} REPLICA IDENTITY FULL"),
            format!("GRANT SELECT ON {table} TO {owner}"),
        ]);
        let state = QualifiedName::parse(&table).lookup().expect("the state was just created");
        relation::depend_automatically(state, stream_table);
    }
}

/// The maintenance of the text the server stored.
fn stored_maintenance(query_view: u32, born: &Born) -> Result<std::result::Result<Maintenance, Unsupported>> {
    let executor = Executor::new(Snapshot::latest());
    let text = compiled::definition_text(&executor, query_view).expect("the view was just created");
    let stored = security::run_as(born.owner, &[], || analyze::analyze(&text))?;
    Ok(compiled::maintenance(&stored, &born.names, &[]))
}

struct DefinitionRow<'a> {
    relid: u32,
    query_view: u32,
    shape: &'a TableShape,
    state_tables: &'a [String],
}

/// Inserts the catalog rows.
fn register(
    new: &NewStreamTable,
    analyzed: &Analyzed,
    wanted: &[Wanted],
    support: &Support,
    born: &Born,
    row: &DefinitionRow,
) {
    let executor = Executor::new(Snapshot::latest());
    let settings: BTreeMap<&str, String> = RECORDED_SETTINGS
        .iter()
        .filter_map(|name| security::setting(name).map(|value| (*name, value)))
        .collect();
    let key = definition::key_param(row.shape.key.as_deref());
    let functions: Vec<&str> = analyzed.functions.iter().map(|function| function.name.as_str()).collect();
    let downgrade = support
        .maintenance
        .as_ref()
        .err()
        .map(|unsupported| format!("{}: {}", unsupported.construct.name, unsupported.reason));
    executor.modify(
        include_str!("../../../sql/queries/insert_definition.sql"),
        &[
            Param::Int(born.pgt_id),
            Param::Oid(row.relid),
            Param::Oid(row.query_view),
            Param::text(new.query.as_str()),
            Param::text(new.schedule_text.as_str()),
            Param::optional_int(new.schedule.seconds().map(|seconds| seconds as i64)),
            Param::text(new.mode.as_str()),
            Param::text(if support.maintenance.is_ok() { "DIFFERENTIAL" } else { "FULL" }),
            Param::optional_text(downgrade.as_deref()),
            Param::text(json(&settings)),
            key,
            Param::text(json(row.state_tables)),
            Param::Bool(support.is_captured),
            Param::text(json(&functions)),
            Param::optional_text(new.diamond_consistency.as_deref()),
            Param::optional_text(new.diamond_schedule_policy.as_deref()),
            Param::optional_text(new.cdc_mode.as_deref()),
            Param::Bool(new.append_only),
            Param::Bool(new.pooler_compatibility_mode),
            Param::optional_int(new.sla_ms),
            Param::text(meaning::load(row.query_view).fingerprint.as_str()),
        ],
    );
    executor.modify("INSERT INTO pgtrickle.pgt_progress (pgt_id) VALUES ($1)", &[Param::Int(born.pgt_id)]);
    for source in &analyzed.sources {
        let wanted = wanted.iter().find(|wanted| wanted.source == source.relid);
        let source_type = match source.kind {
            _ if wanted.is_some_and(|wanted| wanted.stream_table.is_some()) => "STREAM_TABLE",
            SourceKind::MaterializedView => "MATVIEW",
            SourceKind::ForeignTable => "FOREIGN_TABLE",
            _ => "TABLE",
        };
        let columns: Vec<i16> = wanted.map_or_else(
            || source.columns.iter().map(|column| column.attnum).collect(),
            |wanted| wanted.columns.to_vec(),
        );
        executor.modify(
            "INSERT INTO pgtrickle.pgt_dependencies (pgt_id, source_relid, source_type, columns_used, cdc_mode) \
             VALUES ($1, $2, $3, $4::pg_catalog.int2[], $5) ON CONFLICT DO NOTHING",
            &[
                Param::Int(born.pgt_id),
                Param::Oid(source.relid),
                Param::text(source_type),
                Param::list(columns),
                Param::optional_text(wanted.map(|_| "TRIGGER")),
            ],
        );
    }
}

/// Refreshes upstream stream tables and fills the new one, all under one new snapshot.
fn populate(born: &Born, wanted: &[Wanted]) -> Result<()> {
    let upstream: Vec<i64> = wanted.iter().filter_map(|wanted| wanted.stream_table).collect();
    let plan = wave::plan(&[born.pgt_id], None);
    let upstream_plan = wave::plan(&upstream, None);
    let _ = wave::lock(&plan, true);
    // Whatever the isolation level: the transaction's own snapshot may be older than capture.
    let wave = wave::fix_under(Snapshot::latest(), upstream_plan, Initiator::Initial);
    wave.run(&upstream, Options { on_failure: OnFailure::Raise, force: false })?;
    let known = known::read(&wave.session.executor, born.pgt_id)
        .ok_or_else(|| Error::NoSuchStreamTable { name: born.names.stream_table.clone() })?;
    let stream_table = &known.stream_table;
    member::populate(&wave.session, &known)?;
    // The first changes come before autovacuum does; without statistics they would meet bad plans.
    let filled = stream_table.state_tables.iter().chain([&born.names.stream_table]);
    catalog::ddl_as_extension(|| spi::ddl_all(filled.map(|table| format!("ANALYZE {table}"))));
    Ok(())
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("strings serialise")
}
