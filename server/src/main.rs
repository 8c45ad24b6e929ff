//! `batchkv-server`: parses, binds, prints the bound address, and calls [`batchkv_server::run`].

mod args;
mod figures;
mod report;

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use batchkv_server::{Observer, run};
use tokio::signal::unix::{SignalKind, signal};

use args::Settings;
use figures::figures;
use report::Report;

fn main() -> ExitCode {
    let settings = match args::parse(std::env::args_os()) {
        Ok(settings) => settings,
        Err(usage) => usage.exit(),
    };
    if settings.check {
        return ExitCode::SUCCESS;
    }
    match serve(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn serve(settings: Settings) -> anyhow::Result<()> {
    let address = settings.listen;
    let listener =
        TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    let bound = listener
        .local_addr()
        .context("the listening socket has no address")?;
    let metrics = settings.metrics_listen.map(bind_metrics).transpose()?;
    let mut report = Report::new(
        settings.stats_file.as_deref(),
        settings.resources_file.as_deref(),
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let shutdown = stop_signal()?;
        let (started, observer) = tokio::sync::oneshot::channel::<Observer>();
        let totals = {
            let reporting = async {
                let Ok(observer) = observer.await else {
                    return std::future::pending().await;
                };
                if let Some(listener) = metrics {
                    report.metrics(listener.local_addr()?)?;
                    serve_metrics(listener, observer.clone())?;
                }
                report.ready(bound)?;
                report.every_second(&observer).await
            };
            let serving = run(
                settings.config,
                listener,
                |handle| drop(started.send(handle.observer().clone())),
                shutdown,
            );
            tokio::select! {
                totals = serving => totals?,
                failed = reporting => return failed,
            }
        };
        report.totals(&totals)?;
        if totals.panics > 0 {
            anyhow::bail!(
                "{} connections or threads ended in a panic; please report it",
                totals.panics
            );
        }
        Ok(())
    })
}

fn bind_metrics(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        std::io::Result::Ok(listener)
    };
    bind().with_context(|| format!("cannot listen on {address} for metrics"))
}

/// Answers for as long as the program runs, beside what it does.
fn serve_metrics(listener: TcpListener, observer: Observer) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let figures = move || figures(&observer.snapshot());
    tokio::spawn(batchkv_telemetry::metrics::serve(
        listener,
        Arc::new(figures),
    ));
    Ok(())
}

/// Ready at the first SIGINT or SIGTERM.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
