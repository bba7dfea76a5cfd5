//! Derived keys: which keys they are, that they come back, and that they have the order of a derived `Ord`.

#[path = "derive/order.rs"]
mod order;
#[path = "derive/shape.rs"]
mod shape;
