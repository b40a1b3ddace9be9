//! A validator's windows: gather, judge, vote, build and report the aggregate; weights and checkpoints in between.

use crate::{Effect, Event, FailedEffect, Follower, SealedRecord, SkipReason, Vote};
use templar_base::{BlockNumber, StateHash, Window};

/// How far the judging of one window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judging {
    Idle,
    Listing(Window),
    Gathering { window: Window, closed: bool },
    Judging(Window),
    Voting(Window),
}

/// The state of a validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    follower: Follower,
    weights_every_windows: u64,
    judging: Judging,
    /// The newest window that was judged, or whose judging was given up.
    settled: Option<Window>,
    /// What failed is not tried again before this block.
    retry_at: BlockNumber,
}

impl Validator {
    /// A validator that holds the parameters at which `follower` stands.
    pub fn new(follower: Follower, weights_every_windows: u64) -> Self {
        let (weights_every_windows, retry_at) = (weights_every_windows.max(1), BlockNumber(0));
        Self { follower, weights_every_windows, judging: Judging::Idle, settled: None, retry_at }
    }

    /// The part that follows the run.
    pub fn follower(&self) -> &Follower {
        &self.follower
    }

    /// What it does now, for people.
    pub fn activity(&self) -> &'static str {
        match self.judging {
            Judging::Idle => self.follower.activity(),
            Judging::Listing(_) | Judging::Gathering { .. } => "gathers payloads",
            Judging::Judging(_) => "judges payloads",
            Judging::Voting(_) => "votes",
        }
    }

    /// Advances by one event.
    pub fn step(&mut self, event: &Event) -> Vec<Effect> {
        let applying = self.follower.standing();
        let mut effects = self.follower.step(event);
        effects.extend(self.drop_judging_from_wrong_parameters());
        match event {
            Event::Applied { window, state } if *window == applying.next && self.follower.standing() != applying => {
                effects.extend(self.after_applying(*window, *state));
            }
            Event::SealedRead { window, records } if self.judging == Judging::Listing(*window) => {
                effects.extend(self.gather(*window, records));
            }
            Event::Gathered { window, settled, committed } => {
                effects.extend(self.on_gathered(*window, *settled, *committed));
            }
            Event::Judged { window, vote } if self.judging == Judging::Judging(*window) => {
                effects.push(self.vote(*window, vote));
            }
            Event::Voted { window } if self.judging == Judging::Voting(*window) => self.judging = Judging::Idle,
            Event::Failed { window, effect } => self.on_failed(*window, *effect),
            _ => {}
        }
        effects.extend(self.go_on());
        effects
    }

    /// A vote that rests on parameters known to be wrong would only mislead.
    fn drop_judging_from_wrong_parameters(&mut self) -> Option<Effect> {
        let (Judging::Listing(window) | Judging::Gathering { window, .. } | Judging::Judging(window)) = self.judging
        else {
            return None;
        };
        if !self.follower.is_replacing_parameters() {
            return None;
        }
        self.judging = Judging::Idle;
        Some(Effect::Skip { window, reason: SkipReason::NotInSync })
    }

    /// What is due at the present head and standing.
    fn go_on(&mut self) -> Option<Effect> {
        let ended = self.follower.current()?.previous()?;
        let (head, phases) = (self.follower.head(), self.follower.phases());
        match self.judging {
            Judging::Gathering { window, closed: false } if head >= phases.reveal(window) => {
                self.judging = Judging::Gathering { window, closed: true };
                Some(Effect::CloseGather { window })
            }
            Judging::Idle
                if self.follower.standing().next == ended
                    && !self.follower.is_replacing_parameters()
                    && head >= self.retry_at
                    && self.settled.is_none_or(|settled| settled < ended)
                    && head < phases.judge(ended) =>
            {
                self.settled = Some(ended);
                self.judging = Judging::Listing(ended);
                Some(Effect::ReadSealed { window: ended })
            }
            _ => None,
        }
    }

    fn gather(&mut self, window: Window, records: &[SealedRecord]) -> Vec<Effect> {
        self.judging = Judging::Gathering { window, closed: false };
        vec![Effect::Gather { window, records: records.to_vec() }]
    }

    fn on_gathered(&mut self, window: Window, settled: usize, committed: usize) -> Option<Effect> {
        match self.judging {
            Judging::Gathering { window: own, .. } if own == window => {}
            _ => return None,
        }
        if settled * 2 < committed {
            self.judging = Judging::Idle;
            return Some(Effect::Skip { window, reason: SkipReason::MostMissing });
        }
        self.judging = Judging::Judging(window);
        Some(Effect::Judge { window })
    }

    fn vote(&mut self, window: Window, vote: &Vote) -> Effect {
        // A vote that is sent at the deadline would land in a block after it.
        if self.follower.head() >= self.follower.phases().judge(window) {
            self.judging = Judging::Idle;
            return Effect::Skip { window, reason: SkipReason::VoteLate };
        }
        self.judging = Judging::Voting(window);
        Effect::Vote { window, vote: vote.clone() }
    }

    fn after_applying(&mut self, window: Window, state: StateHash) -> Vec<Effect> {
        let Some((own, applied)) = self.follower.unreported() else { return Vec::new() };
        if own != window || applied.state != state {
            return Vec::new();
        }
        let mut effects = vec![Effect::Report { window, applied }];
        // While catching up there is nothing to say: old ratings would take the place of the newest in the rate limit.
        let is_newest = self.follower.current() == Some(window.next());
        if is_newest && window.0 % self.weights_every_windows == self.weights_every_windows - 1 {
            effects.push(Effect::SetWeights { window });
        }
        if self.follower.phases().is_checkpoint(window.next()) {
            effects.push(Effect::PublishCheckpoint { window: window.next() });
        }
        effects
    }

    fn on_failed(&mut self, window: Window, effect: FailedEffect) {
        let gives_up = match self.judging {
            Judging::Listing(own) | Judging::Gathering { window: own, .. } => {
                own == window && effect == FailedEffect::Gather
            }
            Judging::Judging(own) => own == window && effect == FailedEffect::Judge,
            Judging::Voting(own) => own == window && effect == FailedEffect::Vote,
            Judging::Idle => false,
        };
        if !gives_up {
            return;
        }
        // Reading and gathering may be tried again while there is time; a failed judgement or vote is final.
        if effect == FailedEffect::Gather {
            self.settled = window.previous();
            self.retry_at = self.follower.head().plus(1);
        }
        self.judging = Judging::Idle;
    }
}
