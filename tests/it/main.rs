//! Everything tested from the outside, in one binary so that it links once.

mod local_provider;
