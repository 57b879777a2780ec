-- What keeps a worker from publishing, for whoever asks how the outbox fares. As every migration, it can be done again
-- from its beginning: what adds to a table that exists does so only where it is missing.

SET @add_columns = (
    SELECT IF(COUNT(*) = 0,
        'ALTER TABLE outbox_workers
            ADD COLUMN trouble VARCHAR(500),
            ADD COLUMN trouble_since DATETIME(6)',
        'DO 0')
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'outbox_workers' AND column_name = 'trouble'
);
PREPARE add_columns FROM @add_columns;
EXECUTE add_columns;
DEALLOCATE PREPARE add_columns;
