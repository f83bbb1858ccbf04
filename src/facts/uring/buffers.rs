//! Whose memory it is: buffers that the kernel chooses from, and data that is sent without a copy.

use super::*;
use crate::sys::raw::Take;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ur-recv-multi-enobufs",
        claim: "A multishot RECV for which there is no buffer left completes with ENOBUFS and is over; the data stays.",
        reference: "io_uring_enter(2) IORING_RECV_MULTISHOT; io_recv in io_uring/net.c",
        since: Since(6, 0),
        matters: "It is no error of the connection. A server has to give buffers back and submit the RECV \
                  again, or this client is never served again.",
        experiment: "A group of one buffer, a multishot RECV, two sends; then a RECV without a group.",
        run: |k| {
            let ring = ring(k)?;
            known(k.uring_buffers(ring, 1, 16))?;
            let (ours, theirs) = unix_pair(k)?;
            submit(k, ring, &[Op::RecvInto { fd: ours, how: Take::Many }.named("RECV")])?;
            k.send(theirs, b"1", 0)?;
            come(k, ring, "after the first send", &[goes_on("RECV", 1)])?;
            k.send(theirs, b"22", 0)?;
            noted(come(k, ring, "after the second send", &[done("RECV", no(Errno::ENOBUFS))]));
            submit(k, ring, &[Op::Recv { fd: ours, flags: 0 }.named("RECV")])?;
            come(k, ring, "a RECV with a buffer of its own", &[done("RECV", Ok(2))])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-recv-bundle",
        claim: "A RECV with IORING_RECVSEND_BUNDLE completes once for data that fills several buffers of its \
                group. Without it a RECV gets one buffer.",
        reference: "io_uring_enter(2) IORING_RECVSEND_BUNDLE; io_recv_buf_select in io_uring/net.c",
        since: Since(6, 10),
        matters: "The buffer that the completion names is the first of them: who takes it for the only one \
                  reads beyond its end, and loses the others.",
        experiment: "A group of five buffers of 4 bytes each; 14 bytes are sent; a RECV without the flag, and one with it.",
        run: |k| {
            let ring = ring(k)?;
            known(k.uring_buffers(ring, 5, 4))?;
            let (ours, theirs) = unix_pair(k)?;
            k.send(theirs, b"fourteen bytes", 0)?;
            submit(k, ring, &[Op::RecvInto { fd: ours, how: Take::One }.named("RECV")])?;
            noted(come(k, ring, "without the flag, of 14 bytes", &[done("RECV", Ok(4))]));
            submit(k, ring, &[Op::RecvInto { fd: ours, how: Take::ManyBundles }.named("RECV")])?;
            let mut sizes = Vec::new();
            while sizes.iter().sum::<i32>() < 10
                && let Some(next) = soon(k, ring, 1)?.first()
            {
                is("a completion with the flag", next.result.map(drop), Ok(()))?;
                sizes.extend(next.result);
            }
            // The first may have a single buffer: the kernel does not know yet how much there is. Before 7c71a0af81ba
            // (6.15) only a multishot RECV filled several.
            since(Since(6, 15), || {
                holds("with the flag, one has more than a buffer", sizes.iter().any(|&n| n > 4), sizes)
            });
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-send-zc-two",
        claim: "SEND_ZC completes twice: first with the number of bytes, and says that it goes on; then with \
                a notice, IORING_CQE_F_NOTIF, when its memory is free.",
        reference: "io_uring_enter(2) IORING_OP_SEND_ZC; io_send_zc in io_uring/net.c, io_uring/notif.c",
        since: Since(6, 0),
        matters: "A server that uses the buffer again after the first one sends other bytes than it wanted. \
                  One that counts a completion for each operation miscounts.",
        experiment: "SEND_ZC of 10 bytes over a TCP connection, which the peer reads; the completions in their order.",
        run: |k| {
            let ring = ring(k)?;
            let (ours, theirs) = tcp_pair(k)?;
            submit(k, ring, &[Op::SendZc { fd: ours, n: 10 }.named("SEND_ZC")])?;
            let first = soon(k, ring, 1)?;
            if first.first().is_some_and(|first| first.result == no(Errno::ENOBUFS)) {
                return skip(Why::Limits, "SEND_ZC gives ENOBUFS: RLIMIT_MEMLOCK is too low");
            }
            is("the first completion", first, vec![goes_on("SEND_ZC", 10)])?;
            noted(is("recv at the other end", k.recv(theirs, &mut [0; 64], 0), Ok(10)));
            let notice = Completion { notice: true, ..done("SEND_ZC", Ok(0)) };
            come(k, ring, "the second completion", &[notice])
        },
        ..Fact::ALWAYS
    },
];
