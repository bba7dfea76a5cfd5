//! See `src/fuzzing/segment.rs` of larder.
#![cfg_attr(fuzzing, no_main)]
larder_fuzz::target!(segment);
