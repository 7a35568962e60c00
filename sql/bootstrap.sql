-- Schemas. `pgtrickle` itself is made by CREATE EXTENSION.
CREATE SCHEMA pgtrickle_changes;
CREATE SCHEMA pgtrickle_state;

COMMENT ON SCHEMA pgtrickle IS 'Stream tables: catalog, functions, views.';
COMMENT ON SCHEMA pgtrickle_changes IS 'Change buffers of stream tables'' sources.';
COMMENT ON SCHEMA pgtrickle_state IS 'Definitions of stream tables as views, and the hidden state of their stages.';

-- Owners of stream tables read their own state by name; the tables themselves are granted one by one.
GRANT USAGE ON SCHEMA pgtrickle, pgtrickle_state TO PUBLIC;
