//! What the fuzz targets are made of: each is one function of larder's, which is there in builds with `--cfg fuzzing`
//! alone. `cargo fuzz` sets it; without it the targets are programs that say so.

#[doc(hidden)]
pub use libfuzzer_sys;

/// The program of one target: `larder_fuzz::target!(record)` runs `larder::fuzzing::record`.
#[macro_export]
macro_rules! target {
    ($body:ident) => {
        #[cfg(fuzzing)]
        $crate::libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder::fuzzing::$body(bytes));

        #[cfg(not(fuzzing))]
        fn main() {
            eprintln!("a fuzz target: cargo fuzz run {}", stringify!($body));
        }
    };
}
