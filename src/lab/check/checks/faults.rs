//! System calls of the server fail as the kernel may let them fail. Most servers handle several errors of accept(2) in one place: each of
//! these checks depends on the one before, so that one fault is told once.
//!
//! Most checks have two rounds: in the first, each call of the kind fails once before it is made; in the second, one in ten does, by
//! chance. Where a call of one connection fails, or the call that takes a client, that is one call, three times.

use super::super::client::{Client, Got};
use super::super::faults::{Fault, Often, Target, Tracer, Wanted};
use super::super::session::{Session, TO_ANSWER};
use super::super::{Answers, Check, Ended, Needs, Step};
use super::{ANSWERS, IN_TURN, LARGE, NOTHING_MORE, USUAL};
use crate::sys::Errno;
use crate::sys::poll::PollFlags;
use std::time::Duration;

/// What each of these depends on, and what one of them depends on besides.
macro_rules! after {
    ($($besides:expr),*) => {
        &[ANSWERS, NOTHING_MORE, IN_TURN, "signals/stop-continue", "end/closes", $($besides),*]
    };
}

/// What all of these have in common.
const FAULT: Check = Check { needs: Needs::Faults, after: after![], ..USUAL };

const ACCEPT_DOES: &str = "Clients come in turn, each while the one before is connected; accept(2) fails before it is made; the previous client leaves; each must get its answer.";
const NO_ROOM: &str = "The system as a whole can run out of files or of memory for sockets. Usually that is over a moment later.";
const ACCEPT_ENDS: &str = "An error of accept(2) ends the server or the thread that accepts, or the number -1 is used as a descriptor. Call it again after errors that can pass, at the latest when a client has left.";

