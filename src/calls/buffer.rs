//! The buffer that values are copied to on the way to being decoded. It knows nothing of what is in it.

use std::cell::Cell;

thread_local! {
    /// What the thread's last call left, so that the next one allocates for what it decodes alone.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Buffers longer than this are given back to the allocator.
const BUFFER_MAX: usize = 1 << 20;

/// Calls `act` with this thread's buffer.
#[inline]
pub fn with_buffer<R>(act: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    // Taken, not borrowed: decoding runs the caller's code, which may call again, and finds another one.
    let mut buffer = BUFFER.take();
    let made = act(&mut buffer);
    if buffer.capacity() <= BUFFER_MAX {
        BUFFER.set(buffer);
    }
    made
}
