//! What a study can vary. A new axis is one line of [`AXES`].

/// A flag that a study can vary, and the part of `run-cluster.sh`'s command line that takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    /// The flag's name, without dashes.
    pub(crate) name: &'static str,
    pub(crate) taker: Taker,
}

/// Who takes a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taker {
    /// `run-cluster.sh` itself.
    Launcher,
    /// Each client, through `--client-args`.
    Client,
    /// Each server, through `--server-args`.
    Server,
}

/// Every axis.
pub(crate) const AXES: &[Axis] = &[
    axis("servers", Taker::Launcher),
    axis("clients", Taker::Launcher),
    axis("batch-size", Taker::Launcher),
    axis("tasks", Taker::Launcher),
    axis("window", Taker::Client),
    axis("workload", Taker::Launcher),
    axis("mix", Taker::Client),
    axis("theta", Taker::Launcher),
    axis("records", Taker::Launcher),
    axis("value-bytes", Taker::Launcher),
    axis("rate", Taker::Client),
    axis("connections", Taker::Client),
    axis("engine", Taker::Server),
    axis("partitions", Taker::Server),
];

const fn axis(name: &'static str, taker: Taker) -> Axis {
    Axis { name, taker }
}

/// The axis of this name.
///
/// # Errors
/// A sentence that names every axis.
pub(crate) fn find(name: &str) -> Result<&'static Axis, String> {
    AXES.iter().find(|axis| axis.name == name).ok_or_else(|| {
        let names: Vec<&str> = AXES.iter().map(|axis| axis.name).collect();
        format!("{name:?} is no axis; allowed are {}", names.join(", "))
    })
}
