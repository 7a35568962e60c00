-- The catalog. Definition and settings (pgt_definitions) are apart from frontier and run state (pgt_progress), so that
-- changing a setting never waits for a running refresh.

CREATE SEQUENCE pgtrickle.pgt_id_seq;

-- One row per stream table: what it is.
CREATE TABLE pgtrickle.pgt_definitions (
    pgt_id bigint PRIMARY KEY,
    -- The stream table.
    pgt_relid oid NOT NULL UNIQUE,
    -- The defining query as the view pgtrickle_state.q_<pgt_id>, owned like the stream table. The server keeps its
    -- references by OID: renames cannot break it, and what it reads cannot be dropped behind its back.
    query_view oid NOT NULL,
    -- The text the user gave.
    original_query text NOT NULL,
    schedule text NOT NULL,
    -- The schedule in seconds, NULL if it is 'calculated'.
    schedule_seconds bigint CHECK (schedule_seconds > 0),
    refresh_mode text NOT NULL CHECK (refresh_mode IN ('FULL', 'DIFFERENTIAL', 'IMMEDIATE', 'AUTO')),
    -- What the query allows: DIFFERENTIAL, or FULL for the reason beside it.
    supported_mode text NOT NULL CHECK (supported_mode IN ('FULL', 'DIFFERENTIAL')),
    downgrade_reason text,
    suspended boolean NOT NULL DEFAULT false,
    -- The settings results depend on, as they were at creation; in force in every refresh.
    settings jsonb NOT NULL,
    -- Grows with each change of the definition; a refresh planned for another generation starts again.
    generation bigint NOT NULL DEFAULT 1,
    -- Attribute numbers of the key; NULL for a bag.
    key_columns smallint[],
    -- Quoted, qualified names of the stages' state tables.
    state_tables text[] NOT NULL DEFAULT '{}',
    -- False if the result can change although no captured source has: some source is not captured, or the query reads
    -- the time. A refresh then looks for more than pending changes.
    is_captured boolean NOT NULL,
    auto_threshold float8,
    functions_used text[] NOT NULL DEFAULT '{}',
    -- Fingerprint of the query, the views beneath it and the functions it calls, as the contents were made under.
    function_hashes text,
    topk_limit int,
    topk_order_by text,
    topk_offset int,
    diamond_consistency text CHECK (diamond_consistency IN ('none', 'atomic')),
    diamond_schedule_policy text CHECK (diamond_schedule_policy IN ('fastest', 'slowest')),
    has_keyless_source boolean NOT NULL DEFAULT false,
    requested_cdc_mode text CHECK (requested_cdc_mode IN ('auto', 'trigger', 'wal')),
    is_append_only boolean NOT NULL DEFAULT false,
    scc_id int,
    pooler_compatibility_mode boolean NOT NULL DEFAULT false,
    refresh_tier text NOT NULL DEFAULT 'hot' CHECK (refresh_tier IN ('hot', 'warm', 'cold', 'frozen')),
    fuse_mode text NOT NULL DEFAULT 'off' CHECK (fuse_mode IN ('off', 'on', 'auto')),
    fuse_ceiling bigint,
    fuse_sensitivity int,
    downstream_publication_name text,
    freshness_deadline_ms bigint,
    st_partition_key text,
    in_shadow_build boolean NOT NULL DEFAULT false,
    shadow_table_name text,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);

-- One row per stream table: how far it is. Written by refreshes at their end, and by the scheduler after a failure.
CREATE TABLE pgtrickle.pgt_progress (
    pgt_id bigint PRIMARY KEY,
    -- Grows by one with each stored frontier. Two snapshots that show different versions must not be mixed.
    version bigint NOT NULL DEFAULT 0,
    is_populated boolean NOT NULL DEFAULT false,
    -- The frontier: the refresh's snapshot with its own transaction put among those in progress ..
    snapshot pg_catalog.pg_snapshot,
    -- .. that transaction ..
    own_xid pg_catalog.xid8,
    -- .. and, by source OID, the highest change_id of its rows that was consumed.
    consumed jsonb NOT NULL DEFAULT '{}',
    -- The time the query saw.
    data_timestamp timestamptz,
    -- Where the frontier means something: another cluster's or database's snapshots do not compare.
    system_identifier bigint,
    database_oid oid,
    -- False if the stages' state was not kept up (after a FULL refresh by the defining query).
    state_is_valid boolean NOT NULL DEFAULT false,
    effective_refresh_mode text,
    last_refresh_at timestamptz,
    last_full_ms float8,
    needs_reinit boolean NOT NULL DEFAULT false,
    in_error boolean NOT NULL DEFAULT false,
    consecutive_errors int NOT NULL DEFAULT 0,
    last_error_message text,
    last_error_at timestamptz,
    last_fixpoint_iterations int,
    fuse_state text NOT NULL DEFAULT 'disabled' CHECK (fuse_state IN ('armed', 'blown', 'disabled')),
    blown_at timestamptz,
    blow_reason text
) WITH (fillfactor = 50);

