//! The rules that `--simulate` compares.

use super::s3_fifo::{self, Decay, S3Fifo};
use super::{Copying, Fifo, Judge, Rule, lfu, lru};

fn rule(name: String, copying: Copying, judge: impl Fn(u64, u64) -> Box<dyn Judge> + 'static) -> Rule {
    Rule { name, copying, judge: Box::new(judge) }
}

fn s3(name: &str, rule_of: S3Fifo, copying: Copying) -> Rule {
    let name = if name.is_empty() { "S3-FIFO".to_owned() } else { format!("S3-FIFO, {name}") };
    rule(name, copying, move |limit, mean| Box::new(s3_fifo::Judgement::new(rule_of, limit, mean)))
}

/// All of them: one thing changed at a time first, then what goes well together.
pub fn rules() -> Vec<Rule> {
    let (base, copying) = (S3Fifo::default(), Copying::default());
    let reset = S3Fifo { decay: Decay::Reset, ..base };
    let halve = S3Fifo { decay: Decay::Halve, ..base };
    let adapts = S3Fifo { adapts: Some((0.05, 0.8)), ..base };
    let bounded = Copying { keep: 0.9, requeue: Some(0.9), budget: Some(0.65) };
    let mut rules = vec![
        rule("FIFO".to_owned(), Copying { keep: 0.0, ..copying }, |_, _| Box::new(Fifo)),
        s3("", base, copying),
        s3("small 5 %", S3Fifo { small: 0.05, ..base }, copying),
        s3("small 20 %", S3Fifo { small: 0.2, ..base }, copying),
        s3("small 5..80 %", adapts, copying),
        s3("threshold 1", S3Fifo { threshold: 1, ..base }, copying),
        s3("keeps 75 %", base, Copying { keep: 0.75, ..copying }),
        s3("keeps 100 %", base, Copying { keep: 1.0, ..copying }),
        s3("halves", halve, copying),
        s3("resets", reset, copying),
        s3("no ghosts", S3Fifo { ghosts: 0.0, ..base }, copying),
        s3("half the ghosts", S3Fifo { ghosts: 0.45, ..base }, copying),
        s3("requeues at 90 %", base, Copying { requeue: Some(0.9), ..copying }),
        s3("budget 0.65", base, Copying { budget: Some(0.65), ..copying }),
    ];
    for threshold in [1, 2] {
        for decay in [Decay::Halve, Decay::Reset] {
            let name = format!("{threshold}, {decay:?}, 5..80 %, requeues, 0.65");
            rules.push(s3(&name, S3Fifo { threshold, decay, ..adapts }, bounded));
        }
    }
    for quantile in [0.1, 0.15, 0.2, 0.25, 0.3] {
        let keep = Copying { keep: 1.0, ..copying };
        rules.push(rule(format!("LRU, oldest {quantile}"), keep, move |limit, _| {
            Box::new(lru::Judgement::new(quantile, limit))
        }));
    }
    for keep in [0.5, 0.75, 0.9] {
        let copying = Copying { keep, ..copying };
        rules.push(rule(format!("LFU, keeps {keep}"), copying, move |_, _| Box::new(lfu::Judgement::new(keep))));
    }
    rules
}
