//! The `ringgate` program.

fn main() {}
