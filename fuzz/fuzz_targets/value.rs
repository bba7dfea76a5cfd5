//! See `src/fuzzing/value.rs` of larder.
#![cfg_attr(fuzzing, no_main)]
larder_fuzz::target!(value);
