//! What the process itself uses, from `/proc/self`. Each value is `None` where it can't be read.

/// Linux tells times in hundredths of a second, whatever its own clock does.
const USER_HZ: f64 = 100.0;

/// Resources in use now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time, seconds.
    pub cpu_secs: Option<f64>,
    pub resident_bytes: Option<u64>,
    pub open_fds: Option<u64>,
}

/// Reads them.
pub fn usage() -> Usage {
    Usage { cpu_secs: cpu_secs(), resident_bytes: resident_bytes(), open_fds: open_fds() }
}

fn cpu_secs() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in parentheses, which may hold anything; utime and stime are the 14th and 15th.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) as f64 / USER_HZ)
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1024)
}

fn open_fds() -> Option<u64> {
    // Less the one that reads the folder.
    Some((std::fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_time_and_descriptors_rise_with_their_use() {
        let before = usage();
        let held: Vec<_> = (0..50).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let memory = vec![1_u8; 64 << 20];
        let after = usage();
        // Other tests run beside this one.
        assert!(after.open_fds.unwrap() >= before.open_fds.unwrap() + 20);
        assert!(after.resident_bytes.unwrap() >= before.resident_bytes.unwrap() + (32 << 20));
        assert!(after.cpu_secs >= before.cpu_secs && after.cpu_secs.is_some());
        drop((held, memory));
    }
}
