-- Orders that wait: `state` 3 for another signature (`hold`: what stood in the way, `held_by`: the key that
-- signed first), 4 accepted and cooling off until `cools_until_ms`. `sealed` stays until it is over.
ALTER TABLE orders ADD COLUMN hold BLOB;
ALTER TABLE orders ADD COLUMN held_by BLOB;
ALTER TABLE orders ADD COLUMN cools_until_ms BIGINT;
CREATE INDEX orders_pending ON orders (number) WHERE state = 3;
CREATE INDEX orders_cooling ON orders (cools_until_ms) WHERE state = 4;
