//! PyTorch among the backends.

use crate::{TorchEngine, TorchOptions};
use templar_engine::{Backend, Device, DeviceName, Engine, EngineError, NumericsId, OpenRequest};

/// PyTorch's devices: `torch` is a GPU where PyTorch finds one and the CPU elsewhere, `torch:cuda` and `torch:cpu` name
/// one. ROCm's GPUs are `cuda` to PyTorch.
#[derive(Debug, Clone)]
pub struct TorchBackend {
    options: TorchOptions,
}

impl TorchBackend {
    /// The first part of its devices' names.
    pub const NAME: &'static str = "torch";

    /// PyTorch, run so.
    pub fn new(options: TorchOptions) -> Self {
        Self { options }
    }
}

/// The names of the devices, and what each is to PyTorch.
const DEVICES: [(&str, &str, &str); 3] = [
    ("torch", "auto", "PyTorch on the GPU, or on the CPU where it finds none"),
    ("torch:cuda", "cuda", "PyTorch on GPUs"),
    ("torch:cpu", "cpu", "PyTorch on the CPU"),
];

impl Backend for TorchBackend {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn numerics(&self) -> NumericsId {
        self.options.precision.numerics()
    }

    /// All names: which of them work is known to PyTorch alone, and asking it takes seconds.
    fn probe(&self) -> Vec<Device> {
        let device = |&(name, _, description): &(&str, &str, &str)| {
            let name: DeviceName = name.parse().ok()?;
            Some(Device { name, description: description.to_owned() })
        };
        DEVICES.iter().filter_map(device).collect()
    }

    fn open(&self, device: &Device, request: OpenRequest) -> Result<Box<dyn Engine>, EngineError> {
        let name = device.name.to_string();
        let kind = DEVICES.iter().find(|(known, ..)| *known == name).map_or("auto", |(_, kind, _)| kind);
        Ok(Box::new(TorchEngine::open(&self.options, kind, request)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_has_a_name_that_reads_back() {
        let names: Vec<String> = TorchBackend::new(TorchOptions::new("python3"))
            .probe()
            .into_iter()
            .map(|found| found.name.to_string())
            .collect();
        assert_eq!(names, ["torch", "torch:cuda", "torch:cpu"]);
    }
}
