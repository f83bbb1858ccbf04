//! One turn of the engine: wait, handle what has come, send the requests that are due.

use super::{
    AFTER_STOP, END_TIMEOUT, Engine, LATE_NS, LONGEST_LOOK_NS, Pace, SEND_AT_ONCE, SLICE, record_of,
};
use crate::lab::load::connection::{Mismatch, Request, State};
use crate::lab::load::plan::Wait;
use crate::lab::load::trouble::Trouble;
use crate::lab::load::wire::{Event, Wire};
use std::ops::Range;
use std::time::Duration;

#[expect(private_bounds, reason = "the two wires are all there are")]
impl<W: Wire> Engine<W> {
    /// Handle what comes until `until`, or until there is nothing to wait for.
    pub(super) fn spin(&mut self, mut until: u64) -> crate::Result<()> {
        let (mut last, mut stopped_at) = (self.now(), None);
        let mut due = last;
        // After a stop no more requests are sent; those under way are still answered.
        while self.has_work() {
            let timeout = self.pause(last, due, until);
            let happened = self.wire.wait(timeout)?;
            // Time asleep is idle time whatever ended it.
            let slept = if timeout.is_zero() { 0 } else { self.now().saturating_sub(last) };
            self.handle_events();
            let mut now = self.now();
            if !self.waiting.is_empty() {
                self.dial_again(now);
            }
            // To wake up late is to be away: requests may have been due meanwhile.
            let wanted = slept.min(timeout.as_nanos() as u64);
            if now - last > wanted + LATE_NS && !self.is_behind {
                self.absence = last + wanted..now;
            }
            // What is due at `until` itself belongs to the next window.
            let sent = match self.send_due(now.min(until.saturating_sub(1))) {
                Some((sent, next)) => {
                    due = next;
                    if sent > 0 {
                        now = self.now();
                    }
                    sent > 0
                }
                None => false,
            };
            self.note_time(last, now, if happened || sent { slept } else { now - last });
            if self.stopped {
                until = until.min(stopped_at.get_or_insert(now).saturating_add(AFTER_STOP.as_nanos() as u64));
            }
            self.watched += (now - last).min(LONGEST_LOOK_NS.max(timeout.as_nanos() as u64));
            if self.watched >= self.next_check {
                self.give_up_silent();
            }
            last = now;
            if now >= until {
                break;
            }
        }
        Ok(())
    }

    fn has_work(&self) -> bool {
        match &self.pace {
            Pace::Still => self.under_way > 0,
            Pace::Closed => self.under_way > 0 && !self.stopped,
            Pace::Open(schedule) => self.alive > 0 && !self.stopped && schedule.next() < self.last_due,
        }
    }

    /// How long to wait, at `now`, for what comes.
    #[inline]
    fn pause(&self, now: u64, due: u64, until: u64) -> Duration {
        if self.plan.wait == Wait::Spin {
            return Duration::ZERO;
        }
        let due = if matches!(self.pace, Pace::Open(_)) && !self.free.is_empty() { due } else { u64::MAX };
        let slice = if self.clock.is_some() {
            self.slice_began + SLICE.as_nanos() as u64
        } else {
            now + LONGEST_LOOK_NS
        };
        let check = now + self.next_check.saturating_sub(self.watched).max(1);
        let again = self.waiting.front().map_or(u64::MAX, |&(due, _)| due);
        Duration::from_nanos(due.min(until).min(slice).min(check).min(again).saturating_sub(now))
    }

    /// Write down that it is `now`, and `idle` of the time since `last` there was nothing to do.
    #[inline]
    fn note_time(&mut self, last: u64, now: u64, idle: u64) {
        if self.clock.is_none() {
            return;
        }
        self.record.counts.busy_ns += (now - last).saturating_sub(idle);
        if now - self.slice_began >= SLICE.as_nanos() as u64 {
            self.end_slice(now);
        }
    }

