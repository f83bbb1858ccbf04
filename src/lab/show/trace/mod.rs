//! A trace as text for a terminal: what a reader should look at, then one event a block, step by step.

mod events;
pub(in crate::lab::show) mod score;
pub(in crate::lab::show) mod words;

use super::{DOUBTFUL, Page, Table, WRONG, paint};
use crate::lab::lang::Lang;
use crate::lab::results::trace::{Call, Event, Recording, Remark, Traced, What};
use crate::lab::units::{UNKNOWN, count, seconds};
use anstyle::Style;
use score::{Column, Piece, State, Unlike};
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use words::{Buffer, Part};

/// The sign of a remark.
pub(in crate::lab::show) const MARK: &str = "⚠";

/// Where the text of an event begins.
const INDENT: usize = 12;

/// The remarks that show at an event, with their numbers.
pub(in crate::lab::show) type Marks<'a> = HashMap<usize, Vec<(usize, &'a Remark)>>;

impl Traced {
    /// In lines of at most `width` columns. Colours are escape sequences.
    #[must_use]
    pub fn text(&self, width: Option<usize>, lang: Lang) -> String {
        let mut page = Page::new(width);
        let names = self.names(lang);
        page.paragraph(&words::title(lang, &names));
        page.blank();
        if self.partial {
            page.paragraph(&paint(DOUBTFUL, words::partial(lang)));
            page.blank();
        }
        self.show_remarks(&mut page, lang, &names);
        let marks: Vec<Marks> = (0..self.servers.len()).map(|server| self.marks(server)).collect();
        for part in self.parts() {
            self.show_part(&mut page, lang, &names, part, &marks);
        }
        self.show_calls(&mut page, lang, &names);
        self.show_answers(&mut page, lang, &names);
        self.show_notes(&mut page, lang, &names);
        page.paragraph(&self.environment.line());
        page.paragraph(&words::seconds(lang, &seconds(self.seconds)));
        page.into_text()
    }

    /// The names of the servers, each another one.
    pub(in crate::lab::show) fn names(&self, lang: Lang) -> Vec<String> {
        let all: Vec<String> = self.servers.iter().map(|server| words::name(lang, &server.name)).collect();
        let is_twice = |name: &String| all.iter().filter(|other| *other == name).count() > 1;
        let name = |(at, name): (usize, &String)| {
            if is_twice(name) { format!("{name} ({})", at + 1) } else { name.clone() }
        };
        all.iter().enumerate().map(name).collect()
    }

    /// All remarks, with the number of their server.
    pub(in crate::lab::show) fn remarks(&self) -> impl Iterator<Item = (usize, &Remark)> {
        self.servers
            .iter()
            .enumerate()
            .flat_map(|(at, server)| server.remarks.iter().map(move |remark| (at, remark)))
    }

    fn show_remarks(&self, page: &mut Page, lang: Lang, names: &[String]) {
        page.paragraph(words::look_here(lang));
        for (n, (server, remark)) in self.remarks().enumerate() {
            let recording = &self.servers[server];
            let at = recording
                .events
                .get(recording.shows_at(remark))
                .map(|event| self.place(lang, event))
                .unwrap_or_default();
            let said = words::remark(lang, recording, remark);
            let mark = paint(WRONG, &format!("{} {}", MARK, n + 1));
            page.indented(2, 6, &format!("{mark} {}: {said} ({at})", names[server]));
        }
        if self.remarks().next().is_none() {
            page.indented(2, 2, words::nothing_to_look_at(lang));
        }
        for (fact, why) in self.reasons(lang) {
            page.indented(2, 6, &format!("{why} ({})", words::fact(lang, fact)));
        }
        page.blank();
    }

    /// Why what is remarked happened, in general, with the facts that say so.
    fn reasons(&self, lang: Lang) -> BTreeSet<(&'static str, &'static str)> {
        self.remarks()
            .filter_map(|(server, remark)| words::why(lang, &self.servers[server], remark))
            .collect()
    }

    /// In which part an event happened.
    pub(in crate::lab::show) fn place(&self, lang: Lang, event: &Event) -> String {
        match event.step {
            Some(step) => self.heading(lang, Part::Step(step)),
            None => words::outside_steps(lang).to_owned(),
        }
    }

    /// The heading of a part: `2. ask again`.
    pub(in crate::lab::show) fn heading(&self, lang: Lang, part: Part) -> String {
        match part {
            Part::Step(step) => {
                let named = self.script.get(step).map_or("?", |step| step.name.as_str());
                format!("{}. {}", step + 1, words::step(lang, named))
            }
            outside => words::outside(lang, outside).to_owned(),
        }
    }

