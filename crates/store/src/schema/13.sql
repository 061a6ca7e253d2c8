-- What rules of device groups ask of enrolled phones, by itself and in the order of the phones: to find a rule's phones among 100,000, a
-- quarter of what the rows of `enrolments` take is read. When a phone was last heard of is not in it: that changes with each check-in.
CREATE INDEX enrolments_by_rule ON enrolments (state, slot, home, os_number, model, supervised,
    said_lost, said_encryption, said_passcode_present, said_passcode_complies);

-- All that is asked of a profile's phones when they are counted; the index of before had their slots alone.
DROP INDEX phone_profiles_by_profile;
CREATE INDEX phone_profiles_by_profile ON phone_profiles (profile, slot, confirmed, version, state, number);