    /// Add up, for Little's law, the requests that were under way since the last call.
    #[inline]
    pub(super) fn integrate(&mut self, now: u64) {
        if let Some(clock) = &mut self.clock {
            self.record.counts.under_way_ns += now.saturating_sub(clock.integrated) * self.under_way as u64;
            clock.integrated = now.max(clock.integrated);
        }
    }

    /// Look for connections that have waited for all of this slice.
    #[cold]
    fn end_slice(&mut self, now: u64) {
        for connection in &mut self.connections[self.active.clone()] {
            let waits = connection.requests.front().is_some_and(|request| request.sent <= self.slice_began);
            let waits = waits && connection.state != State::Waiting { port: true };
            connection.stalled += u32::from(waits && !connection.heard);
            connection.heard = false;
        }
        self.slice_began = now;
    }

    /// Handle the events of the last wait.
    #[inline]
    pub(super) fn handle_events(&mut self) {
        while let Some(event) = self.wire.next() {
            match event {
                Event::Arrived { slot } => self.arrived(slot),
                Event::Took { slot, bytes } => {
                    self.connections[slot].took(bytes);
                    if self.connections[slot].state == State::Open {
                        self.send(slot);
                    }
                }
                Event::Connected { slot } => self.connected(slot),
                Event::Ended { slot } | Event::Failed { slot, .. }
                    if self.connections[slot].state == State::Lost =>
                {
                    self.parting.retain(|&(_, parting)| parting != slot);
                    self.wire.close(slot);
                }
                Event::Ended { slot } if self.connections[slot].state == State::Ending => {
                    self.ends.in_order += 1;
                    self.close_ended(slot);
                }
                Event::Ended { slot } => self.broken(slot, &Trouble::Closed),
                Event::Failed { slot, error } if self.connections[slot].state == State::Connecting => {
                    self.not_connected(slot, error);
                }
                Event::Failed { slot, .. } if self.connections[slot].state == State::Ending => {
                    self.ends.reset += 1;
                    self.close_ended(slot);
                }
                Event::Failed { slot, error } => self.broken(slot, &Trouble::Failed(error)),
                Event::Stop => self.stopped = true,
            }
        }
    }

    /// Send the requests whose time has come, as long as there are free connections. How many, and when the next is
    /// due; `None` in a closed loop.
    #[inline]
    fn send_due(&mut self, now: u64) -> Option<(usize, u64)> {
        for sent in 0..SEND_AT_ONCE {
            let Pace::Open(schedule) = &mut self.pace else { return None };
            let intended = schedule.next();
            if intended > now || intended >= self.last_due {
                self.is_behind = false;
                return Some((sent, intended));
            }
            let Some(slot) = self.free.pop_front() else {
                self.none_free_at = now;
                self.is_behind = true;
                return Some((sent, intended));
            };
            self.connections[slot].queued = false;
            if self.connections[slot].state == State::Lost {
                continue;
            }
            schedule.advance();
            let sending = self.now();
            self.note_delay(intended, sending - intended);
            self.ask(slot, intended);
            self.set_free(slot);
        }
        Some((SEND_AT_ONCE, now))
    }

    /// A request leaves this much after its time.
    #[inline]
    fn note_delay(&mut self, intended: u64, delay: u64) {
        // Requests that fell due while the generator was away are late because of it, even if the first of them then
        // took all free connections; but not those that waited for longer than it was away.
        let Range { start, end } = self.absence;
        let was_away = (start..end).contains(&intended) && intended + delay < end + (end - start);
        let waited = intended <= self.none_free_at && !was_away;
        if let Some(record) = record_of(&self.window, &mut self.record, &mut self.older, intended) {
            if !waited {
                record.scheduling.saturating_record(delay);
            }
            if delay > LATE_NS {
                record.counts.late += 1;
                record.counts.late_by_generator += u64::from(!waited);
            }
        }
    }

