use larder::{Key, OwnedKey};

#[derive(Key)]
union Both {
    a: u8,
    b: i8,
}

#[derive(OwnedKey)]
pub(crate) union Either {
    a: u8,
    b: i8,
}

fn main() {}