    fn show_part(&self, page: &mut Page, lang: Lang, names: &[String], part: Part, marks: &[Marks]) {
        let heading = self.heading(lang, part);
        let actions = match part {
            Part::Step(step) => self.script.get(step).map(|step| step.actions.join(", ")),
            _ => None,
        };
        let actions = actions.filter(|actions| !actions.is_empty()).map(|actions| format!(" ({actions})"));
        page.paragraph(&format!("== {heading}{}", actions.unwrap_or_default()));
        let unlike = self.unlike(&self.columns(part));
        for (server, recording) in self.servers.iter().enumerate() {
            page.blank();
            let events = recording.events_of(part);
            page.paragraph(&format!("-- {}: {}", names[server], words::events(lang, events.len() as u64)));
            self.show_events(page, lang, server, part, &unlike[server.min(1)], &marks[server]);
        }
        page.blank();
    }

    fn show_events(
        &self,
        page: &mut Page,
        lang: Lang,
        server: usize,
        part: Part,
        unlike: &HashMap<usize, Unlike>,
        marks: &Marks,
    ) {
        let recording = &self.servers[server];
        let events = recording.events_of(part);
        let Some(first) = recording.events.get(events.start) else { return };
        let mut state = State::before(recording, events.start);
        let has_mark = |column: &Column| column[0].is_some_and(|event| marks.contains_key(&event));
        for piece in score::folded(&[recording], &score::alone(events), has_mark) {
            match piece {
                Piece::Column(column) => {
                    let Some((index, event)) = column[0].and_then(|at| Some((at, recording.events.get(at)?)))
                    else {
                        continue;
                    };
                    let before = state.clone();
                    state.go_on();
                    let block = Block { lang, recording, index, event, unlike: unlike.get(&index).copied() };
                    let marks = marks.get(&index).map_or(&[][..], Vec::as_slice);
                    block.show(page, event.at_us - first.at_us, &before, &state, marks);
                }
                Piece::Gap { events: [n, _], same } => {
                    (0..n).for_each(|_| state.go_on());
                    page.indented(INDENT, INDENT, &words::gap(lang, n as u64, same));
                }
            }
        }
    }

    /// The remarks at the events of a server, with their numbers.
    pub(in crate::lab::show) fn marks(&self, server: usize) -> Marks<'_> {
        let mut marks = Marks::new();
        for (n, (at, remark)) in self.remarks().enumerate() {
            if at == server {
                marks.entry(self.servers[server].shows_at(remark)).or_default().push((n + 1, remark));
            }
        }
        marks
    }

    fn show_calls(&self, page: &mut Page, lang: Lang, names: &[String]) {
        page.paragraph(words::calls_heading(lang));
        page.blank();
        let head: Vec<&str> =
            [words::call_column(lang)].into_iter().chain(names.iter().map(String::as_str)).collect();
        let mut table = Table::new(&head, "");
        for CallRow { name, counts, differs } in self.call_counts() {
            let cells = counts.iter().map(|n| n.map_or_else(|| UNKNOWN.to_owned(), count));
            let note = if differs { Unlike::Differs.sign() } else { "" };
            table.row([words::name(lang, &name)].into_iter().chain(cells), note, DOUBTFUL);
        }
        let totals = self.servers.iter().map(|server| count(server.calls.total));
        table.row([words::all(lang).to_owned()].into_iter().chain(totals), "", Style::new());
        page.table(&table);
        page.blank();
    }

    /// How often each server made each call, the most frequent first.
    pub(in crate::lab::show) fn call_counts(&self) -> Vec<CallRow> {
        let mut seen = HashSet::new();
        let names = self.servers.iter().flat_map(|server| server.calls.by_name.keys());
        let names = names.filter(|name| seen.insert(name.as_str()));
        let mut rows: Vec<CallRow> = names
            .map(|name| {
                let count =
                    |server: &Recording| server.calls.by_name.get(name).and_then(serde_json::Value::as_u64);
                let counts: Vec<Option<u64>> = self.servers.iter().map(count).collect();
                let differs = counts.windows(2).any(|pair| pair[0] != pair[1]);
                CallRow { name: name.clone(), counts, differs }
            })
            .collect();
        rows.sort_by_key(|row| {
            Reverse(row.counts.iter().flatten().fold(0u64, |sum, n| sum.saturating_add(*n)))
        });
        rows
    }

    fn show_answers(&self, page: &mut Page, lang: Lang, names: &[String]) {
        page.paragraph(words::answers_heading(lang));
        page.blank();
        let mut table = Table::new(&words::answer_columns(lang), "");
        for (server, recording) in self.servers.iter().enumerate() {
            for answer in &recording.answers {
                let client = words::client(lang, recording, answer.client);
                let (note, style) = match words::answer(lang, self.expect, answer) {
                    Some(wrong) => (wrong, WRONG),
                    None => ("", Style::new()),
                };
                let cells = [client, names[server].clone(), count(answer.sent), count(answer.right)];
                table.row(cells, note, style);
            }
        }
        page.table(&table);
        page.blank();
    }

    fn show_notes(&self, page: &mut Page, lang: Lang, names: &[String]) {
        for (server, recording) in self.servers.iter().enumerate() {
            for note in &recording.notes {
                page.indented(0, 2, &format!("{}: {note}", names[server]));
            }
            if recording.left_out > 0 {
                let said = words::left_out(lang, recording);
                page.indented(0, 2, &format!("{}: {said}", names[server]));
            }
        }
    }
}

