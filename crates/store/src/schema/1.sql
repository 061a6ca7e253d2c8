-- Times are milliseconds since 1970 (UTC). `slot` is an enrolment's number in this database.

CREATE TABLE enrolments (
    slot INTEGER PRIMARY KEY,
    enrolment BLOB NOT NULL UNIQUE,
    state INTEGER NOT NULL,
    home TEXT NOT NULL,
    link BLOB NOT NULL,
    link_expires_at_ms BIGINT NOT NULL,
    invited_at_ms BIGINT NOT NULL,
    issued_at_ms BIGINT,
    enrolled_at_ms BIGINT NOT NULL DEFAULT 0,
    ended_at_ms BIGINT,
    last_seen_at_ms BIGINT NOT NULL DEFAULT 0,
    udid_tag BLOB,
    replaced_by BLOB,
    supervised INTEGER,
    os_version TEXT,
    model TEXT,
    push INTEGER NOT NULL DEFAULT 0,
    inventory_due_at_ms BIGINT
);
CREATE INDEX enrolments_by_home ON enrolments (home, slot);
CREATE INDEX enrolments_by_state ON enrolments (state, slot);
CREATE INDEX enrolments_by_last_seen ON enrolments (last_seen_at_ms, slot);
CREATE INDEX enrolments_by_enrolled ON enrolments (enrolled_at_ms, slot);
CREATE INDEX enrolments_by_tag ON enrolments (udid_tag) WHERE udid_tag IS NOT NULL;
CREATE INDEX enrolments_by_inventory ON enrolments (inventory_due_at_ms)
    WHERE inventory_due_at_ms IS NOT NULL;

-- `source`: which message or report said it last.
CREATE TABLE clear_fields (
    slot INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    source TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (slot, name)
) WITHOUT ROWID;

-- A window's wrapped data key, once for all the rows under it.
CREATE TABLE wrapped_keys (
    id INTEGER PRIMARY KEY,
    wrapped BLOB NOT NULL UNIQUE
);

CREATE TABLE sealed_rows (
    slot INTEGER NOT NULL,
    name TEXT NOT NULL,
    compartment INTEGER NOT NULL,
    wrapped INTEGER NOT NULL,
    ciphertext BLOB NOT NULL,
    mask TEXT NOT NULL,
    change_tag BLOB NOT NULL,
    source TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (slot, name)
) WITHOUT ROWID;
CREATE INDEX sealed_rows_by_wrapped ON sealed_rows (wrapped);

CREATE TABLE index_entries (
    field TEXT NOT NULL,
    slot INTEGER NOT NULL,
    name TEXT NOT NULL,
    n INTEGER NOT NULL,
    entry BLOB NOT NULL,
    PRIMARY KEY (field, slot, name, n)
) WITHOUT ROWID;

-- Rows whose index entries the vault has yet to make.
CREATE TABLE index_due (
    slot INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (slot, name)
) WITHOUT ROWID;

CREATE TABLE reports (
    slot INTEGER NOT NULL,
    kind TEXT NOT NULL,
    change_tag BLOB NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (slot, kind)
) WITHOUT ROWID;

CREATE TABLE apps (
    slot INTEGER NOT NULL,
    source TEXT NOT NULL,
    identifier TEXT NOT NULL,
    version TEXT NOT NULL,
    short_version TEXT NOT NULL,
    PRIMARY KEY (slot, source, identifier)
) WITHOUT ROWID;

-- One command for all its phones. `query`: a free query's number; otherwise `body` is what the vault
-- made, and `order_id` the order behind it.
CREATE TABLE commands (
    number INTEGER PRIMARY KEY,
    command BLOB NOT NULL UNIQUE,
    order_id BLOB,
    request_type TEXT NOT NULL,
    query INTEGER,
    body BLOB,
    sealed INTEGER NOT NULL DEFAULT 0,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL
);
CREATE INDEX commands_by_order ON commands (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX commands_by_created ON commands (created_at_ms);
CREATE INDEX commands_by_expiry ON commands (expires_at_ms);

-- A command for one phone. States: 0 queued, 1 sent, 2 not now | 3 acknowledged, 4 error, 5 expired,
-- 6 cancelled. Below 3 it is open.
CREATE TABLE queue (
    slot INTEGER NOT NULL,
    number INTEGER NOT NULL,
    state INTEGER NOT NULL,
    warrant BLOB,
    warrant_expires_at_ms BIGINT,
    sent_at_ms BIGINT,
    deferred_at_ms BIGINT,
    done_at_ms BIGINT,
    sent_count INTEGER NOT NULL DEFAULT 0,
    not_now_count INTEGER NOT NULL DEFAULT 0,
    errors TEXT,
    PRIMARY KEY (slot, number)
) WITHOUT ROWID;
CREATE INDEX queue_open ON queue (slot, number) WHERE state < 3;
CREATE INDEX queue_by_number ON queue (number, slot);
CREATE INDEX queue_failed ON queue (state, number, slot) WHERE state > 3;

-- States: 0 received, 1 accepted, 2 refused. `sealed` is dropped once it is decided.
CREATE TABLE orders (
    number INTEGER PRIMARY KEY,
    order_id BLOB NOT NULL UNIQUE,
    digest BLOB NOT NULL,
    state INTEGER NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    signer BLOB,
    targets INTEGER NOT NULL,
    made_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    received_at_ms BIGINT NOT NULL,
    decided_at_ms BIGINT,
    signed BLOB NOT NULL,
    sealed BLOB NOT NULL,
    outcome TEXT,
    answer BLOB,
    recalled_at_ms BIGINT
);
CREATE INDEX orders_received ON orders (number) WHERE state = 0;

-- What follows from the vault's ledger.
CREATE TABLE people (
    person BLOB NOT NULL PRIMARY KEY,
    role TEXT NOT NULL,
    home TEXT,
    joined_at_ms BIGINT NOT NULL,
    removed_at_ms BIGINT
) WITHOUT ROWID;

CREATE TABLE person_keys (
    key_id BLOB NOT NULL PRIMARY KEY,
    person BLOB NOT NULL,
    added_at_ms BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX person_keys_by_person ON person_keys (person);

CREATE TABLE sessions (
    hash BLOB NOT NULL PRIMARY KEY,
    order_id BLOB NOT NULL,
    person BLOB NOT NULL,
    records INTEGER NOT NULL,
    searches INTEGER NOT NULL,
    compartments INTEGER NOT NULL,
    expires_at_ms BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_by_person ON sessions (person);
CREATE INDEX sessions_by_expiry ON sessions (expires_at_ms);

CREATE TABLE api_keys (
    hash BLOB NOT NULL PRIMARY KEY,
    scopes INTEGER NOT NULL,
    label TEXT NOT NULL,
    expires_at_ms BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE ledger_items (
    number INTEGER PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    hash BLOB NOT NULL,
    entry BLOB NOT NULL
);

-- Core's words that the vault has yet to write down.
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);
