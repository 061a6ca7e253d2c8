-- Sessions that were signed in by OpenID Connect: they read masks, and no order is behind them. `subject` is a hash of
-- the provider's name for the person under the one key of `oidc_key`; nothing else of them is kept.
CREATE TABLE oidc_sessions (
    hash BLOB NOT NULL PRIMARY KEY,
    subject BLOB NOT NULL,
    role TEXT NOT NULL,
    home TEXT,
    began_at_ms BIGINT NOT NULL,
    idle_until_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX oidc_sessions_by_subject ON oidc_sessions (subject, began_at_ms);
CREATE INDEX oidc_sessions_by_expiry ON oidc_sessions (expires_at_ms);
CREATE TABLE oidc_key (one INTEGER PRIMARY KEY CHECK (one = 1), key BLOB NOT NULL);
