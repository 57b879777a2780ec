-- Users, the outbox with its lanes, and what is pinned for the life of the database.
-- As every migration, it can be done again from its beginning.

CREATE TABLE IF NOT EXISTS settings (
    name  VARCHAR(64)     NOT NULL PRIMARY KEY,
    value BIGINT UNSIGNED NOT NULL
) COLLATE utf8mb4_0900_bin;

INSERT IGNORE INTO settings (name, value) VALUES ('lanes', 64);

CREATE TABLE IF NOT EXISTS users (
    id         VARCHAR(64)     NOT NULL PRIMARY KEY,
    email      VARCHAR(254)    NOT NULL,
    name       VARCHAR(200)    NOT NULL,
    status     VARCHAR(16)     NOT NULL,
    version    BIGINT UNSIGNED NOT NULL,
    created_at DATETIME(3)     NOT NULL,
    updated_at DATETIME(3)     NOT NULL,
    KEY newest_first (created_at, id)
) COLLATE utf8mb4_0900_bin;

-- The last version of what was deleted. Never purged: a new life of an id goes on counting from it.
CREATE TABLE IF NOT EXISTS retired_ids (
    kind    VARCHAR(16)     NOT NULL,
    id      VARCHAR(64)     NOT NULL,
    version BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (kind, id)
) COLLATE utf8mb4_0900_bin;

-- One B-tree a lane: its deletes lie together. No secondary index, no status: a row is pending until it is gone.
CREATE TABLE IF NOT EXISTS outbox_events (
    id            BIGINT UNSIGNED   NOT NULL AUTO_INCREMENT,
    lane          SMALLINT UNSIGNED NOT NULL,
    event_id      BINARY(16)        NOT NULL,
    kind          VARCHAR(16)       NOT NULL,
    entity_id     VARCHAR(64)       NOT NULL,
    version       BIGINT UNSIGNED   NOT NULL,
    action        VARCHAR(16)       NOT NULL,
    headers       VARBINARY(2048)   NOT NULL,
    payload       MEDIUMBLOB        NOT NULL,
    payload_bytes INT UNSIGNED      NOT NULL,
    crc32c        INT UNSIGNED      NOT NULL,
    created_at    DATETIME(6)       NOT NULL,
    PRIMARY KEY (id, lane)
) COLLATE utf8mb4_0900_bin PARTITION BY HASH (lane) PARTITIONS 64;

CREATE TABLE IF NOT EXISTS outbox_lanes (
    lane         SMALLINT UNSIGNED NOT NULL PRIMARY KEY,
    owner        VARCHAR(64),
    epoch        BIGINT UNSIGNED   NOT NULL DEFAULT 0,
    lease_until  DATETIME(6),
    paused       BOOLEAN           NOT NULL DEFAULT FALSE,
    pause_reason VARCHAR(200)
) COLLATE utf8mb4_0900_bin;

INSERT IGNORE INTO outbox_lanes (lane)
WITH RECURSIVE lanes (lane) AS (SELECT 0 UNION ALL SELECT lane + 1 FROM lanes WHERE lane < 63)
SELECT lane FROM lanes;

CREATE TABLE IF NOT EXISTS outbox_workers (
    worker   VARCHAR(64) NOT NULL PRIMARY KEY,
    seen_at  DATETIME(6) NOT NULL,
    draining BOOLEAN     NOT NULL DEFAULT FALSE
) COLLATE utf8mb4_0900_bin;

-- Events that Kafka will not take (poison), and those of the same entity behind them (blocked).
CREATE TABLE IF NOT EXISTS outbox_parked (
    id            BIGINT UNSIGNED   NOT NULL,
    lane          SMALLINT UNSIGNED NOT NULL,
    event_id      BINARY(16)        NOT NULL PRIMARY KEY,
    kind          VARCHAR(16)       NOT NULL,
    entity_id     VARCHAR(64)       NOT NULL,
    version       BIGINT UNSIGNED   NOT NULL,
    action        VARCHAR(16)       NOT NULL,
    headers       VARBINARY(2048)   NOT NULL,
    payload       MEDIUMBLOB        NOT NULL,
    payload_bytes INT UNSIGNED      NOT NULL,
    crc32c        INT UNSIGNED      NOT NULL,
    created_at    DATETIME(6)       NOT NULL,
    reason        VARCHAR(16)       NOT NULL,
    error         VARCHAR(500),
    attempts      INT UNSIGNED      NOT NULL,
    parked_at     DATETIME(6)       NOT NULL,
    state         VARCHAR(16)       NOT NULL,
    actor         VARCHAR(128),
    KEY of_an_entity (lane, kind, entity_id, id)
) COLLATE utf8mb4_0900_bin;

-- What an operator did to the outbox, and why.
CREATE TABLE IF NOT EXISTS operator_log (
    id      BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    action  VARCHAR(32)     NOT NULL,
    subject VARCHAR(200)    NOT NULL,
    reason  VARCHAR(500),
    actor   VARCHAR(128)    NOT NULL,
    done_at DATETIME(6)     NOT NULL
) COLLATE utf8mb4_0900_bin;
