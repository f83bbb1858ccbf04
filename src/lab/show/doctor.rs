//! What limits a server, for people, in English and in Chinese.

use super::{DOUBTFUL, Page, Table, WRONG, paint};
use crate::lab::lang::Lang;
use crate::lab::results::doctor::{
    BothCalls, Calls, Diagnosed, How, Kind, Lifted, Limiter, Load, Note, Seen, Verdict, What, WhyNot,
};
use crate::lab::units::{UNKNOWN, bytes, count, latency, of, rate, seconds};
use crate::lab::visible::visible;
use anstyle::Style;
use std::cmp::Ordering;

/// Bytes of a large message.
const LARGE: f64 = (256 << 10) as f64;

impl Diagnosed {
    /// In lines of at most `width` columns. Colours are escape sequences.
    #[must_use]
    pub fn text(&self, width: Option<usize>, lang: Lang) -> String {
        let mut page = Page::new(width);
        if let Some(load) = self.load(Kind::Requests) {
            page.paragraph(&self.headline(lang, load));
        }
        if self.partial {
            let partial = lang.say(
                "A signal ended the examination early: what is missing was not measured.",
                "诊断被信号提前结束：缺少的部分没有测量。",
            );
            page.paragraph(&paint(DOUBTFUL, partial));
        }
        page.paragraph(&self.summary(lang));
        for note in &self.notes {
            page.paragraph(&paint(DOUBTFUL, &note_in_words(lang, note)));
        }
        page.blank();
        for limiter in &self.limiters {
            self.show_limiter(&mut page, lang, limiter);
        }
        page.blank();
        page.table(&self.table(lang));
        if let Some(calls) = &self.calls {
            page.blank();
            self.show_calls(&mut page, lang, calls);
        }
        page.blank();
        page.paragraph(&self.environment.line());
        let took = seconds(self.seconds);
        page.paragraph(&lang.say(format!("The examination took {took}."), format!("诊断用时 {took}。")));
        page.into_text()
    }

    fn name(&self) -> String {
        visible(&self.name)
    }

    fn headline(&self, lang: Lang, load: &Load) -> String {
        let (name, reference) = (self.name(), visible(&self.reference));
        let number = |per_s| per_second(lang, Kind::Requests, per_s);
        let (ours, theirs) = (number(load.server.per_s), number(load.reference.per_s));
        let ratio = times(load.ratio);
        lang.say(
            format!("{name}: {ours}; {reference} under the same load: {theirs}. That is {ratio} times as many as {reference}."),
            format!("{name}：{ours}；同样负载下 {reference}：{theirs}。前者是后者的 {ratio} 倍。"),
        )
    }

    fn summary(&self, lang: Lang) -> String {
        let only = |limiter: &Limiter| match limiter.load {
            Kind::Connections => lang.say(" (of new connections)", "（只影响新连接）"),
            Kind::LargeMessages => lang.say(" (of large messages)", "（只影响大消息）"),
            _ => "",
        };
        let limits: Vec<_> =
            self.limits().map(|limiter| label(lang, limiter.what).to_owned() + only(limiter)).collect();
        if limits.is_empty() {
            return match (self.limiters.is_empty(), self.partial) {
                (true, _) => lang.say("No limiter was judged.", "还没有判断任何限制因素。"),
                (_, true) => lang
                    .say("None of the limiters that were judged limits it.", "已判断的各项都不是限制因素。"),
                _ => lang.say("None of the limiters below limits it.", "以下各项都不是限制因素。"),
            }
            .to_owned();
        }
        let listed = limits.join(lang.say(", ", "、"));
        lang.say(
            format!("What limits it, the first to look at first: {listed}."),
            format!("限制它的因素，按应当查看的顺序：{listed}。"),
        )
    }

