//! The kernel's counters, as one row of numbers.

use std::collections::HashMap;
use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use procfs::net::{DeviceStatus, dev_status, snmp};
use procfs::process::Process;
use procfs::{
    CpuTime, Current, CurrentSI, KernelStats, Meminfo, WithCurrentSystemInfo, ticks_per_second,
};

use crate::series::{COLUMNS, core_columns};

/// Bytes a second in the unit of an interface's `speed`, megabits a second.
const BYTES_PER_MEGABIT: f64 = 125_000.0;

/// Why nothing can be sampled here.
pub type SampleError = procfs::ProcError;

/// Takes samples of this machine and this process.
#[derive(Debug, Default)]
pub struct Sampler {
    /// Bytes of each interface at the last sample.
    links_before: Option<HashMap<String, (u64, u64)>>,
    /// Seconds that the busiest link would have been busy at its full speed.
    link_busy_secs: f64,
    /// Segments that had to be sent again, so far.
    retransmissions: u64,
}

/// Memory that this process takes.
///
/// # Errors
/// When the kernel's counters cannot be read.
pub fn process_memory_bytes() -> Result<u64, SampleError> {
    let process = Process::myself()?.stat()?;
    Ok(process.rss_bytes().get())
}

impl Sampler {
    /// The names of a row's numbers.
    ///
    /// # Errors
    /// When the kernel's counters cannot be read.
    pub fn columns() -> Result<Vec<String>, SampleError> {
        let cores = KernelStats::current()?.cpu_time.len();
        let fixed = COLUMNS.iter().map(|column| (*column).to_owned());
        Ok(fixed.chain(core_columns(cores)).collect())
    }

    /// A row, in the order of [`columns`](Self::columns). Counters run since the machine's or the
    /// process's start. A counter that this kernel does not have stays 0.
    ///
    /// # Errors
    /// When the kernel's counters cannot be read.
    pub fn sample(&mut self) -> Result<Vec<f64>, SampleError> {
        let kernel = KernelStats::current()?;
        let memory = Meminfo::current()?;
        let process = Process::myself()?.stat()?;
        let devices = dev_status()?;
        let tcp = snmp().map_or((0, 0), |snmp| (snmp.tcp_out_segs, snmp.tcp_retrans_segs));
        let more = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
        let needless = extension(&more, "TCPDSACKRecv").unwrap_or(0);
        // The word that one was needless comes behind it.
        let needed = tcp.1.saturating_sub(needless);
        self.retransmissions = self.retransmissions.max(needed);
        let unix_time = unix_time().as_secs_f64();
        let available = memory.mem_available.unwrap_or(0);
        let sum = |count: fn(&DeviceStatus) -> u64| devices.values().map(count).sum::<u64>() as f64;
        self.link_busy_secs += self.link_secs(&devices);
        let mut row = vec![unix_time];
        row.extend(core_secs(&kernel.total));
        row.extend([
            memory.mem_total.saturating_sub(available) as f64,
            process.rss_bytes().get() as f64,
            secs(process.utime + process.stime),
            sum(|device| device.recv_bytes),
            sum(|device| device.sent_bytes),
            sum(|device| device.recv_packets),
            sum(|device| device.sent_packets),
            tcp.0 as f64,
            self.retransmissions as f64,
            kernel.ctxt as f64,
            self.link_busy_secs,
        ]);
        row.extend(kernel.cpu_time.iter().flat_map(core_secs));
        Ok(row)
    }

    /// Seconds since the last sample that the busiest direction of the busiest interface would have
    /// taken at full speed; 0 where no speed is known, as on loopback and virtual interfaces.
    fn link_secs(&mut self, devices: &HashMap<String, DeviceStatus>) -> f64 {
        let bytes = |device: &DeviceStatus| (device.recv_bytes, device.sent_bytes);
        let links = devices
            .iter()
            .map(|(name, device)| (name.clone(), bytes(device)));
        let before = self.links_before.replace(links.collect());
        let Some(before) = before else {
            return 0.0;
        };
        let use_of = |(name, device): (&String, &DeviceStatus)| {
            let speed = speed_bytes(name)?;
            let (received, sent) = before.get(name)?;
            let moved = device.recv_bytes.saturating_sub(*received);
            let moved = moved.max(device.sent_bytes.saturating_sub(*sent));
            Some(moved as f64 / speed)
        };
        devices.iter().filter_map(use_of).fold(0.0, f64::max)
    }
}

