-- A phone's holder's card, as the vault's ledger has it: the hash of the newest one's code.
CREATE TABLE holder_cards (
    slot INTEGER PRIMARY KEY,
    code BLOB NOT NULL UNIQUE,
    made_at_ms BIGINT NOT NULL
);
