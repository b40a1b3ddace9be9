//! Which download from a stranger starts next, and which one makes room. Pure: time comes in as the duration since the
//! beginning, and what is left of the phase.
//!
//! Strangers choose where their objects are, and may answer slowly or never. So three quarters of the lanes are for
//! rated miners, in order of their rating; the others are asked in an order by lot, which no key can choose. One host has two
//! lanes at most. A download that lasts longer than a quarter of what was left of its phase makes room where another
//! waits for its lane. A host that fails is left alone for a while that doubles, whichever keys name it: a network must
//! be no hammer against a third party.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many downloads run at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneLimits {
    pub lanes: usize,
    /// Of these for rated miners, as far as there are any.
    pub rated: usize,
    pub per_host: usize,
}

impl Default for LaneLimits {
    fn default() -> Self {
        Self { lanes: 32, rated: 24, per_host: 2 }
    }
}

/// Pause before a download is tried again, at first; it grows by half each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Pause after wrong bytes, which cost as much as right ones.
const FIRST_PAUSE_AFTER_LIE: Duration = Duration::from_secs(2);
/// The longest pause of a host that fails, where so much of the phase is left.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a download may last at first, besides its bytes, and how fast these are to come.
const ANSWER_TIME: Duration = Duration::from_secs(5);
const SLOWEST_BYTES_PER_SECOND: u64 = 512 << 10;
/// A download keeps its lane for a time divided by this: of what was left of the phase when it began.
const PHASE_PART: u32 = 4;
/// Of the phase that is left, the longest pause before an object that was not there is asked for again.
const ABSENT_PART: u32 = 16;
/// However little is left, a download has this long.
const SHORTEST_HOLD: Duration = Duration::from_millis(200);

/// An object that is to be downloaded.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// Of its bucket; none where that is unknown.
    pub host: Option<String>,
    /// The rating of its miner, if it is rated.
    pub rating: Option<f64>,
    /// The order among those that are not rated.
    pub lot: u64,
    pub bytes: u64,
}

/// Why a download did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It is not there, or not yet.
    Absent,
    /// The bucket has something else in its place.
    Lie,
    /// The host cannot be reached, or fails.
    Host,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Not before this time.
    Due(Duration),
    /// Until others may have the lane.
    Running(Duration),
    Done,
}

#[derive(Debug)]
struct Job {
    candidate: Candidate,
    progress: Progress,
    attempts: u32,
    /// It lied or was slow: others first.
    is_suspect: bool,
}

impl Job {
    fn is_rated(&self) -> bool {
        self.candidate.rating.is_some()
    }

    fn is_running(&self) -> bool {
        matches!(self.progress, Progress::Running(_))
    }
}

/// What is known of a host.
#[derive(Debug, Default, Clone, Copy)]
struct Host {
    running: usize,
    failures: u32,
    /// No request before this time.
    due: Duration,
}

/// Downloads of unrated and of rated miners: how many run, and how many are not done.
#[derive(Debug, Default, Clone, Copy)]
struct Groups {
    running: [usize; 2],
    open: [usize; 2],
}

/// The downloads of one phase. Jobs are named by their place in the list given at the beginning.
#[derive(Debug)]
pub(crate) struct Lanes {
    limits: LaneLimits,
    jobs: Vec<Job>,
    /// Jobs in the order in which they are tried: by rating, then by lot.
    order: Vec<usize>,
    hosts: BTreeMap<String, Host>,
}

