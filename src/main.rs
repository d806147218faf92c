//! The `ringgate` program: an allocator and a call into the house.

use std::process::ExitCode;

/// Small frames of many sizes, freed on the thread that made them: what mimalloc is good at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ringgate::edge::main()
}