    fn show_limiter(&self, page: &mut Page, lang: Lang, limiter: &Limiter) {
        let seen = self.seen(lang, limiter).unwrap_or_else(|| {
            lang.say("What is needed to judge this was not measured.", "没有测到判断此项所需的数据。")
                .to_owned()
        });
        let verdict = match limiter.verdict {
            Verdict::Limits => paint(WRONG, lang.say("limits it.", "是限制因素。")),
            Verdict::DoesNotLimit => lang.say("does not limit it.", "不是限制因素。").to_owned(),
            Verdict::NotKnown => paint(DOUBTFUL, lang.say("not known.", "无法判断。")),
        };
        page.line(
            label(lang, limiter.what),
            lang.say(format!("{verdict} {seen}"), format!("{verdict}{seen}")),
        );
        for lifted in &limiter.lifted {
            page.more(lifted_in_words(lang, limiter, lifted) + &self.of_reference(lang, lifted));
        }
        if let Some(why) = &limiter.why_not {
            page.more(why_not_in_words(lang, why));
        }
        if limiter.verdict == Verdict::Limits {
            page.more(self.remedy(lang, limiter));
        }
    }

    /// What the same is worth to the reference, where only the difference tells.
    fn of_reference(&self, lang: Lang, lifted: &Lifted) -> String {
        let loads = self.load(Kind::Requests).zip(self.load(Kind::Pipelined));
        match loads.filter(|_| lifted.how == How::EightAtOnce) {
            Some((requests, pipelined)) => {
                let reference = visible(&self.reference);
                let ratio = times(pipelined.reference.per_s / requests.reference.per_s);
                lang.say(
                    format!(" With {reference} it becomes {ratio} times as many."),
                    format!("{reference} 变为 {ratio} 倍。"),
                )
            }
            None => String::new(),
        }
    }

