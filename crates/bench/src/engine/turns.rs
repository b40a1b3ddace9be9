//! Engines take turns, so that whatever else the machine does hits all of them alike.

use super::EngineBenchError;
use super::process::Process;
use super::worker::Request;
use crate::Progress;
use crate::error::with_causes;
use std::collections::BTreeMap;
use std::time::Duration;

/// A turn lasts about this long, so that the clock's grain and a short disturbance do not matter.
const TURN_SECONDS: f64 = 0.5;

/// Before a turn: threads of the engine before may go on for a while, waiting busily for more work.
const PAUSE: Duration = Duration::from_millis(300);

/// The engines of one comparison, by the names that figures have.
#[derive(Default)]
pub struct Contestants {
    processes: BTreeMap<String, Process>,
    /// Who could not take part, and why.
    pub missing: Vec<String>,
}

/// Seconds per step of each engine, turn by turn.
pub struct Times(BTreeMap<String, Vec<f64>>);

impl Contestants {
    /// Lets an engine in, or notes why it cannot be.
    pub fn add(&mut self, name: &str, process: Result<Process, EngineBenchError>) {
        match process {
            Ok(process) => drop(self.processes.insert(name.to_owned(), process)),
            Err(error) => self.missing.push(format!("{name}: {}", with_causes(&error))),
        }
    }

    /// Lets all go but this one.
    pub fn keep_only(&mut self, name: &str) {
        self.processes.retain(|other, _| other == name);
    }

    /// The engine of this name.
    pub fn get(&mut self, name: &str) -> Option<&mut Process> {
        self.processes.get_mut(name)
    }

    /// What the cores of an engine of ours can do at all, in operations per second; none where it does not run.
    pub fn peak(&mut self, name: &str) -> Result<Option<f64>, EngineBenchError> {
        let Some(process) = self.get(name) else { return Ok(None) };
        Ok(Some(process.ask(&Request::Peak)?.flops_per_second))
    }

    /// All engines by name.
    pub fn all(&self) -> impl Iterator<Item = (&String, &Process)> {
        self.processes.iter()
    }

    /// Measures `rounds` turns of each engine, after a warm-up; `request` makes the request for so many steps.
    ///
    /// An engine that fails leaves the contest.
    pub fn take_turns(
        &mut self,
        rounds: usize,
        request: impl Fn(usize) -> Request,
        progress: &mut dyn Progress,
        what: &str,
    ) -> Times {
        let mut steps = Vec::new();
        progress.restart();
        let names = self.order();
        for name in &names {
            progress.say(&format!("{what}: warming up {name}"));
            // The first step makes buffers, or compiles; the second tells how long one takes.
            if let Some(seconds) = self.turn(name, &request(1)).and_then(|_| self.turn(name, &request(1))) {
                steps.push((name.clone(), turn_steps(seconds)));
            }
        }
        let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        progress.restart();
        for round in 0..rounds {
            progress.show(round as f64 / rounds as f64, what);
            for (name, steps) in &steps {
                std::thread::sleep(PAUSE);
                if let Some(seconds) = self.turn(name, &request(*steps)) {
                    times.entry(name.clone()).or_default().push(seconds / *steps as f64);
                }
            }
            // There and back, so that a machine that gets slower or faster favours nobody.
            steps.reverse();
        }
        // Whoever failed on the way has no figure at all, so that turns stay pairs.
        times.retain(|_, turns| turns.len() == rounds);
        Times(times)
    }

    /// The engines by threads and name: those that are compared follow each other.
    fn order(&self) -> Vec<String> {
        let mut names: Vec<String> = self.processes.keys().cloned().collect();
        names.sort_by_key(|name| name.contains("threads"));
        names
    }

    fn turn(&mut self, name: &str, request: &Request) -> Option<f64> {
        match self.processes.get_mut(name)?.ask(request) {
            Ok(answer) => Some(answer.seconds),
            Err(error) => {
                self.missing.push(format!("{name}: {}", with_causes(&error)));
                self.processes.remove(name);
                None
            }
        }
    }
}

impl Times {
    /// The median rate of each engine, for steps of so many tokens.
    pub fn tokens_per_second(&self, tokens: usize) -> BTreeMap<String, f64> {
        self.0.iter().map(|(name, turns)| (name.clone(), tokens as f64 / median(turns.clone()))).collect()
    }

    /// How many times as fast `ours` is as `theirs`: the median of the ratios of the turns.
    pub fn ratio(&self, ours: &str, theirs: &str) -> Option<f64> {
        let pairs = self.0.get(ours)?.iter().zip(self.0.get(theirs)?);
        Some(median(pairs.map(|(ours, theirs)| theirs / ours).collect()))
    }

    /// The same of each one's best turn: what a machine without other load would come to.
    pub fn ratio_of_best(&self, ours: &str, theirs: &str) -> Option<f64> {
        let best = |name: &str| self.0.get(name)?.iter().copied().min_by(f64::total_cmp);
        Some(best(theirs)? / best(ours)?)
    }
}

/// Steps of a turn, if one takes so long.
pub fn turn_steps(seconds: f64) -> usize {
    (TURN_SECONDS / seconds).ceil().clamp(1.0, 1000.0) as usize
}

/// The middle value; the upper of the two middle ones.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_turn_by_turn() {
        let times = |turns: &[f64]| turns.to_vec();
        // The third turn was disturbed for both alike: a ratio of medians would say 2.
        let all = [("a", times(&[1.0, 1.0, 9.0])), ("b", times(&[3.0, 2.0, 27.0]))];
        let times = Times(all.into_iter().map(|(name, turns)| (name.to_owned(), turns)).collect());
        assert_eq!(times.ratio("a", "b"), Some(3.0));
        assert_eq!(times.ratio_of_best("a", "b"), Some(2.0));
        assert_eq!((times.ratio("a", "c"), times.ratio_of_best("c", "a")), (None, None));
        assert_eq!(times.tokens_per_second(8)["a"], 8.0);
    }
}
