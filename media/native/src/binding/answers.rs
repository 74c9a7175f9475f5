//! Events, counters and dumps as the tuples and dicts of the contract.

use holdspace_engine::{Event, RoomTotals, TransportStats, Value};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use pyo3::IntoPyObjectExt;

use crate::runtime::counters::{add_totals, drops_by_reason, ThreadCounts};
use crate::runtime::events::{Answer, Notice};

type Object = Py<PyAny>;

pub(super) fn event(py: Python<'_>, notice: &Notice) -> PyResult<Object> {
    match notice {
        Notice::Room { room, event } => room_event(py, *room, event),
        Notice::RoomFailed { room, message } => ("room_failed", room, message).into_py_any(py),
        Notice::ThreadFailed { thread, message } => ("thread_failed", thread, message).into_py_any(py),
        Notice::Answer { ticket, answer } => ("stats", ticket, self::answer(py, answer)?).into_py_any(py),
        Notice::JournalSynced { journal, bytes } => ("journal", journal, "synced", bytes).into_py_any(py),
        Notice::JournalFailed { journal, why } => ("journal", journal, "failed", why).into_py_any(py),
        Notice::JournalClosed { journal } => ("journal", journal, "closed", py.None()).into_py_any(py),
        Notice::CommandRefused { room, what, why } => ("command_refused", room, what, why).into_py_any(py),
        Notice::Dropped { count } => ("dropped_events", count).into_py_any(py),
    }
}

fn room_event(py: Python<'_>, room: u64, event: &Event) -> PyResult<Object> {
    match event {
        Event::Dtls { transport, datagram } => ("dtls", room, transport.0, PyBytes::new(py, datagram)).into_py_any(py),
        Event::Ice { transport, state } => ("ice", room, transport.0, state.name()).into_py_any(py),
        Event::Track { transport, track, state } => ("track", room, transport.0, track.0, state.name()).into_py_any(py),
        Event::Codec { transport, track, name, fmtp } => {
            ("codec", room, transport.0, track.0, name, fmtp).into_py_any(py)
        }
        Event::Levels(levels) => {
            let each = levels.iter().map(|one| (one.track.0, one.level_dbov, one.active));
            ("levels", room, PyTuple::new(py, each.collect::<Vec<_>>())?).into_py_any(py)
        }
        Event::Estimate { transport, bps, is_limit } => ("estimate", room, transport.0, bps, is_limit).into_py_any(py),
        Event::Private { track, private } => ("private", room, track.0, *private).into_py_any(py),
        Event::PortClosed { track, reason } => ("port_closed", room, track.0, reason.name()).into_py_any(py),
        Event::TapEnded { tap, reason } => ("tap_ended", room, tap.0, reason.name()).into_py_any(py),
    }
}

fn answer(py: Python<'_>, answer: &Answer) -> PyResult<Object> {
    match answer {
        Answer::Gone => PyDict::new(py).into_py_any(py),
        Answer::Transport(stats) => transport_stats(py, stats),
        Answer::Room(dump) => value(py, dump),
    }
}

fn transport_stats(py: Python<'_>, stats: &TransportStats) -> PyResult<Object> {
    let dict = PyDict::new(py);
    for (name, count) in [
        ("packets_in", stats.packets_in),
        ("bytes_in", stats.bytes_in),
        ("packets_out", stats.packets_out),
        ("bytes_out", stats.bytes_out),
        ("retransmitted_out", stats.retransmitted_out),
        ("nacks_in", stats.nacks_in),
        ("nacks_out", stats.nacks_out),
        ("plis_in", stats.plis_in),
        ("plis_out", stats.plis_out),
        ("recovered_in", stats.recovered_in),
        ("lost_in", stats.lost_in),
        ("expected_in", stats.expected_in),
        ("missing_in", stats.missing_in),
    ] {
        dict.set_item(name, count)?;
    }
    let dropped = PyDict::new(py);
    for (reason, count) in stats.dropped.iter() {
        dropped.set_item(reason, count)?;
    }
    dict.set_item("dropped", dropped)?;
    dict.set_item("dropped_out", stats.dropped_out)?;
    dict.set_item("rtt_ms", stats.rtt_ms)?;
    dict.set_item("fraction_lost_out", stats.fraction_lost_out)?;
    dict.set_item("jitter_in_ms", stats.jitter_in_ms)?;
    dict.set_item("estimate_bps", stats.estimate_bps)?;
    dict.into_py_any(py)
}

fn value(py: Python<'_>, plain: &Value) -> PyResult<Object> {
    match plain {
        Value::Null => Ok(py.None()),
        Value::Bool(flag) => flag.into_py_any(py),
        Value::Int(number) => number.into_py_any(py),
        Value::Float(number) => number.into_py_any(py),
        Value::Text(text) => text.into_py_any(py),
        Value::List(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(value(py, item)?)?;
            }
            list.into_py_any(py)
        }
        Value::Map(entries) => {
            let dict = PyDict::new(py);
            for (name, item) in entries {
                dict.set_item(name, value(py, item)?)?;
            }
            dict.into_py_any(py)
        }
    }
}

pub(super) fn node_stats(py: Python<'_>, threads: &[ThreadCounts], tcp: (usize, u64)) -> PyResult<Object> {
    let mut totals = RoomTotals::default();
    let mut delay = holdspace_engine::DelayHistogram::default();
    for counts in threads {
        add_totals(&mut totals, &counts.totals);
        delay.add(&counts.delay);
    }
    let sum = |of: fn(&ThreadCounts) -> u64| threads.iter().map(of).sum::<u64>();
    let dict = PyDict::new(py);
    dict.set_item("rooms", threads.iter().map(|counts| counts.rooms).sum::<usize>())?;
    dict.set_item("transports", totals.transports)?;
    dict.set_item("tracks", totals.tracks)?;
    dict.set_item("packets_in", totals.packets_in)?;
    dict.set_item("packets_out", totals.packets_out)?;
    dict.set_item("bytes_in", totals.bytes_in)?;
    dict.set_item("bytes_out", totals.bytes_out)?;
    dict.set_item("sends", sum(|counts| counts.sends))?;
    dict.set_item("gso_refused", sum(|counts| counts.gso_refused))?;
    dict.set_item("socket_overflow", sum(|counts| counts.socket_overflow))?;
    dict.set_item("tcp_connections", tcp.0)?;
    dict.set_item("tcp_refused", tcp.1)?;
    let dropped = PyDict::new(py);
    for (reason, count) in drops_by_reason(&totals.dropped, threads) {
        dropped.set_item(reason, count)?;
    }
    dict.set_item("dropped", dropped)?;
    dict.set_item("repeat_refused", totals.repeat_refused)?;
    dict.set_item("frames_to_worker", totals.port.frames_to_worker)?;
    dict.set_item("frames_dropped", totals.port.frames_dropped)?;
    dict.set_item("frames_from_worker", totals.port.frames_from_worker)?;
    dict.set_item("bad_port_messages", totals.port.bad_port_messages)?;
    dict.set_item("delay_us_buckets", PyTuple::new(py, delay.buckets().collect::<Vec<_>>())?)?;
    let cpu = threads.iter().map(|counts| counts.cpu_ns).collect::<Vec<_>>();
    dict.set_item("thread_cpu_ns", PyTuple::new(py, cpu)?)?;
    dict.into_py_any(py)
}
