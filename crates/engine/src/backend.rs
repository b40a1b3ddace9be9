//! What opens engines on devices.

use crate::cpu::Cpu;
use crate::device_engine::DeviceEngine;
use crate::machine::MAX_THREADS;
use crate::{Device, DeviceName, Engine, EngineError, Isa, MemoryNeeds, NumericsId, OptimiserConfig};
use std::fmt;
use std::sync::Arc;
use templar_base::ModelConfig;

/// The model to open, and how it shall be run.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenRequest {
    /// The model's sizes.
    pub config: ModelConfig,
    /// The inner optimiser's settings.
    pub optimiser: OptimiserConfig,
    /// Threads of the host that the engine may use; the caller's is one of them.
    pub threads: usize,
}

impl OpenRequest {
    /// A model of these sizes, with the usual optimiser and one thread.
    pub fn new(config: ModelConfig) -> Self {
        Self { config, optimiser: OptimiserConfig::default(), threads: 1 }
    }

    /// With these settings of the optimiser.
    pub fn with_optimiser(self, optimiser: OptimiserConfig) -> Self {
        Self { optimiser, ..self }
    }

    /// With this number of threads.
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }
}

/// A kind of device. The binary passes those that it was built with to [`open`].
pub trait Backend: Send + Sync {
    /// The first part of its devices' names.
    fn name(&self) -> &'static str;

    /// The arithmetic of its engines.
    fn numerics(&self) -> NumericsId;

    /// The devices that can be opened now, the preferred one first.
    fn probe(&self) -> Vec<Device>;

    /// An engine on one of its devices, with all parameters zero.
    fn open(&self, device: &Device, request: OpenRequest) -> Result<Box<dyn Engine>, EngineError>;
}

/// Opens an engine on a device. All its parameters are zero: write them, such as [`crate::initial_parameters`].
pub fn open(
    device: &DeviceName,
    backends: &[&dyn Backend],
    request: OpenRequest,
) -> Result<Box<dyn Engine>, EngineError> {
    for backend in backends.iter().filter(|backend| backend.name() == device.backend()) {
        if let Some(found) = backend.probe().iter().find(|found| found.name == *device) {
            return backend.open(found, request);
        }
    }
    let available = backends.iter().flat_map(|backend| backend.probe()).map(|found| found.name).collect();
    Err(EngineError::UnknownDevice { name: device.clone(), available })
}

/// What a program computes on: a device, and the backend that opens engines on it. Whoever opens engines takes one.
#[derive(Clone)]
pub struct EngineSource {
    device: DeviceName,
    backend: Arc<dyn Backend>,
}

impl EngineSource {
    /// Engines of this backend on this device.
    pub fn new(device: DeviceName, backend: Arc<dyn Backend>) -> Self {
        Self { device, backend }
    }

    /// Engines on this device of the CPU; an error where there is none of this name.
    pub fn on_cpu(device: DeviceName) -> Result<Self, EngineError> {
        let available: Vec<DeviceName> = CpuBackend.probe().into_iter().map(|found| found.name).collect();
        match available.contains(&device) {
            true => Ok(Self::new(device, Arc::new(CpuBackend))),
            false => Err(EngineError::UnknownDevice { name: device, available }),
        }
    }

    /// The arithmetic of the engines.
    pub fn numerics(&self) -> NumericsId {
        self.backend.numerics()
    }

    /// The device.
    pub fn device(&self) -> &DeviceName {
        &self.device
    }

    /// Opens an engine. All its parameters are zero.
    pub fn open(&self, request: OpenRequest) -> Result<Box<dyn Engine>, EngineError> {
        open(&self.device, &[self.backend.as_ref()], request)
    }
}

impl Default for EngineSource {
    /// The CPU with its best instructions.
    fn default() -> Self {
        Self::new(DeviceName::cpu(), Arc::new(CpuBackend))
    }
}

impl fmt::Debug for EngineSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EngineSource").field(&self.device).finish()
    }
}

/// The CPU, in the strict profile: `cpu` with the best instructions of the machine, or `cpu:scalar`, `cpu:neon`,
/// `cpu:avx2`, `cpu:avx512`, all of which compute the same bits.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuBackend;

impl CpuBackend {
    const NAME: &'static str = "cpu";
}

impl Backend for CpuBackend {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn numerics(&self) -> NumericsId {
        NumericsId::STRICT
    }

    fn probe(&self) -> Vec<Device> {
        let best = Device { name: DeviceName::cpu(), description: format!("the CPU with {}", Isa::best()) };
        let of_isa = |isa| Device { name: DeviceName::cpu_with(isa), description: format!("the CPU with {isa}") };
        [best].into_iter().chain(Isa::available().into_iter().rev().map(of_isa)).collect()
    }

    fn open(&self, device: &Device, request: OpenRequest) -> Result<Box<dyn Engine>, EngineError> {
        let OpenRequest { config, optimiser, threads } = request;
        let named = Isa::ALL.into_iter().find(|&isa| DeviceName::cpu_with(isa) == device.name);
        let isa = named.unwrap_or(Isa::best());
        let threads = threads.max(1);
        if threads > MAX_THREADS {
            return Err(EngineError::Threads(format!("{threads} is over the limit of {MAX_THREADS}")));
        }
        config.check()?;
        MemoryNeeds::check_parameters("the model", &config).map_err(EngineError::Memory)?;
        let description = format!("{}, {isa}, {threads} thread{}", Self::NAME, if threads == 1 { "" } else { "s" });
        let ops = Cpu::new(isa, threads)?;
        Ok(Box::new(DeviceEngine::new(ops, description, NumericsId::STRICT, config, optimiser)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset;

    #[test]
    fn a_device_that_does_not_exist_is_rejected_with_those_that_do() {
        let request = OpenRequest::new(preset("nano", 16).unwrap());
        let error = open(&"cuda:1".parse().unwrap(), &[&CpuBackend], request.clone()).err().unwrap();
        assert!(
            error.to_string().starts_with("this machine has no device `cuda:1`; choose one of: cpu, cpu:"),
            "{error}"
        );
        let error = open(&"cpu:mmx".parse().unwrap(), &[&CpuBackend], request.clone()).err().unwrap();
        assert!(error.to_string().ends_with("cpu:scalar"), "{error}");
        for device in CpuBackend.probe() {
            let engine = open(&device.name, &[&CpuBackend], request.clone().with_threads(2)).unwrap();
            assert!(engine.device().ends_with(", 2 threads"), "{}", engine.device());
        }
    }
}
