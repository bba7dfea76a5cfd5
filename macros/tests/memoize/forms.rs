//! Forms of functions: methods, arguments that are taken or changed, functions that are unsafe or of another ABI.

use std::sync::Arc;

use larder::{Cache, Key, memoize};

use crate::{CACHE, ran, runs};

#[derive(Key, Clone)]
struct Circle {
    radius: u32,
}

impl Circle {
    #[memoize(cache = CACHE)]
    fn area(&self, unit: u32) -> u32 {
        ran();
        self.radius * self.radius * 3 * unit
    }

    #[memoize(cache = CACHE)]
    fn into_area(self) -> u32 {
        ran();
        self.radius * self.radius * 3
    }

    #[memoize(cache = CACHE)]
    fn grown(&mut self, by: u32) -> u32 {
        ran();
        self.radius += by;
        self.radius
    }

    #[memoize(cache = CACHE)]
    fn shared(self: &Arc<Self>) -> u32 {
        ran();
        self.radius
    }

    #[memoize(cache = CACHE)]
    fn of(radius: u32) -> u32 {
        ran();
        Self { radius }.area_no_cache(1)
    }
}

#[test]
fn a_method_has_its_self_as_an_argument() {
    let circle = Circle { radius: 2 };
    let calls = || {
        assert_eq!((circle.area(1), circle.area(2), Circle { radius: 1 }.area(1)), (12, 24, 3));
        assert_eq!(circle.clone().into_area(), 12);
        assert_eq!(Arc::new(circle.clone()).shared(), 2);
        assert_eq!(Circle { radius: 4 }.grown(1), 5);
    };
    assert_eq!((runs(calls), runs(calls)), (6, 0));
    // `area_no_cache` runs `ran` too.
    assert_eq!(runs(|| assert_eq!((Circle::of(3), Circle::of(3)), (27, 27))), 2);
    assert_ne!(circle.area_cache_key(1).unwrap(), Circle { radius: 1 }.area_cache_key(1).unwrap());
}

struct Service {
    cache: Cache,
    calls: u32,
}

impl Service {
    #[memoize(cache = "self.cache", ignore(self))]
    fn answer(&mut self, question: &str) -> usize {
        self.calls += 1;
        question.len()
    }
}

#[test]
fn the_cache_may_be_any_expression_and_self_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service { cache: Cache::open(dir.path()).unwrap(), calls: 0 };
    assert_eq!((service.answer("why"), service.answer("why"), service.answer("what")), (3, 3, 4));
    assert_eq!((service.calls, service.cache.len()), (2, 2));
}

#[memoize(cache = CACHE)]
fn sorted(mut numbers: Vec<u8>, mut rounds: u32) -> Vec<u8> {
    ran();
    while rounds > 0 {
        numbers.sort();
        rounds -= 1;
    }
    numbers
}

#[test]
fn a_body_may_take_and_change_its_arguments() {
    let calls = || assert_eq!((sorted(vec![3, 1], 1), sorted(vec![3, 1], 0)), (vec![1, 3], vec![3, 1]));
    assert_eq!((runs(calls), runs(calls)), (2, 0));
    assert_eq!(sorted_no_cache(vec![2, 1], 1), [1, 2]);
}

struct Connection(u32);

#[memoize(cache = CACHE, ignore(connection, log))]
fn asked(connection: &Connection, question: u8, log: &mut Vec<u8>) -> u32 {
    ran();
    log.push(question);
    connection.0 + u32::from(question)
}

#[test]
fn ignored_arguments_need_not_be_keys() {
    let mut log = Vec::new();
    assert_eq!(runs(|| assert_eq!(asked(&Connection(10), 1, &mut log), 11)), 1);
    assert_eq!(runs(|| assert_eq!(asked(&Connection(20), 1, &mut log), 11)), 0);
    assert_eq!(asked_no_cache(&Connection(20), 1, &mut log), 21);
    assert_eq!(log, [1, 1]);
    let key = asked_cache_key(&Connection(30), 1, &mut log);
    assert_eq!(key.unwrap(), asked_cache_key(&Connection(40), 1, &mut log).unwrap());
}

#[memoize(cache = CACHE)]
#[allow(unsafe_code, reason = "functions may be unsafe")]
unsafe fn trusted(n: u8) -> u8 {
    ran();
    n + 1
}

