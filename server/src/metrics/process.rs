//! What the system says of this process.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// What the process takes of the machine. Where there is no `/proc`, nothing is known.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_descriptors: Option<usize>,
    /// `None` if there may be any number.
    pub(super) max_descriptors: Option<u64>,
}

impl Process {
    pub(super) fn look() -> Self {
        Self {
            resident_bytes: resident_bytes(),
            // Without the one of the directory itself.
            open_descriptors: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|descriptors| descriptors.count().saturating_sub(1)),
            max_descriptors: getrlimit(Resource::Nofile).current,
        }
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let amount = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = amount.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_descriptors() {
        let process = Process::look();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 1 << 16), "{process:?}");
        assert!(process.open_descriptors.is_some_and(|open| open >= 3), "{process:?}");
    }
}