    /// What was seen.
    fn seen(&self, lang: Lang, limiter: &Limiter) -> Option<String> {
        let load = self.load(limiter.load)?;
        let (seen, name, reference) = (load.server, self.name(), visible(&self.reference));
        let calls = self.calls.as_ref();
        Some(match limiter.what {
            What::Generator => {
                let busy = percent(seen.generator_busy);
                let theirs = per_second(lang, Kind::Requests, load.reference.per_s);
                let all = processors(seen.processors);
                lang.say(
                    format!("The generator had work for {busy} of the time; {name} used {all} processors. From {reference} the same generator got {theirs}."),
                    format!("生成器有 {busy} 的时间在工作；{name} 使用了 {all} 个处理器。同一个生成器从 {reference} 得到 {theirs}。"),
                )
            }
            What::Backlog => {
                let queue = calls.and_then(|calls| calls.server.backlog);
                let asked = queue.map_or_else(String::new, |queue| {
                    lang.say(
                        format!(" It calls listen(2) with {queue}."),
                        format!("它传给 listen(2) 的队列长度是 {queue}。"),
                    )
                });
                let full = seen.queue_full.map_or_else(|| UNKNOWN.to_owned(), count);
                let slowest = seen.slowest_connection_ms.map(|ms| ms * 1e3);
                let slowest = latency(slowest);
                lang.say(
                    format!("With 256 clients that come and go the queue of listen(2) was full {full} times, and the slowest connection took {slowest}.{asked}"),
                    format!("256 个客户端不断建立和断开连接时，listen(2) 的队列满了 {full} 次，最慢的一次连接用了 {slowest}。{asked}"),
                )
            }
            What::Ports => {
                let without = count(seen.without_port);
                let made = per_second(lang, Kind::Connections, seen.per_s);
                lang.say(
                    format!("At {made}, {without} attempts to connect found no free local port."),
                    format!("以 {made} 的速率建立连接时，有 {without} 次没有可用的本地端口。"),
                )
            }
            What::OneProcessor => {
                let all = processors(seen.processors);
                let thread = seen.busiest_thread.map_or_else(|| UNKNOWN.to_owned(), percent);
                lang.say(
                    format!("{name} used {all} processors; its busiest thread ran for {thread} of the time."),
                    format!("{name} 使用了 {all} 个处理器；最忙的线程有 {thread} 的时间在运行。"),
                )
            }
            What::WakeUps => {
                let (ours, theirs) = (seen.waits_per_answer?, load.reference.waits_per_answer?);
                let on_purpose = match self.sleeps_on_purpose() {
                    Some(times) => lang.say(
                        format!(" It calls clock_nanosleep(2) {times:.2} times for each request."),
                        format!("每个请求它调用 clock_nanosleep(2) {times:.2} 次。"),
                    ),
                    None => String::new(),
                };
                lang.say(
                    format!("Its threads go to sleep {ours:.2} times for each answer; {reference} {theirs:.2} times.{on_purpose}"),
                    format!("平均每个应答，它的线程进入睡眠 {ours:.2} 次；{reference} 为 {theirs:.2} 次。{on_purpose}"),
                )
            }
            What::CallsPerRequest => {
                let BothCalls { server, reference: theirs } = calls?;
                let most = most_of_the_difference(lang, server, theirs);
                let (ours, theirs) = (server.all(), theirs.all());
                let prints = server.prints_per_request;
                let printed = if prints >= 0.5 {
                    lang.say(
                        format!(" Of them {prints:.1} write to standard output or standard error."),
                        format!("其中 {prints:.1} 次写到标准输出或标准错误。"),
                    )
                } else {
                    String::new()
                };
                lang.say(
                    format!("{ours:.1} system calls for each request of one client; {reference} makes {theirs:.1}.{most}{printed}"),
                    format!("单个客户端的每个请求有 {ours:.1} 次系统调用；{reference} 为 {theirs:.1} 次。{most}{printed}"),
                )
            }
            What::Nagle => {
                let (p50, theirs) = (latency(seen.p50_us), latency(load.reference.p50_us));
                let option = calls.map_or_else(String::new, |calls| match calls.server.sets_nodelay {
                    true => lang.say(" It sets TCP_NODELAY.", "它设置了 TCP_NODELAY。").to_owned(),
                    false => lang.say(" It does not set TCP_NODELAY.", "它没有设置 TCP_NODELAY。").to_owned(),
                });
                match limiter.load {
                    Kind::LargeMessages => lang.say(
                        format!("A message of 256 KiB takes {p50} (median); at {reference} {theirs}.{option}"),
                        format!("一条 256 KiB 的消息用时 {p50}（中位数）；{reference} 为 {theirs}。{option}"),
                    ),
                    _ => lang.say(
                        format!("One client alone waits {p50} for its answer (median); at {reference} {theirs}.{option}"),
                        format!("单个客户端等待应答的中位数是 {p50}；{reference} 为 {theirs}。{option}"),
                    ),
                }
            }
            What::Lock => {
                let Calls { futex_per_request, threads, .. } = &calls?.server;
                lang.say(
                    format!(
                        "{}; with 16 clients that ask together {futex_per_request:.2} calls of futex(2) for each request.",
                        of(*threads as u64, "thread")
                    ),
                    format!("{threads} 个线程；16 个客户端同时请求时，每个请求有 {futex_per_request:.2} 次 futex(2) 调用。"),
                )
            }
            What::SmallBuffers => {
                let (ours, theirs) = (load.server.per_s, load.reference.per_s);
                let [ours, theirs] = [ours, theirs].map(|per_s| per_second(lang, Kind::LargeMessages, per_s));
                let calls = calls.map(|calls| &calls.server);
                let mut more = String::new();
                if let Some(each) = calls.and_then(|calls| calls.bytes_per_receive) {
                    let each = bytes(each.round() as u64);
                    more += &lang.say(
                        format!(" A receive gets {each} on average."),
                        format!("每次接收平均得到 {each}。"),
                    );
                }
                for (option, value) in calls.into_iter().flat_map(buffers) {
                    let value = bytes(u64::try_from(value).unwrap_or_default());
                    more += &lang.say(
                        format!(" It sets {option} to {value}."),
                        format!("它把 {option} 设为 {value}。"),
                    );
                }
                lang.say(
                    format!("Messages of 256 KiB: {ours}; {reference} {theirs}.{more}"),
                    format!("256 KiB 的消息：{ours}；{reference} 为 {theirs}。{more}"),
                )
            }
        })
    }

    /// Whether one thread alone serves its clients.
    fn has_one_thread(&self) -> bool {
        let seen = self.load(Kind::Requests).map(|load| load.server).unwrap_or_default();
        match &self.calls {
            Some(calls) => calls.server.threads == 1,
            None => seen.busiest_thread.zip(seen.processors).is_some_and(|(one, all)| one >= all * 0.9),
        }
    }

