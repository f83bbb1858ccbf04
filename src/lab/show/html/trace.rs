//! A trace as a page: what to look at first, then the score of each step, the two servers beneath each other.
//!
//! The score is read from left to right, one event a column: the lanes of the first server, beneath them those of the second. Events that are
//! alike stand in the same column. On a narrow screen a column is a row, and time goes downwards. A click on an event opens a popover, which
//! needs no script.

use super::{Section, document};
use crate::facts;
use crate::lab::lang::Lang;
use crate::lab::results::trace::{Call, Event, Recording, Remark, Remarkable, Traced, What};
use crate::lab::show::trace::score::{self, Column, Lane, Lanes, Piece, State, Thread, Unlike};
use crate::lab::show::trace::words::{self, Buffer, Part};
use crate::lab::show::trace::{CallRow, MARK, Marks, details};
use crate::lab::units::{UNKNOWN, count, micros, seconds};
use maud::{Markup, PreEscaped, html};
use std::collections::{BTreeSet, HashMap};

const STYLE: &str = include_str!("trace.css");

/// A page is no larger than that.
const MOST_BYTES: usize = 300_000;

/// How many columns of a part are drawn. Fewer, where the page would be too large.
const MOST_COLUMNS: [usize; 7] = [400, 200, 100, 60, 36, 20, 10];

/// How many columns stand beside each other on a wide screen.
const IN_LINE: usize = 10;

/// So many columns beside an event with a remark are drawn, whatever is left out.
const AROUND: usize = 3;

/// How many events before a remark its picture has.
const BEFORE: usize = 5;

/// How many remarks have a picture.
const MOST_PICTURES: usize = 4;

/// How many different calls a cell of the overview lists.
const MOST_LISTED: usize = 8;

/// How many descriptors that are ready a cell lists.
const MOST_READY: usize = 3;

/// So many marks in a part have words beside them.
const FEW_MARKS: usize = 8;

/// How many notes, threads and facts are listed.
const MOST_ROWS: usize = 60;

/// The page.
#[must_use]
pub fn page(result: &Traced, lang: Lang) -> String {
    let drawn = |most| Sheet::new(result, lang, most).page();
    let pages = MOST_COLUMNS.into_iter().map(drawn);
    let mut smallest = String::new();
    for page in pages {
        smallest = page;
        if smallest.len() <= MOST_BYTES {
            break;
        }
    }
    smallest
}

/// What is drawn, and how much of it.
struct Sheet<'a> {
    result: &'a Traced,
    lang: Lang,
    most: usize,
    names: Vec<String>,
    marks: Vec<Marks<'a>>,
    /// The facts on which the calls rest.
    facts: BTreeSet<&'a str>,
    /// The columns of each part.
    columns: Vec<(Part, Vec<Column>)>,
    /// How the events of each server differ that are not like those of the other.
    unlike: [HashMap<usize, Unlike>; 2],
}

impl<'a> Sheet<'a> {
    fn new(result: &'a Traced, lang: Lang, most: usize) -> Sheet<'a> {
        let calls = result.servers.iter().flat_map(|server| &server.events).filter_map(|event| event.call());
        let columns: Vec<(Part, Vec<Column>)> =
            result.parts().map(|part| (part, result.columns(part))).collect();
        let all: Vec<Column> = columns.iter().flat_map(|(_, columns)| columns).copied().collect();
        let unlike = result.unlike(&all);
        Sheet {
            columns,
            unlike,
            result,
            lang,
            most,
            names: result.names(lang),
            marks: (0..result.servers.len()).map(|server| result.marks(server)).collect(),
            facts: calls.filter_map(|call| call.fact.as_deref()).collect(),
        }
    }

    fn page(&self) -> String {
        let (lang, result) = (self.lang, self.result);
        let intro = html! {
            p.soft { (words::intro(lang, &self.names, result.script.len())) " " (result.environment.system()) "." }
            @let left_out = || result.servers.iter().enumerate().filter(|(_, server)| server.left_out > 0);
            @if result.partial || left_out().next().is_some() {
                ul.warning {
                    @if result.partial { li { (words::partial(lang)) } }
                    @for (at, server) in left_out() { li { (self.server(at)) " " (words::left_out(lang, server)) } }
                }
            }
        };
        let sections = [
            Section { id: "look", heading: words::look_here(lang), content: self.remarks() },
            Section { id: "overview", heading: words::overview(lang), content: self.overview() },
            Section { id: "steps", heading: words::step_by_step(lang), content: self.steps() },
            Section { id: "calls", heading: words::calls_heading(lang), content: self.calls() },
            Section { id: "answers", heading: words::answers_heading(lang), content: self.answers() },
            Section { id: "facts", heading: words::facts_heading(lang), content: self.facts() },
            Section { id: "threads", heading: words::threads_heading(lang), content: self.threads() },
            Section { id: "repeat", heading: words::repeat_heading(lang), content: self.repeat() },
        ];
        let style = STYLE.to_owned() + &words::style(lang);
        // HTML does not need the ends of cells and rows.
        ["</td>", "</th>", "</tr>", "</li>", "</dd>", "</dt>"]
            .iter()
            .fold(document(lang, &words::title(lang, &self.names), &style, &intro, &sections), |page, end| {
                page.replace(end, "")
            })
    }

    fn recording(&self, server: usize) -> &'a Recording {
        &self.result.servers[server]
    }

