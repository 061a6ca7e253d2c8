-- The certificate a phone uses, and the newest one that was issued for it; they differ while a renewal is
-- under way. Digests are SHA-256 of the DER.
CREATE TABLE certificates (
    slot INTEGER PRIMARY KEY,
    used BLOB NOT NULL,
    not_after_ms BIGINT NOT NULL,
    newest BLOB NOT NULL,
    newest_not_after_ms BIGINT NOT NULL,
    newest_at_ms BIGINT NOT NULL,
    asked_at_ms BIGINT,
    retired BLOB,
    retired_at_ms BIGINT,
    retired_not_after_ms BIGINT
);
CREATE INDEX certificates_by_end ON certificates (not_after_ms, slot);

-- Standing orders, as the ledger says.
CREATE TABLE standing_orders (
    order_id BLOB NOT NULL PRIMARY KEY,
    template TEXT NOT NULL,
    before_ms BIGINT NOT NULL,
    cap_an_hour INTEGER NOT NULL,
    made_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    ended_at_ms BIGINT,
    uses INTEGER NOT NULL DEFAULT 0,
    used_at_ms BIGINT
) WITHOUT ROWID;
