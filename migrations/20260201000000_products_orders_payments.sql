-- Products, orders, payments, idempotency keys and jobs. As every migration, it can be done again from its beginning:
-- what adds to a table that exists does so only where it is missing.
--
-- Unique indexes are named after their field, foreign keys after their table and field: the API tells clients so
-- which field is meant. Amounts are exact, with the four decimals that no currency exceeds.

-- Only where `users.unique_email` is on does a user claim its address. Addresses are searched and claimed without
-- regard to case; so are names.
SET @add_columns = (
    SELECT IF(COUNT(*) = 0,
        'ALTER TABLE users
            ADD COLUMN claimed_email VARCHAR(254) COLLATE utf8mb4_0900_as_ci,
            ADD COLUMN email_search VARCHAR(254) COLLATE utf8mb4_0900_as_ci AS (email) VIRTUAL,
            ADD COLUMN name_search VARCHAR(200) COLLATE utf8mb4_0900_as_ci AS (name) VIRTUAL,
            ADD UNIQUE KEY email (claimed_email),
            ADD KEY by_email (email, id),
            ADD KEY by_name (name, id),
            ADD KEY by_email_prefix (email_search, id),
            ADD KEY by_name_prefix (name_search, id),
            ADD KEY of_status (status, created_at, id)',
        'DO 0')
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'users' AND column_name = 'claimed_email'
);
PREPARE add_columns FROM @add_columns;
EXECUTE add_columns;
DEALLOCATE PREPARE add_columns;

CREATE TABLE IF NOT EXISTS products (
    id          VARCHAR(64)     NOT NULL PRIMARY KEY,
    sku         VARCHAR(64)     NOT NULL,
    name        VARCHAR(200)    NOT NULL,
    description VARCHAR(5000),
    category    VARCHAR(64)     NOT NULL,
    price       DECIMAL(23, 4)  NOT NULL,
    currency    CHAR(3)         NOT NULL,
    stock       INT UNSIGNED    NOT NULL,
    status      VARCHAR(16)     NOT NULL,
    -- Text, not JSON: MySQL would write its members in another order than they came.
    attributes  TEXT            NOT NULL,
    version     BIGINT UNSIGNED NOT NULL,
    created_at  DATETIME(3)     NOT NULL,
    updated_at  DATETIME(3)     NOT NULL,
    UNIQUE KEY sku (sku),
    KEY newest_first (created_at, id),
    KEY by_name (name, id),
    KEY by_price (price, id),
    KEY of_category (category, created_at, id),
    KEY of_status (status, created_at, id)
) COLLATE utf8mb4_0900_bin;

CREATE TABLE IF NOT EXISTS orders (
    id           VARCHAR(64)     NOT NULL PRIMARY KEY,
    user_id      VARCHAR(64)     NOT NULL,
    status       VARCHAR(16)     NOT NULL,
    total_amount DECIMAL(23, 4)  NOT NULL,
    currency     CHAR(3)         NOT NULL,
    version      BIGINT UNSIGNED NOT NULL,
    created_at   DATETIME(3)     NOT NULL,
    updated_at   DATETIME(3)     NOT NULL,
    KEY newest_first (created_at, id),
    KEY by_total_amount (total_amount, id),
    KEY of_user (user_id, created_at, id),
    KEY of_status (status, created_at, id),
    CONSTRAINT orders_user_id FOREIGN KEY (user_id) REFERENCES users (id)
) COLLATE utf8mb4_0900_bin;

-- They come and go with their order and never change.
CREATE TABLE IF NOT EXISTS order_items (
    order_id   VARCHAR(64)       NOT NULL,
    line       SMALLINT UNSIGNED NOT NULL,
    product_id VARCHAR(64)       NOT NULL,
    quantity   INT UNSIGNED      NOT NULL,
    unit_price DECIMAL(23, 4)    NOT NULL,
    PRIMARY KEY (order_id, line),
    KEY of_product (product_id, order_id),
    CONSTRAINT order_items_order_id FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE,
    CONSTRAINT order_items_product_id FOREIGN KEY (product_id) REFERENCES products (id)
) COLLATE utf8mb4_0900_bin;

CREATE TABLE IF NOT EXISTS payments (
    id                VARCHAR(64)     NOT NULL PRIMARY KEY,
    user_id           VARCHAR(64)     NOT NULL,
    order_id          VARCHAR(64),
    amount            DECIMAL(23, 4)  NOT NULL,
    currency          CHAR(3)         NOT NULL,
    gateway           VARCHAR(64)     NOT NULL,
    gateway_reference VARCHAR(200),
    status            VARCHAR(16)     NOT NULL,
    version           BIGINT UNSIGNED NOT NULL,
    created_at        DATETIME(3)     NOT NULL,
    updated_at        DATETIME(3)     NOT NULL,
    KEY newest_first (created_at, id),
    KEY by_amount (amount, id),
    KEY of_user (user_id, created_at, id),
    KEY of_order (order_id, created_at, id),
    KEY of_status (status, created_at, id),
    CONSTRAINT payments_user_id FOREIGN KEY (user_id) REFERENCES users (id),
    CONSTRAINT payments_order_id FOREIGN KEY (order_id) REFERENCES orders (id)
) COLLATE utf8mb4_0900_bin;

-- What was answered to a request that may be repeated. Written in the transaction of its work.
CREATE TABLE IF NOT EXISTS idempotency_keys (
    principal   VARCHAR(64)       NOT NULL,
    name        VARCHAR(255)      NOT NULL,
    -- SHA-256 of method, path and body.
    fingerprint BINARY(32)        NOT NULL,
    -- NULL only inside the transaction that does the work.
    status      SMALLINT UNSIGNED,
    etag        VARCHAR(64),
    location    VARCHAR(255),
    body        MEDIUMBLOB,
    created_at  DATETIME(3)       NOT NULL,
    PRIMARY KEY (principal, name),
    KEY oldest_first (created_at)
) COLLATE utf8mb4_0900_bin;

-- What is done at a tick, once over all workers. The fence is another in each run.
CREATE TABLE IF NOT EXISTS jobs (
    name        VARCHAR(64)     NOT NULL PRIMARY KEY,
    tick        DATETIME(3)     NOT NULL,
    fence       BIGINT UNSIGNED NOT NULL,
    owner       VARCHAR(64),
    lease_until DATETIME(6)
) COLLATE utf8mb4_0900_bin;

INSERT IGNORE INTO jobs (name, tick, fence) VALUES ('expire-orders', '2000-01-01', 0);
