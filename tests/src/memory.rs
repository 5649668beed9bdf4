//! How much memory a benchmark took.

use anyhow::Context as _;

/// The most memory that this process has had resident, in MiB; from `/proc`, so on Linux only.
pub fn peak_memory_mb() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? / 1024)
}
