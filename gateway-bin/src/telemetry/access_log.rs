//! The access log: one JSON object a line, off the path of requests.
//!
//! In: [`Record`]s and [`StreamRecord`]s. Out: lines in a buffer of each worker, and whole buffers through a bounded
//! channel to a thread that writes them. If that thread cannot keep up, lines are dropped and
//! counted; requests never wait. Not here: bodies, header fields, anything secret.

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use gateway_tower::OwnedMatch;

use super::{StreamRecord, record::Record};
use crate::upstream::lock;

/// Bytes of lines that a worker collects before it hands them over.
const CHUNK: usize = 32 * 1024;
/// Chunks that wait to be written.
const WAITING: usize = 64;

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    #[default]
    Off,
    /// To standard output.
    Stdout,
    /// To the end of a file.
    File(PathBuf),
}

/// The writing end, shared by all workers.
#[derive(Clone, Debug)]
pub(crate) struct LogSender {
    chunks: SyncSender<Chunk>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Chunk {
    Lines(Vec<u8>),
    /// Answered once all before it was written.
    Flush(SyncSender<()>),
}

impl LogSender {
    /// Starts the thread that writes.
    pub(crate) fn start(log: &AccessLog) -> io::Result<Option<Self>> {
        let out: Box<dyn Write + Send> = match log {
            AccessLog::Off => return Ok(None),
            AccessLog::Stdout => Box::new(io::stdout()),
            AccessLog::File(path) => {
                Box::new(std::fs::OpenOptions::new().create(true).append(true).open(path)?)
            }
        };
        let (chunks, receiver) = sync_channel(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(&receiver, out, &lost))?;
        Ok(Some(Self { chunks, dropped }))
    }

    /// Lines that were never written.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Waits until what was handed over is written.
    pub(crate) fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.chunks.send(Chunk::Flush(done)).is_ok() {
            // The thread has ended if this fails; then nothing is left to wait for.
            let _ = written.recv();
        }
    }
}