pub(super) static CHECKS: [Check; 17] = [
    Check {
        id: "fault/accept-eintr",
        claim: "accept(2) that a signal interrupted (EINTR) is called again.",
        does: ACCEPT_DOES,
        matters: "A handler that was installed without SA_RESTART interrupts a blocking accept: SIGCHLD in each server that forks.",
        cause: "EINTR of accept(2) ends the server.",
        reference: "man 2 accept, EINTR; UNP 5.9",
        run: |at| accepts(at, Errno::EINTR),
        ..FAULT
    },
    Check {
        id: "fault/accept-econnaborted",
        claim: "After a client that was gone before it was accepted (ECONNABORTED), others are served.",
        does: ACCEPT_DOES,
        matters: "Some kernels, and some packet filters on Linux, report with this error a client that has gone.",
        cause: ACCEPT_ENDS,
        reference: "man 2 accept, ECONNABORTED; UNP 5.11",
        run: |at| accepts(at, Errno::ECONNABORTED),
        ..FAULT
    },
    Check {
        id: "fault/accept-emfile",
        claim: "When the process has no descriptor left (EMFILE), accept(2) is called again later.",
        does: ACCEPT_DOES,
        matters: "A server with many clients comes to its limit on descriptors sooner or later.",
        cause: ACCEPT_ENDS,
        reference: "man 2 accept, EMFILE",
        after: after!["fault/accept-econnaborted"],
        run: |at| accepts(at, Errno::EMFILE),
        ..FAULT
    },
    Check {
        id: "fault/accept-enfile",
        claim: "When the system can open no more files (ENFILE), accept(2) is called again later.",
        does: ACCEPT_DOES,
        matters: NO_ROOM,
        cause: ACCEPT_ENDS,
        reference: "man 2 accept, ENFILE; /proc/sys/fs/file-max",
        after: after!["fault/accept-emfile"],
        run: |at| accepts(at, Errno::ENFILE),
        ..FAULT
    },
    Check {
        id: "fault/accept-enobufs",
        claim: "When the kernel has no memory for buffers (ENOBUFS), accept(2) is called again later.",
        does: ACCEPT_DOES,
        matters: NO_ROOM,
        cause: ACCEPT_ENDS,
        reference: "man 2 accept, ENOBUFS",
        after: after!["fault/accept-enfile"],
        run: |at| accepts(at, Errno::ENOBUFS),
        ..FAULT
    },
    Check {
        id: "fault/accept-enomem",
        claim: "When the kernel has no memory (ENOMEM), accept(2) is called again later.",
        does: ACCEPT_DOES,
        matters: NO_ROOM,
        cause: ACCEPT_ENDS,
        reference: "man 2 accept, ENOMEM",
        after: after!["fault/accept-enobufs"],
        run: |at| accepts(at, Errno::ENOMEM),
        ..FAULT
    },
    Check {
        id: "fault/recv-eintr",
        claim: "recv(2) that a signal interrupted (EINTR) is called again.",
        does: "A client asks 100 times while recv or read of its blocking connection fails so.",
        matters: "A handler without SA_RESTART interrupts a recv that waits.",
        cause: "Each -1 of recv(2) is taken for the end of the connection.",
        reference: "man 2 recv, EINTR; man 7 signal",
        run: |at| transfers(at, Target::Receive, Fault::Fails(Errno::EINTR)),
        ..FAULT
    },
    Check {
        id: "fault/recv-eagain",
        claim: "A recv(2) with nothing to read (EAGAIN) after its socket was reported readable is no error.",
        does: "A client asks 100 times while recv or read of its non-blocking, level-triggered connection fails so.",
        matters: "A report of readiness is a hint: another thread may have read, or the kernel may have dropped a segment with a wrong checksum.",
        cause: "EAGAIN closes the connection, or ends the server.",
        reference: "man 2 select, BUGS; man 2 recv, EAGAIN",
        run: |at| transfers(at, Target::Receive, Fault::Fails(Errno::EAGAIN)),
        ..FAULT
    },
    Check {
        id: "fault/recv-short",
        claim: "A request is answered although each recv(2) gives only one byte of it.",
        does: "A client asks 100 times, and sends 4 KiB once, while recv and read give one byte at most.",
        matters: "A stream has no messages: the kernel may give any part of what was sent.",
        cause: "The server treats the bytes of one recv as one request.",
        reference: "man 2 recv, RETURN VALUE; man 7 epoll, Q9",
        answers: Answers::Bytes,
        after: after![LARGE],
        run: |at| transfers(at, Target::Receive, Fault::OneByte),
        ..FAULT
    },
    Check {
        id: "fault/recv-econnreset",
        claim: "When recv(2) fails with ECONNRESET, only that connection ends.",
        does: "Two clients are connected; recv of the first one fails; the second and a third one must be served.",
        matters: "The error belongs to one connection.",
        cause: "The server ends at an error of recv(2) that it did not expect.",
        reference: "man 2 recv; man 7 tcp",
        clients: 2,
        after: after!["clients/silent-beside"],
        run: |at| breaks_alone(at, Target::Receive, Errno::ECONNRESET),
        ..FAULT
    },
    Check {
        id: "fault/send-eintr",
        claim: "send(2) that a signal interrupted (EINTR) is called again.",
        does: "A client asks 100 times while send or write of its blocking connection fails so.",
        matters: "A handler without SA_RESTART interrupts a send that waits.",
        cause: "Each -1 of send(2) is taken for the end of the connection, or is ignored, and the answer is lost.",
        reference: "man 2 send, EINTR",
        run: |at| transfers(at, Target::Send, Fault::Fails(Errno::EINTR)),
        ..FAULT
    },
    Check {
        id: "fault/send-short",
        claim: "An answer is sent wholly although each send(2) takes only one byte of it.",
        does: "A client asks 100 times, and sends 4 KiB once, while send and write take one byte at most.",
        matters: "A signal can end a blocking send(2) after a part, and a non-blocking one takes what has room.",
        cause: "The result of send(2) is not looked at.",
        reference: "man 2 send, RETURN VALUE; UNP 3.9, writen",
        answers: Answers::Bytes,
        after: after![LARGE, "clients/slow-reader"],
        run: |at| transfers(at, Target::Send, Fault::OneByte),
        ..FAULT
    },
    Check {
        id: "fault/send-epipe",
        claim: "When send(2) fails with EPIPE, only that connection ends.",
        does: "Two clients are connected; send to the first one fails; the second and a third one must be served.",
        matters: "The error belongs to one connection.",
        cause: "The server ends at an error of send(2) that it did not expect.",
        reference: "man 2 send, EPIPE",
        clients: 2,
        after: after!["clients/silent-beside"],
        run: |at| breaks_alone(at, Target::Send, Errno::EPIPE),
        ..FAULT
    },
    Check {
        id: "fault/send-econnreset",
        claim: "When send(2) fails with ECONNRESET, only that connection ends.",
        does: "As fault/send-epipe.",
        matters: "The error belongs to one connection.",
        cause: "The server ends at an error of send(2) that it did not expect.",
        reference: "man 2 send, ECONNRESET",
        clients: 2,
        after: after!["clients/silent-beside", "fault/send-epipe"],
        run: |at| breaks_alone(at, Target::Send, Errno::ECONNRESET),
        ..FAULT
    },
    Check {
        id: "fault/wait-eintr",
        claim: "A wait that a signal interrupted (EINTR) is called again.",
        does: "A client asks 100 times while select, poll or epoll_wait fails so.",
        matters: "These calls are never restarted, whatever SA_RESTART says.",
        cause: "EINTR of the wait ends the loop, or the sets of select are read although it failed.",
        reference: "man 7 signal, the list of calls that are never restarted",
        run: |at| transfers(at, Target::Wait, Fault::Fails(Errno::EINTR)),
        ..FAULT
    },
    Check {
        id: "fault/epoll-ctl-enospc",
        claim: "When a client cannot be registered (ENOSPC of epoll_ctl), others are served.",
        does: "A client is connected; a second one comes while epoll_ctl fails; the first and a third one must be served. The second one may be closed.",
        matters: "The number of registrations of a user is limited.",
        cause: "The result of epoll_ctl(2) is not looked at, and the client waits for ever; or the server ends. In libuv (Node) and asyncio (Python) this is a fault of the runtime: programs cannot change it.",
        reference: "man 2 epoll_ctl, ENOSPC; /proc/sys/fs/epoll/max_user_watches",
        clients: 3,
        after: after!["clients/silent-beside"],
        run: |at| cannot_be_taken(at, Target::Register, Errno::ENOSPC),
        ..FAULT
    },
    Check {
        id: "fault/fork-eagain",
        claim: "When no process or thread can be started for a client (EAGAIN), others are served.",
        does: "A client is connected; a second one comes while fork, clone and clone3 fail; the first and a third one must be served. The second one may be closed.",
        matters: "The number of processes and threads of a user is limited.",
        cause: "The server ends when fork(2) or pthread_create(3) fails, or forgets to close the client.",
        reference: "man 2 fork, EAGAIN; man 3 pthread_create",
        clients: 3,
        after: after!["clients/silent-beside"],
        run: |at| cannot_be_taken(at, Target::Start, Errno::EAGAIN),
        ..FAULT
    },
];

