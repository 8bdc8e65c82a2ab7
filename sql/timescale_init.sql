-- decoded_data, the readings: a hypertable where TimescaleDB is there, with what its edition has; a plain table elsewhere.
-- Run it with psql, which reads TIMESCALE_CHUNK_INTERVAL, TIMESCALE_COMPRESS_AFTER and TIMESCALE_RETENTION ('off': never).
-- Running it again keeps the rows and puts the settings of that run in force; faces2_storage says what is active.

\set ON_ERROR_STOP on
\set QUIET on
\set chunk_interval ''
\set compress_after ''
\set retention ''
\getenv chunk_interval TIMESCALE_CHUNK_INTERVAL
\getenv compress_after TIMESCALE_COMPRESS_AFTER
\getenv retention TIMESCALE_RETENTION
SET client_min_messages = warning;

-- What is no interval fails here, before anything is changed.
SELECT coalesce(nullif(:'chunk_interval', ''), '1 day')::interval AS chunk_interval,
       coalesce(nullif(lower(:'compress_after'), ''), '7 days') AS compress_after,
       coalesce(nullif(lower(:'retention'), ''), 'off') AS retention
\gset
SELECT :'compress_after' <> 'off' AS compress,
       :'retention' <> 'off' AS retain,
       nullif(:'compress_after', 'off')::interval AS checked,
       least(INTERVAL '8 days', nullif(:'retention', 'off')::interval) AS rollup_span
\gset

CREATE TABLE IF NOT EXISTS decoded_data (
    timestamp    timestamptz NOT NULL,
    device_id    integer NOT NULL,
    datapoint_id integer NOT NULL,
    value        double precision,
    PRIMARY KEY (timestamp, device_id, datapoint_id)
);

CREATE TABLE IF NOT EXISTS faces2_storage (feature text PRIMARY KEY, state text NOT NULL);
COMMENT ON TABLE faces2_storage IS 'what of TimescaleDB is in use, and why the rest is not; status views show it';

-- Without preloading, CREATE EXTENSION would end the session.
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb') AS available,
       current_setting('shared_preload_libraries') ~ '\mtimescaledb\M' AS preloaded
\gset
SELECT :'available'::boolean AND :'preloaded'::boolean AS timescale \gset
\if :timescale
CREATE EXTENSION IF NOT EXISTS timescaledb;
SELECT extversion AS version FROM pg_extension WHERE extname = 'timescaledb' \gset
SELECT current_setting('timescaledb.license') AS license \gset
SELECT :'license' = 'timescale' AS community,
       format('TimescaleDB %s (%s)', :'version', :'license') AS edition,
       'left out: the Apache edition has none' AS left_out
\gset
\else
\set community false
SELECT 'plain PostgreSQL ' || current_setting('server_version') AS edition,
       'left out: TimescaleDB is ' || CASE WHEN :'available' THEN 'not in shared_preload_libraries' ELSE 'not installed' END
           AS left_out
\gset
\endif

\if :timescale
SELECT create_hypertable('decoded_data', by_range('timestamp', :'chunk_interval'::interval),
                         create_default_indexes => false, if_not_exists => true, migrate_data => true) AS created,
       set_chunk_time_interval('decoded_data', :'chunk_interval'::interval) AS set
\gset
SELECT 'on, chunks of ' || :'chunk_interval' AS hypertable \gset
\else
\set hypertable :left_out
\endif

CREATE INDEX IF NOT EXISTS decoded_data_device_datapoint_time
    ON decoded_data (device_id, datapoint_id, timestamp DESC);

-- The hourly roll-up: the same columns as a continuous aggregate or as a view that counts anew each time.
\if :community

SELECT compression_enabled AS compression_enabled
FROM timescaledb_information.hypertables WHERE hypertable_name = 'decoded_data' \gset
\if :compression_enabled
\else
ALTER TABLE decoded_data SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'device_id, datapoint_id',
    timescaledb.compress_orderby = 'timestamp DESC'
);
\endif

SELECT NOT EXISTS (SELECT FROM timescaledb_information.continuous_aggregates
                   WHERE view_name = 'decoded_data_hourly') AS no_aggregate
\gset
\if :no_aggregate
DROP VIEW IF EXISTS decoded_data_hourly;
CREATE MATERIALIZED VIEW decoded_data_hourly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket(INTERVAL '1 hour', timestamp) AS hour,
       device_id,
       datapoint_id,
       min(value) AS min,
       max(value) AS max,
       avg(value) AS avg,
       count(value) AS count,
       last(value, timestamp) AS last
FROM decoded_data
GROUP BY 1, 2, 3
WITH NO DATA;
\endif

-- A policy's settings can not be altered, so each is taken away and put back. The roll-up is kept up over the days in
-- which late readings come (the raw topic is replayed for 7), but never over rows that retention took.
BEGIN;
SELECT remove_compression_policy('decoded_data', if_exists => true) AS compression,
       remove_retention_policy('decoded_data', if_exists => true) AS retention,
       remove_continuous_aggregate_policy('decoded_data_hourly', if_exists => true) AS rollup
\gset removed_
\if :compress
SELECT add_compression_policy('decoded_data', compress_after => :'compress_after'::interval) AS job \gset
\endif
\if :retain
SELECT add_retention_policy('decoded_data', drop_after => :'retention'::interval) AS job \gset
\endif
SELECT add_continuous_aggregate_policy('decoded_data_hourly',
           start_offset => :'rollup_span'::interval,
           end_offset => INTERVAL '1 hour',
           schedule_interval => INTERVAL '15 minutes') AS job
\gset
COMMIT;
SELECT CASE WHEN :'compress' THEN 'on, after ' || :'compress_after' ELSE 'off' END AS compression,
       CASE WHEN :'retain' THEN 'on, rows are kept for ' || :'retention' ELSE 'off' END AS retention,
       'on, continuous aggregate decoded_data_hourly' AS rollup
\gset

\else

SELECT to_regclass('decoded_data_hourly') IS NULL AS no_view \gset
\if :no_view
CREATE VIEW decoded_data_hourly AS
SELECT date_trunc('hour', timestamp) AS hour,
       device_id,
       datapoint_id,
       min(value) AS min,
       max(value) AS max,
       avg(value) AS avg,
       count(value) AS count,
       (array_agg(value ORDER BY timestamp DESC))[1] AS last
FROM decoded_data
GROUP BY 1, 2, 3;
\endif
SELECT CASE WHEN :'compress' THEN :'left_out' ELSE 'off' END AS compression,
       CASE WHEN :'retain' THEN :'left_out' ELSE 'off' END AS retention,
       :'left_out' || '; decoded_data_hourly is a plain view' AS rollup
\gset

\endif

INSERT INTO faces2_storage (feature, state) VALUES
    ('edition', :'edition'),
    ('hypertable', :'hypertable'),
    ('compression', :'compression'),
    ('retention', :'retention'),
    ('roll-up', :'rollup')
ON CONFLICT (feature) DO UPDATE SET state = excluded.state;

SET client_min_messages = notice;
DO $$
DECLARE
    held record;
BEGIN
    FOR held IN SELECT * FROM faces2_storage ORDER BY feature <> 'edition', feature LOOP
        RAISE NOTICE 'storage: % %', rpad(held.feature || ':', 12), held.state;
    END LOOP;
END $$;
