//! One run of an arena, window by window.

use super::attacker::{Attacker, Scene};
use super::catalogue::Attack;
use super::crew::{Crew, Student};
use super::ground::{ArenaSizes, Ground, failed, hotkey};
use super::judging::{Hearing, Judge, JudgingName, Ruling};
use super::outcome::{ARENA_VERSION, ArenaRun, KeyTally};
use crate::model::ModelError;
use std::collections::BTreeMap;
use templar_base::{BlockNumber, ContentHash, PublicKey, Uid, Window};
use templar_engine::{Buffer, Engine};
use templar_gauntlet::{Entry, Rejection, Submission};
use templar_gradient::{Aggregate, Payload};
use templar_trainer::{Outcome, SharedState, TrainerError, mean_loss};

/// The attackers of a run.
struct Gang {
    crew: Crew,
    attacker: Box<dyn Attacker>,
    joins: Window,
    accomplices: usize,
}

struct Arena {
    ground: Ground,
    shared: SharedState,
    honest: Vec<Student>,
    honest_keys: Vec<Uid>,
    gang: Option<Gang>,
    registered: BTreeMap<Uid, PublicKey>,
    judge: Box<dyn Judge>,
    /// Computes for judges and for the held-out loss.
    engine: Box<dyn Engine>,
    /// The payloads of the window before.
    last: BTreeMap<Uid, Payload>,
    aggregate: Option<Aggregate>,
    /// From here on it counts what keys are paid.
    turn: Window,
    run: ArenaRun,
}

/// Plays one run from its first window to its last.
pub(super) fn play(
    sizes: ArenaSizes,
    attack: Option<&Attack>,
    judging: JudgingName,
    seed: u64,
) -> Result<ArenaRun, ModelError> {
    let mut arena = Arena::new(sizes, attack, judging, seed)?;
    for _ in 0..sizes.windows {
        arena.window()?;
    }
    Ok(arena.run)
}

impl Arena {
    fn new(sizes: ArenaSizes, attack: Option<&Attack>, judging: JudgingName, seed: u64) -> Result<Self, ModelError> {
        let ground = Ground::new(sizes, seed)?;
        let shared = ground.first()?;
        let honest_keys: Vec<Uid> = (0..sizes.honest).map(Uid).collect();
        let honest = honest_keys.iter().map(|uid| Student::new(&ground, *uid, &shared)).collect::<Result<_, _>>()?;
        let gang = attack.map(|attack| Gang::new(&ground, attack, &shared)).transpose()?;
        let all = honest_keys.iter().chain(gang.iter().flat_map(|gang| &gang.crew.keys));
        let run = ArenaRun {
            version: ARENA_VERSION,
            attack: attack.map(|attack| attack.name.to_owned()),
            judging: judging.name().to_owned(),
            seed,
            sizes,
            losses: Vec::new(),
            null_windows: 0,
            honest: KeyTally { keys: honest_keys.len() as u64, ..KeyTally::default() },
            attackers: KeyTally {
                keys: gang.as_ref().map_or(0, |gang| (gang.crew.keys.len() - gang.accomplices) as u64),
                ..KeyTally::default()
            },
        };
        Ok(Self {
            registered: all.map(|uid| (*uid, hotkey(*uid))).collect(),
            engine: ground.engine()?,
            judge: judging.judge(),
            turn: attack.map_or(Window::ZERO, |attack| attack.turns(&sizes)),
            last: BTreeMap::new(),
            aggregate: None,
            ground,
            shared,
            honest,
            honest_keys,
            gang,
            run,
        })
    }

    fn window(&mut self) -> Result<(), ModelError> {
        let window = self.shared.next;
        let payloads = self.payloads(window)?;
        let entries: Vec<Entry> = payloads.values().map(|payload| self.entry(payload)).collect();
        let hearing = Hearing {
            ground: &self.ground,
            window,
            shared: &self.shared,
            entries: &entries,
            registered: &self.registered,
        };
        let mut ruling = self.judge.rule(&hearing, self.engine.as_mut())?;
        self.apply(window, &ruling)?;
        self.note(window, &payloads, &ruling);
        self.last = payloads;
        if ruling.aggregate.is_some() {
            self.aggregate = ruling.aggregate.take();
        }
        Ok(())
    }

