//! Bytes that nobody honest wrote: errors, and no panic, loop, deep recursion or large allocation.

use super::*;

fn hostile<V: DeserializeOwned>(bytes: &[u8], like: &impl Serialize) -> Result<V> {
    let honest = encode(&Postcard, like).unwrap();
    let mut forged = honest.bytes()[..HEADER_BYTES].to_vec();
    forged.extend_from_slice(bytes);
    decode(&Postcard, honest.kind, &forged)
}

#[test]
fn every_byte_is_a_kind_or_an_error() {
    for kind in 0..=u8::MAX {
        let known = Kind::from_byte(kind).map(|kind| kind as u8);
        assert!(known.map_or(true, |byte| byte == kind));
        for len in 0..20 {
            let _ = decode::<Nested, _>(&Postcard, kind, &vec![1; len]);
        }
    }
    assert_eq!(Kind::ALL.len(), (0..=u8::MAX).filter(|byte| Kind::from_byte(*byte).is_ok()).count());
}

#[test]
fn left_over_and_missing_bytes_are_errors() {
    let job = Job { id: 1, n: 2 };
    assert_eq!(hostile::<Job>(&[1, 2], &job).unwrap(), job);
    assert!(matches!(hostile::<Job>(&[1, 2, 3], &job), Err(Error::Codec(_))));
    assert!(matches!(hostile::<Job>(&[1], &job), Err(Error::Codec(_))));
    assert!(matches!(decode::<bool, _>(&Postcard, Kind::Bool as u8, &[2]), Err(Error::Codec(_))));
    assert!(matches!(decode::<String, _>(&Postcard, Kind::Text as u8, &[255]), Err(Error::Codec(_))));
}

/// A length of 2^60 as postcard writes it.
const ENDLESS: [u8; 9] = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];

#[test]
fn a_claimed_length_costs_nothing() {
    assert!(matches!(hostile::<Vec<()>>(&ENDLESS, &vec![()]), Err(Error::Codec(_))));
    assert!(matches!(hostile::<Vec<u64>>(&ENDLESS, &vec![1u64]), Err(Error::Codec(_))));
    assert!(matches!(hostile::<Vec<Vec<()>>>(&[&[1][..], &ENDLESS].concat(), &vec![vec![()]]), Err(Error::Codec(_))));
    assert!(matches!(hostile::<String>(&ENDLESS, &Id(1)), Err(Error::Type(_))));
    let units = HashMap::from([((), ())]);
    assert!(matches!(hostile::<HashMap<(), ()>>(&ENDLESS, &units), Err(Error::Codec(_))));
    assert!(matches!(encode(&Postcard, &vec![(); 1 << 21]), Err(Error::Codec(_))));
    round(vec![(); 1 << 20]);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Chain {
    End,
    Link(Box<Chain>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Links {
    next: Option<Box<Links>>,
}

#[test]
fn recursion_is_bounded_alike_on_both_sides() {
    assert!(matches!(hostile::<Tree>(&[1; 100_000], &Tree(vec![])), Err(Error::Codec(_))));
    assert!(matches!(hostile::<Chain>(&[1; 100_000], &Chain::End), Err(Error::Codec(_))));
    assert!(matches!(hostile::<Links>(&[1; 100_000], &Links { next: None }), Err(Error::Codec(_))));
    let chain = |depth| (0..depth).fold(Chain::End, |chain, _| Chain::Link(Box::new(chain)));
    let links = |depth| (0..depth).fold(Links { next: None }, |next, _| Links { next: Some(Box::new(next)) });
    let tree = |depth| (0..depth).fold(Tree(vec![]), |tree, _| Tree(vec![tree, Tree(vec![])]));
    for depth in 0..140 {
        fn agree<V: Serialize + DeserializeOwned + PartialEq + Debug>(value: V) -> bool {
            match encode(&Postcard, &value) {
                Ok(bytes) => read::<V>(&bytes).unwrap() == value,
                Err(error) => !matches!(error, Error::Codec(_)),
            }
        }
        assert_eq!(agree(chain(depth)), depth <= 128, "{depth}");
        assert_eq!(agree(links(depth)), depth <= 63, "{depth}");
        assert_eq!(agree(tree(depth)), depth <= 63, "{depth}");
    }
}

proptest! {
    #![proptest_config(drawn())]

    #[test]
    fn hostile_bytes_end(kind: u8, bytes: Vec<u8>, payload in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode::<Nested, _>(&Postcard, kind, &bytes);
        let _ = hostile::<Nested>(&payload, &nested(None));
        let _ = hostile::<Vec<Shape>>(&payload, &vec![Shape::Dot]);
        let _ = hostile::<BTreeMap<String, Tree>>(&payload, &BTreeMap::from([("a", Tree(vec![]))]));
        let _ = decode::<String, _>(&Postcard, kind, &bytes);
        let _ = decode::<i64, _>(&Postcard, kind, &bytes);
        let _ = as_integer(kind, &bytes);
    }
}
