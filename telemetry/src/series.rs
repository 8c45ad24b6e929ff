//! `resources-*.csv`: a row of numbers a second, and what grew between two moments.
//!
//! ```text
//! unix_time,user_secs,system_secs,softirq_secs,steal_secs,memory_used_bytes,...,core_0_user_secs,...
//! ```
//!
//! The two memory columns are of the moment; every other column counts up, so that a row more or less
//! changes no sum. The first four CPU times are of all cores together.

use serde::{Deserialize, Serialize};

use crate::table;

/// The columns before those of each core.
pub(crate) const COLUMNS: [&str; 16] = [
    "unix_time",
    "user_secs",
    "system_secs",
    "softirq_secs",
    "steal_secs",
    "memory_used_bytes",
    "process_memory_bytes",
    "process_cpu_secs",
    "received_bytes",
    "sent_bytes",
    "received_packets",
    "sent_packets",
    "segments_sent",
    "retransmissions",
    "context_switches",
    "link_busy_secs",
];
const CORE_COLUMNS: [&str; 4] = ["user_secs", "system_secs", "softirq_secs", "steal_secs"];

/// The columns of each of so many cores.
pub(crate) fn core_columns(cores: usize) -> impl Iterator<Item = String> {
    (0..cores).flat_map(|core| CORE_COLUMNS.map(|column| format!("core_{core}_{column}")))
}

/// Rows of numbers, ordered by their first column, the time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    columns: Vec<String>,
    rows: Vec<Vec<f64>>,
}

/// What a node used between two moments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Length of the time in seconds.
    pub secs: f64,
    /// Cores of the machine.
    pub cores: usize,
    /// Cores busy in user mode, on average.
    pub user_cores: f64,
    /// Cores busy in the kernel, on average.
    pub system_cores: f64,
    /// Cores busy with soft interrupts (the network), on average.
    pub softirq_cores: f64,
    /// Cores that a hypervisor gave to others, on average.
    pub steal_cores: f64,
    /// The busiest core's part of the time, 0 to 1.
    pub busiest_core: f64,
    /// Memory in use at the end, of the machine.
    pub memory_used_bytes: f64,
    /// Memory of the program at the end.
    pub process_memory_bytes: f64,
    /// CPU time of the program.
    pub process_cpu_secs: f64,
    /// Over all interfaces, loopback included.
    pub received_bytes: f64,
    /// Over all interfaces, loopback included.
    pub sent_bytes: f64,
    /// Over all interfaces, loopback included.
    pub received_packets: f64,
    /// Over all interfaces, loopback included.
    pub sent_packets: f64,
    /// TCP segments that were sent.
    pub segments_sent: f64,
    /// TCP segments that were sent again, but for those of which the receiver said that it had them already.
    pub retransmissions: f64,
    /// Times that a core changed its thread.
    pub context_switches: f64,
    /// The busiest interface's part of its speed on average, 0 to 1; 0 where no speed is known.
    pub link_use: f64,
}

impl Series {
    /// No row yet.
    #[must_use]
    pub fn new(columns: Vec<String>) -> Self {
        let rows = Vec::new();
        Self { columns, rows }
    }

    /// Appends a row with a number for each column.
    pub fn push(&mut self, row: Vec<f64>) {
        self.rows.push(row);
    }

    /// A line of the file, with its end.
    #[must_use]
    pub fn line(row: &[f64]) -> String {
        // Milliseconds of time.
        table::line(row.iter().map(|number| (number * 1e3).round() / 1e3))
    }

