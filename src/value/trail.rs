//! The trail that a value leaves while a codec by position writes or reads it.
//!
//! It owns the two hashes over the structure and the names met, and the bounds on depth and on the number of elements.
//! It may not know serde: the two tracers call it at the same points in the same order.

use std::cell::Cell;

use super::fingerprint::{fold, mix, mix_name};

/// Containers, options and newtypes inside each other; more is refused on writing as on reading, which recurses.
pub(super) const MAX_DEPTH: u32 = 128;

/// Elements and map entries of one value that need no byte of their own, such as units. With hostile bytes a length
/// of eight bytes could otherwise ask for 2^64 of them. A fuzzer that finds out how to ask for all of them does nothing else
/// any more, so it meets the bound sooner.
pub(super) const FREE_ELEMENTS: u64 = if cfg!(fuzzing) { 1 << 9 } else { 1 << 20 };

/// A step in the structure of a value. The numbers are part of the format on disk: they may never change.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(super) enum Step {
    Bool = 1,
    I8 = 2,
    I16 = 3,
    I32 = 4,
    I64 = 5,
    I128 = 6,
    U8 = 7,
    U16 = 8,
    U32 = 9,
    U64 = 10,
    U128 = 11,
    F32 = 12,
    F64 = 13,
    Char = 14,
    Str = 15,
    Bytes = 16,
    None = 17,
    Some = 18,
    Unit = 19,
    List = 20,
    Fixed = 21,
    Map = 22,
    Enum = 23,
    UnitVariant = 24,
    NewtypeVariant = 25,
    End = 26,
}

/// What has been met so far.
///
/// Of lists and maps only the first element leaves a trail, so that hashing costs a long list nothing. Newtypes leave
/// none: many types read themselves through the type that they wrap.
pub(super) struct Trail {
    structure: Cell<u64>,
    names: Cell<u64>,
    muted: Cell<u32>,
    depth: Cell<u32>,
    elements: Cell<u64>,
    enums: Cell<u32>,
}

/// The value is nested deeper than [`MAX_DEPTH`] or has more elements than its bytes allow.
pub(super) struct OutOfBounds;

impl Trail {
    pub fn new() -> Trail {
        Trail {
            structure: Cell::new(0),
            names: Cell::new(0),
            muted: Cell::new(0),
            depth: Cell::new(0),
            elements: Cell::new(0),
            enums: Cell::new(0),
        }
    }

    /// Begins anew, for codecs that walk a value once to measure it and once to write it.
    pub fn restart(&self) {
        self.structure.set(0);
        self.names.set(0);
        self.muted.set(0);
        self.depth.set(0);
        self.elements.set(0);
        self.enums.set(0);
    }

    pub fn structure(&self) -> u16 {
        fold(self.structure.get())
    }

    pub fn names(&self) -> u16 {
        fold(self.names.get())
    }

    pub fn elements(&self) -> u64 {
        self.elements.get()
    }

    #[inline]
    pub fn step(&self, step: Step) {
        self.number(u64::from(step as u8));
    }

    #[inline]
    pub fn number(&self, number: u64) {
        if self.muted.get() == 0 {
            self.structure.set(mix(self.structure.get(), number));
        }
    }

    #[inline]
    pub fn name(&self, name: &str) {
        if self.muted.get() == 0 {
            self.names.set(mix_name(self.names.get(), name));
        }
    }

    /// The end of a struct, tuple or variant with `count` fields.
    pub fn end_fixed(&self, count: u64) {
        self.number(u64::from(Step::End as u8) | (count << 8));
    }

    pub fn is_muted(&self) -> bool {
        self.muted.get() > 0
    }

    pub fn enter(&self) -> Result<(), OutOfBounds> {
        if self.depth.get() >= MAX_DEPTH {
            return Err(OutOfBounds);
        }
        self.depth.set(self.depth.get() + 1);
        Ok(())
    }

    pub fn leave(&self) {
        self.depth.set(self.depth.get().saturating_sub(1));
    }

    /// Before the element at `index` of a list or map: from the second on, nothing leaves a trail.
    #[inline]
    pub fn element(&self, index: u64) {
        if index == 1 {
            self.muted.set(self.muted.get() + 1);
        }
    }

    /// Counts an element that is there.
    #[inline]
    pub fn count_element(&self) {
        self.elements.set(self.elements.get() + 1);
    }

    /// Behind the last element, where `begun` elements were begun.
    pub fn end_list(&self, begun: u64) {
        if begun > 1 {
            self.muted.set(self.muted.get().saturating_sub(1));
        }
        self.step(Step::End);
    }

    /// Counts the enums that leave a trail, from 0.
    pub fn next_enum(&self) -> u32 {
        let ordinal = self.enums.get();
        self.enums.set(ordinal.saturating_add(1));
        ordinal
    }

    pub fn enums(&self) -> u32 {
        self.enums.get()
    }
}

/// How many elements a value of `payload` bytes may have.
pub(super) fn element_limit(payload: usize) -> u64 {
    FREE_ELEMENTS.saturating_add(payload as u64)
}