    /// The id of an event on the page.
    fn id(server: usize, event: usize) -> String {
        format!("{}{event}", ["a", "b"][server.min(1)])
    }

    fn part_id(part: Part) -> String {
        match part {
            Part::Start => "start".to_owned(),
            Part::Step(step) => format!("s{}", step + 1),
            Part::End => "end".to_owned(),
        }
    }

    /// The name of a server with its sign.
    fn server(&self, server: usize) -> Markup {
        html! { span class={ "v v" (server) } { (self.names[server]) } }
    }

    fn remarks(&self) -> Markup {
        let lang = self.lang;
        let all: Vec<Numbered> = self
            .result
            .remarks()
            .enumerate()
            .map(|(n, (server, remark))| Numbered {
                number: n + 1,
                server,
                remark,
                event: self.recording(server).shows_at(remark),
            })
            .collect();
        // What went wrong for the clients is the effect; the cause is what the server did, and has a picture.
        let (effects, causes): (Vec<&Numbered>, Vec<&Numbered>) =
            all.iter().partition(|one| is_effect(one.remark.what));
        let places = causes.chunk_by(|one, next| (one.server, one.event) == (next.server, next.event));
        html! {
            @for (n, here) in places.enumerate() {
                @let Numbered { server, remark, event, .. } = *here[0];
                div.look {
                    @for one in here { (self.remark(one)) }
                    @if n < MOST_PICTURES && remark.what != Remarkable::NeverSleeps { (self.picture(server, event)) }
                    p.soft {
                        (self.see(here[0]))
                        @let reasons: BTreeSet<_> = here.iter().filter_map(|one| words::why(lang, self.recording(one.server), one.remark)).collect();
                        @for (fact, why) in reasons { br; (why) br; (self.fact(fact)) }
                    }
                }
            }
            @if !effects.is_empty() { div.look { @for one in effects { (self.remark(one)) } } }
            @if all.is_empty() { p { (words::nothing_to_look_at(lang)) } }
        }
    }

    /// A remark as a sentence.
    fn remark(&self, one: &Numbered) -> Markup {
        let Numbered { number, server, remark, .. } = one;
        html! {
            p id={ "r" (number) } {
                span.x { (MARK) " " (number) } " " (self.server(*server)) " "
                b { (words::remark(self.lang, self.recording(*server), remark)) }
                @if is_effect(remark.what) { " " (self.see(one)) }
            }
        }
    }

    /// A fact with its claim, and how to see it.
    fn fact(&self, id: &str) -> Markup {
        html! {
            @if let Some(fact) = facts::find(id) { (fact.claim) " " }
            code { "io-models facts --explain " (words::name(self.lang, id)) }
        }
    }

    /// The way to the event of a remark.
    fn see(&self, Numbered { server, remark, event, .. }: &Numbered) -> Markup {
        html! {
            a href={ "#" (Sheet::id(*server, *event)) } {
                @if !is_effect(remark.what) { (words::see(self.lang)) ": " }
                @if let Some(event) = self.recording(*server).events.get(*event) { (self.result.place(self.lang, event)) }
            }
        }
    }