    /// All payloads of a window: the honest, then those of the attackers, who have not seen them.
    fn payloads(&mut self, window: Window) -> Result<BTreeMap<Uid, Payload>, ModelError> {
        let start = self.shared.state;
        let mut payloads = BTreeMap::new();
        for student in &mut self.honest {
            payloads.insert(student.uid, student.work(&self.ground, window, start)?);
        }
        if let Some(gang) = self.gang.as_mut().filter(|gang| window >= gang.joins) {
            let scene = Scene {
                ground: &self.ground,
                window,
                shared: &self.shared,
                last: &self.last,
                aggregate: self.aggregate.as_ref(),
                honest: &self.honest_keys,
            };
            let theirs = gang.attacker.payloads(&scene, &mut gang.crew)?;
            payloads.extend(theirs.into_iter().map(|payload| (payload.metadata().uid, payload)));
        }
        Ok(payloads)
    }

    /// What arrives of a payload: what its bytes say.
    fn entry(&self, payload: &Payload) -> Entry {
        let (uid, steps) = (payload.metadata().uid, payload.metadata().inner_steps);
        let submission = match Payload::from_bytes(payload.encode(), &self.ground.run.layout) {
            Ok(payload) => Submission::Payload {
                hash: ContentHash::of(payload.bytes()),
                data_digest: self.ground.data_digest(self.shared.next, uid, steps),
                payload: Box::new(payload),
            },
            Err(error) => Submission::Rejected(Rejection::Undecodable { reason: error.to_string() }),
        };
        Entry { uid, hotkey: hotkey(uid), block: BlockNumber(100 + u64::from(uid.0)), submission }
    }

    fn apply(&mut self, window: Window, ruling: &Ruling) -> Result<(), ModelError> {
        let step = self.ground.step(window);
        let outcome = Outcome { aggregate: ruling.aggregate.as_ref(), step: &step };
        self.shared.advance::<TrainerError>(outcome, |_| Ok(()), |_, _, _| {}).map_err(failed)?;
        let crew = self.gang.iter_mut().flat_map(|gang| &mut gang.crew.students);
        for student in self.honest.iter_mut().chain(crew) {
            student.apply(window, outcome, ruling.forgets.contains(&student.uid))?;
        }
        self.engine.write(Buffer::Parameters, 0, &self.shared.outer.params).map_err(failed)?;
        let loss = mean_loss(self.engine.as_mut(), &self.ground.held_out).map_err(failed)?;
        self.run.losses.push(loss);
        Ok(())
    }

    fn note(&mut self, window: Window, payloads: &BTreeMap<Uid, Payload>, ruling: &Ruling) {
        self.run.null_windows += u64::from(ruling.aggregate.is_none());
        if window < self.turn {
            return;
        }
        let (turn, windows) = (self.turn.get(), self.ground.sizes.windows);
        let is_late = window.get() >= windows - (windows - turn).div_ceil(4);
        let attackers = self.gang.as_ref().map_or(&[][..], |gang| &gang.crew.keys[gang.accomplices..]);
        for (keys, tally) in [(&self.honest_keys[..], &mut self.run.honest), (attackers, &mut self.run.attackers)] {
            for uid in keys {
                let paid = ruling.pay.get(uid).copied().unwrap_or(0.0);
                tally.paid += paid;
                tally.paid_late += if is_late { paid } else { 0.0 };
                tally.sent += u64::from(payloads.contains_key(uid));
                let Some(standing) = ruling.standings.get(uid) else { continue };
                tally.merged += u64::from(standing == "merged");
                *tally.standings.entry(standing.clone()).or_default() += 1;
            }
        }
    }
}

impl Gang {
    fn new(ground: &Ground, attack: &Attack, shared: &SharedState) -> Result<Self, ModelError> {
        let first = ground.sizes.honest;
        let keys: Vec<Uid> = (first..first + attack.keys(&ground.sizes)).map(Uid).collect();
        let attacker = (attack.make)(attack.turns(&ground.sizes));
        let students = keys[..attacker.students(keys.len())]
            .iter()
            .map(|uid| Student::new(ground, *uid, shared))
            .collect::<Result<_, _>>()?;
        let joins = attack.joins(&ground.sizes);
        Ok(Self { crew: Crew { keys, students }, attacker, joins, accomplices: attack.accomplices })
    }
}
