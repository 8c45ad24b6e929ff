//! What was typed.

use std::path::PathBuf;
use std::time::Duration;

use batchkv_cli::values::{count, seconds, whole_seconds};
use clap::{Parser, Subcommand, ValueEnum, ValueHint};

const DAY: Duration = Duration::from_secs(86_400);

/// Runs batchkv's benchmark over a grid of flags, again and again, and reports what came out.
///
/// A study that was interrupted goes on when the same command is given again.
#[derive(Debug, Parser)]
#[command(name = "batchkv-study", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Throughput over batch size, over tasks, and over servers and clients
    Scaling(StudyArgs),
    /// Latency and failures of 95/5, 50/50 and 5/95 reads/updates over rising concurrency
    Load(StudyArgs),
    /// Each server's share over theta, 0 to 1.2
    Skew(StudyArgs),
    /// Any grid: sweep batch-size=64..16384*2 tasks=1,8,128
    Sweep {
        #[command(flatten)]
        study: StudyArgs,
        /// Takes the grid, and flags that are not given here, from a TOML file
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Makes a study's report.html again
    Report {
        /// The study
        name: String,
        #[command(flatten)]
        place: PlaceArgs,
    },
}

/// Flags of every study.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StudyArgs {
    /// Values of an axis: theta=0.5,0.99 or tasks=1..256*2 or theta=0..1.2+0.2; in a named study they
    /// replace its own
    #[arg(value_name = "AXIS=VALUES")]
    pub(crate) axes: Vec<String>,
    /// Few points and runs of a second: within three minutes on two cores
    #[arg(long)]
    pub(crate) quick: bool,
    /// The study's name, below --studies [default: the subcommand's, with -quick behind it if given]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Runs of each point [default: 3]
    #[arg(long, value_name = "COUNT", value_parser = count(1_u32, 1000))]
    pub(crate) repetitions: Option<u32>,
    /// Seconds that each run measures [default: 10, --quick 1]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = whole_seconds(1, 86_400))]
    pub(crate) secs: Option<u64>,
    /// Seconds before the measured ones [default: 2, --quick 1]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = whole_seconds(0, 3600))]
    pub(crate) warmup_secs: Option<u64>,
    /// Shuffles the runs [default: 1]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = count(0, u64::MAX))]
    pub(crate) order_seed: Option<u64>,
    /// Flags for every batchkv-server, in one quoted string
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub(crate) server_args: Option<String>,
    /// Flags for every batchkv-client, in one quoted string
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub(crate) client_args: Option<String>,
    /// Seconds between two runs
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value = "1", value_parser = seconds(Duration::ZERO, DAY))]
    pub(crate) pause: Duration,
    /// Seconds after which a run is ended as FAILED [default: 120 and three times what it measures]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = seconds(Duration::from_millis(100), 7 * DAY))]
    pub(crate) run_limit: Option<Duration>,
    /// What a FAILED run does to the study
    #[arg(long, value_enum, default_value_t = OnFailure::Continue)]
    pub(crate) on_failure: OnFailure,
    /// Does the runs again that FAILED
    #[arg(long)]
    pub(crate) retry_failed: bool,
    /// Prints the runs' commands in their order and does none
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Makes no report at the end
    #[arg(long)]
    pub(crate) no_report: bool,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// Words for run-cluster.sh, behind --: -- --hosts-file nodes
    #[arg(last = true, value_name = "LAUNCHER_ARGS")]
    pub(crate) launcher_args: Vec<String>,
}

/// Where things are.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PlaceArgs {
    /// The run-cluster.sh that does the runs [default: that of the checkout]
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) launcher: Option<PathBuf>,
    /// Where studies are kept [default: studies, in the checkout]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) studies: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnFailure {
    /// Goes on with the next run
    Continue,
    /// Ends the session; the same command goes on
    Stop,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        batchkv_cli::command::<Args>().debug_assert();
    }
}
