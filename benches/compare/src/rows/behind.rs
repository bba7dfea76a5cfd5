//! What holds larder back in the rows where others are ahead of it, as far as that was found out.

const VERIFIES: &str =
    "each value is verified by its checksum each time it is read, which takes as long again as copying it.";
const TAKES_FRESH_PAGES: &str = "a log takes fresh pages for what is stored, which the kernel has to find and clear, and \
     gives old ones back; who writes in place and leaves the rest to the kernel copies over pages that are there. Values of \
     256 KiB are files of their own.";

/// Of a row; `None` where nobody is.
pub fn reason(row: &str) -> Option<&'static str> {
    Some(match row {
        "get" | "zipf" => VERIFIES,
        "overwrite" | "new" | "batch10" | "batch1000" => TAKES_FRESH_PAGES,
        "memory" => {
            "files that are mapped count in full, though the kernel may have their pages back at any time. Who reads them \
             into a small cache of its own has the same pages in the kernel, where they count for nobody."
        }
        "anonymous" => "LMDB has no buffers of its own.",
        "disk" => "space that is made ahead and not filled yet: a 128th of the size limit, 64 MiB at most.",
        "delete" => "a value of 256 KiB is a file, which is removed; others note that pages or keys are free.",
        "clear" => {
            "a file is made for a new, empty table, and that of the old one removed; LMDB notes that its pages are free."
        }
        "open-warm" => {
            "who opens makes a file, its sign of life for the others, which takes 0.3 to 0.4 ms, and longer while \
             the disk is busy with what other stores wrote."
        }
        "open-cold" => {
            "parts of three files are read, and of each the kernel reads ahead as much as it is set to (8 MiB where this \
             was found, 128 KiB elsewhere); redb reads single pages of one file."
        }
        "index-range" => {
            "values are read where they lie in the log, each verified; others have them beside their keys."
        }
        "sync" => "sled does not have the disk write its cache out (it calls `sync_file_range`).",
        _ => return None,
    })
}
