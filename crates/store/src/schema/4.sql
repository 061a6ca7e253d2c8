-- Apps that an order asked for or took away, as far as the phone has confirmed. `wanted`: 1 to be there, 0 to be
-- gone. States: 0 requested, 1 under way (the phone acknowledged, which is not yet done), 2 confirmed, 3 failed.
CREATE TABLE app_requests (
    slot INTEGER NOT NULL,
    identifier TEXT NOT NULL,
    wanted INTEGER NOT NULL,
    state INTEGER NOT NULL,
    number INTEGER NOT NULL,
    reason TEXT NOT NULL,
    requested_at_ms BIGINT NOT NULL,
    changed_at_ms BIGINT NOT NULL,
    checks INTEGER NOT NULL DEFAULT 0,
    check_due_at_ms BIGINT,
    PRIMARY KEY (slot, identifier)
) WITHOUT ROWID;
CREATE INDEX app_requests_due ON app_requests (check_due_at_ms) WHERE check_due_at_ms IS NOT NULL;
