//! go-kit's stringsvc as a backend: `cargo run --example stringsvc -- --register consul=http://127.0.0.1:8500`.

use clap::Parser;
use frontgate::demo::{Sample, standalone};

fn main() -> standalone::Outcome {
    standalone::run(Sample::Stringsvc, &standalone::Options::parse())
}
