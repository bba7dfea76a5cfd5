//! Types that change between versions of a program, or whose two sides go by different names.

use super::*;

/// The enum `State` of a program's first version, and of later ones.
mod versions {
    use serde::{Deserialize, Serialize};

    pub mod one {
        #[derive(Debug, Clone, PartialEq, super::Serialize, super::Deserialize)]
        pub enum State {
            Queued,
            Running,
            Done(u8),
        }
    }

    pub mod reordered {
        #[derive(Debug, PartialEq, super::Serialize, super::Deserialize)]
        pub enum State {
            Queued,
            Done(u8),
            Running,
        }
    }

    pub mod inserted {
        #[derive(Debug, PartialEq, super::Serialize, super::Deserialize)]
        pub enum State {
            Queued,
            Paused,
            Running,
            Done(u8),
        }
    }

    pub mod appended {
        #[derive(Debug, PartialEq, super::Serialize, super::Deserialize)]
        pub enum State {
            Queued,
            Running,
            Done(u8),
            Failed,
        }
    }

    pub mod aliased {
        #[derive(Debug, PartialEq, super::Serialize, super::Deserialize)]
        pub enum State {
            #[serde(alias = "A", alias = "queued")]
            Queued,
            #[serde(alias = "running")]
            Running,
            Done(u8),
        }
    }
}

#[test]
fn variants_may_be_appended_but_not_moved() {
    use versions::*;
    let running = one::State::Running;
    assert_eq!(through::<_, appended::State>(&running).unwrap(), appended::State::Running);
    other_type::<_, inserted::State>(&running);
    other_type::<_, inserted::State>(&vec![running.clone()]);
    other_type::<_, Vec<inserted::State>>(&vec![running.clone()]);
    other_type::<_, (u8, Option<inserted::State>)>(&(1u8, Some(running)));
    assert!(through::<_, reordered::State>(&one::State::Done(3)).is_err());
    assert_eq!(through::<_, reordered::State>(&one::State::Queued).unwrap(), reordered::State::Queued);
}

#[test]
fn names_beside_the_first_do_not_hide_a_value() {
    use versions::aliased::State;
    round(State::Queued);
    round(vec![State::Running]);
    round((1u8, State::Done(4), versions::one::State::Running));
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Aliased {
        #[serde(alias = "name", alias = "a")]
        title: String,
        #[serde(rename = "type")]
        kind: u8,
    }
    round(Aliased { title: "a".into(), kind: 1 });
    round(vec![Some(Aliased { title: "a".into(), kind: 1 })]);
}

/// Types whose two sides go by different names.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String")]
struct Email(String);

impl TryFrom<String> for Email {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Email, &'static str> {
        if text.contains('@') { Ok(Email(text)) } else { Err("no address") }
    }
}

#[derive(Deserialize)]
struct UserForm {
    email: Email,
    age: u8,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "UserForm")]
struct User {
    email: Email,
    age: u8,
}

impl From<UserForm> for User {
    fn from(UserForm { email, age }: UserForm) -> User {
        User { email, age }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[derive(Clone)]
struct Address(String);

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.0
    }
}

impl TryFrom<String> for Address {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Address, &'static str> {
        if text.contains('@') { Ok(Address(text)) } else { Err("no address") }
    }
}

#[test]
fn types_that_read_themselves_through_another_come_back() {
    let user = || User { email: Email("a@b".into()), age: 3 };
    round(Email("a@b".into()));
    round(Some(Email("a@b".into())));
    round(vec![Email("a@b".into())]);
    round(Box::new(Email("a@b".into())));
    round(user());
    round(vec![user()]);
    round(std::collections::BTreeMap::from([(1u8, (user(), 5u8))]));
    round(Address("a@b".into()));
    round(vec![Address("a@b".into())]);
    assert!(matches!(through::<_, Address>("nobody"), Err(Error::Codec(_))));
    other_type::<_, String>(&Email("a@b".into()));
    assert!(through::<_, User>(&(1u8, 2u8)).is_err());
    other_type::<_, User>(&("a@b", 2u16));
}