-- What a stream table reads.
CREATE TABLE pgtrickle.pgt_dependencies (
    pgt_id bigint NOT NULL,
    source_relid oid NOT NULL,
    source_type text NOT NULL
        CHECK (source_type IN ('TABLE', 'STREAM_TABLE', 'VIEW', 'MATVIEW', 'FOREIGN_TABLE')),
    -- Attribute numbers.
    columns_used smallint[] NOT NULL,
    column_snapshot jsonb,
    schema_fingerprint text,
    -- NULL if the source is not captured.
    cdc_mode text CHECK (cdc_mode IN ('TRIGGER', 'TRANSITIONING', 'WAL')),
    slot_name text,
    decoder_confirmed_lsn pg_lsn,
    transition_started_at timestamptz,
    PRIMARY KEY (pgt_id, source_relid)
);
CREATE INDEX pgt_dependencies_source ON pgtrickle.pgt_dependencies (source_relid);

-- Who reads a change buffer. Committed before the consumer takes its first snapshot: while a consumer has no frontier
-- nothing is collected.
CREATE TABLE pgtrickle.pgt_consumers (
    source_relid oid NOT NULL,
    pgt_id bigint NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (source_relid, pgt_id)
);

-- Change buffers. A wider column set is a new generation: buffers are never altered.
CREATE TABLE pgtrickle.pgt_change_tracking (
    source_relid oid NOT NULL,
    generation int NOT NULL,
    buffer_relid oid NOT NULL,
    -- Attribute numbers of the source that are captured, as columns c<attnum>.
    columns smallint[] NOT NULL,
    -- How changes get here: 'statement' and 'row' are triggers, 'refresh' is a stream table writing its own changes.
    method text NOT NULL CHECK (method IN ('statement', 'row', 'refresh')),
    is_current boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (source_relid, generation)
);

-- Partitions and inheritance children that belong, or once belonged, to a captured source: dropping one changes the
-- source's contents, and by then the server no longer says whose it was.
CREATE TABLE pgtrickle.pgt_source_members (
    source_relid oid NOT NULL,
    member_relid oid NOT NULL,
    PRIMARY KEY (member_relid, source_relid)
);

-- Stream tables that read unlogged tables. Crash recovery empties this table together with those, and no trigger says
-- so: a missing row means that the sources may have lost their contents.
CREATE UNLOGGED TABLE pgtrickle.pgt_unlogged_sentinels (
    pgt_id bigint PRIMARY KEY
);

-- What DDL did to sources and stream tables. Append-only: event triggers insert here and touch nothing else, so they
-- cannot deadlock with a refresh.
CREATE TABLE pgtrickle.pgt_invalidations (
    invalidation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relid oid NOT NULL,
    command text NOT NULL,
    xid pg_catalog.xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    noted_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
CREATE INDEX pgt_invalidations_relid ON pgtrickle.pgt_invalidations (relid);

CREATE TABLE pgtrickle.pgt_refresh_history (
    refresh_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pgt_id bigint NOT NULL,
    data_timestamp timestamptz,
    start_time timestamptz NOT NULL,
    end_time timestamptz,
    action text NOT NULL CHECK (action IN ('NO_DATA', 'FULL', 'DIFFERENTIAL', 'REINITIALIZE', 'SKIP')),
    refresh_reason text,
    rows_inserted bigint NOT NULL DEFAULT 0,
    rows_deleted bigint NOT NULL DEFAULT 0,
    delta_row_count bigint NOT NULL DEFAULT 0,
    was_full_fallback boolean NOT NULL DEFAULT false,
    error_message text,
    status text NOT NULL CHECK (status IN ('RUNNING', 'COMPLETED', 'FAILED', 'SKIPPED')),
    initiated_by text NOT NULL CHECK (initiated_by IN ('SCHEDULER', 'MANUAL', 'INITIAL')),
    freshness_deadline timestamptz,
    tick_snapshot pg_catalog.pg_snapshot,
    fixpoint_iteration int
);
CREATE INDEX pgt_refresh_history_recent ON pgtrickle.pgt_refresh_history (pgt_id, refresh_id DESC);

-- With a FOR ALL TABLES publication, tables without a replica identity refuse UPDATE and DELETE; all of the above
-- that are changed in place have a primary key.

GRANT SELECT ON ALL TABLES IN SCHEMA pgtrickle TO PUBLIC;
