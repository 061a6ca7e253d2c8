-- What entries of the ledger are about, so that it is looked through on an index. `about` is a letter and what follows:
-- k a kind's word, p a person's id, e an enrolment's, o an order's.
CREATE TABLE ledger_about (
    about BLOB NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (about, number)
) WITHOUT ROWID;

-- How many entries of a kind a day (days since 1970, UTC) had, and of how many phones or records they speak.
CREATE TABLE ledger_days (
    day BIGINT NOT NULL,
    kind TEXT NOT NULL,
    entries BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (day, kind)
) WITHOUT ROWID;

-- Entries that were followed before there was a `ledger_about`; they are noted bit by bit.
CREATE TABLE ledger_unnoted (number INTEGER PRIMARY KEY);
INSERT INTO ledger_unnoted SELECT number FROM ledger_items;

-- Phones that are in lost mode, and those whose passcode does not comply, by their own word.
CREATE INDEX clear_fields_lost ON clear_fields (slot) WHERE name = 'IsMDMLostModeEnabled' AND value = 'true';
CREATE INDEX clear_fields_no_passcode ON clear_fields (slot) WHERE name = 'SecurityInfo.PasscodeCompliant' AND value = 'false';
-- Declarations that a phone says are not valid.
CREATE INDEX declaration_states_invalid ON declaration_states (slot) WHERE valid = 1;
