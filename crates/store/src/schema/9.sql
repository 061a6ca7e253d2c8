-- Device groups, as the ledger says. `definition`: model::DeviceGroupDefinition as JSON. Of a list, its phones stand in
-- device_group_phones; whom a rule holds is looked up each time.
CREATE TABLE device_groups (
    number INTEGER PRIMARY KEY,
    group_id BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    definition TEXT NOT NULL,
    order_id BLOB NOT NULL,
    person BLOB NOT NULL,
    saved_at_ms BIGINT NOT NULL
);

CREATE TABLE device_group_phones (
    number INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    PRIMARY KEY (number, slot)
) WITHOUT ROWID;

-- A version as a number, so that versions compare (model::OsVersion::number); beside each `os_version` that begins with one.
ALTER TABLE enrolments ADD COLUMN os_number BIGINT;
UPDATE enrolments SET os_number = min(999, max(0, CAST(os_version AS INTEGER))) * 1000000
    + min(999, max(0, CAST(substr(os_version || '.0.0', instr(os_version || '.0.0', '.') + 1) AS INTEGER))) * 1000
    + min(999, max(0, CAST(substr(substr(os_version || '.0.0', instr(os_version || '.0.0', '.') + 1),
        instr(substr(os_version || '.0.0', instr(os_version || '.0.0', '.') + 1), '.') + 1) AS INTEGER)))
    WHERE os_version GLOB '[0-9]*';

-- Phones whose storage is not encrypted as a whole, and those without a passcode, by their own word.
CREATE INDEX clear_fields_not_encrypted ON clear_fields (slot)
    WHERE name = 'SecurityInfo.HardwareEncryptionCaps' AND value <> '3';
CREATE INDEX clear_fields_without_passcode ON clear_fields (slot)
    WHERE name = 'SecurityInfo.PasscodePresent' AND value = 'false';
