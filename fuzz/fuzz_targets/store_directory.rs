//! See `src/fuzzing/store_directory.rs` of larder.
#![cfg_attr(fuzzing, no_main)]
larder_fuzz::target!(store_directory);