    /// Let the connection have a request when it is its turn, if it can take one.
    #[inline]
    pub(super) fn set_free(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        let can = connection.state != State::Lost
            && connection.requests.len() < self.plan.depth
            && connection.left > 0
            && !connection.queued;
        if can {
            connection.queued = true;
            self.free.push_back(slot);
        }
    }

    /// Begin a request that was due at `intended`.
    #[inline]
    pub(super) fn ask(&mut self, slot: usize, intended: u64) {
        let now = self.now();
        self.note_asked(slot, intended, now);
        match self.connections[slot].state {
            State::Open => self.send(slot),
            State::Closed => self.dial(slot, now),
            State::Connecting | State::Waiting { .. } | State::Ending | State::Lost => {}
        }
    }

    #[inline]
    fn note_asked(&mut self, slot: usize, intended: u64, now: u64) {
        self.integrate(now);
        self.under_way += 1;
        // What waits for its connection is counted as sent when that is established.
        if self.connections[slot].state == State::Open
            && let Some(record) = record_of(&self.window, &mut self.record, &mut self.older, intended)
        {
            record.counts.sent += 1;
        }
        self.connections[slot].ask(&self.plan, intended, now);
    }

    /// In a closed loop: begin so many requests, as far as the connection can take them.
    #[inline]
    pub(super) fn ask_again(&mut self, slot: usize, count: usize, now: u64) {
        let connection = &self.connections[slot];
        if connection.state == State::Lost {
            return;
        }
        let count = count.min(self.plan.depth - connection.requests.len()).min(connection.left as usize);
        for _ in 0..count {
            self.note_asked(slot, now, now);
        }
        match self.connections[slot].state {
            State::Open => self.send(slot),
            State::Closed if count > 0 => self.dial(slot, now),
            _ => {}
        }
    }

    #[inline]
    pub(super) fn send(&mut self, slot: usize) {
        if let Err(error) = self.connections[slot].send(slot, &mut self.wire, &self.block) {
            self.lose(slot, &Trouble::Failed(error));
        }
    }

    /// Bytes have come.
    #[inline]
    fn arrived(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        if let Err(mismatch) = connection.take(&self.answers, self.wire.bytes()) {
            return self.lose_in_order(slot, mismatch);
        }
        if connection.state == State::Ending {
            return; // An answer after a stop: it was checked, and is no part of the measurement.
        }
        let mut answers = 0;
        let mut now = 0;
        while let Some(request) = self.connections[slot].answer() {
            if answers == 0 {
                now = self.now();
            }
            answers += 1;
            self.note_answer(slot, request, now);
        }
        if answers > 0 {
            self.answered(slot, answers, now);
        }
    }

    #[inline]
    fn note_answer(&mut self, slot: usize, Request { intended, asked, sent, .. }: Request, now: u64) {
        self.integrate(now);
        self.under_way -= 1;
        self.answered_in_all += 1;
        let connection = &mut self.connections[slot];
        if let Some(clock) = self.clock {
            connection.answered += 1;
            connection.heard = true;
            self.record.counts.completed += 1;
            self.record.counts.answered_ns += now.saturating_sub(asked.max(clock.began));
        } else {
            // As much of its time as the clock saw.
            let Range { start, end } = self.clocked;
            self.record.counts.answered_ns += end.saturating_sub(asked.max(start));
        }
        // By when it was to be asked, and not by when it was answered: or an answer that is late because the
        // server stalled as the clock stopped would never be seen.
        let in_this = self.clock.is_some() && intended >= self.window.start;
        if let Some(record) = record_of(&self.window, &mut self.record, &mut self.older, intended) {
            record.answered(now - sent, self.has_times.then(|| now - intended));
            record.counts.answered += u64::from(in_this);
            record.counts.answered_after += u64::from(!in_this);
        }
    }

