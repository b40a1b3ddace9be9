//! Where the end point of the last seal is kept until the next outcome.

/// The end point cannot be written or read back.
#[derive(Debug, thiserror::Error)]
#[error("the end point of the last payload cannot be {action}: {source}")]
pub struct AnchorError {
    /// `written` or `read`.
    pub action: &'static str,
    /// What the storage reports.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Scratch storage for one copy of the parameters, outside the engine.
///
/// Written whole at each seal and read once at the next outcome; nothing of it has to survive a restart. Values are read
/// back as the same bits, or not at all.
pub trait Anchor: Send {
    /// Stores `values` as those from parameter `start` on. Ranges come in ascending order, from 0 on, without gaps.
    fn write(&mut self, start: usize, values: &[f32]) -> Result<(), AnchorError>;

    /// Reads the values from parameter `start` on.
    fn read(&mut self, start: usize, out: &mut [f32]) -> Result<(), AnchorError>;
}

/// An anchor in memory: one more copy of the model.
#[derive(Debug, Default)]
pub struct MemoryAnchor(Vec<f32>);

impl Anchor for MemoryAnchor {
    fn write(&mut self, start: usize, values: &[f32]) -> Result<(), AnchorError> {
        self.0.truncate(start);
        self.0.extend_from_slice(values);
        Ok(())
    }

    fn read(&mut self, start: usize, out: &mut [f32]) -> Result<(), AnchorError> {
        match self.0.get(start..start + out.len()) {
            Some(values) => out.copy_from_slice(values),
            None => return Err(AnchorError { action: "read", source: "it is shorter than the model".into() }),
        }
        Ok(())
    }
}