/// How often the servers made a call.
#[derive(Debug)]
pub(in crate::lab::show) struct CallRow {
    pub(in crate::lab::show) name: String,
    /// `None` where a server never made it.
    pub(in crate::lab::show) counts: Vec<Option<u64>>,
    pub(in crate::lab::show) differs: bool,
}

/// An event, as it is told.
struct Block<'a> {
    lang: Lang,
    recording: &'a Recording,
    index: usize,
    event: &'a Event,
    unlike: Option<Unlike>,
}

impl Block<'_> {
    fn show(
        &self,
        page: &mut Page,
        since_us: f64,
        before: &State,
        after: &State,
        marks: &[(usize, &Remark)],
    ) {
        let Block { lang, recording, event, .. } = *self;
        let who = match event.task() {
            Some(task) => words::task(lang, recording, task),
            None => words::client_column(lang).to_owned(),
        };
        let time = format!("{:>width$} ", words::since(since_us), width = INDENT - 1);
        let unlike = self
            .unlike
            .map(|how| format!("  {}", paint(DOUBTFUL, &[how.sign(), words::unlike(lang, how)].join(" "))));
        page.push(&time);
        page.push(&format!("{who}{}\n", unlike.unwrap_or_default()));
        page.indented(INDENT, INDENT + 2, &self.what());
        let mut more = self.details();
        more.extend(words::changes(lang, recording, before, after));
        if !more.is_empty() {
            page.indented(INDENT, INDENT + 2, &more.join(words::and(lang)));
        }
        for (n, remark) in marks {
            let said = words::remark(lang, recording, remark);
            page.indented(INDENT, INDENT + 2, &paint(WRONG, &format!("{} {n} {said}", MARK)));
        }
    }

    /// The event in a line.
    fn what(&self) -> String {
        let Block { lang, recording, event, .. } = *self;
        match &event.what {
            What::Call(call) => words::call_in_full(lang, call),
            What::Begins(call) => {
                let call = words::call_in_full(lang, call);
                lang.say(format!("waits in {call}"), format!("在 {call} 中等待"))
            }
            What::Signal { name, .. } => words::delivered(lang, name),
            _ => words::event(lang, recording, event),
        }
    }

    /// What there is to tell of a call beside its arguments and result.
    fn details(&self) -> Vec<String> {
        let Block { lang, recording, event, .. } = *self;
        let What::Call(call) = &event.what else { return Vec::new() };
        details(lang, recording, self.index, call)
    }
}

/// What there is to tell of a call that returned, beside its arguments and result.
pub(in crate::lab::show) fn details(
    lang: Lang,
    recording: &Recording,
    index: usize,
    call: &Call,
) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(on) = &call.on {
        parts.push(words::on_in_full(lang, recording, on));
    }
    if !call.ready.is_empty() {
        let ready: Vec<String> =
            call.ready.iter().map(|ready| words::ready(lang, recording, ready)).collect();
        parts.push(words::is_ready(lang, &ready.join(", ")));
    }
    if let Some(cause) = call.woken_by.and_then(|cause| recording.events.get(cause)) {
        parts.push(words::woken_by(lang, &words::event(lang, recording, cause)));
    }
    if let Some(us) = call.took_us {
        parts.push(words::took(lang, us, recording.has_waited(index, call)));
    }
    if call.times > 1 {
        parts.push(words::repeated(lang, call.times));
    }
    if let Some(fact) = &call.fact {
        parts.push(words::fact(lang, fact));
    }
    parts
}

impl Recording {
    /// Whether the thread of a call that returned at that event had waited in it.
    pub(in crate::lab::show) fn has_waited(&self, index: usize, call: &Call) -> bool {
        let of_thread = |event: &&Event| event.task() == Some(call.task);
        let before = self.events.iter().take(index).rev().find(of_thread);
        before.is_some_and(|event| matches!(&event.what, What::Begins(begun) if begun.name == call.name))
    }
}

/// The buffers of which something changed.
pub(in crate::lab::show) const BUFFERS: [Buffer; 3] = [Buffer::Received, Buffer::Unsent, Buffer::Unread];
