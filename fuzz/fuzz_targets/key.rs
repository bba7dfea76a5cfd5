//! See `src/fuzzing/key.rs` of larder.
#![cfg_attr(fuzzing, no_main)]
larder_fuzz::target!(key);
