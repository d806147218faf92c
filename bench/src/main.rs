//! The load generator's entry point. Not part of the gateway: its dependencies never reach it.

fn main() {}