impl Lanes {
    pub(crate) fn new(limits: LaneLimits, candidates: Vec<Candidate>) -> Self {
        let jobs: Vec<Job> = candidates
            .into_iter()
            .map(|candidate| Job { candidate, progress: Progress::Due(Duration::ZERO), attempts: 0, is_suspect: false })
            .collect();
        let mut order: Vec<usize> = (0..jobs.len()).collect();
        let rating = |job: usize| jobs[job].candidate.rating.unwrap_or(f64::NEG_INFINITY);
        order.sort_by(|a, b| {
            let by_lot = || jobs[*a].candidate.lot.cmp(&jobs[*b].candidate.lot);
            rating(*b).total_cmp(&rating(*a)).then_with(by_lot)
        });
        Self { limits, jobs, order, hosts: BTreeMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.jobs.iter().all(|job| job.progress == Progress::Done)
    }

    /// Starts the download that comes next, if there is a lane for one; `left` is what is left of the phase, where that
    /// is known. The attempt's number tells its result from an earlier one's.
    pub(crate) fn start(&mut self, now: Duration, left: Option<Duration>) -> Option<(usize, u32)> {
        let groups = self.groups();
        let is_startable = |job: usize| self.is_due(job, now) && self.has_lane(job, groups);
        let startable = self.order.iter().enumerate().filter(|(_, job)| is_startable(**job));
        let (_, job) = startable.min_by_key(|(place, job)| {
            let job = &self.jobs[**job];
            (Reverse(job.is_rated()), job.is_suspect, job.attempts, *place)
        })?;
        let (job, part) = (*job, left.map(|left| left / PHASE_PART));
        let started = &mut self.jobs[job];
        let usual = ANSWER_TIME + Duration::from_secs(started.candidate.bytes / SLOWEST_BYTES_PER_SECOND);
        let hold = part.map_or(usual, |part| usual.min(part)).max(SHORTEST_HOLD);
        started.progress = Progress::Running(now.saturating_add(hold));
        started.attempts += 1;
        let attempt = started.attempts;
        if let Some(host) = self.host_of(job) {
            host.running += 1;
        }
        Some((job, attempt))
    }

    /// A download that lasted too long and whose lane another one waits for. It is counted as failed by this.
    pub(crate) fn make_room(&mut self, now: Duration, left: Option<Duration>) -> Option<usize> {
        let groups = self.groups();
        let waits = |waiting: &&usize| self.is_due(**waiting, now) && !self.has_lane(**waiting, groups);
        let overdue = |job: &usize| matches!(self.jobs[*job].progress, Progress::Running(until) if until <= now);
        let room = self.order.iter().filter(waits).find_map(|waiting| {
            let host_has_lane = self.has_host_lane(*waiting);
            let helps = |job: &usize| match host_has_lane {
                true => self.jobs[*job].is_rated() == self.jobs[*waiting].is_rated(),
                false => self.jobs[*job].candidate.host == self.jobs[*waiting].candidate.host,
            };
            (0..self.jobs.len()).filter(|job| overdue(job) && helps(job)).max_by_key(|job| self.jobs[*job].attempts)
        })?;
        self.jobs[room].is_suspect = true;
        self.failed(room, Failure::Host, now, left);
        Some(room)
    }

    /// The object is here.
    pub(crate) fn fetched(&mut self, job: usize) {
        self.stop(job);
        self.jobs[job].progress = Progress::Done;
        if let Some(host) = self.host_of(job) {
            (host.failures, host.due) = (0, Duration::ZERO);
        }
    }

    /// Whether this is the attempt that runs.
    pub(crate) fn is_running(&self, job: usize, attempt: u32) -> bool {
        self.jobs[job].is_running() && self.jobs[job].attempts == attempt
    }

    /// The running attempt failed; the next one comes after a pause.
    pub(crate) fn failed(&mut self, job: usize, failure: Failure, now: Duration, left: Option<Duration>) {
        self.stop(job);
        let most = left.map_or(LONGEST_PAUSE, |left| (left / PHASE_PART).min(LONGEST_PAUSE)).max(FIRST_PAUSE);
        let grown = |first: Duration, times: u32, by: f64| first.mul_f64(by.powi(times.min(32) as i32)).min(most);
        // A key comes at any moment of a phase whose length is only estimated: it must not be noticed too late.
        let most_absent = (left.unwrap_or(LONGEST_PAUSE) / ABSENT_PART).max(FIRST_PAUSE);
        if failure == Failure::Host
            && let Some(host) = self.host_of(job)
        {
            host.due = now.saturating_add(grown(FIRST_PAUSE, host.failures, 2.0));
            host.failures = host.failures.saturating_add(1);
        }
        let failed = &mut self.jobs[job];
        failed.is_suspect |= failure == Failure::Lie;
        let first = if failure == Failure::Lie { FIRST_PAUSE_AFTER_LIE } else { FIRST_PAUSE };
        let grown = grown(first, failed.attempts.saturating_sub(1), 1.5);
        let pause = if failure == Failure::Absent { grown.min(most_absent) } else { grown };
        failed.progress = Progress::Due(now.saturating_add(pause));
    }

    fn stop(&mut self, job: usize) {
        if self.jobs[job].is_running()
            && let Some(host) = self.host_of(job)
        {
            host.running = host.running.saturating_sub(1);
        }
    }

    fn host(&self, job: usize) -> Host {
        let name = self.jobs[job].candidate.host.as_ref();
        name.and_then(|name| self.hosts.get(name)).copied().unwrap_or_default()
    }

    fn host_of(&mut self, job: usize) -> Option<&mut Host> {
        let name = self.jobs[job].candidate.host.clone()?;
        Some(self.hosts.entry(name).or_default())
    }

    fn is_due(&self, job: usize, now: Duration) -> bool {
        matches!(self.jobs[job].progress, Progress::Due(due) if due <= now) && self.host(job).due <= now
    }

    fn groups(&self) -> Groups {
        let mut groups = Groups::default();
        for job in &self.jobs {
            let group = usize::from(job.is_rated());
            groups.open[group] += usize::from(job.progress != Progress::Done);
            groups.running[group] += usize::from(job.is_running());
        }
        groups
    }

    /// Whether the miner's group and the host have a lane. What one group cannot use is the other's.
    fn has_lane(&self, job: usize, groups: Groups) -> bool {
        let group = usize::from(self.jobs[job].is_rated());
        let rated = self.limits.rated.min(self.limits.lanes);
        let kept = [rated, self.limits.lanes - rated][group].min(groups.open[1 - group]);
        let is_free = groups.running[group] < self.limits.lanes - kept;
        is_free && groups.running[0] + groups.running[1] < self.limits.lanes && self.has_host_lane(job)
    }

    fn has_host_lane(&self, job: usize) -> bool {
        self.host(job).running < self.limits.per_host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(50);

    fn candidate(host: &str, rating: Option<f64>, lot: u64) -> Candidate {
        Candidate { host: Some(host.to_owned()), rating, lot, bytes: 1000 }
    }

    fn started(lanes: &mut Lanes, now: Duration) -> Vec<usize> {
        std::iter::from_fn(|| lanes.start(now, None)).map(|(job, _)| job).collect()
    }

    /// Plays a phase in which some jobs answer at once and the others never do; when the honest ones were fetched.
    fn play(lanes: &mut Lanes, honest: &[usize], phase: Duration) -> Vec<Duration> {
        let (mut now, mut done) = (Duration::ZERO, Vec::new());
        while now < phase {
            let left = Some(phase - now);
            while lanes.make_room(now, left).is_some() {}
            while let Some((job, _)) = lanes.start(now, left) {
                if honest.contains(&job) {
                    lanes.fetched(job);
                    done.push(now);
                }
            }
            now += TICK;
        }
        done
    }

    #[test]
    fn three_quarters_are_for_rated_miners_in_order_of_rating() {
        let rated = (0..30).map(|n| candidate(&format!("rated-{n}"), Some(f64::from(n)), 0));
        let others = (0..30).map(|n| candidate(&format!("other-{n}"), None, 99 - n));
        let mut lanes = Lanes::new(LaneLimits::default(), rated.chain(others).collect());
        let first = started(&mut lanes, Duration::ZERO);
        assert_eq!(first[..24], (6..30).rev().collect::<Vec<_>>());
        assert_eq!(first[24..], (52..60).rev().collect::<Vec<_>>(), "by lot");
        lanes.fetched(29);
        assert_eq!(started(&mut lanes, TICK), [5]);
    }

    #[test]
    fn what_one_group_cannot_use_is_the_others() {
        let rated = (0..4).map(|n| candidate(&format!("rated-{n}"), Some(1.0), n));
        let others = (0..40).map(|n| candidate(&format!("other-{n}"), None, n));
        let mut lanes = Lanes::new(LaneLimits::default(), rated.chain(others).collect());
        assert_eq!(started(&mut lanes, Duration::ZERO).len(), 32);
        let all_rated = (0..40).map(|n| candidate(&format!("rated-{n}"), Some(1.0), n)).collect();
        assert_eq!(started(&mut Lanes::new(LaneLimits::default(), all_rated), Duration::ZERO).len(), 32);
    }

    #[test]
    fn a_host_has_two_lanes_and_its_backoff_counts_for_all_its_keys() {
        let jobs = (0..4).map(|n| candidate("host", None, n)).chain([candidate("other", None, 9)]);
        let mut lanes = Lanes::new(LaneLimits::default(), jobs.collect());
        assert_eq!(started(&mut lanes, Duration::ZERO), [0, 1, 4]);
        lanes.failed(0, Failure::Host, Duration::ZERO, None);
        assert_eq!(started(&mut lanes, TICK), [] as [usize; 0], "job 2 would meet the same host");
        // Failures in a row: the pauses double, whichever key it is, up to the longest.
        let (mut now, mut pauses) = (Duration::ZERO, Vec::new());
        for _ in 0..9 {
            let from = now;
            let job = loop {
                now += TICK;
                if let Some((job, _)) = lanes.start(now, None) {
                    break job;
                }
            };
            pauses.push((now - from).as_millis());
            lanes.failed(job, Failure::Host, now, None);
        }
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
        lanes.fetched(1);
        assert_eq!(started(&mut lanes, now + Duration::from_secs(5)).len(), 2, "an answer ends the backoff");
    }

    #[test]
    fn an_object_that_is_not_there_yet_says_nothing_about_its_host() {
        let mut lanes = Lanes::new(LaneLimits::default(), (0..3).map(|n| candidate("host", None, n)).collect());
        assert_eq!(started(&mut lanes, Duration::ZERO), [0, 1]);
        lanes.failed(0, Failure::Absent, Duration::ZERO, None);
        assert_eq!(started(&mut lanes, TICK), [2]);
    }

    /// Bug: pauses grew with the attempts, and keys that came late in a phase were seen after it.
    #[test]
    fn an_object_that_comes_late_is_noticed_soon() {
        let mut lanes = Lanes::new(LaneLimits::default(), vec![candidate("host", None, 0)]);
        let (phase, mut now, mut last) = (Duration::from_secs(8), Duration::ZERO, Duration::ZERO);
        while now < phase {
            let left = Some(phase - now);
            if lanes.start(now, left).is_some() {
                assert!(now - last <= Duration::from_millis(550), "{last:?} to {now:?}");
                last = now;
                lanes.failed(0, Failure::Absent, now, left);
            }
            now += TICK;
        }
        assert!(last > phase - Duration::from_millis(300), "{last:?}");
    }

    #[test]
    fn a_slow_download_keeps_its_lane_while_no_other_waits_for_it() {
        let limits = LaneLimits { lanes: 2, rated: 1, per_host: 2 };
        let jobs = (0..3).map(|n| candidate(&n.to_string(), None, n)).collect();
        let mut lanes = Lanes::new(limits, jobs);
        let (quarter, left) = (Duration::from_secs(1), Some(Duration::from_secs(4)));
        assert_eq!(
            (lanes.start(Duration::ZERO, left), lanes.start(Duration::ZERO, left)),
            (Some((0, 1)), Some((1, 1)))
        );
        assert_eq!(lanes.make_room(quarter - TICK, left), None);
        let room = lanes.make_room(quarter, left).unwrap();
        assert_eq!(lanes.start(quarter, left), Some((2, 1)));
        assert!(!lanes.is_running(room, 1) && lanes.is_running(2, 1));
        assert_eq!(lanes.make_room(quarter, left), None, "nobody else is due");
        lanes.fetched(2);
        assert_eq!(lanes.make_room(quarter + TICK, left), None, "there is a free lane");
    }

    #[test]
    fn stalling_strangers_of_any_number_and_order_delay_no_rated_miner_and_a_few_delay_nobody() {
        let phase = Duration::from_secs(4);
        let stalling = |count| (0..count).map(|n| candidate(&format!("stalls-{n}"), None, n));
        // Unrated, and last by lot.
        let few = stalling(40).chain((100..104).map(|n| candidate(&format!("honest-{n}"), None, n)));
        let fetched = play(&mut Lanes::new(LaneLimits::default(), few.collect()), &[40, 41, 42, 43], phase);
        assert!(fetched.len() == 4 && fetched[3] <= phase / 2, "{fetched:?}");
        let many = stalling(500).chain((100..104).map(|n| candidate(&format!("honest-{n}"), Some(0.1), n)));
        let fetched = play(&mut Lanes::new(LaneLimits::default(), many.collect()), &[500, 501, 502, 503], phase);
        assert_eq!(fetched, [Duration::ZERO; 4]);
        // Rated ones that stall, and are rated higher.
        let rated = (0..40).map(|n| candidate(&format!("stalls-{n}"), Some(2.0), n));
        let rated = rated.chain((100..104).map(|n| candidate(&format!("honest-{n}"), Some(0.1), n)));
        let fetched = play(&mut Lanes::new(LaneLimits::default(), rated.collect()), &[40, 41, 42, 43], phase);
        assert!(fetched.len() == 4 && fetched[3] <= phase / 2, "{fetched:?}");
    }
}
