//! The command line without a box.
