//! See `src/fuzzing/state.rs` of larder.
#![cfg_attr(fuzzing, no_main)]
larder_fuzz::target!(state);
