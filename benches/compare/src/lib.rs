//! What larder is compared with, and how: the stores behind one trait, the rows, their measuring, and the report. The programs
//! are in the files beside this one that have a `main`.

pub mod arguments;
pub mod crew;
pub mod draw;
pub mod histogram;
pub mod machine;
pub mod measure;
pub mod memory;
pub mod peers;
pub mod plot;
pub mod python_random;
pub mod report;
pub mod rows;
pub mod sqlite;
pub mod sqlite_index;
pub mod sqlite_queue;
pub mod stage;
pub mod tables;
pub mod worker;
