//! What a codec cannot be told in its call goes beside it, on the same thread.
//!
//! It owns that one cell. `Codec::decode` takes bytes and a type and nothing else, so that a codec of somebody's own is
//! two lines; the length of the payload and the question of the moment reach the follower inside through here.

use std::cell::Cell;

/// What the next value to be followed is read for.
#[derive(Clone, Copy)]
pub(super) struct Errand {
    /// Bytes of the payload.
    pub payload: usize,
    /// Stop at the enum of this number and find out whether its variants have aliases.
    pub ask: Option<u32>,
    answer: Option<bool>,
}

thread_local! {
    static ERRAND: Cell<Errand> = const { Cell::new(Errand { payload: 0, ask: None, answer: None }) };
}

/// Runs `decode`, which reads a followed value from `payload` bytes.
pub(super) fn read<R>(payload: usize, decode: impl FnOnce() -> R) -> R {
    let before = ERRAND.replace(Errand { payload, ask: None, answer: None });
    let result = decode();
    ERRAND.set(before);
    result
}

/// Runs `decode` again to learn whether the enum of this number has variants under more than one name; `None` if that
/// cannot be told.
pub(super) fn ask_for_aliases<R>(payload: usize, number: u32, decode: impl FnOnce() -> R) -> Option<bool> {
    let before = ERRAND.replace(Errand { payload, ask: Some(number), answer: None });
    decode();
    ERRAND.replace(before).answer
}

pub(super) fn current() -> Errand {
    ERRAND.get()
}

pub(super) fn answer(answer: Option<bool>) {
    ERRAND.set(Errand { answer, ..ERRAND.get() });
}
