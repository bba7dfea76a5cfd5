//! See `src/fuzzing/index.rs` of larder.
#![cfg_attr(fuzzing, no_main)]
larder_fuzz::target!(index);
