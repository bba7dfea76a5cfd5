//! See `src/fuzzing/operations.rs` of larder.
#![cfg_attr(fuzzing, no_main)]
larder_fuzz::target!(operations);
