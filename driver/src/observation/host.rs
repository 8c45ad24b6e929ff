//! The machine that a client runs on.

use std::fs;
use std::thread;

use serde::{Deserialize, Serialize};

/// What a figure depends on; `unknown` where the machine does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Host {
    pub(crate) cpu_model: String,
    /// Hardware threads that the process may use.
    pub(crate) cores: usize,
    pub(crate) kernel: String,
}

impl Host {
    /// This machine.
    pub(crate) fn here() -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease");
        Self {
            cpu_model: cpu_model(&cpus).unwrap_or("unknown").into(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.map_or_else(|_| "unknown".into(), |text| text.trim().into()),
        }
    }
}

/// All memory of this machine; `None` where the machine does not say.
pub(crate) fn memory_bytes() -> Option<u64> {
    memory_total(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn memory_total(memory: &str) -> Option<u64> {
    let line = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn cpu_model(cpus: &str) -> Option<&str> {
    let line = cpus.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, model)| model.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_read_from_cpuinfo() {
        let cpus = "processor\t: 0\nmodel name\t: Xeon D-1548\nflags\t: x\n";
        assert_eq!(cpu_model(cpus), Some("Xeon D-1548"));
        assert_eq!(cpu_model("processor : 0\n"), None);
    }

    #[test]
    fn the_memory_is_read_from_meminfo() {
        let memory = "MemTotal:       24606964 kB\nMemFree:        1 kB\n";
        assert_eq!(memory_total(memory), Some(24_606_964 * 1024));
        assert_eq!(memory_total("MemFree: 1 kB\n"), None);
    }
}
