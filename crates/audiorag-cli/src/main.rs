//! The `audiorag` program.
fn main() {}
