//! Metrics as Prometheus reads them.

use std::{collections::BTreeMap, fmt, sync::Arc, sync::atomic::Ordering::Relaxed};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::{
    Event, SeriesName, Telemetry,
    series::{CLASSES, Distribution, Sum},
};
use crate::{stream::Totals, upstream::SharedEndpoints};

/// All metrics of the process as text.
pub(crate) fn render(telemetry: &Arc<Telemetry>, endpoints: &Arc<SharedEndpoints>) -> String {
    let mut registry = Registry::with_prefix("gateway");
    let (telemetry, endpoints) = (Arc::clone(telemetry), Arc::clone(endpoints));
    registry.register_collector(Box::new(Everything { telemetry, endpoints }));
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Everything {
    telemetry: Arc<Telemetry>,
    endpoints: Arc<SharedEndpoints>,
}

impl Collector for Everything {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let sums = self.telemetry.sums();
        requests(&mut out, &sums)?;
        bytes(&mut out, &sums)?;
        times(
            &mut out,
            "request_duration_seconds",
            "Time from the head of a request to the end of its answer",
            &sums,
            |sum| &sum.duration,
        )?;
        times(
            &mut out,
            "upstream_response_seconds",
            "Time from the head of a request to the head of the backend's answer",
            &sums,
            |sum| &sum.upstream,
        )?;
        streams(&mut out, &self.telemetry.streams())?;
        traffic(&mut out, &self.telemetry.traffic())?;
        events(&mut out, &self.telemetry.events())?;
        connections(&mut out, &self.endpoints)?;
        counter(
            &mut out,
            "access_log_dropped",
            "Lines of the access log that could not be written",
            self.telemetry.log_dropped(),
        )?;
        counter(
            &mut out,
            "tables_published",
            "Route tables served since the start",
            self.telemetry.tables.load(Relaxed),
        )
    }
}

fn labels(name: &SeriesName) -> [(&str, &str); 4] {
    [
        ("gateway", &name.gateway),
        ("listener", &name.listener),
        ("route", &name.route),
        ("rule", &name.rule),
    ]
}

fn requests(out: &mut DescriptorEncoder<'_>, sums: &BTreeMap<SeriesName, Sum>) -> fmt::Result {
    let help = "Requests by the class of their answer's status";
    let mut metric = out.encode_descriptor("requests", help, None, MetricType::Counter)?;
    for (name, sum) in sums {
        for (class, count) in CLASSES.iter().zip(sum.requests).filter(|(_, count)| *count > 0) {
            let labels = (labels(name), [("code", *class)]);
            ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn bytes(out: &mut DescriptorEncoder<'_>, sums: &BTreeMap<SeriesName, Sum>) -> fmt::Result {
    let help = "Bytes of bodies sent to clients";
    let mut metric = out.encode_descriptor("response_bytes", help, None, MetricType::Counter)?;
    for (name, sum) in sums {
        ConstCounter::new(sum.bytes).encode(metric.encode_family(&labels(name))?)?;
    }
    Ok(())
}

fn streams(
    out: &mut DescriptorEncoder<'_>,
    streams: &BTreeMap<(SeriesName, &'static str), u64>,
) -> fmt::Result {
    let help = "Connections and UDP sessions below HTTP that have ended, by why";
    let mut metric = out.encode_descriptor("streams", help, None, MetricType::Counter)?;
    for ((name, cause), count) in streams {
        let labels = (labels(name), [("cause", *cause)]);
        ConstCounter::new(*count).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn traffic(out: &mut DescriptorEncoder<'_>, totals: &Totals) -> fmt::Result {
    for (name, help, up, down) in [
        ("stream_bytes", "Bytes of streams", totals.to_backend, totals.to_client),
        (
            "datagrams",
            "Datagrams that were passed on",
            totals.datagrams_to_backend,
            totals.datagrams_to_client,
        ),
    ] {
        let mut metric = out.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (to, count) in [("backend", up), ("client", down)] {
            ConstCounter::new(count).encode(metric.encode_family(&[("to", to)])?)?;
        }
    }
    for (name, help, count) in [
        ("datagrams_dropped", "Datagrams that went nowhere", totals.datagrams_dropped),
        ("udp_sessions", "UDP sessions begun", totals.sessions),
        ("udp_sessions_evicted", "UDP sessions that made room", totals.sessions_evicted),
    ] {
        counter(out, name, help, count)?;
    }
    Ok(())
}

fn times(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    sums: &BTreeMap<SeriesName, Sum>,
    of: impl Fn(&Sum) -> &Distribution,
) -> fmt::Result {
    let mut metric = out.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (name, sum) in sums {
        let times = of(sum);
        if times.count() > 0 {
            histogram(metric.encode_family(&labels(name))?, times)?;
        }
    }
    Ok(())
}

fn histogram(mut out: MetricEncoder<'_>, times: &Distribution) -> fmt::Result {
    let seconds = times.micros as f64 / 1e6;
    let buckets = times.seconds();
    out.encode_histogram::<[(&str, &str); 0]>(seconds, times.count(), &buckets, None)
}

fn events(
    out: &mut DescriptorEncoder<'_>,
    events: &BTreeMap<(Event, Arc<str>), u64>,
) -> fmt::Result {
    for (event, name, help, label) in [
        (Event::OwnAnswer, "own_answers", "Answers of the gateway itself", "cause"),
        (Event::ConnectionRefused, "connections_refused", "Connections over a limit", "socket"),
        (Event::AcceptFailed, "accept_failures", "Connections the system could not give", "socket"),
        (Event::HandshakeFailed, "tls_handshake_failures", "Failed TLS handshakes", "socket"),
        (
            Event::ProxyHeaderFailed,
            "proxy_header_failures",
            "Connections of trusted proxies without a PROXY header",
            "socket",
        ),
        (Event::Panic, "panics", "Requests that ended in a panic", "socket"),
        (Event::Aborted, "aborted_responses", "Answers that broke off", "socket"),
    ] {
        let mut metric = out.encode_descriptor(name, help, None, MetricType::Counter)?;
        for ((_, value), count) in events.iter().filter(|((of, _), _)| *of == event) {
            let labels = [(label, &**value)];
            ConstCounter::new(*count).encode(metric.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn connections(out: &mut DescriptorEncoder<'_>, endpoints: &SharedEndpoints) -> fmt::Result {
    let help = "Open connections to backends";
    let mut metric =
        out.encode_descriptor("upstream_connections", help, None, MetricType::Gauge)?;
    for (backend, count) in endpoints.open_connections() {
        let labels = [("backend", backend.to_string())];
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        ConstGauge::new(count).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn counter(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, count: u64) -> fmt::Result {
    let metric = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    ConstCounter::new(count).encode(metric)
}
