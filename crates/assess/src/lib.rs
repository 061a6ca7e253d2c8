//! Offline: was our EPMM hit, what was taken, what to do now. Needs no server.

pub mod cli;
pub mod compare;
pub mod corpus;
pub mod demo;
pub mod draft;
pub mod error;
pub mod export;
pub mod exposure;
pub mod finding;
pub mod fold;
pub mod indicators;
pub mod input;
pub mod line;
pub mod moment;
pub mod report;
pub mod rules;
pub mod scan;
pub mod sigma;
pub mod weigh;
