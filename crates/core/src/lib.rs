//! The room with the database and the rules: everything one can ask of Matron, once.
