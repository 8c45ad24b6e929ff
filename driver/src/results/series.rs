//! `throughput.csv`: what was answered in each second of the measured window.
//!
//! ```text
//! second,unix_time,ops,reads,writes,misses,errors,run,server_0_ops,server_1_ops,...
//! ```
//!
//! The row of `second` s (from 1) covers the second that ends s seconds after the window's start;
//! `unix_time` is that end; `run` says whose it is. `reads + writes = ops = server_0_ops + server_1_ops + ...`.

use batchkv_telemetry::table;
use csv::StringRecord;

const COLUMNS: [&str; 8] = [
    "second",
    "unix_time",
    "ops",
    "reads",
    "writes",
    "misses",
    "errors",
    "run",
];
/// Where `run` stands.
const STAMP_COLUMN: usize = COLUMNS.len() - 1;

/// The rows of the window, one a second, without gap from second 1.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Series {
    /// Number of servers: each row has as many `server_ops`.
    pub(crate) servers: usize,
    pub(crate) rows: Vec<Row>,
}

/// One second; counts are of operations whose answers came in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Row {
    /// End of the second, in seconds since 1970.
    pub(crate) unix_time: f64,
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    /// Gets that found nothing.
    pub(crate) misses: u64,
    pub(crate) errors: u64,
    /// Operations by server, in the order of the hosts.
    pub(crate) server_ops: Vec<u64>,
}

impl Row {
    /// Operations answered.
    pub(crate) fn ops(&self) -> u64 {
        self.reads + self.writes
    }

    /// The fields of its line.
    fn fields(&self, second: u64, stamp: &str) -> impl Iterator<Item = String> {
        let counts = [
            self.ops(),
            self.reads,
            self.writes,
            self.misses,
            self.errors,
        ];
        let front = [second.to_string(), format!("{:.3}", self.unix_time)];
        let counts = counts.map(|count| count.to_string());
        let servers = self.server_ops.iter().map(u64::to_string);
        front
            .into_iter()
            .chain(counts)
            .chain([stamp.to_owned()])
            .chain(servers)
    }

    /// Adds another client's counts of the same second.
    pub(crate) fn add(&mut self, other: &Self) {
        self.reads += other.reads;
        self.writes += other.writes;
        self.misses += other.misses;
        self.errors += other.errors;
        self.server_ops
            .resize(self.server_ops.len().max(other.server_ops.len()), 0);
        for (sum, ops) in self.server_ops.iter_mut().zip(&other.server_ops) {
            *sum += ops;
        }
    }
}

impl Series {
    /// Seconds that are covered.
    pub(crate) fn secs(&self) -> u64 {
        self.rows.len() as u64
    }

    /// The text, of the run and client that `stamp` names.
    pub(crate) fn to_csv(&self, stamp: &str) -> String {
        let servers = (0..self.servers).map(|server| format!("server_{server}_ops"));
        let header = COLUMNS.map(str::to_owned).into_iter().chain(servers);
        let rows = (1..).zip(&self.rows);
        let rows = rows.map(|(second, row)| table::line(row.fields(second, stamp)));
        table::line(header) + &rows.collect::<String>()
    }

    /// Reads [`to_csv`](Self::to_csv)'s text.
    ///
    /// # Errors
    /// What is wrong and in which line.
    pub(crate) fn from_csv(text: &str) -> Result<Self, String> {
        let lines = table::lines(text)?;
        let (header, lines) = lines.split_first().ok_or("it has no line")?;
        if !header.iter().take(COLUMNS.len()).eq(COLUMNS) {
            let columns = COLUMNS.join(",");
            return Err(format!("its first line does not begin with {columns}"));
        }
        let servers = header.len() - COLUMNS.len();
        let rows = (1..).zip(lines).map(|(second, line)| {
            let row = parse_row(line, second, servers);
            row.ok_or_else(|| format!("line {} is no row of second {second}", second + 1))
        });
        Ok(Self {
            servers,
            rows: rows.collect::<Result<_, _>>()?,
        })
    }
}

/// The stamp that all rows have.
pub(crate) fn stamp(text: &str) -> Option<String> {
    let lines = table::lines(text).ok()?;
    let mut stamps = lines.iter().skip(1).map(|line| line.get(STAMP_COLUMN));
    let first = stamps.next()??;
    stamps
        .all(|stamp| stamp == Some(first))
        .then(|| first.to_owned())
}

fn parse_row(line: &StringRecord, second: u64, servers: usize) -> Option<Row> {
    let fields = line.iter().enumerate();
    let mut fields = fields.filter_map(|(at, field)| (at != STAMP_COLUMN).then_some(field));
    let seconds_fit = fields.next()?.parse() == Ok(second);
    let unix_time = fields.next()?.parse().ok()?;
    let counts: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
    let (&[ops, reads, writes, misses, errors], server_ops) = counts.split_first_chunk()?;
    let sums_fit = ops == reads.checked_add(writes)?;
    (seconds_fit && sums_fit && server_ops.len() == servers).then(|| Row {
        unix_time,
        reads,
        writes,
        misses,
        errors,
        server_ops: server_ops.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = "second,unix_time,ops,reads,writes,misses,errors,run,server_0_ops,server_1_ops\n\
                       1,1790000001.000,10,7,3,0,0,5e.0,6,4\n\
                       2,1790000002.000,12,8,4,1,0,5e.0,6,6\n";

    #[test]
    fn text_and_rows_are_the_same() {
        let series = Series::from_csv(CSV).unwrap();
        assert_eq!((series.secs(), series.servers), (2, 2));
        assert_eq!(series.rows[1].ops(), 12);
        assert_eq!(series.to_csv("5e.0"), CSV);
        assert_eq!(stamp(CSV).as_deref(), Some("5e.0"));
        let mixed = CSV.replacen("5e.0", "5f.0", 1);
        assert_eq!(stamp(&mixed), None);
    }

    #[test]
    fn every_cut_is_noticed_or_at_a_line_end() {
        for end in 0..CSV.len() {
            let complete_lines = CSV[..end].ends_with('\n');
            assert_eq!(
                Series::from_csv(&CSV[..end]).is_ok(),
                complete_lines,
                "{end}"
            );
        }
    }

    #[test]
    fn rows_that_do_not_fit_are_named() {
        for (from, to) in [
            ("2,1790000002", "3,1790000002"),
            (",12,8,", ",13,8,"),
            (",6,6", ",6"),
        ] {
            let reason = Series::from_csv(&CSV.replace(from, to)).unwrap_err();
            assert_eq!(reason, "line 3 is no row of second 2");
        }
    }
}
