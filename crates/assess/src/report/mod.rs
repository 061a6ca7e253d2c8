//! What a person or another program reads: brief, HTML, JSON, timeline.

pub mod brief;
pub mod figures;
pub mod html;
pub mod json;
pub mod manual;
pub mod outputs;
pub mod plain;
#[cfg(test)]
pub(crate) mod sample;
pub mod terminal;
pub mod timeline;
pub mod words;

pub use outputs::{OutputArgs, OutputError, Outputs};
