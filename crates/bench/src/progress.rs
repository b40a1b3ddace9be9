//! How far a measurement is.

/// Whoever shows how far a measurement is.
pub trait Progress {
    /// Work whose end is not known.
    fn say(&mut self, what: &str);
    /// Work of which the share `done`, 0 to 1, is done.
    fn show(&mut self, done: f64, what: &str);
    /// Restarts the estimate of the time left, such as at the next stage of the work.
    fn restart(&mut self);
}

impl Progress for templar_screen::Progress {
    fn say(&mut self, what: &str) {
        Self::say(self, what);
    }

    fn show(&mut self, done: f64, what: &str) {
        Self::show(self, done, what);
    }

    fn restart(&mut self) {
        Self::restart(self);
    }
}
