//! What a person or another program reads: brief, HTML, JSON, timeline.

pub mod plain;