/// A counter of the kernel's TCP extensions, from `/proc/net/netstat`: a line of names and one of numbers.
fn extension(netstat: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let mut pairs = names.split_whitespace().zip(numbers.split_whitespace());
    pairs.find(|pair| pair.0 == name)?.1.parse().ok()
}

/// CPU seconds of each thread of this process whose name begins with `prefix`, since its start.
#[must_use]
pub fn threads_cpu(prefix: &str) -> Vec<f64> {
    let tasks = Process::myself().and_then(|process| process.tasks());
    let stats = tasks.into_iter().flatten().flatten();
    let stats = stats.filter_map(|task| task.stat().ok());
    stats
        .filter(|stat| stat.comm.starts_with(prefix))
        .map(|stat| secs(stat.utime + stat.stime))
        .collect()
}

/// A number that all processes share that share a kernel, and hardly any others: what tells whether two
/// programs run on one machine. 0 when the kernel does not say.
#[must_use]
pub fn machine() -> u64 {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = boot
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(16)
        .collect();
    u64::from_str_radix(&digits, 16).unwrap_or(0)
}

/// Since 1970, by a clock that never jumps: the machine's at the first call, then a steady one's.
#[must_use]
pub fn unix_time() -> Duration {
    unix_time_at(Instant::now())
}

/// [`unix_time`] at an instant of this process.
#[must_use]
pub fn unix_time_at(instant: Instant) -> Duration {
    static FIRST: OnceLock<(Instant, Duration)> = OnceLock::new();
    let (first, unix) = FIRST.get_or_init(|| {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        (Instant::now(), unix.unwrap_or_default())
    });
    match instant.checked_duration_since(*first) {
        Some(after) => *unix + after,
        None => unix.saturating_sub(*first - instant),
    }
}

/// User, system, softirq and steal time of one core, or of all.
fn core_secs(times: &CpuTime) -> [f64; 4] {
    [
        secs(times.user + times.nice),
        secs(times.system + times.irq.unwrap_or(0)),
        secs(times.softirq.unwrap_or(0)),
        secs(times.steal.unwrap_or(0)),
    ]
}

fn secs(ticks: u64) -> f64 {
    ticks as f64 / ticks_per_second() as f64
}

/// Bytes a second that an interface moves in each direction, where the driver knows.
fn speed_bytes(interface: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/sys/class/net/{interface}/speed")).ok()?;
    let megabits: f64 = text.trim().parse().ok()?;
    (megabits > 0.0).then_some(megabits * BYTES_PER_MEGABIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_of_tcps_extensions_is_found_by_its_name() {
        let text = "TcpExt: A TCPDSACKRecv B\nTcpExt: 1 23 4\nIpExt: TCPDSACKRecv\nIpExt: 9\n";
        assert_eq!(extension(text, "TCPDSACKRecv"), Some(23));
        assert_eq!(extension(text, "B"), Some(4));
        assert_eq!(extension(text, "C"), None);
        assert_eq!(extension("TcpExt: A\n", "A"), None);
    }

    #[test]
    fn a_row_has_its_columns_and_counters_grow() {
        let columns = Sampler::columns().unwrap();
        let mut sampler = Sampler::default();
        let [first, second] = [(); 2].map(|()| sampler.sample().unwrap());
        assert_eq!((columns.len(), columns.len()), (first.len(), second.len()));
        for (name, (before, after)) in columns.iter().zip(first.iter().zip(&second)) {
            let gauge = name.contains("memory");
            // Times of some kernels go back a tick; nothing else does.
            assert!(gauge || *after >= before - 0.02, "{name}: {before} {after}");
        }
    }

    #[test]
    fn threads_are_found_by_name() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (started, ready) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("busy-7".into())
            .spawn(move || {
                started.send(()).unwrap();
                let _ = stopped.recv();
            });
        ready.recv().unwrap();
        assert_eq!(threads_cpu("busy-").len(), 1);
        assert_eq!(threads_cpu("lazy-").len(), 0);
        drop(stop);
        thread.unwrap().join().unwrap();
    }

    #[test]
    fn all_processes_of_a_machine_agree_on_it() {
        assert_eq!(machine(), machine());
        assert_ne!(machine(), 0);
    }
}
