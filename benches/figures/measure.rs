//! What a process has used, and numbers of a series.

use std::fs;

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// User + system time, seconds (to 10 ms).
    pub cpu_secs: f64,
    /// Highest resident memory so far, MiB.
    pub peak_mib: f64,
}

/// Reads `/proc/PID`.
pub fn usage(pid: u32) -> Usage {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    // Fields after the name in parentheses, which may itself hold spaces.
    let (_, fields) = stat.rsplit_once(") ").expect("the form of /proc/PID/stat");
    let ticks =
        |n: usize| -> f64 { fields.split(' ').nth(n).and_then(|field| field.parse().ok()).expect("clock ticks") };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    let kib: f64 = peak.trim().trim_end_matches(" kB").parse().expect("kB");
    // USER_HZ is 100 on every Linux.
    Usage { cpu_secs: (ticks(11) + ticks(12)) / 100.0, peak_mib: kib / 1024.0 }
}

/// The value below which this share of the series lies.
pub fn quantile(series: &[f64], share: f64) -> f64 {
    let mut sorted = series.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

pub fn median(series: &[f64]) -> f64 {
    quantile(series, 0.5)
}
