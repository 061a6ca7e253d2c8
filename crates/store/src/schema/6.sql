-- A passkey's public half with its site (order::Passkey as CBOR), so that whose passkey made an assertion can be found:
-- a browser says which credential signed, not which key.
ALTER TABLE person_keys ADD COLUMN passkey BLOB;
CREATE INDEX person_keys_passkeys ON person_keys (key_id) WHERE passkey IS NOT NULL;
