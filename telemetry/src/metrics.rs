//! A program's figures for Prometheus, over HTTP: `GET /metrics`, in the OpenMetrics text format. Of a program that
//! serves others, `GET /live` and `GET /ready` say with 200 that it runs, and that it can be sent clients; 503 if not.
//!
//! They are made when they are asked for; nothing is kept here.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Time for a whole request and its answer.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);
/// Requests that are answered at a time; more wait.
const REQUESTS_MAX: usize = 8;
/// Time between two attempts to accept when the process has no file descriptor left.
const ACCEPT_RETRY_TIME: Duration = Duration::from_millis(50);
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One figure, or one for each value of a label.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// In snake case, units last; counters get `_total` behind it.
    pub name: &'static str,
    /// What it is, without a stop.
    pub help: &'static str,
    /// How much.
    pub value: Value,
}

/// What a metric is worth.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Grows only.
    Counter(u64),
    /// Grow only: the label's name, and each of its values with a count.
    Counters(&'static str, Vec<(&'static str, u64)>),
    /// Goes up and down.
    Gauge(u64),
    /// How often something took so long.
    Durations(Durations),
}

/// Durations, counted by how long they were.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Durations {
    /// Upper bounds, growing, with the durations up to there and above the bound before.
    pub buckets: Vec<(Duration, u64)>,
    /// Durations above the last bound.
    pub above: u64,
    /// All of them added up.
    pub sum: Duration,
}

/// Makes a program's figures.
pub type Figures = Arc<dyn Fn() -> Vec<Metric> + Send + Sync>;

/// Whether a program can be sent clients.
pub type IsReady = Arc<dyn Fn() -> bool + Send + Sync>;

/// Answers for ever; `is_ready` where the program serves others.
pub async fn serve(listener: TcpListener, figures: Figures, is_ready: Option<IsReady>) {
    let slots = Arc::new(Semaphore::new(REQUESTS_MAX));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_RETRY_TIME).await;
            continue;
        };
        let (figures, is_ready) = (Arc::clone(&figures), is_ready.clone());
        let service = service_fn(move |request| {
            let answer = answer(&request, &figures, is_ready.as_ref());
            async { Ok::<_, Infallible>(answer) }
        });
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A peer that is slow or goes away is its own affair.
            let _ = timeout(REQUEST_TIME_MAX, connection).await;
            drop(slot);
        });
    }
}

fn answer(
    request: &Request<Incoming>,
    figures: &Figures,
    is_ready: Option<&IsReady>,
) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path(), is_ready) {
        (&Method::GET, "/metrics", _) => match text(figures()) {
            Ok(text) => (StatusCode::OK, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        (&Method::GET, "/live", Some(_)) => (StatusCode::OK, "live\n".into()),
        (&Method::GET, "/ready", Some(is_ready)) => match is_ready() {
            true => (StatusCode::OK, "ready\n".into()),
            false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".into()),
        },
        (_, _, None) => (StatusCode::NOT_FOUND, "allowed is GET /metrics\n".into()),
        (_, _, Some(_)) => {
            let allowed = "allowed are GET /metrics, /live and /ready\n";
            (StatusCode::NOT_FOUND, allowed.into())
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    if status == StatusCode::OK {
        let format = hyper::header::HeaderValue::from_static(FORMAT);
        response.headers_mut().insert(CONTENT_TYPE, format);
    }
    response
}

/// The figures in the OpenMetrics text format.
///
/// # Errors
/// When the encoder fails, which names of letters and underscores exclude.
pub fn text(metrics: Vec<Metric>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(metrics)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Page(Vec<Metric>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Metric { name, help, value } in &self.0 {
            value.encode(encoder.encode_descriptor(name, help, None, value.metric_type())?)?;
        }
        Ok(())
    }
}

impl EncodeMetric for Value {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Counter(count) => ConstCounter::new(*count).encode(encoder),
            Self::Gauge(amount) => ConstGauge::new(*amount as i64).encode(encoder),
            Self::Counters(label, counts) => {
                for &(value, count) in counts {
                    ConstCounter::new(count).encode(encoder.encode_family(&[(*label, value)])?)?;
                }
                Ok(())
            }
            Self::Durations(durations) => {
                let bound = |&(bound, count): &(Duration, u64)| (bound.as_secs_f64(), count);
                let mut buckets: Vec<(f64, u64)> = durations.buckets.iter().map(bound).collect();
                buckets.push((f64::INFINITY, durations.above));
                let count = buckets.iter().map(|(_, count)| count).sum();
                let sum = durations.sum.as_secs_f64();
                encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            }
        }
    }

    fn metric_type(&self) -> MetricType {
        match self {
            Self::Counter(_) | Self::Counters(..) => MetricType::Counter,
            Self::Gauge(_) => MetricType::Gauge,
            Self::Durations(_) => MetricType::Histogram,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_openmetrics_asks_for() {
        let metric = |name, value| Metric {
            name,
            help: "Help",
            value,
        };
        let durations = Durations {
            buckets: vec![(Duration::from_micros(1), 3), (Duration::from_micros(2), 4)],
            above: 5,
            sum: Duration::from_millis(1),
        };
        let text = text(vec![
            metric("connections", Value::Gauge(2)),
            metric("operations", Value::Counters("kind", vec![("get", 7)])),
            metric("took_seconds", Value::Durations(durations)),
        ]);
        let expected = "# HELP connections Help\n# TYPE connections gauge\nconnections 2\n\
                        # HELP operations Help\n# TYPE operations counter\noperations_total{kind=\"get\"} 7\n\
                        # HELP took_seconds Help\n# TYPE took_seconds histogram\n\
                        took_seconds_sum 0.001\ntook_seconds_count 12\n\
                        took_seconds_bucket{le=\"0.000001\"} 3\ntook_seconds_bucket{le=\"0.000002\"} 7\n\
                        took_seconds_bucket{le=\"+Inf\"} 12\n# EOF\n";
        assert_eq!(text.unwrap(), expected);
    }
}
