//! Every way to fail, under load.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says why; the matrix is a table"
)]

mod cell;
mod clients;
mod fault;
mod matrix;