    /// `answers` requests were answered: send the next ones, or close the connection.
    #[inline]
    fn answered(&mut self, slot: usize, answers: usize, now: u64) {
        let connection = &mut self.connections[slot];
        if connection.left == 0 && connection.requests.is_empty() {
            connection.broken = 0;
            connection.left = self.plan.requests_per_conn.map_or(u64::MAX, u64::from);
            connection.closed(State::Closed);
            self.wire.close(slot);
        }
        match self.pace {
            Pace::Closed => {
                let all = self.connections[slot].state == State::Closed;
                self.ask_again(slot, if all { self.plan.depth } else { answers }, now);
            }
            Pace::Open(_) => self.set_free(slot),
            Pace::Still => {}
        }
    }

    /// End our side of a connection.
    pub(super) fn shutdown(&mut self, slot: usize) {
        self.connections[slot].state = State::Ending;
        self.ending += 1;
        if self.wire.shutdown(slot).is_err() {
            // ENOTCONN: the server has reset it.
            self.ends.reset += 1;
            self.close_ended(slot);
        }
    }

    /// Both sides have ended, or the time to wait for the other side is over.
    pub(super) fn close_ended(&mut self, slot: usize) {
        self.ending -= 1;
        self.connections[slot].closed(State::Closed);
        self.wire.close(slot);
    }

    pub(super) fn lose(&mut self, slot: usize, trouble: &Trouble) {
        if self.connections[slot].state != State::Lost {
            self.count_lost(slot, trouble);
            self.wire.close(slot);
        }
    }

    /// Wrong bytes came: lose the connection, and end it in order. Closing it with unread bytes would reset it, and some
    /// servers exit when a client resets.
    #[cold]
    fn lose_in_order(&mut self, slot: usize, mismatch: Mismatch) {
        if self.connections[slot].state == State::Lost {
            return; // Already reported. What still comes is read and dropped.
        }
        let trouble = self.explain(slot, mismatch);
        self.count_lost(slot, &trouble);
        match self.wire.shutdown(slot) {
            Ok(()) => self.parting.push_back((self.after(END_TIMEOUT), slot)),
            Err(_) => self.wire.close(slot),
        }
    }

    /// Close the lost connections that the server has not ended in time.
    #[cold]
    pub(super) fn close_parting(&mut self, now: u64) {
        while let Some(&(until, slot)) = self.parting.front()
            && until <= now
        {
            self.parting.pop_front();
            self.wire.close(slot);
        }
    }

    fn count_lost(&mut self, slot: usize, trouble: &Trouble) {
        let connection = &mut self.connections[slot];
        match connection.state {
            State::Ending => self.ending -= 1,
            State::Lost | State::Closed | State::Waiting { .. } | State::Connecting | State::Open => {}
        }
        if !std::mem::replace(&mut connection.reported, true) {
            self.report_lost(slot, trouble);
        }
        self.give_up_requests(slot, State::Lost);
        self.alive -= usize::from(self.active.contains(&slot));
    }

    /// Close a connection, with the requests that are under way on it.
    pub(super) fn give_up(&mut self, slot: usize, state: State) {
        self.give_up_requests(slot, state);
        self.wire.close(slot);
    }

    fn give_up_requests(&mut self, slot: usize, state: State) {
        let connection = &mut self.connections[slot];
        let under_way: Vec<_> = connection.unanswered().collect();
        connection.closed(state);
        let now = self.now();
        self.integrate(now);
        self.under_way -= under_way.len();
        match self.clock {
            // How long it will have waited is known when the clock stops.
            Some(_) => self.given_up.extend(under_way),
            None => under_way.into_iter().for_each(|request| self.not_answered(request, now)),
        }
    }

    /// Write down that a connection was lost. Where connections come and go, the first one of a slot.
    pub(super) fn report_lost(&mut self, slot: usize, trouble: &Trouble) {
        self.wrong_bytes += trouble.wrong_bytes();
        let seen = self.connections[slot].seen(&self.answers, self.plan.expect);
        self.lost.push(trouble.of(self.first + slot, &seen));
    }
}
