//! Metrics of the process, under the names that Prometheus' own clients use.
//!
//! Read from `/proc`, so they exist on Linux only. The client library's own collector is not used because its
//! `/proc` crate enables features that the rest of the workspace is built without.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts};

/// `USER_HZ`, the unit of time in `/proc`. It is the same on every architecture that Rust supports.
const TICKS_A_SECOND: f64 = 100.0;

/// Reads `/proc` whenever metrics are collected.
pub(super) struct Process {
    cpu: Counter,
    memory: Gauge,
    open_files: Gauge,
    max_files: Gauge,
    started: Gauge,
}

impl Process {
    /// Metrics of this process.
    #[allow(clippy::disallowed_methods, reason = "when the process started is a time of the world's")]
    pub fn new() -> Self {
        let gauge = |name, help| Gauge::with_opts(Opts::new(name, help)).expect("names are legal");
        let cpu = Opts::new("process_cpu_seconds_total", "User and system CPU time");
        let started = gauge("process_start_time_seconds", "When the process started");
        // Metrics are registered when a process starts, so this time is close enough to show restarts.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        started.set(now.as_secs_f64().floor());
        Self {
            cpu: Counter::with_opts(cpu).expect("names are legal"),
            memory: gauge("process_resident_memory_bytes", "Resident memory"),
            open_files: gauge("process_open_fds", "Open file descriptors"),
            max_files: gauge("process_max_fds", "Most file descriptors that may be open"),
            started,
        }
    }

    fn all(&self) -> [&dyn Collector; 5] {
        [&self.cpu, &self.memory, &self.open_files, &self.max_files, &self.started]
    }

    fn look(&self) {
        let read = |file: &str| fs::read_to_string(format!("/proc/self/{file}")).ok();
        if let Some(seconds) = read("stat").and_then(|stat| cpu_seconds(&stat)) {
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        }
        if let Some(kib) = read("status").and_then(|status| field(&status, "VmRSS:", 0)) {
            self.memory.set(kib * 1024.0);
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            #[allow(clippy::cast_precision_loss, reason = "a count of files")]
            self.open_files.set(entries.count() as f64);
        }
        if let Some(most) = read("limits").and_then(|limits| field(&limits, "Max open files", 0)) {
            self.max_files.set(most);
        }
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }
    fn collect(&self) -> Vec<MetricFamily> {
        self.look();
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}

/// User and system time. The program's name is in parentheses and may itself contain spaces and parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, behind) = stat.rsplit_once(')')?;
    // `utime` and `stime` are the 14th and 15th fields; `behind` begins with the third.
    let ticks = behind.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Some(ticks.collect::<Result<Vec<_>, _>>().ok()?.iter().sum::<f64>() / TICKS_A_SECOND)
}

/// The number in word `at` after `name`, if that word is a number.
fn field(text: &str, name: &str, at: usize) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_found_behind_whatever_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 9 0 100 1 2";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("nothing"), None);
    }

    #[test]
    fn numbers_are_found_by_name() {
        let limits = "Max cpu time              unlimited            unlimited            seconds\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(field(limits, "Max open files", 0), Some(1024.0));
        assert_eq!(field(limits, "Max cpu time", 0), None, "no limit is no number");
    }
}