    /// The events that led to that one.
    fn picture(&self, server: usize, event: usize) -> Markup {
        let recording = self.recording(server);
        let part = recording.events[event].step.map_or(0, |step| recording.events_of(Part::Step(step)).start);
        let events = part.max(event.saturating_sub(BEFORE))..event + 1;
        let state = State::before(recording, events.start);
        let lanes = Lanes::of(&state, &events);
        let column = |event| {
            let mut column = [None; 2];
            column[server.min(1)] = Some(event);
            Piece::Column(column)
        };
        let pieces: Vec<Piece> = events.map(column).collect();
        let half = Half { server, lanes, state, first_us: None, in_line: Vec::new() };
        html! { div.lanes.alone { (self.lines(&pieces, &mut [half], Detail::Picture)) } }
    }

    fn overview(&self) -> Markup {
        let lang = self.lang;
        let servers = 0..self.result.servers.len();
        let two = servers.len() > 1;
        html! {
            div.scroll tabindex="0" {
                table.over {
                    thead {
                        tr {
                            th { (words::step_column(lang)) }
                            @for server in servers.clone() { th { (self.server(server)) } }
                        }
                    }
                    tbody {
                        @for part in self.result.parts() {
                            tr {
                                th scope="row" {
                                    a href={ "#" (Sheet::part_id(part)) } { (self.result.heading(lang, part)) }
                                }
                                @for server in servers.clone() { td { (self.summary(server, part, two)) } }
                            }
                        }
                    }
                }
            }
        }
    }

    /// What a server did in a part: how many calls, those that only it made, and its remarks.
    fn summary(&self, server: usize, part: Part, two: bool) -> Markup {
        let lang = self.lang;
        let recording = self.recording(server);
        let events = recording.events_of(part);
        let calls: u64 = recording.events[events.clone()]
            .iter()
            .filter_map(Event::done)
            .map(|call| call.times)
            .fold(0, u64::saturating_add);
        let mut only: Vec<(String, usize, u64)> = Vec::new();
        for (index, event) in events.clone().zip(&recording.events[events.clone()]) {
            // That a thread begins to wait is part of the call that comes later.
            if !event.only_here || matches!(event.what, What::Begins(_)) {
                continue;
            }
            let said = words::event(lang, recording, event);
            match only.iter_mut().find(|(known, ..)| *known == said) {
                Some((.., n)) => *n += 1,
                None => only.push((said, index, 1)),
            }
        }
        let marks = events.flat_map(|event| self.marks[server].get(&event).into_iter().flatten());
        html! {
            (words::calls(lang, calls))
            @if two && !only.is_empty() {
                @for (said, index, n) in only.iter().take(MOST_LISTED) {
                    br; span.only { (self.unlike[server.min(1)].get(index).map_or(Unlike::Only.sign(), |unlike| unlike.sign())) } " "
                    a.ev href={ "#" (Sheet::id(server, *index)) } { (said) }
                    @if *n > 1 { " ×" (count(*n)) }
                }
                @if only.len() > MOST_LISTED { br; (words::and_more(lang, only.len() - MOST_LISTED)) }
            }
            @for (n, remark) in marks {
                br; a.x href={ "#r" (n) } { (MARK) " " (n) (words::mark(lang, remark)) }
            }
        }
    }

    fn steps(&self) -> Markup {
        let lang = self.lang;
        html! {
            (self.legend())
            @for part in self.result.parts() {
                @let id = Sheet::part_id(part);
                @match part {
                    Part::Step(step) => {
                        h3 id=(id) { (self.result.heading(lang, part)) }
                        @if let Some(step) = self.result.script.get(step) {
                            p.soft { @for (n, action) in step.actions.iter().enumerate() { @if n > 0 { ", " } code { (words::name(lang, action)) } } }
                        }
                        (self.score(part))
                    }
                    _ => {
                        details id=(id) { summary { b { (self.result.heading(lang, part)) } } (self.score(part)) }
                    }
                }
            }
        }
    }

