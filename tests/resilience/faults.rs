//! Every way to fail, under load.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says why; the matrix is a table"
)]

mod cell;
mod chaos;
mod clients;
mod dead_one;
mod fault;
mod matrix;
mod outage;

/// A number from the environment, for tests that are run by hand.
fn from_environment(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var_os(name).and_then(|text| text.into_string().ok());
    text.map_or(otherwise, |text| text.parse().expect("a number"))
}
