//! The only SQL of the house: one API over the embedded database.
