//! See `src/fuzzing/record.rs` of larder.
#![cfg_attr(fuzzing, no_main)]
larder_fuzz::target!(record);