    /// How often it sleeps for a time for each request, if it does.
    fn sleeps_on_purpose(&self) -> Option<f64> {
        let calls = &self.calls.as_ref()?.server.per_request;
        let times: f64 = ["clock_nanosleep", "nanosleep"].iter().filter_map(|name| calls.get(*name)).sum();
        (times >= 0.1).then_some(times)
    }

    /// What its author can do.
    fn remedy(&self, lang: Lang, limiter: &Limiter) -> String {
        let is_restricted = limiter.lifted.iter().any(|lifted| lifted.how == How::AllProcessors);
        let reads_little = limiter.why_not == Some(WhyNot::InTheProgram);
        let prints = limiter.lifted.iter().any(|lifted| lifted.how == How::NoOutput && lifted.ratio > 1.0);
        lang.say(
            match limiter.what {
                What::Generator => "Do: run `io-models load` with more threads, or on another machine; the number is the generator's, not the server's.",
                What::Backlog => "Do: give listen(2) 4096, and accept until EAGAIN. The kernel allows no more than net.core.somaxconn.",
                What::Ports => "Do: send many requests on each connection. A client that closes first keeps its local port in TIME_WAIT; where `load` cannot add addresses itself, give it more with --sources.",
                What::OneProcessor if is_restricted => "Do: let the server use more processors (taskset(1), the container's cpuset).",
                What::OneProcessor => "Do: run one event loop for each processor, each with its own listener (SO_REUSEPORT): `io-models serve reuseport` does that.",
                What::WakeUps if self.has_one_thread() && self.sleeps_on_purpose().is_none() => "Do: see with `io-models trace` in which call it waits: it must not wait for one client, or for a file, while others ask.",
                What::WakeUps if self.sleeps_on_purpose().is_some() => "Do: wait for what is to come (epoll_wait, a condition variable) instead of sleeping for a time.",
                What::WakeUps => "Do: serve many clients from one thread, which finds several ready at once (epoll), instead of a thread for each.",
                What::CallsPerRequest if prints => "Do: write no line for each request, or collect many lines before you write them.",
                What::CallsPerRequest => "Do: compare with `io-models trace epoll-level -- COMMAND` which calls can go: epoll_ctl for each request, receives of a few bytes, fcntl(2), clock calls.",
                What::Nagle => "Do: set TCP_NODELAY, and send an answer with one call (writev(2), MSG_MORE). `io-models demo nagle-delayed-ack` shows why.",
                What::Lock => "Do: let each thread have its own clients and its own data, so that no request needs a lock. The lock of an interpreter (Python's GIL) is one as well: use one thread with an event loop, or processes.",
                What::SmallBuffers if reads_little => "Do: receive into a buffer of 16 KiB or more.",
                What::SmallBuffers => "Do: leave SO_SNDBUF and SO_RCVBUF alone, so that the kernel adapts them; where the server does not set them, allow more in net.ipv4.tcp_wmem and tcp_rmem.",
            },
            match limiter.what {
                What::Generator => "办法：用更多线程运行 `io-models load`，或者在另一台机器上运行；这个数值是生成器的，不是服务端的。",
                What::Backlog => "办法：给 listen(2) 传 4096，并且一直 accept 到 EAGAIN。内核允许的上限是 net.core.somaxconn。",
                What::Ports => "办法：让每个连接发送许多请求。先关闭连接的客户端，其本地端口会留在 TIME_WAIT；`load` 不能自动添加源地址时，用 --sources 指定更多地址。",
                What::OneProcessor if is_restricted => "办法：让服务端使用更多处理器（taskset(1)、容器的 cpuset）。",
                What::OneProcessor => "办法：每个处理器运行一个事件循环，各有自己的监听套接字（SO_REUSEPORT）：`io-models serve reuseport` 就是这样。",
                What::WakeUps if self.has_one_thread() && self.sleeps_on_purpose().is_none() => "办法：用 `io-models trace` 看它在哪个调用中等待：其他客户端有请求时，它不能为一个客户端或一个文件而等待。",
                What::WakeUps if self.sleeps_on_purpose().is_some() => "办法：等待要来的事件（epoll_wait、条件变量），不要按时间睡眠。",
                What::WakeUps => "办法：用一个线程服务许多客户端，它一次能发现多个就绪（epoll），而不是每个客户端一个线程。",
                What::CallsPerRequest if prints => "办法：不要为每个请求输出一行，或者积累许多行再一起写。",
                What::CallsPerRequest => "办法：用 `io-models trace epoll-level -- 命令` 对比，看哪些调用可以去掉：每个请求的 epoll_ctl、一次只收几个字节、fcntl(2)、获取时间的调用。",
                What::Nagle => "办法：设置 TCP_NODELAY，并且用一次调用发送整个应答（writev(2)、MSG_MORE）。原因见 `io-models demo nagle-delayed-ack`。",
                What::Lock => "办法：让每个线程有自己的客户端和自己的数据，请求就不需要锁。解释器的锁（Python 的 GIL）也是锁：用一个线程加事件循环，或者用多个进程。",
                What::SmallBuffers if reads_little => "办法：接收缓冲区用 16 KiB 或更大。",
                What::SmallBuffers => "办法：不要设置 SO_SNDBUF 和 SO_RCVBUF，让内核自己调整；如果服务端没有设置它们，就调大 net.ipv4.tcp_wmem 和 tcp_rmem。",
            },
        )
        .to_owned()
    }