    /// The whole file.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let lines = self.rows.iter().map(|row| Self::line(row));
        std::iter::once(table::line(&self.columns))
            .chain(lines)
            .collect()
    }

    /// Reads a file; a last line that is cut off is left out, because a program that was ended by force
    /// leaves one.
    ///
    /// # Errors
    /// What is wrong and in which line.
    pub fn from_csv(text: &str) -> Result<Self, String> {
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut lines = table::lines(whole)?.into_iter();
        let header = lines.next().unwrap_or_default();
        if !header.iter().take(COLUMNS.len()).eq(COLUMNS) {
            let columns = COLUMNS.join(",");
            return Err(format!("its first line does not begin with {columns}"));
        }
        let mut series = Self::new(header.iter().map(str::to_owned).collect());
        for (number, line) in (2..).zip(lines) {
            let row: Result<Vec<f64>, _> = line.iter().map(str::parse).collect();
            let row = row.ok().filter(|row| row.len() == series.columns.len());
            series.push(row.ok_or_else(|| format!("line {number} has not a number a column"))?);
        }
        Ok(series)
    }

    /// Moves all times by `secs`, onto another clock.
    pub fn shift(&mut self, secs: f64) {
        for row in &mut self.rows {
            row[0] += secs;
        }
    }

    /// Cores of the machine.
    #[must_use]
    pub fn cores(&self) -> usize {
        (self.columns.len().saturating_sub(COLUMNS.len())) / CORE_COLUMNS.len()
    }

    /// What was used between two moments, by straight lines between the rows; memory is that of the last
    /// row until the later one, because the next may be of a program that ends. `None` when the rows do not
    /// reach from one to the other.
    #[must_use]
    pub fn usage(&self, from: f64, to: f64) -> Option<Usage> {
        let (before, after) = (self.at(from)?, self.at(to)?);
        let column = |name: &str| self.columns.iter().position(|column| column == name);
        let rows_until = self.rows.partition_point(|row| row[0] <= to);
        let last_row = self.rows[..rows_until].last()?;
        let last = |name: &str| column(name).map_or(0.0, |place| last_row[place]);
        let grown = |name: &str| column(name).map_or(0.0, |place| after[place] - before[place]);
        let secs = (to - from).max(f64::MIN_POSITIVE);
        let busy = |core: usize| {
            let times = ["user_secs", "system_secs", "softirq_secs"];
            let time = |name: &&str| grown(&format!("core_{core}_{name}"));
            times.iter().map(time).sum::<f64>() / secs
        };
        Some(Usage {
            secs,
            cores: self.cores(),
            user_cores: grown("user_secs") / secs,
            system_cores: grown("system_secs") / secs,
            softirq_cores: grown("softirq_secs") / secs,
            steal_cores: grown("steal_secs") / secs,
            busiest_core: (0..self.cores()).map(busy).fold(0.0, f64::max),
            memory_used_bytes: last("memory_used_bytes"),
            process_memory_bytes: last("process_memory_bytes"),
            process_cpu_secs: grown("process_cpu_secs"),
            received_bytes: grown("received_bytes"),
            sent_bytes: grown("sent_bytes"),
            received_packets: grown("received_packets"),
            sent_packets: grown("sent_packets"),
            segments_sent: grown("segments_sent"),
            retransmissions: grown("retransmissions"),
            context_switches: grown("context_switches"),
            link_use: grown("link_busy_secs") / secs,
        })
    }

    /// The row of a moment, by straight lines between the rows around it.
    fn at(&self, unix_time: f64) -> Option<Vec<f64>> {
        let next = self.rows.partition_point(|row| row[0] < unix_time);
        let after = self.rows.get(next)?;
        if after[0] == unix_time {
            return Some(after.clone());
        }
        let before = self.rows.get(next.checked_sub(1)?)?;
        let part = (unix_time - before[0]) / (after[0] - before[0]);
        let between = before.iter().zip(after).map(|(b, a)| b + part * (a - b));
        Some(between.collect())
    }
}

impl Usage {
    /// Busy cores, on average.
    #[must_use]
    pub fn busy_cores(&self) -> f64 {
        self.user_cores + self.system_cores + self.softirq_cores
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two cores, three rows at 10, 11 and 12 s: the first core is busy in user mode throughout, the
    /// second half of the time in the kernel.
    fn series() -> Series {
        let columns = COLUMNS.iter().map(|column| (*column).to_owned());
        let mut series = Series::new(columns.chain(core_columns(2)).collect());
        for second in 0..3 {
            let t = f64::from(second);
            let mut row = vec![10.0 + t, t, 0.5 * t, 0.0, 0.25 * t, 1e9, 2e6, t, 1e6 * t];
            row.extend([
                2e6 * t,
                1e3 * t,
                2e3 * t,
                5e3 * t,
                5.0 * t,
                1e4 * t,
                0.1 * t,
            ]);
            row.extend([t, 0.0, 0.0, 0.0, 0.0, 0.5 * t, 0.0, 0.25 * t]);
            series.push(row);
        }
        series
    }

    #[test]
    fn text_and_rows_are_the_same() {
        let csv = series().to_csv();
        assert_eq!(Series::from_csv(&csv).unwrap(), series());
        assert!(csv.starts_with("unix_time,user_secs,") && csv.contains(",core_1_steal_secs\n"));
    }

    #[test]
    fn usage_between_two_moments_needs_no_rows_there() {
        let usage = series().usage(10.5, 11.5).unwrap();
        let found = (
            usage.cores,
            usage.secs,
            usage.user_cores,
            usage.system_cores,
        );
        assert_eq!(found, (2, 1.0, 1.0, 0.5));
        assert_eq!((usage.busiest_core, usage.busy_cores()), (1.0, 1.5));
        assert_eq!((usage.steal_cores, usage.retransmissions), (0.25, 5.0));
        assert_eq!((usage.received_bytes, usage.memory_used_bytes), (1e6, 1e9));
        assert!(series().usage(9.9, 11.0).is_none() && series().usage(10.0, 12.1).is_none());
    }

    #[test]
    fn memory_is_not_that_of_a_program_that_ends() {
        let mut ended = series();
        let mut row = ended.rows[2].clone();
        row[0] += 1.0;
        for (name, value) in ended.columns.iter().zip(&mut row) {
            if name.contains("memory") {
                *value = 0.0;
            }
        }
        ended.push(row);
        let running = series().usage(10.0, 12.0).unwrap();
        assert!(running.memory_used_bytes > 0.0);
        let usage = ended.usage(10.0, 12.9).unwrap();
        assert_eq!(usage.memory_used_bytes, running.memory_used_bytes);
    }

    #[test]
    fn another_clock_moves_all_rows() {
        let mut moved = series();
        moved.shift(-100.0);
        assert_eq!(moved.usage(-90.0, -88.0), series().usage(10.0, 12.0));
    }

    #[test]
    fn a_cut_off_line_is_left_out_and_a_broken_one_is_named() {
        let csv = series().to_csv();
        let cut = Series::from_csv(&csv[..csv.len() - 3]).unwrap();
        assert!(cut.usage(10.0, 11.0).is_some() && cut.usage(10.0, 12.0).is_none());
        assert_eq!(
            Series::from_csv(&csv.replace("11,1,", "11,")).unwrap_err(),
            "line 3 has not a number a column"
        );
        assert!(Series::from_csv("").is_err());
    }
}
