//! What a process asks the system to hold it to.

/// How far a worker steps back from requests, the log and jobs.
const NICENESS: i32 = 10;

/// Lets this thread, and what it starts, wait for a processor while others want it.
#[cfg(unix)]
#[expect(unsafe_code, reason = "`nice` has no safe wrapper among our dependencies; it takes and returns a number")]
pub fn give_way() {
    // A refusal changes nothing but the order of work.
    unsafe { libc::nice(NICENESS) };
}

/// Lets this process open as many files as the system gives it; returns how many that are, if they are counted. Connections
/// and the files of the lake share them.
#[cfg(unix)]
#[expect(unsafe_code, reason = "`getrlimit` and `setrlimit` have no safe wrapper among our dependencies")]
pub fn open_many_files() -> Option<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let count = |files| usize::try_from(files).ok();
    // Both take a pointer to a structure that outlives them.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return None;
        }
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0 {
            count(raised.rlim_cur)
        } else {
            count(limit.rlim_cur)
        }
    }
}

/// Elsewhere nobody says how many files may be open.
#[cfg(not(unix))]
pub fn open_many_files() -> Option<usize> {
    None
}

/// Lets this process write to no file, not even to the dump of its own death.
#[cfg(target_os = "linux")]
pub fn forbid_files() {
    limit(libc::RLIMIT_FSIZE, 0);
    limit(libc::RLIMIT_CORE, 0);
}

/// Lets this process take so many bytes more from the system, and no more.
#[cfg(target_os = "linux")]
pub fn limit_memory(further_bytes: usize) {
    let Some(held_bytes) = held_bytes() else { return };
    limit(libc::RLIMIT_DATA, held_bytes.saturating_add(further_bytes as u64));
}

/// Bytes that this process could write to now.
#[cfg(target_os = "linux")]
fn held_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    parse_held(&status)
}

#[cfg(target_os = "linux")]
fn parse_held(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1_024)
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "`setrlimit` has no safe wrapper among our dependencies; it only reads the two numbers")]
fn limit(resource: libc::__rlimit_resource_t, at_most: u64) {
    let limit = libc::rlimit { rlim_cur: at_most, rlim_max: at_most };
    // Without it the worker's own bounds still hold, and whoever started it ends it in time.
    unsafe { libc::setrlimit(resource, &limit) };
}

/// Elsewhere the worker's own bounds have to do.
#[cfg(not(unix))]
pub fn give_way() {}

/// Elsewhere the worker's own bounds have to do.
#[cfg(not(target_os = "linux"))]
pub fn forbid_files() {}

/// Elsewhere the worker's own bounds have to do.
#[cfg(not(target_os = "linux"))]
pub fn limit_memory(_: usize) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_systems_account_of_memory_is_read() {
        assert_eq!(parse_held("VmPeak:\t 10 kB\nVmData:\t     212 kB\nVmStk: 1 kB\n"), Some(212 * 1_024));
        assert_eq!(parse_held("VmPeak:\t 10 kB\n"), None);
        assert!(held_bytes().is_some_and(|bytes| bytes > 0));
    }
}
