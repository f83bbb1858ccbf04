//! The fact of the kernel on which the result of a call rests.

use super::decode;
use crate::lab::results::trace::{Call, Fill, On};
use std::collections::HashSet;

/// A send takes a part, or nothing.
pub(super) const SHORT_SEND: &str = "nb-send-partial-then-eagain";

/// What is known besides the call itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    /// What epoll tells the edges of alone.
    pub(super) edges: &'a HashSet<On>,
    /// What lay in the buffers before the call.
    pub(super) before: &'a [Fill],
    /// And after it.
    pub(super) after: &'a [Fill],
}

impl Around<'_> {
    fn is_edge(&self, on: &On) -> bool {
        self.edges.contains(on)
    }
}

/// Bytes in the receive buffer of the server.
fn unread(fills: &[Fill], on: Option<&On>) -> u64 {
    let is_it = |fill: &&Fill| on == Some(&On::Client(fill.client));
    fills.iter().find(is_it).and_then(|fill| fill.received).unwrap_or(0)
}

/// Whether some process of the server has it open.
fn is_open(fills: &[Fill], on: Option<&On>) -> bool {
    fills.iter().any(|fill| on == Some(&On::Client(fill.client)) && fill.received.is_some())
}

/// The id of the fact, if there is one that says more than the manual page.
pub(super) fn of(call: &Call, around: &Around<'_>) -> Option<&'static str> {
    let errno = call.errno.as_deref();
    let on = call.on.as_ref();
    match (&*call.name, errno) {
        ("accept" | "accept4", Some("EAGAIN")) => Some("nb-accept-eagain"),
        ("accept" | "accept4", Some("EMFILE")) => Some("fd-accept-emfile-keeps-connection"),
        ("accept" | "accept4", None) => Some("nb-accept-queue-fifo"),
        ("fcntl", None) if call.arguments.contains("F_SETFL") && matches!(on, Some(On::Client(_))) => {
            Some("nb-accept-flags-not-inherited")
        }
        (_, Some("EINTR")) if decode::is_readiness(&call.name) => Some("sel-eintr-despite-sa-restart"),
        (_, Some("EINTR" | "ERESTARTSYS")) => Some("sig-restart-matrix"),
        ("recvfrom" | "recvmsg" | "read" | "readv", _) => received(call, around),
        ("sendto" | "sendmsg" | "write" | "writev", _) => sent(call),
        ("close", None) if unread(around.before, on) > 0 && !is_open(around.after, on) => {
            Some("tcp-close-with-unread-sends-rst")
        }
        ("shutdown", None) => Some("tcp-half-close-keeps-other-way"),
        ("epoll_ctl", _) => registered(call, around),
        ("epoll_wait" | "epoll_pwait" | "epoll_pwait2", None) => told_by_epoll(call, around),
        ("poll" | "ppoll", None) => told_by_poll(call),
        ("select" | "pselect6", None) if call.result == Some(0) => Some("sel-timeout-clears-sets"),
        ("wait4" | "waitid", _) => Some("sig-sigchld-coalesces"),
        ("rt_sigtimedwait", None) => Some("sig-rt-queue-order"),
        _ => None,
    }
}

fn received(call: &Call, around: &Around<'_>) -> Option<&'static str> {
    let Some(on @ On::Client(_)) = &call.on else { return None };
    match (call.errno.as_deref(), call.result?) {
        (Some("ECONNRESET"), _) => Some("tcp-plain-rst-is-econnreset"),
        (Some(_), _) => None,
        (None, 0) => Some("tcp-half-close-keeps-other-way"),
        (None, _) if !around.is_edge(on) => None,
        (None, _) if unread(around.after, Some(on)) > 0 => Some("et-partial-read-silent"),
        (None, _) => Some("et-short-read-means-drained"),
    }
}

fn sent(call: &Call) -> Option<&'static str> {
    let Some(On::Client(_)) = call.on else { return None };
    match (call.errno.as_deref(), call.result?) {
        (Some("EPIPE"), _) => Some("sig-sigpipe-rules"),
        (Some("ECONNRESET"), _) => Some("sig-no-sigpipe-on-econnreset"),
        (Some("EAGAIN"), _) => Some(SHORT_SEND),
        (None, n) if length(call).is_some_and(|length| n < length) => Some(SHORT_SEND),
        _ => None,
    }
}

/// How many bytes sendto(2) or write(2) was given.
fn length(call: &Call) -> Option<i64> {
    let from_the_end = match &*call.name {
        "sendto" => 1,
        "write" => 0,
        _ => return None,
    };
    call.arguments.rsplit(", ").nth(from_the_end)?.parse().ok()
}

fn registered(call: &Call, around: &Around<'_>) -> Option<&'static str> {
    let has = |what: &str| call.arguments.contains(what);
    match call.errno.as_deref() {
        Some("EPERM") => Some("ep-eperm-unpollable"),
        Some(_) => Some("ep-ctl-errnos"),
        None if has("EPOLL_CTL_DEL") => Some("ep-del-drops-ready-event"),
        None if has("EPOLLONESHOT") && has("EPOLL_CTL_MOD") => Some("multi-oneshot-rearm-reports"),
        None if has("EPOLLONESHOT") => Some("multi-oneshot-disables"),
        None if has("EPOLLEXCLUSIVE") => Some("multi-exclusive-wakes-one"),
        None if has("EPOLL_CTL_MOD") && has("EPOLLET") => Some("et-mod-rearms"),
        None if unread(around.after, call.on.as_ref()) > 0 => Some("ep-add-ready-reports"),
        None if has("EPOLLET") && has("EPOLLOUT") => Some("et-out-initial"),
        None if has("EPOLLET") => Some("et-once-per-edge"),
        None => None,
    }
}

fn told_by_epoll(call: &Call, around: &Around<'_>) -> Option<&'static str> {
    let first = call.ready.first()?;
    let has = |what: &str| first.events.contains(what);
    match (&first.on, around.is_edge(&first.on)) {
        (On::Listener, true) => Some("et-listener-per-connection"),
        (On::Listener, false) => Some("poll-listener-pending-in"),
        (On::Client(_), _) if has("EPOLLERR") => Some("ep-err-hup-implicit"),
        (On::Client(_), true) if has("EPOLLIN") => Some("et-once-per-edge"),
        (On::Client(_), false) if has("EPOLLIN") => Some("et-lt-repeats-until-drained"),
        (On::Client(_), true) => Some("et-tcp-out-only-after-eagain"),
        (On::Client(_), false) if call.times > 1 => Some("et-lt-out-spins"),
        (On::Client(_), false) => Some("poll-tcp-out-hysteresis"),
        _ => None,
    }
}

fn told_by_poll(call: &Call) -> Option<&'static str> {
    let first = call.ready.first()?;
    match first.on {
        On::Listener => Some("poll-listener-pending-in"),
        On::Client(_) if first.events.contains("POLLERR") => Some("poll-tcp-rst-mask"),
        On::Client(_) if first.events.contains("POLLOUT") => Some("poll-tcp-out-hysteresis"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::facts;

    /// All ids in this file are those of facts.
    #[test]
    fn each_fact_is_one() {
        let source = include_str!("facts.rs");
        let (code, _) = source.split_once("#[cfg(test)]").expect("the tests are at the end");
        let ids: Vec<_> = code.split("Some(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let ids: Vec<_> = ids.into_iter().filter(|id| id.contains('-')).collect();
        assert!(ids.len() > 20, "{ids:?}");
        for id in ids.into_iter().chain([super::SHORT_SEND]) {
            assert!(facts::find(id).is_some(), "there is no fact {id}");
        }
    }
}