    /// What both did under each load.
    fn table(&self, lang: Lang) -> Table {
        let ours = self.name();
        let reference = visible(&self.reference);
        let head = ["", &ours, &reference, lang.say("ratio", "比值"), lang.say("p50", "p50")];
        let mut table = Table::new(&head, "");
        for load in &self.loads {
            let number = |per_s: f64| match load.kind {
                Kind::LargeMessages => bytes((per_s * LARGE) as u64),
                _ => rate(per_s),
            };
            let row = [
                kind(lang, load.kind).to_owned(),
                number(load.server.per_s),
                number(load.reference.per_s),
                times(load.ratio),
                latency(load.server.p50_us),
            ];
            table.row(row, "", Style::new());
        }
        table
    }

    fn show_calls(&self, page: &mut Page, lang: Lang, calls: &BothCalls) {
        let said =
            lang.say("System calls for each request of one client:", "单个客户端的每个请求的系统调用：");
        page.paragraph(said);
        for (name, calls) in [(self.name(), &calls.server), (visible(&self.reference), &calls.reference)] {
            let mut each: Vec<_> = calls.per_request.iter().collect();
            each.sort_by(|a, b| b.1.partial_cmp(a.1).unwrap_or(Ordering::Equal));
            let each: Vec<_> =
                each.into_iter().map(|(name, n)| format!("{} {n:.2}", visible(name))).collect();
            page.indented(2, 4, &format!("{name}: {}", each.join(", ")));
        }
    }
}

/// The call of which the server makes most more than the reference.
fn most_of_the_difference(lang: Lang, server: &Calls, reference: &Calls) -> String {
    let made = |calls: &Calls, name: &str| calls.per_request.get(name).copied().unwrap_or_default();
    let more = |name: &&String| made(server, name) - made(reference, name);
    let most = server.per_request.keys().max_by(|a, b| more(a).total_cmp(&more(b)));
    match most.filter(|name| more(name) >= 0.5) {
        Some(name) => {
            let (ours, theirs, name) = (made(server, name), made(reference, name), visible(name));
            lang.say(
                format!(" Most of the difference is {name}: {ours:.1} instead of {theirs:.1}."),
                format!("差别最大的是 {name}：{ours:.1} 次，而不是 {theirs:.1} 次。"),
            )
        }
        None => String::new(),
    }
}

/// The sizes of socket buffers that it set.
fn buffers(calls: &Calls) -> impl Iterator<Item = (&'static str, i32)> {
    let set = [("SO_SNDBUF", calls.send_buffer), ("SO_RCVBUF", calls.receive_buffer)];
    set.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

fn label(lang: Lang, what: What) -> &'static str {
    match what {
        What::Generator => lang.say("generator", "负载生成器"),
        What::Backlog => lang.say("backlog", "监听队列"),
        What::Ports => lang.say("ports", "本地端口"),
        What::OneProcessor => lang.say("one processor", "单个处理器"),
        What::WakeUps => lang.say("wake-ups", "唤醒"),
        What::CallsPerRequest => lang.say("system calls", "系统调用"),
        What::Nagle => lang.say("Nagle", "Nagle 算法"),
        What::Lock => lang.say("lock", "锁"),
        What::SmallBuffers => lang.say("small buffers", "小缓冲区"),
    }
}