    /// How to read the score.
    fn legend(&self) -> Markup {
        let lang = self.lang;
        html! {
            ul.legend {
                li { (words::legend_events(lang)) }
                li { i.w { (words::waits_word(lang)) } " " (words::legend_waits(lang)) }
                li { i.f style="--f:50" { "32" } " " (words::legend_fills(lang)) }
                @if self.names.len() > 1 {
                    li { span.only { (Unlike::Only.sign()) } " " (words::legend_only(lang)) }
                    li { span.only { (Unlike::Differs.sign()) } " " (words::legend_differs(lang)) }
                }
                li { span.x { (MARK) } " " (words::legend_remarks(lang)) }
            }
        }
    }

    /// The lanes of a part.
    fn score(&self, part: Part) -> Markup {
        let lang = self.lang;
        let columns = self.columns.iter().find(|(of, _)| *of == part).map_or(&[][..], |(_, columns)| columns);
        let half = |(server, recording): (usize, &'a Recording)| {
            let events = recording.events_of(part);
            let state = State::before(recording, events.start);
            let first_us = recording.events.get(events.start).map(|event| event.at_us);
            Half { server, lanes: Lanes::of(&state, &events), state, first_us, in_line: Vec::new() }
        };
        let mut halves: Vec<Half> = self.result.servers.iter().enumerate().map(half).collect();
        // What lies in the buffers is drawn on one scale.
        let most_bytes = halves.iter().map(|half| half.lanes.most_bytes).max().unwrap_or(0);
        halves.iter_mut().for_each(|half| half.lanes.most_bytes = most_bytes);
        let notes: Vec<String> = halves
            .iter()
            .filter_map(|half| {
                let Lanes { waiting, left_out, .. } = half.lanes;
                words::other_threads(lang, waiting, left_out, &self.names[half.server])
            })
            .collect();
        if columns.is_empty() {
            return html! { p.soft { (words::nothing_happens(lang)) } };
        }
        let marked = columns.iter().flat_map(|column| column.iter().zip(&self.unlike));
        let marked =
            marked.filter(|(event, unlike)| event.is_some_and(|event| unlike.contains_key(&event))).count();
        let detail = if marked <= FEW_MARKS { Detail::Words } else { Detail::Marks };
        let pieces = self.pieces(columns);
        html! {
            @for note in notes { p.soft { (note) } }
            div class={ "lanes" @if halves.len() > 1 { " two" } } { (self.lines(&pieces, &mut halves, detail)) }
        }
    }

    /// The columns that are drawn, and what is left out between them.
    fn pieces(&self, columns: &[Column]) -> Vec<Piece> {
        let has_mark = |column: &Column| {
            column
                .iter()
                .zip(&self.marks)
                .any(|(event, marks)| event.is_some_and(|event| marks.contains_key(&event)))
        };
        let servers: Vec<&Recording> = self.result.servers.iter().collect();
        let pieces = score::folded(&servers, columns, has_mark);
        if pieces.len() <= self.most {
            return pieces;
        }
        let last = self.most / 4;
        let mut is_drawn: Vec<bool> =
            (0..pieces.len()).map(|at| at < self.most - last || at >= pieces.len() - last).collect();
        let marked = |piece: &Piece| matches!(piece, Piece::Column(column) if has_mark(column));
        for (at, _) in pieces.iter().enumerate().filter(|(_, piece)| marked(piece)).take(self.most) {
            let to = (at + AROUND).min(is_drawn.len());
            is_drawn[at.saturating_sub(AROUND)..to].fill(true);
        }
        let mut drawn: Vec<Piece> = Vec::new();
        for (piece, is_drawn) in pieces.into_iter().zip(is_drawn) {
            let more = match &piece {
                _ if is_drawn => {
                    drawn.push(piece);
                    continue;
                }
                Piece::Column(column) => column.map(|event| usize::from(event.is_some())),
                Piece::Gap { events, .. } => *events,
            };
            match drawn.last_mut() {
                Some(Piece::Gap { events, same: None }) => {
                    events.iter_mut().zip(more).for_each(|(n, more)| *n += more)
                }
                _ => drawn.push(Piece::Gap { events: more, same: None }),
            }
        }
        drawn
    }

