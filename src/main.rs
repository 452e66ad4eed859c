//! Flags, config, gateway, listen, drain.

fn main() {}