/// A row of the table: what is counted of which load.
fn kind(lang: Lang, kind: Kind) -> &'static str {
    match kind {
        Kind::Requests => lang.say("requests/s, 64 clients", "请求/秒，64 个客户端"),
        Kind::OneConnection => lang.say("requests/s, 1 client", "请求/秒，1 个客户端"),
        Kind::Connections => lang.say("connections/s, 256 clients", "连接/秒，256 个客户端"),
        Kind::LargeMessages => lang.say("bytes/s, messages of 256 KiB", "字节/秒，256 KiB 的消息"),
        Kind::Pipelined => lang.say("requests/s, 8 at once each", "请求/秒，每个连接同时 8 个请求"),
    }
}

/// The number of a load, with its unit.
fn per_second(lang: Lang, kind: Kind, per_s: f64) -> String {
    match kind {
        Kind::Connections => {
            let n = rate(per_s);
            lang.say(format!("{n} connections/s"), format!("{n} 连接/秒"))
        }
        Kind::LargeMessages => format!("{}/s", bytes((per_s * LARGE) as u64)),
        _ => {
            let n = rate(per_s);
            lang.say(format!("{n} requests/s"), format!("{n} 请求/秒"))
        }
    }
}

fn lifted_in_words(lang: Lang, limiter: &Limiter, lifted: &Lifted) -> String {
    let Lifted { how, before, after, ratio, .. } = lifted;
    let number = |seen: &Seen| per_second(lang, limiter.load, seen.per_s);
    let (how, ours, then, ratio) = (how_in_words(lang, *how), number(before), number(after), times(*ratio));
    let number = lang.say(
        format!("{how}: {ours} before, {then} after ({ratio} times as many)."),
        format!("{how}：之前 {ours}，之后 {then}（{ratio} 倍）。"),
    );
    let slowest = |seen: &Seen| seen.slowest_connection_ms.map(|ms| latency(Some(ms * 1e3)));
    let more = match (slowest(before), slowest(after)) {
        (Some(before), Some(after)) => lang.say(
            format!(" The slowest connection took {before} before, {after} after."),
            format!("最慢的一次连接：之前 {before}，之后 {after}。"),
        ),
        _ => String::new(),
    };
    number + &more
}

fn how_in_words(lang: Lang, how: How) -> &'static str {
    match how {
        How::TwoGeneratorThreads => lang.say("With two threads of the generator", "生成器用两个线程"),
        How::LongerQueue => lang.say("With a queue of 4096", "队列长度改为 4096"),
        How::MoreAddresses => lang.say("With clients from eight addresses", "客户端使用八个源地址"),
        How::AllProcessors => lang.say("On all processors", "允许使用全部处理器"),
        How::SecondCopy => lang.say(
            "With a second copy of the server, which has half of the clients",
            "再运行一个相同的服务端，两者各服务一半客户端",
        ),
        How::OneProcessor => lang.say("With all of its threads on one processor", "全部线程放在一个处理器上"),
        How::EightAtOnce => {
            lang.say("With eight requests at once on each connection", "每个连接同时有八个请求")
        }
        How::NoOutput => lang.say("With its output to /dev/null", "输出改到 /dev/null"),
        How::NoDelay => lang.say("With TCP_NODELAY on its sockets", "在它的套接字上设置 TCP_NODELAY"),
        How::LargerBuffers => lang.say(
            "With larger socket buffers (1 MiB, or the limit of net.core.wmem_max and rmem_max)",
            "使用更大的套接字缓冲区（1 MiB，或 net.core.wmem_max 与 rmem_max 的上限）",
        ),
    }
}

