//! When a connection has had its time: idle, old, or not taking what it asked for.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use crate::transport::queue::shared::Upkeep as Limits;

/// How long a client without calls may take to leave once it was sent elsewhere.
const LEAVING: Duration = Duration::from_secs(10);
const OFTEN: Duration = Duration::from_millis(10);
const RARELY: Duration = Duration::from_secs(15);

#[derive(Debug, PartialEq)]
pub enum Verdict {
    Keep,
    /// Have the client use another connection; calls in progress go on.
    SendElsewhere,
    /// It was sent elsewhere, and its time to leave is over.
    End,
    /// It took nothing of its answers for too long.
    Stalled,
}

/// What is known of a connection when it is looked at.
#[derive(Clone, Copy, Default)]
pub struct Facts {
    /// Calls in progress.
    pub calls: usize,
    /// Calls that were ever begun.
    pub opened: u64,
    /// Bytes of answers that wait, and how many were ever taken.
    pub held: usize,
    pub taken: u64,
}

pub struct Upkeep {
    limits: Limits,
    ages_at: Option<Instant>,
    last: Facts,
    idle_since: Instant,
    untaken_since: Instant,
    sent_elsewhere: Option<Instant>,
}

impl Upkeep {
    pub fn new(limits: &Limits, now: Instant) -> Self {
        Upkeep {
            limits: limits.clone(),
            ages_at: limits.max_age.map(|age| now + age.mul_f64(jitter())),
            last: Facts::default(),
            idle_since: now,
            untaken_since: now,
            sent_elsewhere: None,
        }
    }

    /// How often to look; None when nothing is limited.
    pub fn period(&self) -> Option<Duration> {
        let limits = &self.limits;
        let shortest = [limits.idle, limits.max_age, limits.untaken]
            .into_iter()
            .flatten()
            .min()?;
        Some((shortest / 4).clamp(OFTEN, RARELY))
    }

    pub fn look(&mut self, now: Instant, facts: Facts) -> Verdict {
        let last = std::mem::replace(&mut self.last, facts);
        if facts.calls > 0 || facts.opened != last.opened {
            self.idle_since = now;
        }
        if facts.held == 0 || facts.taken != last.taken {
            self.untaken_since = now;
        }
        let is_over =
            |since: Instant, limit: Option<Duration>| limit.is_some_and(|most| now - since >= most);
        if is_over(self.untaken_since, self.limits.untaken) {
            return Verdict::Stalled;
        }
        if let Some(since) = self.sent_elsewhere {
            let left = self.idle_since.max(since);
            let is_unused = facts.calls == 0 && is_over(left, Some(LEAVING));
            return match is_unused || is_over(since, Some(self.limits.grace)) {
                true => Verdict::End,
                false => Verdict::Keep,
            };
        }
        if is_over(self.idle_since, self.limits.idle) || self.ages_at.is_some_and(|at| now >= at) {
            self.sent_elsewhere = Some(now);
            return Verdict::SendElsewhere;
        }
        Verdict::Keep
    }
}

/// From 0.9 to 1.1, so that connections that began together do not end together.
fn jitter() -> f64 {
    let random = RandomState::new().build_hasher().finish() % 2000;
    0.9 + random as f64 / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Limits {
        Limits {
            idle: Some(60 * SECOND),
            max_age: Some(3600 * SECOND),
            grace: 300 * SECOND,
            untaken: Some(30 * SECOND),
        }
    }

    fn calls(calls: usize) -> Facts {
        Facts {
            calls,
            opened: 1,
            ..Facts::default()
        }
    }

    #[test]
    fn a_connection_without_calls_is_sent_away_and_then_ended() {
        let start = Instant::now();
        let mut upkeep = Upkeep::new(&limits(), start);
        assert_eq!(
            upkeep.look(start + 59 * SECOND, Facts::default()),
            Verdict::Keep
        );

        let away = start + 60 * SECOND;
        assert_eq!(upkeep.look(away, Facts::default()), Verdict::SendElsewhere);
        assert_eq!(
            upkeep.look(away + 9 * SECOND, Facts::default()),
            Verdict::Keep
        );
        assert_eq!(
            upkeep.look(away + 10 * SECOND, Facts::default()),
            Verdict::End
        );
    }

    #[test]
    fn a_connection_is_not_idle_during_a_call_or_with_new_ones() {
        let start = Instant::now();
        let mut upkeep = Upkeep::new(&limits(), start);
        assert_eq!(upkeep.look(start + 50 * SECOND, calls(1)), Verdict::Keep);
        assert_eq!(upkeep.look(start + 100 * SECOND, calls(0)), Verdict::Keep);
        let another = Facts {
            opened: 2,
            ..Facts::default()
        };
        assert_eq!(upkeep.look(start + 109 * SECOND, another), Verdict::Keep);
        assert_eq!(upkeep.look(start + 168 * SECOND, another), Verdict::Keep);
        assert_eq!(
            upkeep.look(start + 169 * SECOND, another),
            Verdict::SendElsewhere
        );
    }

    #[test]
    fn an_old_connection_leaves_when_its_calls_are_over_or_its_grace_is() {
        let start = Instant::now();
        let mut upkeep = Upkeep::new(&limits(), start);
        assert_eq!(upkeep.look(start + 3230 * SECOND, calls(1)), Verdict::Keep);

        let away = start + 3961 * SECOND;
        assert_eq!(upkeep.look(away, calls(1)), Verdict::SendElsewhere);
        assert_eq!(upkeep.look(away + 299 * SECOND, calls(1)), Verdict::Keep);
        assert_eq!(upkeep.look(away + 300 * SECOND, calls(1)), Verdict::End);
    }

    #[test]
    fn a_client_that_takes_nothing_is_stalled() {
        let start = Instant::now();
        let mut upkeep = Upkeep::new(&limits(), start);
        let facts = |taken| Facts {
            calls: 1,
            held: 100,
            taken,
            ..Facts::default()
        };
        assert_eq!(upkeep.look(start + 29 * SECOND, facts(1)), Verdict::Keep);
        assert_eq!(upkeep.look(start + 58 * SECOND, facts(1)), Verdict::Keep);
        assert_eq!(upkeep.look(start + 59 * SECOND, facts(1)), Verdict::Stalled);
    }

    #[test]
    fn limits_are_looked_at_often_enough() {
        let mut short = limits();
        short.untaken = Some(2 * SECOND);
        let now = Instant::now();
        assert_eq!(Upkeep::new(&short, now).period(), Some(SECOND / 2));
        assert_eq!(Upkeep::new(&Limits::default(), now).period(), None);
    }

    #[test]
    fn connections_age_at_different_times() {
        let ages: Vec<f64> = (0..50).map(|_| jitter()).collect();

        assert!(ages.iter().all(|age| (0.9..=1.1).contains(age)));
        assert!(ages.iter().any(|age| *age != ages[0]));
    }
}