    /// The score in lines, as a wide screen has them.
    fn lines(&self, pieces: &[Piece], halves: &mut [Half<'a>], detail: Detail) -> Markup {
        let mut popovers = Vec::new();
        html! {
            @if halves.len() > 1 { div.who { @for half in halves.iter() { (self.server(half.server)) } } }
            @for line in pieces.chunks(IN_LINE) {
                @for half in halves.iter_mut() { (half.begin(line)) }
                div.l style={ "--n:" (halves.iter().map(|half| half.in_line.len() + 1).sum::<usize>()) } {
                    div.n { @for half in halves.iter() { (self.labels(half)) } }
                    @for (at, piece) in line.iter().enumerate() {
                        @match piece {
                            Piece::Column(column) => {
                                div.col { @for half in halves.iter_mut() { (self.half(half, *column, at == 0, detail, &mut popovers)) } }
                            }
                            Piece::Gap { events, same } => {
                                div.gap { (words::gap(self.lang, events.iter().sum::<usize>() as u64, *same)) }
                                @for half in halves.iter_mut() { (half.skip(events[half.server.min(1)])) }
                            }
                        }
                    }
                }
            }
            @for popover in popovers { (popover) }
        }
    }

    /// What the lanes of a server are called.
    fn labels(&self, half: &Half) -> Markup {
        let (lang, recording) = (self.lang, self.recording(half.server));
        html! {
            b { (self.server(half.server)) }
            @for lane in &half.in_line {
                i { (match lane {
                    Lane::Clients => words::clients_lane(lang).to_owned(),
                    Lane::Buffer(kind, client) => words::buffer_of(lang, &words::client(lang, recording, *client), *kind),
                    Lane::Queue => words::accept_queue(lang).to_owned(),
                    Lane::Thread(task) => words::task(lang, recording, *task),
                }) }
            }
        }
    }

    /// The cells of one server in a column.
    fn half(
        &self,
        half: &mut Half<'a>,
        column: Column,
        is_first: bool,
        detail: Detail,
        popovers: &mut Vec<Markup>,
    ) -> Markup {
        let Half { server, .. } = *half;
        let recording = self.recording(server);
        let index = column[server.min(1)];
        let before = half.state.clone();
        if index.is_some() {
            half.state.go_on();
        }
        let event = index.and_then(|index| Some((index, recording.events.get(index)?)));
        if let Some((index, event)) = event.filter(|_| detail != Detail::Picture) {
            popovers.push(self.popover(server, index, event, &before, &half.state));
        }
        let first_us = *half.first_us.get_or_insert(event.map_or(0.0, |(_, event)| event.at_us));
        let cell = Cell { half, before: &before, event, is_first, detail };
        html! {
            div class={ "h h" (server) } {
                b { @if let Some((_, event)) = event { (words::since(event.at_us - first_us)) } }
                @for lane in &half.in_line { (self.cell(&cell, *lane)) }
            }
        }
    }

    fn cell(&self, cell: &Cell, lane: Lane) -> Markup {
        let Cell { half, before, event, is_first, detail } = *cell;
        let (lang, recording, state) = (self.lang, self.recording(half.server), &half.state);
        match lane {
            Lane::Clients => match event {
                Some((index, event)) if matches!(event.what, What::Client(_)) => {
                    self.event(half.server, index, event, "c", detail)
                }
                _ => html! { i {} },
            },
            Lane::Buffer(kind, client) => {
                let class = match kind {
                    Buffer::Received => "f br",
                    Buffer::Unsent => "f bs",
                    Buffer::Unread => "f bu",
                };
                let is_lost =
                    kind == Buffer::Received && cell.has_remark(self, |remark| remark.client == Some(client));
                let bytes = |state: &State| state.bytes(client, kind).unwrap_or(0);
                let n = [bytes(before), bytes(state)];
                self.fill(
                    class,
                    &words::client(lang, recording, client),
                    n,
                    half.lanes.most_bytes,
                    is_first,
                    is_lost,
                )
            }
            Lane::Queue => {
                let n = [before.queue, state.queue].map(u64::from);
                let is_lost = cell.has_remark(self, |remark| remark.client.is_none());
                self.fill("f bq", "", n, recording.clients.len() as u64, is_first, is_lost)
            }
            Lane::Thread(task) => match event {
                Some((index, event)) if event.task() == Some(task) => {
                    let class = if matches!(event.what, What::Begins(_)) { "w b" } else { "e" };
                    self.event(half.server, index, event, class, detail)
                }
                _ => match state.threads.get(task) {
                    Some(Thread::Waits(began)) if is_first => {
                        let event =
                            recording.events.get(*began).map(|event| words::event(lang, recording, event));
                        html! { i.w { s { (event.unwrap_or_default()) } } }
                    }
                    Some(Thread::Waits(_)) => html! { i.w {} },
                    Some(Thread::Absent | Thread::Ended) => html! { i.z {} },
                    _ => html! { i {} },
                },
            },
        }
    }

    /// How full something was before and is after an event.
    fn fill(
        &self,
        class: &str,
        of: &str,
        [from, to]: [u64; 2],
        most: u64,
        is_first: bool,
        is_lost: bool,
    ) -> Markup {
        let is_same = from == to && !is_lost;
        if to == 0 {
            return html! { i class=[(!is_same).then_some("g")] { @if !is_same { "0" } } };
        }
        // A little is seen, too.
        let percent = (to.saturating_mul(100) / most.max(1)).clamp(8, 100);
        html! {
            i class={ (class) @if is_lost { " lost" } @if is_same { " same" } } style={ "--f:" (percent) } {
                @if !is_same && !of.is_empty() { u { (of) } }
                @if !is_same || is_first { (count(to)) }
                @if is_lost { " " (MARK) }
            }
        }
    }

    /// The cell in which an event happens.
    fn event(&self, server: usize, index: usize, event: &Event, class: &str, detail: Detail) -> Markup {
        let (lang, recording) = (self.lang, self.recording(server));
        let id = Sheet::id(server, index);
        let is_picture = detail == Detail::Picture;
        let marks = self.marks[server].get(&index);
        let unlike = self.unlike[server.min(1)].get(&index).filter(|_| !is_picture);
        let said = words::event(lang, recording, event);
        let many = recording.tasks.len() > 1
            && !matches!(event.what, What::Client(_) | What::Started { .. } | What::Ended { .. });
        html! {
            i class={ (class) @if unlike.is_some() { " o" } @if event.has_failed() { " no" } } id=[(!is_picture).then_some(&id)] {
                @if let (true, Some(task)) = (many, event.task()) { u { (words::task(lang, recording, task)) } }
                @if is_picture { a.ev href={ "#" (id) } { (said) } } @else { button popovertarget={ "p" (id) } { (said) } }
                @if let Some(call) = event.done() {
                    @if !call.ready.is_empty() {
                        s {
                            @for (n, ready) in call.ready.iter().take(MOST_READY).enumerate() {
                                @if n > 0 { ", " }
                                // A line may end between two flags.
                                @for (n, flag) in words::ready(lang, recording, ready).split('|').enumerate() { @if n > 0 { "|" wbr; } (flag) }
                            }
                            @if call.ready.len() > MOST_READY { ", …" }
                        }
                    }
                    @if let Some(cause) = call.woken_by.and_then(|cause| recording.events.get(cause)) {
                        s { "↯ " (words::woken_by(lang, &words::event(lang, recording, cause))) }
                    }
                }
                @if let Some(unlike) = unlike {
                    em { (unlike.sign()) @if detail == Detail::Words { " " (words::unlike(lang, *unlike)) } }
                }
                @for (n, remark) in marks.into_iter().flatten() { a.x href={ "#r" (n) } { (MARK) " " (n) (words::mark(lang, remark)) } }
            }
        }
    }

    /// An event in full.
    fn popover(&self, server: usize, index: usize, event: &Event, before: &State, after: &State) -> Markup {
        let (lang, recording) = (self.lang, self.recording(server));
        let who = event.task().map(|task| words::task_in_full(lang, recording, task));
        let call = event.call();
        let details = event.done().map(|call| details(lang, recording, index, call)).unwrap_or_default();
        let changes = words::changes(lang, recording, before, after);
        html! {
            div popover id={ "p" (Sheet::id(server, index)) } {
                p {
                    (self.server(server)) @if let Some(who) = who { ", " (who) }
                    ", " (micros(event.at_us.max(0.0)))
                }
                @match &event.what {
                    What::Client(action) => p { b { (words::action_in_full(lang, recording, action)) } }
                    What::Begins(call) => p { code { (words::call_in_full(lang, call)) } br; b { (words::event(lang, recording, event)) } }
                    What::Call(call) => p { code { (words::call_in_full(lang, call)) } }
                    What::Signal { name, .. } => p { b { (words::delivered(lang, name)) } }
                    _ => p { b { (words::event(lang, recording, event)) } }
                }
                @if !details.is_empty() || !changes.is_empty() {
                    ul { @for line in details.iter().chain(&changes) { li { (line) } } }
                }
                @match self.unlike[server.min(1)].get(&index) {
                    Some(Unlike::Differs) => p { span.only { (Unlike::Differs.sign()) } " " (words::legend_differs(lang)) }
                    Some(Unlike::Only) => p { span.only { (Unlike::Only.sign()) } " " (words::legend_only(lang)) }
                    None => {}
                }
                @for (n, remark) in self.marks[server].get(&index).into_iter().flatten() {
                    p { span.x { (MARK) " " (n) } " " (words::remark(lang, recording, remark)) }
                }
                @if let Some(id) = call.and_then(|call| call.fact.as_deref()) { p.soft { (self.fact(id)) } }
            }
        }
    }

    fn calls(&self) -> Markup {
        let lang = self.lang;
        let rows = self.result.call_counts();
        html! {
            p.soft { (words::calls_note(lang)) }
            div.scroll tabindex="0" {
                table {
                    thead {
                        tr {
                            th { (words::call_column(lang)) }
                            @for server in 0..self.names.len() { th { (self.server(server)) } }
                            @if self.names.len() > 1 { th {} }
                        }
                    }
                    tbody {
                        @for CallRow { name, counts, differs } in rows.iter().take(MOST_ROWS) {
                            tr {
                                th scope="row" { (words::name(lang, name)) }
                                @for n in counts { td { (n.map_or_else(|| UNKNOWN.to_owned(), count)) } }
                                @if self.names.len() > 1 { td { @if *differs { span.only { (Unlike::Differs.sign()) } } } }
                            }
                        }
                        tr {
                            th scope="row" { (words::all(lang)) }
                            @for server in &self.result.servers { td { (count(server.calls.total)) } }
                            @if self.names.len() > 1 { td {} }
                        }
                    }
                }
            }
            @if rows.len() > MOST_ROWS { p.soft { (words::and_more(lang, rows.len() - MOST_ROWS)) } }
        }
    }

    fn answers(&self) -> Markup {
        let lang = self.lang;
        html! {
            div.scroll tabindex="0" {
                table {
                    thead { tr { @for head in words::answer_columns(lang) { th { (head) } } th {} } }
                    tbody {
                        @for (server, recording) in self.result.servers.iter().enumerate() {
                            @for answer in recording.answers.iter().take(MOST_ROWS) {
                                tr {
                                    th scope="row" { (words::client(lang, recording, answer.client)) }
                                    td { (self.server(server)) } td { (count(answer.sent)) } td { (count(answer.right)) }
                                    td { @if let Some(wrong) = words::answer(lang, self.result.expect, answer) { span.x { (MARK) " " (wrong) } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn facts(&self) -> Markup {
        let lang = self.lang;
        html! {
            @if self.facts.is_empty() { p.soft { (words::no_facts(lang)) } }
            dl {
                @for id in self.facts.iter().take(MOST_ROWS) {
                    dt { code { (words::name(lang, id)) } }
                    dd { @if let Some(fact) = facts::find(id) { (fact.claim) " " span.soft { (fact.reference) } } }
                }
            }
            @if self.facts.len() > MOST_ROWS { p.soft { (words::and_more(lang, self.facts.len() - MOST_ROWS)) } }
            @if !self.facts.is_empty() { p.soft { (words::facts_note(lang)) " " code { "io-models facts --explain ID" } } }
        }
    }

    fn threads(&self) -> Markup {
        let lang = self.lang;
        html! {
            @for (server, recording) in self.result.servers.iter().enumerate() {
                p { (self.server(server)) ": " code { (words::cut(lang, &recording.server, words::LONGEST_ARGUMENTS)) } }
                ul {
                    @for task in 0..recording.tasks.len().min(MOST_ROWS) { li { (words::task_in_full(lang, recording, task)) } }
                    @if recording.tasks.len() > MOST_ROWS { li { (words::and_more(lang, recording.tasks.len() - MOST_ROWS)) } }
                    @for note in recording.notes.iter().take(MOST_ROWS) { li { (words::cut(lang, note, words::LONGEST_ARGUMENTS)) } }
                    @if recording.left_out > 0 { li { (words::left_out(lang, recording)) } }
                }
            }
        }
    }

    fn repeat(&self) -> Markup {
        let lang = self.lang;
        let command = self.result.environment.command().join(" ");
        html! {
            p { (words::seconds(lang, &seconds(self.result.seconds))) }
            pre { (words::cut(lang, &command, 4 * words::LONGEST_ARGUMENTS)) }
            p.soft { (words::script_note(lang)) }
            pre {
                @for step in &self.result.script {
                    (words::name(lang, &step.name)) ": " (words::cut(lang, &step.actions.join(", "), words::LONGEST_ARGUMENTS)) "\n"
                }
            }
            p.soft { (self.result.environment.line()) "." }
        }
    }
}

/// A remark with its number and its server.
struct Numbered<'a> {
    number: usize,
    server: usize,
    remark: &'a Remark,
    /// At which event it shows.
    event: usize,
}

/// Whether a remark says what went wrong for a client, and not why.
fn is_effect(what: Remarkable) -> bool {
    matches!(what, Remarkable::AnswerMissing | Remarkable::AnswerWrong)
}

/// The lanes of one server, as far as they are drawn.
struct Half<'a> {
    server: usize,
    lanes: Lanes,
    state: State<'a>,
    /// When the first event happened, from which the times count.
    first_us: Option<f64>,
    /// The lanes of the line that is drawn.
    in_line: Vec<Lane>,
}

impl Half<'_> {
    /// Choose the lanes of a line.
    fn begin(&mut self, line: &[Piece]) -> Markup {
        let side = self.server.min(1);
        let drawn = line.iter().filter_map(|piece| match piece {
            Piece::Column(column) => column[side],
            Piece::Gap { .. } => None,
        });
        let (first, last) = (drawn.clone().min(), drawn.max());
        let events = first.zip(last).map_or(0..0, |(first, last)| first..last + 1);
        self.in_line = self.lanes.in_line(&self.state, events);
        PreEscaped(String::new())
    }

    /// Let so many events happen that are not drawn.
    fn skip(&mut self, events: usize) -> Markup {
        for _ in 0..events {
            self.state.go_on();
        }
        PreEscaped(String::new())
    }
}

/// How much is said at an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// A picture of events that are on the page a second time: no popover.
    Picture,
    /// Marks without words: there are too many.
    Marks,
    /// Marks with words.
    Words,
}

/// What a cell shows.
struct Cell<'a> {
    half: &'a Half<'a>,
    before: &'a State<'a>,
    event: Option<(usize, &'a Event)>,
    /// It is the first of its line, and says what holds since before.
    is_first: bool,
    detail: Detail,
}

impl Cell<'_> {
    /// Whether something lies unread or unaccepted, by a remark on this event.
    fn has_remark(&self, sheet: &Sheet, is_of: impl Fn(&Remark) -> bool) -> bool {
        use Remarkable::{BusyWithAnother, UnacceptedWhileWaiting, UnreadWhileWaiting};
        let marks = self.event.and_then(|(index, _)| sheet.marks[self.half.server].get(&index));
        let lies = |what| matches!(what, UnreadWhileWaiting | UnacceptedWhileWaiting | BusyWithAnother);
        marks.into_iter().flatten().any(|(_, remark)| lies(remark.what) && is_of(remark))
    }
}

impl Event {
    /// Its call, whether it has returned or not.
    fn call(&self) -> Option<&Call> {
        match &self.what {
            What::Begins(call) | What::Call(call) => Some(call),
            _ => None,
        }
    }

    /// Its call, if that has returned.
    fn done(&self) -> Option<&Call> {
        self.call().filter(|_| matches!(self.what, What::Call(_)))
    }

    /// Whether its call failed.
    fn has_failed(&self) -> bool {
        self.done().is_some_and(|call| call.errno.is_some())
    }
}