/// Each check in two rounds: the calls that fail in each.
const ROUNDS: [(Often, &str); 2] = [(Often::Each, "each first time"), (Often::OneInTen, "one in ten")];

/// The system calls of a kind.
fn calls(target: Target) -> &'static str {
    match target {
        Target::Accept => "accept(2)",
        Target::Receive => "recv(2) or read(2)",
        Target::Send => "send(2) or write(2)",
        Target::Wait => "epoll_wait(2), poll(2) or select(2)",
        Target::Register => "epoll_ctl(2)",
        Target::Start => "fork(2) or clone(2)",
    }
}

/// What happens to which call, for the log.
fn named(target: Target, fault: Fault) -> String {
    let call = calls(target);
    match fault {
        Fault::Fails(errno) => format!("{call} fails with {errno:?}"),
        Fault::OneByte => format!("{call} takes one byte at most"),
    }
}

fn tracer(at: &Session<'_>) -> Step<Tracer> {
    Tracer::start(at.server(), at.chance(0..usize::MAX) as u64)
}

fn never_happens(tracer: &Tracer, target: Target) -> Ended {
    Ended::NotApplicable(match tracer.exempt() {
        Some(why) => format!("{} of the server cannot fail so: {why}", calls(target)),
        None => format!("the server never calls {}", calls(target)),
    })
}

