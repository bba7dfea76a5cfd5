//! The process of one store: it opens or fills it, and then runs the rows that it is asked for, one line for each.

use std::io::BufRead;
use std::time::Duration;

use crate::histogram::Histogram;
use crate::measure::Outcome;
use crate::peers::{Mode, WhyNot};
use crate::rows::{self, Scope};
use crate::stage::{Figure, Stage};

/// What a worker is to be: its arguments, and how it reads them.
#[derive(Clone)]
pub struct Task {
    /// Fills the store and ends.
    pub fills: bool,
    pub peer: String,
    pub directory: String,
    pub items: u64,
    pub len: usize,
    pub millis: u64,
}

impl Task {
    pub fn arguments(&self) -> Vec<String> {
        let Task { fills, peer, directory, items, len, millis } = self;
        let kind = if *fills { "fill" } else { "work" };
        [kind, peer, directory, &items.to_string(), &len.to_string(), &millis.to_string()].map(str::to_owned).to_vec()
    }

    pub fn parse(arguments: &[String]) -> Outcome<Task> {
        let [kind, peer, directory, items, len, millis] = arguments else { return Err("six arguments".into()) };
        Ok(Task {
            fills: kind == "fill",
            peer: peer.clone(),
            directory: directory.clone(),
            items: items.parse()?,
            len: len.parse()?,
            millis: millis.parse()?,
        })
    }
}

/// What a worker says of a row.
pub enum Answer {
    Figure(Figure),
    WhyNot(String),
}

impl Answer {
    fn to_text(result: Outcome<Figure>) -> String {
        match result {
            Ok(Figure { value, service, response }) => {
                format!("figure {value} {} {}", service.to_text(), response.to_text())
            }
            Err(error) if error.is::<WhyNot>() => format!("not {error}"),
            Err(error) => format!("failed {}", error.to_string().replace('\n', " ")),
        }
    }

    pub fn parse(text: &str) -> Outcome<Answer> {
        let words: Vec<&str> = text.splitn(2, ' ').collect();
        match words.as_slice() {
            ["figure", rest] => {
                let [value, service, response] = rest.split(' ').collect::<Vec<_>>()[..] else {
                    return Err("a figure has three parts".into());
                };
                let (service, response) = (Histogram::parse(service)?, Histogram::parse(response)?);
                Ok(Answer::Figure(Figure { value: value.parse()?, service, response }))
            }
            ["not", why] => Ok(Answer::WhyNot((*why).to_owned())),
            ["failed", why] => Ok(Answer::WhyNot(format!("failed: {why}"))),
            _ => Ok(Answer::WhyNot("failed: its process ended".to_owned())),
        }
    }
}

pub fn process(arguments: &[String]) -> Outcome<()> {
    let task = Task::parse(arguments)?;
    let time = Duration::from_millis(task.millis);
    let mut stage = Stage::new(&task.peer, task.directory.into(), (task.items, task.len), time);
    if task.fills {
        return stage.fill(0..task.items);
    }
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (name, round) = line.split_once(' ').ok_or("a row and a round")?;
        let row = rows::find(name)?;
        if row.scope != Scope::Reopened && row.scope != Scope::Alone && stage.peer.is_none() {
            stage.open(Mode::default())?;
            // The floor has nothing that was filled by another process.
            if stage.name == "floor" {
                stage.fill(0..task.items)?;
            }
            stage.warm(10 * time)?;
        }
        println!("{}", Answer::to_text((row.run)(&mut stage, round.parse()?)));
    }
    Ok(())
}
