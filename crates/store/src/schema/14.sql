-- Of a phone that was asked for a version: how often in a row without an answer, and when the newest ask ran out unanswered. NULL: it may
-- still be answered, was answered, or was called back. A standing order that installs asks again by these.
ALTER TABLE phone_profiles ADD COLUMN asked_times INTEGER NOT NULL DEFAULT 1;
ALTER TABLE phone_profiles ADD COLUMN ran_out_at_ms BIGINT;
UPDATE phone_profiles SET ran_out_at_ms = (SELECT q.done_at_ms FROM queue q
    WHERE q.slot = phone_profiles.slot AND q.number = phone_profiles.number AND q.state = 5) WHERE state = 0;
CREATE INDEX phone_profiles_ran_out ON phone_profiles (profile, version, ran_out_at_ms, slot, asked_times)
    WHERE state = 0 AND ran_out_at_ms IS NOT NULL;
