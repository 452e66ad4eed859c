//! go-kit's addsvc as a backend: `cargo run --example addsvc -- --register consul=http://127.0.0.1:8500`.

use clap::Parser;
use frontgate::demo::{Sample, standalone};

fn main() -> standalone::Outcome {
    standalone::run(Sample::Addsvc, &standalone::Options::parse())
}
