//! What else an epoll descriptor takes: the parameters of busy polling.

use super::*;

pub(super) const FACTS: &[Fact] = &[Fact {
    id: "ep-busy-poll-params",
    claim: "EPIOCGPARAMS of a new instance gives zeros, and later what EPIOCSPARAMS has set. A pad that is \
            not 0, prefer_busy_poll above 1 and more than i32::MAX us are EINVAL; a budget above 64 without \
            CAP_NET_ADMIN is EPERM. What is refused changes nothing.",
    reference: "ioctl_eventpoll(2); ep_eventpoll_bp_ioctl in fs/eventpoll.c; commit 18e2bf0edf4d",
    since: Since(6, 9),
    matters: "Servers that poll the network card instead of waiting for its interrupts set this for each \
              instance. An array that was not zeroed before it was filled is refused.",
    experiment: "The parameters of a new instance; 40 us, 8 packets, preferred; then each of the wrong \
                 values; then a budget of 65 by a process without the capability; and what is set then.",
    run: |k| {
        let ep = epoll(k)?;
        let get = || -> Reply<[u8; 8]> {
            let mut all = [0xff; 8];
            k.epoll_params(ep, &mut all).map(|()| all)
        };
        let at_first = get();
        if at_first == no(Errno::EOPNOTSUPP) {
            return skip(Why::Missing, "this kernel is built without busy polling");
        }
        is("the parameters of a new instance", at_first, Ok(params(0, 0, 0, 0)))?;
        is("setting 40 us, 8 packets, preferred", k.set_epoll_params(ep, &params(40, 8, 1, 0)), Ok(()))?;
        is("the parameters then", get(), Ok(params(40, 8, 1, 0)))?;
        let largest = params(i32::MAX as u32, 64, 0, 0);
        is("setting i32::MAX us and 64 packets", k.set_epoll_params(ep, &largest), Ok(()))?;
        for (what, wrong) in [
            ("a pad of 1", params(40, 8, 0, 1)),
            ("prefer_busy_poll of 2", params(40, 8, 2, 0)),
            ("i32::MAX + 1 us", params(1 << 31, 8, 0, 0)),
        ] {
            noted(is(format!("setting {what}"), k.set_epoll_params(ep, &wrong), no(Errno::EINVAL)));
        }
        step("without CAP_NET_ADMIN", || {
            give_up(CAP_NET_ADMIN)?;
            is("setting 65 packets", k.set_epoll_params(ep, &params(40, 65, 0, 0)), no(Errno::EPERM))
        });
        is("the parameters in the end", get(), Ok(largest))
    },
    ..Fact::ALWAYS
}];

const CAP_NET_ADMIN: u32 = 12;

/// `struct epoll_params` as it lies in memory.
fn params(usecs: u32, budget: u16, prefer: u8, pad: u8) -> [u8; 8] {
    let ([a, b, c, d], [e, f]) = (usecs.to_ne_bytes(), budget.to_ne_bytes());
    [a, b, c, d, e, f, prefer, pad]
}
