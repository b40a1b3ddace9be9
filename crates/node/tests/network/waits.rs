//! Whom the next block waits for, and for how long.

use super::*;

impl World {
    pub(super) async fn wait_for_outcome(&mut self, head: BlockNumber, ended: Window) {
        let phases = self.run.phases.clone();
        if head.plus(1) == phases.reveal(ended) {
            // What is gathered shows nowhere: who is at it needs a moment.
            tokio::time::sleep(GATHER_PAUSE).await;
        } else if Some(head.plus(2)) == phases.hold(ended) {
            self.wait_for("what is held", PATIENCE, true, |world| world.have_voted(ended, Topic::Held)).await;
        } else if Some(head) == phases.hold(ended) {
            // Who lacks a candidate fetches it from a mirror, which shows nowhere either.
            tokio::time::sleep(GATHER_PAUSE).await;
        } else if head.plus(2) == phases.judge(ended) {
            self.wait_for("sealed votes", PATIENCE, true, |world| world.have_voted(ended, Topic::VoteSeal)).await;
        } else if head.plus(2) == phases.open(ended) {
            self.wait_for("votes", PATIENCE, true, |world| world.have_voted(ended, Topic::Vote)).await;
        } else if head == phases.apply(ended) {
            self.wait_for("reports", PATIENCE, true, |world| world.have_reported(ended)).await;
        } else if head > phases.apply(ended) && head < phases.seal(ended.next()) {
            let last = head.plus(1) == phases.seal(ended.next());
            let patience = if last { PATIENCE } else { APPLY_PAUSE };
            self.wait_for("outcomes", patience, last, |world| world.have_applied(ended)).await;
        }
    }

    pub(super) async fn wait_for(
        &mut self,
        what: &str,
        patience: Duration,
        must: bool,
        is_done: impl Fn(&mut Self) -> Vec<String>,
    ) {
        let begun = Instant::now();
        loop {
            let missing = is_done(self);
            if missing.is_empty() {
                return;
            }
            if begun.elapsed() > patience {
                if must {
                    let head = self.head();
                    self.impatience.push(format!("block {head}: no {what} of {missing:?}"));
                }
                return;
            }
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
    }

    /// Those who run, pass the filter, and do not pass the check.
    fn lacking(&mut self, expected: impl Fn(&Node) -> bool, done: impl Fn(&Node) -> bool) -> Vec<String> {
        for node in self.nodes.values_mut() {
            node.read_journal();
        }
        let running = self
            .nodes
            .iter()
            .filter(|(_, node)| node.is_running() && !node.is_hindered && expected(node) && !done(node));
        running.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn have_announced(&mut self) -> Vec<String> {
        let submitted = self.chain.submitted();
        self.lacking(|_| true, |node| submitted.contains(&(node.hotkey.public(), Topic::Bucket, 0)))
    }

    pub(super) fn have_started(&mut self) -> Vec<String> {
        self.lacking(|_| true, |node| !node.entries.is_empty())
    }

    pub(super) fn have_sealed(&mut self, window: Window) -> Vec<String> {
        let submitted = self.chain.submitted();
        self.lacking(
            |node| node.role == Role::Miner && node.next == window,
            |node| node.has_skipped(window) || submitted.contains(&(node.hotkey.public(), Topic::Sealed, window.0)),
        )
    }

    pub(super) fn have_voted(&mut self, window: Window, topic: Topic) -> Vec<String> {
        let submitted = self.chain.submitted();
        self.lacking(
            |node| node.role == Role::Validator && node.next == window,
            |node| node.has_skipped(window) || submitted.contains(&(node.hotkey.public(), topic, window.0)),
        )
    }

    pub(super) fn have_reported(&mut self, window: Window) -> Vec<String> {
        let submitted = self.chain.submitted();
        self.lacking(
            |node| node.role == Role::Validator && (node.next == window || node.next == window.next()),
            |node| submitted.contains(&(node.hotkey.public(), Topic::Applied, window.0)),
        )
    }

    pub(super) fn have_applied(&mut self, window: Window) -> Vec<String> {
        self.lacking(|node| node.next >= window, |node| node.next > window)
    }
}
