//! Parse, context, run, exit code.
fn main() {}
