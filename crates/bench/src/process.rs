//! What a process costs, as `/proc` tells it.

use std::{fs, os::unix::process::CommandExt, path::Path, process::Command, time::Duration};

/// Has a program start in a process group of its own: ^C is for us, who then end it.
pub fn group_of_its_own(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

/// Processor time of the threads that live now, to the nanosecond; of a thread that has ended nothing is known.
pub fn threads_cpu(pid: u32) -> Duration {
    of_threads(pid, |_| true)
}

/// The same without threads whose name begins with `prefix`.
pub fn threads_cpu_but(pid: u32, prefix: &str) -> Duration {
    of_threads(pid, |name| !name.starts_with(prefix))
}

fn of_threads(pid: u32, counts: impl Fn(&str) -> bool) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanos = |thread: &Path| {
        let name = fs::read_to_string(thread.join("comm")).ok()?;
        let times = fs::read_to_string(thread.join("schedstat")).ok()?;
        counts(&name).then_some(times.split(' ').next()?.parse::<u64>().ok()?)
    };
    Duration::from_nanos(tasks.filter_map(|task| nanos(&task.path())).sum())
}

/// Processor time of all threads that ever were, to the clock tick of 10 ms.
pub fn process_cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in brackets may hold spaces; user and system time are fields 14 and 15.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = |field: Option<&str>| field.and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    let mut times = fields.split_whitespace().skip(11);
    Duration::from_millis((ticks(times.next()) + ticks(times.next())) * 10)
}

/// Memory that is in use, in bytes; of this, what belongs to files (page cache that is mapped) is left out.
pub fn memory_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    (kib("RssAnon:") + kib("RssShmem:")) << 10
}

/// Threads that live now.
pub fn threads(pid: u32) -> u64 {
    entries(&format!("/proc/{pid}/task"))
}

/// Open file descriptors.
pub fn descriptors(pid: u32) -> u64 {
    entries(&format!("/proc/{pid}/fd"))
}

fn entries(directory: &str) -> u64 {
    fs::read_dir(directory).map_or(0, |entries| entries.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let pid = std::process::id();
        assert!(threads_cpu(pid) > Duration::ZERO && memory_bytes(pid) > 0);
        assert!(process_cpu(pid) < Duration::from_secs(3600));
    }
}
