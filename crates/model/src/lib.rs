//! The domain's words: ids, fields and their compartments, typed commands, clock. No I/O.
