-- Declarative management. A set as an order made it, once for all its phones.
CREATE TABLE declaration_sets (
    number INTEGER PRIMARY KEY,
    order_id BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    at_ms BIGINT NOT NULL
);

CREATE TABLE set_items (
    number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    identifier TEXT NOT NULL,
    declared_type TEXT NOT NULL,
    token BLOB NOT NULL,
    digest BLOB NOT NULL,
    in_force INTEGER NOT NULL,
    PRIMARY KEY (number, kind, identifier)
) WITHOUT ROWID;
CREATE INDEX set_items_by_digest ON set_items (digest);

-- Which sets a phone should hold: at most one of a name.
CREATE TABLE phone_sets (
    slot INTEGER NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (slot, name)
) WITHOUT ROWID;
CREATE INDEX phone_sets_by_number ON phone_sets (number);

-- What phones fetch, sealed to the door, under the digest of what is in it.
CREATE TABLE declaration_bodies (
    digest BLOB NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL,
    at_ms BIGINT NOT NULL
) WITHOUT ROWID;

-- The vault's word for a phone. `wanted`: the ledger's index of the newest order about it; a warrant from
-- before that is not used.
CREATE TABLE declaration_warrants (
    slot INTEGER PRIMARY KEY,
    wanted BIGINT NOT NULL,
    position BIGINT NOT NULL DEFAULT -1,
    warrant BLOB,
    tokens BLOB,
    items BLOB,
    expires_at_ms BIGINT NOT NULL DEFAULT 0
);

-- What the phone itself says of its declarations. `valid`: 0 not looked at yet, 1 invalid, 2 valid.
CREATE TABLE declaration_states (
    slot INTEGER NOT NULL,
    kind TEXT NOT NULL,
    identifier TEXT NOT NULL,
    token BLOB NOT NULL,
    active INTEGER NOT NULL,
    valid INTEGER NOT NULL,
    reasons TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (slot, kind, identifier)
) WITHOUT ROWID;

-- Status items that the phone can't report.
CREATE TABLE status_errors (
    slot INTEGER NOT NULL,
    item TEXT NOT NULL,
    reasons TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (slot, item)
) WITHOUT ROWID;