fn write_all(chunks: &Receiver<Chunk>, mut out: Box<dyn Write + Send>, lost: &AtomicU64) {
    for chunk in chunks {
        match chunk {
            Chunk::Lines(lines) => {
                if out.write_all(&lines).and_then(|()| out.flush()).is_err() {
                    lost.fetch_add(count_lines(&lines), Relaxed);
                }
            }
            Chunk::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

fn count_lines(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

/// The lines that a worker has not handed over yet.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    sender: LogSender,
    pending: Mutex<Pending>,
}

/// What ends with its worker has a line as well.
impl Drop for LogBuffer {
    fn drop(&mut self) {
        self.hand_over_all();
    }
}

#[derive(Debug)]
struct Pending {
    lines: Vec<u8>,
    times: Times,
}

impl LogBuffer {
    pub(crate) fn new(sender: LogSender) -> Self {
        let lines = Vec::with_capacity(CHUNK + 1024);
        Self { sender, pending: Mutex::new(Pending { lines, times: Times::default() }) }
    }

    /// Adds a line.
    /// `target` is what [`describe`] says of its match.
    pub(crate) fn write(&self, record: &Record, target: &[u8]) {
        let mut pending = lock(&self.pending);
        let Pending { lines, times } = &mut *pending;
        write_line(lines, record, target, now_millis(), times);
        if lines.len() >= CHUNK {
            self.hand_over(lines);
        }
    }

    /// Adds a line for a stream.
    pub(crate) fn write_stream(&self, record: &StreamRecord) {
        let mut pending = lock(&self.pending);
        let Pending { lines, times } = &mut *pending;
        write_stream_line(lines, record, now_millis(), times);
        if lines.len() >= CHUNK {
            self.hand_over(lines);
        }
    }

    /// Hands over what there is. Call it about once a second.
    pub(crate) fn hand_over_all(&self) {
        let lines = &mut lock(&self.pending).lines;
        if !lines.is_empty() {
            self.hand_over(lines);
        }
    }

    fn hand_over(&self, lines: &mut Vec<u8>) {
        let chunk = std::mem::replace(lines, Vec::with_capacity(CHUNK + 1024));
        match self.sender.chunks.try_send(Chunk::Lines(chunk)) {
            Ok(()) => {}
            Err(TrySendError::Full(chunk) | TrySendError::Disconnected(chunk)) => {
                if let Chunk::Lines(lost) = chunk {
                    self.sender.dropped.fetch_add(count_lines(&lost), Relaxed);
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "lines bear the time of day")]
fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn write_stream_line(out: &mut Vec<u8>, record: &StreamRecord, now: u64, times: &mut Times) {
    out.extend_from_slice(b"{\"time\":\"");
    times.write(out, now);
    out.extend_from_slice(b"\"");
    let ended = &record.ended;
    key(out, "peer");
    write_address(out, record.peer);
    plain(out, "protocol", record.protocol.as_str().as_bytes());
    plain(out, "socket", record.bind.as_bytes());
    if let Some(sni) = &ended.sni {
        text(out, "sni", sni.as_bytes());
    }
    number(out, "bytes", ended.relayed.to_client);
    number(out, "received_bytes", ended.relayed.to_backend);
    number(out, "duration_us", micros(record.begun.elapsed()));
    if let Some(matched) = &ended.matched {
        write_match(out, matched);
    }
    if let Some(endpoint) = ended.endpoint {
        key(out, "endpoint");
        write_address(out, endpoint);
    }
    plain(out, "cause", ended.cause.as_str().as_bytes());
    out.extend_from_slice(b"}\n");
}

fn write_line(out: &mut Vec<u8>, record: &Record, target: &[u8], now: u64, times: &mut Times) {
    out.extend_from_slice(b"{\"time\":\"");
    times.write(out, now);
    out.extend_from_slice(b"\"");
    write_request(out, record);
    number(out, "status", u64::from(record.status.as_u16()));
    number(out, "bytes", record.bytes);
    number(out, "duration_us", micros(record.begun.elapsed()));
    if let Some(time) = record.upstream_time {
        number(out, "upstream_us", micros(time));
    }
    if !record.complete {
        out.extend_from_slice(b",\"complete\":false");
    }
    out.extend_from_slice(target);
    if let Some(endpoint) = record.endpoint {
        key(out, "endpoint");
        write_address(out, endpoint);
    }
    if record.tries > 1 {
        number(out, "tries", u64::from(record.tries));
    }
    if let Some(cause) = record.cause {
        text(out, "cause", cause.as_bytes());
    }
    if let Some(detail) = &record.detail {
        text(out, "detail", detail.as_bytes());
    }
    out.extend_from_slice(b"}\n");
}

fn write_request(out: &mut Vec<u8>, record: &Record) {
    plain(out, "peer", record.peer.as_bytes());
    // A token has no character that JSON would want escaped.
    plain(out, "method", record.method.as_str().as_bytes());
    if let Some(host) = &record.host {
        text(out, "host", host.as_bytes());
    }
    if let Some(target) = &record.target {
        text(out, "target", target.as_str().as_bytes());
    }
    let version = match record.version {
        http::Version::HTTP_2 => "HTTP/2",
        http::Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    plain(out, "protocol", version.as_bytes());
    plain(out, "socket", record.bind.as_bytes());
}

/// The part of a line that is the same for all requests of a rule to a backend.
///
/// Made once for each table and kept beside the series of the rule.
pub(super) fn describe(matched: &OwnedMatch) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    write_match(&mut out, matched);
    out
}

fn write_match(out: &mut Vec<u8>, matched: &OwnedMatch) {
    text(out, "listener", matched.listener.name.as_bytes());
    let gateway = &matched.listener.gateway;
    pair(out, "gateway", &gateway.namespace, &gateway.name);
    text(out, "kind", matched.route.key.kind.as_str().as_bytes());
    pair(out, "route", &matched.route.key.namespace, &matched.route.key.name);
    match &matched.rule.name {
        Some(name) => text(out, "rule", name.as_bytes()),
        None => display(out, "rule", &matched.rule.index),
    }
    if let Some(backend) = &matched.backend {
        display(out, "backend", &backend.key);
    }
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Text that needs no escape.
fn plain(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    key(out, name);
    out.push(b'"');
    out.extend_from_slice(value);
    out.push(b'"');
}

fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    key(out, name);
    out.push(b'"');
    escape(out, value);
    out.push(b'"');
}

fn pair(out: &mut Vec<u8>, name: &str, first: &str, second: &str) {
    key(out, name);
    out.push(b'"');
    escape(out, first.as_bytes());
    out.push(b'/');
    escape(out, second.as_bytes());
    out.push(b'"');
}

fn display(out: &mut Vec<u8>, name: &str, value: &dyn std::fmt::Display) {
    key(out, name);
    // Addresses, numbers and names of Kubernetes need no escape, and a vector takes all.
    let _ = write!(out, "\"{value}\"");
}

/// JSON text; bytes that are no ASCII are written as the code point of the same number, so that a
/// line is always valid and tells which byte it was.
fn escape(out: &mut Vec<u8>, value: &[u8]) {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'"' && *byte != b'\\';
    if value.iter().all(plain) {
        out.extend_from_slice(value);
        return;
    }
    for byte in value {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' => out.push(*byte),
            _ => {
                let _ = write!(out, "\\u00{byte:02x}");
            }
        }
    }
}

/// Writes times as RFC 3339 in UTC with milliseconds. The text of the second is kept, since many
/// lines share it.
#[derive(Debug, Default)]
struct Times {
    second: Option<u64>,
    text: Vec<u8>,
}

impl Times {
    fn write(&mut self, out: &mut Vec<u8>, millis: u64) {
        let (second, millis) = (millis / 1000, millis % 1000);
        if self.second != Some(second) {
            self.second = Some(second);
            self.text.clear();
            write_second(&mut self.text, second);
        }
        out.extend_from_slice(&self.text);
        let digit = |number: u64| b'0' + (number % 10) as u8;
        out.extend_from_slice(&[digit(millis / 100), digit(millis / 10), digit(millis), b'Z']);
    }
}

fn write_second(out: &mut Vec<u8>, second: u64) {
    let (days, second) = (second / 86_400, second % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.");
}

fn write_address(out: &mut Vec<u8>, address: SocketAddr) {
    out.push(b'"');
    match address.ip() {
        IpAddr::V4(ip) => {
            for (place, byte) in ip.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(byte).as_bytes());
            }
        }
        IpAddr::V6(ip) => {
            let _ = write!(out, "[{ip}]");
        }
    }
    out.push(b':');
    out.extend_from_slice(itoa::Buffer::new().format(address.port()).as_bytes());
    out.push(b'"');
}

/// Year, month and day of a number of days since 1970, by eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{Times, escape, write_address};

    #[track_caller]
    fn check_time(millis: u64, expect: &str) {
        let mut out = Vec::new();
        let mut times = Times::default();
        times.write(&mut out, millis);
        assert_eq!(String::from_utf8_lossy(&out), expect);
        out.clear();
        times.write(&mut out, millis);
        assert_eq!(String::from_utf8_lossy(&out), expect);
    }

    #[test]
    fn times() {
        check_time(0, "1970-01-01T00:00:00.000Z");
        check_time(951_782_400_001, "2000-02-29T00:00:00.001Z");
        check_time(1_764_000_000_000, "2025-11-24T16:00:00.000Z");
        check_time(1_709_251_199_999, "2024-02-29T23:59:59.999Z");
    }

    #[test]
    fn addresses() {
        for text in ["0.0.0.0:0", "10.2.255.1:65535", "[::1]:80", "[2001:db8::]:443"] {
            let mut out = Vec::new();
            write_address(&mut out, text.parse().expect("an address"));
            assert_eq!(String::from_utf8_lossy(&out), format!("\"{text}\""));
        }
    }

    #[test]
    fn any_bytes_become_valid_json() {
        let mut out = vec![b'"'];
        escape(&mut out, b"a\"b\\c\n\xff\x7f");
        out.push(b'"');
        let text: String = serde_json::from_slice(&out).expect("valid JSON");
        assert_eq!(text, "a\"b\\c\n\u{ff}\u{7f}");
    }
}
