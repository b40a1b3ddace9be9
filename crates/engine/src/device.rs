//! Devices and their names.

use crate::Isa;
use std::fmt;
use std::str::FromStr;

/// The name of a device: its backend, and which of the backend's devices, if it has several: `cpu`, `cpu:avx2`,
/// `cuda:1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName(String);

impl DeviceName {
    /// The CPU with its best instructions.
    pub fn cpu() -> Self {
        Self("cpu".to_owned())
    }

    /// The CPU with these instructions, which change the speed and no bit of a result.
    pub fn cpu_with(isa: Isa) -> Self {
        Self(format!("cpu:{isa}"))
    }

    /// The name of its backend.
    pub fn backend(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }
}

impl Default for DeviceName {
    fn default() -> Self {
        Self::cpu()
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not the name of a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a device; names are such as `cpu`, `cpu:avx2` or `cuda:0`")]
pub struct DeviceNameError(String);

impl FromStr for DeviceName {
    type Err = DeviceNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        match text.split(':').collect::<Vec<_>>()[..] {
            [backend] if is_word(backend) => Ok(Self(text.to_owned())),
            [backend, device] if is_word(backend) && is_word(device) => Ok(Self(text.to_owned())),
            _ => Err(DeviceNameError(text.to_owned())),
        }
    }
}

/// A device that a backend found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: DeviceName,
    /// What it is, for people.
    pub description: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices_read_back_and_other_texts_are_rejected() {
        for text in ["cpu", "cpu:avx2", "cuda:0"] {
            let name: DeviceName = text.parse().unwrap();
            assert_eq!((name.to_string().as_str(), name.backend()), (text, text.split(':').next().unwrap()));
        }
        for text in ["", "CPU", "cpu:", ":0", "a:b:c", "cpu avx2"] {
            assert!(text.parse::<DeviceName>().is_err(), "{text}");
        }
    }
}