#[memoize(cache = CACHE)]
extern "C" fn foreign(n: u8) -> u8 {
    ran();
    n + 2
}

#[test]
#[allow(unsafe_code, reason = "functions may be unsafe")]
fn functions_may_be_unsafe_or_of_another_abi() {
    let pointer: extern "C" fn(u8) -> u8 = foreign;
    let calls = || {
        // SAFETY: nothing is asked of who calls it.
        assert_eq!(unsafe { trusted(1) }, 2);
        assert_eq!(pointer(1), 3);
    };
    assert_eq!((runs(calls), runs(calls)), (2, 0));
    // SAFETY: as above.
    assert_eq!(unsafe { trusted_no_cache(1) }, 2);
    assert!(trusted_cache_key(1).is_ok());
}

#[memoize(cache = CACHE)]
fn fibonacci(n: u64) -> u64 {
    ran();
    if n < 2 { n } else { fibonacci(n - 1) + fibonacci(n - 2) }
}

#[test]
fn a_function_may_call_itself() {
    assert_eq!(runs(|| assert_eq!(fibonacci(50), 12_586_269_025)), 51);
}

#[memoize(cache = CACHE)]
fn r#match(r#type: u8) -> u8 {
    ran();
    r#type
}

/// Everything the expansion might name is something else here.
mod hostile {
    #![allow(dead_code, non_camel_case_types, reason = "the names are the point")]

    struct Ok;
    struct Some;
    struct None;
    struct Result;
    struct Option;
    struct Vec;
    mod core {}
    mod std {}
    mod larder {}

    #[::larder::memoize(cache = crate::CACHE, tag = "{value}", expire = "1h")]
    pub fn f(name: u8, value: u8, key: u8, arguments: u8, memoized: u8, tuple: u8) -> u8 {
        crate::ran();
        name + value + key + arguments + memoized + tuple
    }

    #[::larder::memoize(cache = crate::CACHE)]
    pub async fn g(name: u8, value: u8, found: u8) -> ::std::result::Result<u8, ()> {
        crate::ran();
        ::std::result::Result::Ok(name + value + found)
    }
}

#[test]
fn names_do_not_matter() {
    let calls = || {
        assert_eq!(r#match(3), 3);
        assert_eq!(hostile::f(1, 2, 3, 4, 5, 6), 21);
        assert_eq!(crate::asynchronous::block_on(hostile::g(1, 2, 3)), Ok(6));
    };
    assert_eq!((runs(calls), runs(calls)), (3, 0));
    assert_eq!(match_no_cache(3), 3);
    assert!(CACHE.contains_key_of(&match_cache_key(3).unwrap()));
}

trait Contains {
    fn contains_key_of(&self, key: &[u8]) -> bool;
}

impl Contains for Cache {
    /// Whether there is an item under an encoded key.
    fn contains_key_of(&self, key: &[u8]) -> bool {
        self.contains(<larder::AnyKey as larder::OwnedKey>::decode(key).unwrap()).unwrap()
    }
}

#[test]
fn threads_compute_once() {
    static STARTED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    #[memoize(cache = CACHE)]
    fn shared(n: u8) -> u8 {
        STARTED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        n
    }
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(shared(9), 9));
        }
    });
    assert_eq!(STARTED.load(std::sync::atomic::Ordering::Relaxed), 1);
}

/// A function whose parts come from elsewhere.
macro_rules! made {
    ($name:ident, $argument:ident: $ty:ty => $result:ty, $body:expr, $cache:expr, $expire:literal) => {
        #[memoize(cache = $cache, expire = $expire, tag = "made")]
        fn $name($argument: $ty, more: $ty) -> $result {
            ran();
            let _ = more;
            $body
        }
    };
}

made!(plain_made, n: u8 => u8, n + 1, CACHE, "1h");
made!(result_made, n: u8 => Result<u8, ()>, if n == 0 { Err(()) } else { Ok(n) }, CACHE, "1h");

#[test]
fn functions_may_come_from_macros() {
    let calls = || assert_eq!((plain_made(1, 0), result_made(0, 0), result_made(1, 0)), (2, Err(()), Ok(1)));
    assert_eq!((runs(calls), runs(calls)), (3, 1));
}
