-- Profiles of the library, as the vault's ledger has them; `newest` is the newest version.
CREATE TABLE profiles (
    profile BLOB NOT NULL PRIMARY KEY,
    newest INTEGER NOT NULL
) WITHOUT ROWID;

-- `outline` and `because` are CBOR (model::Outline; pairs of a payload's type and a key).
CREATE TABLE profile_versions (
    profile BLOB NOT NULL,
    version INTEGER NOT NULL,
    order_id BLOB NOT NULL,
    position BIGINT NOT NULL,
    saved_at_ms BIGINT NOT NULL,
    signer BLOB NOT NULL,
    identifier TEXT NOT NULL,
    signed INTEGER NOT NULL,
    erasing INTEGER NOT NULL,
    outline BLOB NOT NULL,
    because BLOB NOT NULL,
    PRIMARY KEY (profile, version)
) WITHOUT ROWID;
CREATE UNIQUE INDEX profile_versions_by_order ON profile_versions (order_id);
CREATE INDEX profile_versions_by_identifier ON profile_versions (identifier, profile);

-- What the vault sealed of a version; it comes with the order's outcome, before or after the ledger's entry.
CREATE TABLE profile_contents (
    number INTEGER PRIMARY KEY,
    order_id BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    wrapped_key BLOB NOT NULL,
    ciphertext BLOB NOT NULL
);
CREATE INDEX profile_contents_by_epoch ON profile_contents (substr(wrapped_key, 2, 4), number);

-- Which version a command is about; 0: to be without the profile. One command is the same for all phones of its order.
CREATE TABLE profile_commands (
    number INTEGER NOT NULL,
    profile BLOB NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (number, profile)
) WITHOUT ROWID;

-- What a phone was asked to hold of a profile, by the newest order: a version, or 0 to be without it; and which version
-- it said it had installed. States: 0 asked, 1 the phone said that it did it, 2 the phone said no.
CREATE TABLE phone_profiles (
    slot INTEGER NOT NULL,
    profile BLOB NOT NULL,
    version INTEGER NOT NULL,
    number INTEGER NOT NULL,
    asked_at_ms BIGINT NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    confirmed INTEGER NOT NULL DEFAULT 0,
    confirmed_at_ms BIGINT,
    PRIMARY KEY (slot, profile)
) WITHOUT ROWID;
CREATE INDEX phone_profiles_by_profile ON phone_profiles (profile, slot);
CREATE INDEX phone_profiles_by_state ON phone_profiles (profile, state, version);
CREATE INDEX phone_profiles_confirmed ON phone_profiles (profile, confirmed) WHERE confirmed > 0;
