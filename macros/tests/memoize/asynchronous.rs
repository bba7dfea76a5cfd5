//! `async` functions.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use larder::{AnyKey, Key, OwnedKey, memoize};

use crate::{CACHE, ran, runs};

/// Runs a future that needs nobody to wake it.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// Is ready at the second asking, so that what awaits it is suspended once.
async fn later() {
    let mut is_ready = false;
    std::future::poll_fn(|_| if std::mem::replace(&mut is_ready, true) { Poll::Ready(()) } else { Poll::Pending }).await
}

#[memoize(cache = CACHE, expire = "1h", tag = "async:{text}", ignore(log))]
async fn shouted(mut text: String, log: &mut Vec<u8>) -> String {
    ran();
    later().await;
    log.push(1);
    text.make_ascii_uppercase();
    text
}

#[test]
fn an_async_function_is_computed_once() {
    let mut log = Vec::new();
    let mut call = |text: &str| block_on(shouted(text.to_owned(), &mut log));
    assert_eq!(runs(|| assert_eq!((call("a"), call("a"), call("b")), ("A".into(), "A".into(), "B".into()))), 2);
    assert_eq!(block_on(shouted_no_cache("a".into(), &mut log)), "A");
    assert_eq!(log, [1, 1, 1]);
    assert!(shouted_cache_key("a".into(), &mut log).is_ok());
    assert_eq!(CACHE.evict("async:a").unwrap(), 1);
}

#[memoize(cache = CACHE)]
async fn checked(n: u8) -> Result<u8, Box<dyn std::error::Error + Send + Sync>> {
    ran();
    later().await;
    let small: i8 = n.try_into()?;
    if small == 7 {
        return Err("unlucky".into());
    }
    Ok(n)
}

#[memoize(cache = CACHE)]
#[allow(clippy::needless_return, reason = "a body may end so")]
async fn early(n: u8) -> Option<u8> {
    ran();
    let half = n.checked_sub(100)?;
    return Some(half);
}

#[memoize(cache = CACHE)]
async fn nothing(n: u8) {
    ran();
    if n > 0 {
        later().await
    }
}

#[test]
fn results_are_kept_as_those_of_other_functions() {
    let calls = || {
        assert_eq!(block_on(checked(1)).unwrap(), 1);
        assert!(block_on(checked(7)).is_err() && block_on(checked(200)).is_err());
        assert_eq!((block_on(early(1)), block_on(early(101))), (None, Some(1)));
        block_on(nothing(0));
        block_on(nothing(1));
    };
    assert_eq!((runs(calls), runs(calls)), (7, 2));
}

#[derive(Key)]
struct Client<T> {
    base: T,
}

impl<T: Key + Clone + Send + Sync> Client<T> {
    #[memoize(cache = CACHE)]
    async fn fetch(&self, path: &str) -> String {
        ran();
        later().await;
        format!("{} {path}", std::any::type_name::<T>())
    }

    #[memoize(cache = CACHE)]
    async fn of() -> String {
        ran();
        std::any::type_name::<T>().to_owned()
    }
}

#[test]
fn async_methods_are_told_apart_by_their_types() {
    let calls = || {
        assert_eq!(block_on(Client { base: 1u8 }.fetch("/")), "u8 /");
        assert_eq!(block_on(Client { base: 1u16 }.fetch("/")), "u16 /");
        assert_eq!((block_on(Client::<u8>::of()), block_on(Client::<u16>::of())), ("u8".into(), "u16".into()));
    };
    assert_eq!((runs(calls), runs(calls)), (4, 0));
}

#[test]
fn a_future_can_change_threads() {
    fn is_send<T: Send>(_: T) {}
    is_send(checked(1));
    is_send(Client { base: 1u8 }.fetch("/"));
}

#[test]
fn the_companion_has_the_key_of_the_call() {
    let key = |n| AnyKey::decode(&checked_cache_key(n).unwrap()).unwrap();
    let stored = |n| CACHE.contains(key(n)).unwrap();
    assert!(!stored(50));
    block_on(checked(50)).unwrap();
    assert!(stored(50));
}