fn note_in_words(lang: Lang, note: &Note) -> String {
    match note {
        Note::OtherPrograms { share } => {
            let share = percent(*share);
            lang.say(
                format!("The machine was busy: the reference waited for a processor for {share} of the time, and what is judged by that is doubtful."),
                format!("机器很忙：参照模型有 {share} 的时间在等待处理器，依此作出的判断不可靠。"),
            )
        }
        Note::TurnsDiffer { turns, least, most } => {
            let (least, most) = (times(*least), times(*most));
            lang.say(
                format!("The {turns} turns of the first load differ: the server gave between {least} and {most} times as many answers a second as the reference. Other programs or the host disturbed them, or the server itself varies: examine it again."),
                format!("第一种负载的 {turns} 轮结果相差很大：服务端每秒的应答数是参照模型的 {least} 到 {most} 倍。可能有其他程序或宿主机干扰，也可能服务端本身不稳定：请重新诊断。"),
            )
        }
        Note::OneProcessorHere => lang
            .say(
                "There is one processor: the generator and the servers take turns on it, and the figures are low and vary.",
                "这里只有一个处理器：生成器和服务端轮流使用它，数值偏低并且波动。",
            )
            .to_owned(),
        Note::NeverSleeps => lang
            .say(
                "The server runs while nothing is asked of it (`io-models check --only idle/cpu`). It was stopped while others were measured.",
                "没有请求时服务端也在运行（`io-models check --only idle/cpu`）。测量其他程序时它被暂停。",
            )
            .to_owned(),
        Note::Lost { load, connections } => {
            let (load, lost) = (kind(lang, *load), count(*connections));
            lang.say(
                format!("The server lost {lost} connections, or left them without an answer ({load}): `io-models load` tells how."),
                format!("服务端丢失了 {lost} 个连接，或者没有应答它们（{load}）：`io-models load` 会说明是怎样丢失的。"),
            )
        }
        Note::WaitsItself { p50_us } => {
            let p50 = latency(Some(*p50_us));
            lang.say(
                format!("One client alone waits {p50} for its answer, and nobody works meanwhile: the server waits for something itself, such as a timer, a file or another server."),
                format!("单个客户端等待应答 {p50}，其间没有谁在工作：服务端自己在等待，例如定时器、文件或另一个服务端。"),
            )
        }
        Note::FailsCheck { why } => {
            let why = visible(why);
            lang.say(
                format!("The server fails a check that each server should pass, and its number may be high for no good reason. {why}."),
                format!("服务端没有通过每个服务端都应当通过的检查，它的数值可能没有意义。{why}。"),
            )
        }
        Note::LoadFailed { load, why } => {
            let (load, why) = (kind(lang, *load), visible(why));
            lang.say(
                format!("Not measured: {load}. The reason: {why}."),
                format!("没有测量：{load}。原因：{why}。"),
            )
        }
        Note::CallsNotCounted { why } => {
            let why = visible(why);
            lang.say(format!("System calls were not counted: {why}."), format!("没有统计系统调用：{why}。"))
        }
    }
}

fn why_not_in_words(lang: Lang, why: &WhyNot) -> String {
    match why {
        WhyNot::FewProcessors { needed, here } => lang.say(
            format!("Showing this takes {needed} processors, and this machine has {here}: the number above says little."),
            format!("需要 {needed} 个处理器才能看出效果，这里只有 {here} 个，因此上面的数值参考意义不大。"),
        ),
        WhyNot::InTheProgram => lang
            .say(
                "It is in the program, and cannot be taken away from outside.",
                "这是程序内部的问题，无法从外部消除。",
            )
            .to_owned(),
        WhyNot::OneOwnAddress => lang
            .say("Clients can use more source addresses only when the server listens on 127.0.0.0/8.", "只有服务端监听在 127.0.0.0/8 上时，客户端才能使用更多的源地址。")
            .to_owned(),
        WhyNot::Refused { why } => {
            let why = visible(why);
            lang.say(format!("It could not be taken away here: {why}."), format!("在这里无法消除：{why}。"))
        }
    }
}

fn processors(all: Option<f64>) -> String {
    all.map_or_else(|| UNKNOWN.to_owned(), |all| format!("{all:.2}"))
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// `0.48`.
fn times(ratio: f64) -> String {
    format!("{ratio:.2}")
}
