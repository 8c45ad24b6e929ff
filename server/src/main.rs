//! `batchkv-server`: parses, binds, prints the bound address, and calls [`batchkv_server::run`].

mod args;
mod cluster_args;
mod figures;
mod files;
mod report;

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};
use batchkv_cli::screen;
use batchkv_cli::stop::StopSignals;
use batchkv_cluster::node::Entry;
use batchkv_server::config::Config;
use batchkv_server::replicated::{Membership, run_member};
use batchkv_server::{Observer, run};

use args::Settings;
use cluster_args::ClusterSettings;
use figures::figures;
use report::{Report, Reporting, complain};

fn main() -> ExitCode {
    let settings = match args::parse(std::env::args_os()) {
        Ok(settings) => settings,
        Err(said) => return screen::end(&said),
    };
    if settings.check {
        return ExitCode::SUCCESS;
    }
    match serve(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(mut settings: Settings) -> anyhow::Result<()> {
    fit_open_files(&mut settings.config);
    let (listener, bound) = bind(settings.listen).context("cannot listen on --listen")?;
    let metrics = settings.metrics_listen.map(bind);
    let metrics = metrics
        .transpose()
        .context("cannot listen on --metrics-listen")?;
    let report = Report::new(
        settings.stats_file.as_deref(),
        settings.resources_file.as_deref(),
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let membership = settings.cluster.map(membership).transpose()?;
    runtime.block_on(async {
        let mut stop = StopSignals::new()?;
        let is_ready = Arc::new(AtomicBool::new(true));
        let stopping = async {
            stop.next().await;
            is_ready.store(false, Ordering::Relaxed);
        };
        let mut reporting = None;
        let started = |handle: batchkv_server::Handle| {
            reporting = Some(start_extras(
                report,
                handle.observer(),
                bound,
                metrics,
                is_ready.clone(),
            ));
        };
        let totals = match membership {
            None => Some(run(settings.config, listener, started, stopping).await?),
            Some(membership) => {
                run_member(settings.config, membership, listener, started, stopping).await?
            }
        };
        let (Some(totals), Some(reporting)) = (totals, reporting) else {
            return Ok(());
        };
        let reporting = reporting?;
        let is_written = reporting.finish(&totals);
        if totals.panics > 0 {
            let panics = totals.panics;
            bail!("{panics} connections or threads ended in a panic; please report it");
        }
        if !is_written {
            bail!("the service was kept, but not all of its output was written, as was said above");
        }
        Ok(())
    })
}

/// Takes as many connections as the limit of open files allows, and says so where those are fewer than
/// were asked for.
fn fit_open_files(config: &mut Config) {
    let Some(files) = files::raise_limit() else {
        return;
    };
    let connections = files::connections(files, config.threads);
    if connections < config.max_connections {
        complain(format_args!(
            "at most {connections} connections can be open at a time, and not {} (--max-connections): the \
             limit of open files is {files} (ulimit -Hn)",
            config.max_connections
        ));
        config.max_connections = connections;
    }
}

/// Opens the peers' port, and says what is unwise.
fn membership(settings: ClusterSettings) -> anyhow::Result<Membership> {
    if let Entry::Bootstrap { replicas: 2, .. } = settings.entry {
        complain(
            "--replicas 2: both are a majority, so the death of either stops what they hold; 3 survive one",
        );
    }
    let (peers, _) = bind(settings.peer_listen).context("cannot listen on --peer-listen")?;
    Ok(Membership {
        entry: settings.entry,
        peers,
        read_by: settings.read_by,
        dead_after: settings.dead_after,
        notice: Arc::new(complain),
    })
}

fn bind(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let bound = listener.local_addr()?;
        std::io::Result::Ok((listener, bound))
    };
    bind().with_context(|| address.to_string())
}

/// Starts what goes on beside the service; metrics that cannot be served are complained of and left out.
fn start_extras(
    report: Report,
    observer: &Observer,
    bound: SocketAddr,
    metrics: Option<(TcpListener, SocketAddr)>,
    is_ready: Arc<AtomicBool>,
) -> std::io::Result<Reporting> {
    let served = metrics.and_then(|(listener, address)| {
        let serving = serve_metrics(listener, observer.clone(), is_ready);
        serving
            .inspect_err(|error| complain(format_args!("metrics are not served: {error}")))
            .ok()
            .map(|()| address)
    });
    report.start(observer.clone(), bound, served)
}

/// Answers for as long as the program runs: `/ready` until it stops, from when
/// it can answer any client usefully.
fn serve_metrics(
    listener: TcpListener,
    observer: Observer,
    is_ready: Arc<AtomicBool>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let figures = move || figures(&observer.snapshot());
    tokio::spawn(batchkv_telemetry::metrics::serve(
        listener,
        Arc::new(figures),
        Some(Arc::new(move || is_ready.load(Ordering::Relaxed))),
    ));
    Ok(())
}
