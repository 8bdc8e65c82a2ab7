-- Readings from Kafka into decoded_data, as mode `sink` does it; the bench fills in the names in braces.
CREATE TABLE processed (
    device_id INT,
    datapoint_id INT,
    `value` DOUBLE,
    `timestamp` STRING
) WITH (
    'connector' = 'kafka',
    'topic' = '${TOPIC}',
    'properties.bootstrap.servers' = '${BROKERS}',
    'properties.group.id' = '${GROUP}',
    'scan.startup.mode' = 'earliest-offset',
    'format' = 'json'
);

CREATE TABLE decoded_data (
    `timestamp` TIMESTAMP(6),
    device_id INT,
    datapoint_id INT,
    `value` DOUBLE,
    PRIMARY KEY (`timestamp`, device_id, datapoint_id) NOT ENFORCED
) WITH (
    'connector' = 'jdbc',
    'url' = 'jdbc:postgresql://${HOST}:${PORT}/${DB}?reWriteBatchedInserts=true&options=-c%20timezone=UTC',
    'username' = '${USER}',
    'password' = '${PASSWORD}',
    'table-name' = 'decoded_data',
    'sink.buffer-flush.max-rows' = '8000',
    'sink.buffer-flush.interval' = '1 s'
);

INSERT INTO decoded_data
SELECT CAST(REPLACE(SUBSTRING(`timestamp` FROM 1 FOR 26), 'T', ' ') AS TIMESTAMP(6)), device_id, datapoint_id, `value`
FROM processed;