/// Wait until the fault has happened. It never does when the client gets its answer without it, and no further call is made.
fn happens(at: &Session<'_>, tracer: &Tracer, target: Target, client: &Client<'_>) -> Step {
    let mut answered = false;
    let is_known = || {
        if tracer.hits()? > 0 {
            return Ok(true);
        }
        answered = at.ready(client, PollFlags::POLLIN, Duration::from_millis(10))?;
        Ok(answered)
    };
    if !at.within(TO_ANSWER, is_known)? {
        return Err(Ended::late("an answer, or the call that fails", "neither"));
    }
    if answered && tracer.hits()? == 0 {
        // A call of a blocking server had begun before: then it is the next one that fails. A server may pause before it.
        if target == Target::Receive && tracer.wait_for(1, Duration::from_millis(500)) {
            return Ok(());
        }
        // One that does not sleep yet may have had no processor for it.
        at.until_it_waits()?;
        if tracer.hits()? == 0 {
            return Err(never_happens(tracer, target));
        }
    }
    Ok(())
}

/// Wait until accept has failed again after the first `so_far` times, or this client has got something, or neither will be so: the
/// server has its request and sleeps, for example until another client leaves.
fn is_seen(at: &Session<'_>, tracer: &Tracer, so_far: usize, client: &Client<'_>) -> Step {
    let mut slept = false;
    let is_seen = || {
        if tracer.hits()? > so_far || at.ready(client, PollFlags::POLLIN, Duration::from_millis(5))? {
            return Ok(true);
        }
        let sleeps = client.is_acknowledged_within(Duration::ZERO)? && at.server().sleeps().unwrap_or(true);
        // Its tasks are looked at one after another, and may take turns: twice is surer.
        Ok(std::mem::replace(&mut slept, sleeps) && sleeps)
    };
    // One for which nothing of this comes is late with its answer.
    at.within(TO_ANSWER, is_seen).map(drop)
}

/// Clients come in turn while accept fails.
fn accepts(at: &Session<'_>, errno: Errno) -> Step {
    let tracer = tracer(at)?;
    let mut all = 0;
    for (often, what) in ROUNDS {
        at.say(format!("from now on {}: {what}", named(Target::Accept, Fault::Fails(errno))));
        // Beside each other only where the server has more than one client at a time.
        let is_one = at.at_once < 2;
        let mut before: Option<Client<'_>> = if is_one { None } else { Some(at.connect()?) };
        if let Some(before) = &before {
            before.ask(b"before")?;
        }
        tracer.want(Wanted { target: Target::Accept, fault: Fault::Fails(errno), often, client: None });
        for i in 0..20 {
            let so_far = tracer.hits()?;
            let client = if i < 5 { at.connect()? } else { at.connect_unlogged()? };
            let request = client.request(b"question");
            // A server that pauses without descriptors goes on when a client has left: one leaves after accept has failed, not before.
            is_seen(at, &tracer, so_far, &client)?;
            if let Some(before) = before.take() {
                before.end()?;
            }
            match request.and_then(|()| client.answer(b"question")) {
                // A server that has a descriptor in reserve takes such a client with it, and closes it.
                Err(Ended::Failed(fault)) if may_close(errno) && !fault.is_late => {}
                Err(ended) => return Err(ended.at(&format!("{what}: client {}", i + 1))),
                Ok(()) => before = (!is_one).then_some(client),
            }
        }
        let hits = tracer.want_nothing()?;
        at.say(format!("accept failed {hits} times"));
        all += hits;
        drop(before);
        at.serves_another_soon()?;
    }
    if all == 0 {
        return Err(never_happens(&tracer, Target::Accept));
    }
    if errno == Errno::EMFILE {
        return Ok(());
    }
    // What is not the lack of this process is over although none of its clients leaves.
    at.say("the next accept(2) fails so, with no other client");
    let once =
        Wanted { target: Target::Accept, fault: Fault::Fails(errno), often: Often::Once, client: None };
    // A client whose end the server has not seen yet would be another one.
    at.until_it_waits()?;
    tracer.want(once);
    match at.connect()?.ask(b"question") {
        Err(Ended::Failed(fault)) if may_close(errno) && !fault.is_late => Ok(()),
        answered => answered.map_err(|ended| ended.at("a client that comes alone")),
    }
}

