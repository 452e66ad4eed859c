//! The command line.

pub mod report;
mod table;