/// Whether a server may close a client whose accept failed so, instead of letting it wait.
fn may_close(errno: Errno) -> bool {
    matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)
}

/// A client asks while its transfers, or the waits of the server, fail or are short.
fn transfers(at: &Session<'_>, target: Target, fault: Fault) -> Step {
    let tracer = tracer(at)?;
    let mut all = 0;
    for (often, what) in ROUNDS {
        let client = at.connect()?;
        client.ask(b"before")?;
        at.say(format!("from now on {}: {what}", named(target, fault)));
        tracer.want(Wanted { target, fault, often, client: None });
        let failed = |ended: Ended| ended.at(what);
        for _ in 0..100 {
            client.ask(b"question").map_err(failed)?;
        }
        if fault == Fault::OneByte {
            let large = client.on_the_wire(&at.text(4 << 10));
            client.exchange(&large, || large.len()).map_err(failed)?;
        }
        let hits = tracer.want_nothing()?;
        at.say(format!("it happened {hits} times"));
        all += hits;
        client.ask(b"after").map_err(failed)?;
    }
    if all == 0 { Err(never_happens(&tracer, target)) } else { Ok(()) }
}

/// A call for one connection fails: the others go on.
fn breaks_alone(at: &Session<'_>, target: Target, errno: Errno) -> Step {
    let tracer = tracer(at)?;
    for _ in 0..3 {
        let [first, second] = [at.connect()?, at.connect()?];
        first.ask(b"before")?;
        second.ask(b"before")?;
        at.say(format!("the next {}", named(target, Fault::Fails(errno))));
        let only = Some(first.addr()?);
        tracer.want(Wanted { target, fault: Fault::Fails(errno), often: Often::Once, client: only });
        first.request(b"question")?;
        happens(at, &tracer, target, &first)?;
        second.ask(b"after").map_err(|ended| ended.at("the other client"))?;
        drop((first, second));
        at.serves_another()?;
    }
    Ok(())
}

/// A client comes while it can not be taken: the others go on.
fn cannot_be_taken(at: &Session<'_>, target: Target, errno: Errno) -> Step {
    let tracer = tracer(at)?;
    let fault = Fault::Fails(errno);
    // What it does at its start is for no client.
    at.until_it_waits()?;
    for round in 0..3 {
        tracer.want(Wanted { target, fault, often: Often::Never, client: None });
        let first = at.connect()?;
        first.ask(b"before")?;
        at.until_it_waits()?;
        // One that does without the call for a client may still make it at any time: the Go runtime starts a thread when the others
        // are slow, and ends when it cannot.
        if tracer.want_nothing()? == 0 && round == 0 {
            return Err(never_happens(&tracer, target));
        }
        at.say(format!("the next {}", named(target, fault)));
        tracer.want(Wanted { target, fault, often: Often::Once, client: None });
        let second = at.connect()?;
        // The server may close it before.
        second.request(b"question").or_else(Ended::unless_late)?;
        match happens(at, &tracer, target, &second) {
            // A thread that has served an earlier client may serve this one as well.
            Err(Ended::NotApplicable(_)) if round > 0 => return Ok(()),
            happened => happened?,
        }
        first.ask(b"after").map_err(|ended| ended.at("the client that was there before"))?;
        first.close();
        let mut answer = [0; 64];
        match second.read_within(&mut answer, TO_ANSWER)? {
            Some(Got::Bytes(_) | Got::End | Got::Broken(_)) => {}
            None => {
                return Err(Ended::late(
                    "the client for which the call failed is served later, or closed",
                    format!("nothing within {} s", TO_ANSWER.as_secs()),
                ));
            }
        }
        drop(second);
        at.serves_another()?;
    }
    Ok(())
}
