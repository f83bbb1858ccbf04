//! The picture of docs/course.md: what a level- and an edge-triggered epoll report of the same bytes, and what stays in the receive
//! buffer.

use super::text::{self, LINE};
use super::{Chart, Look, N, legend};
use crate::lab::lang::Lang;
use maud::{Markup, html};

/// When 8 KiB arrive.
const ARRIVALS: [f64; 2] = [1.0, 6.0];

const ARRIVING_KIB: f64 = 8.0;

/// How much each recv(2) takes, and how long it lasts.
const READ_KIB: f64 = 4.0;
const READING: f64 = 0.7;

const END: f64 = 11.0;

/// The plot of the buffer: its height, how much that is, and the room for the numbers on its left.
const HEIGHT: f64 = 72.0;
const MOST_KIB: f64 = 12.0;
const LEFT: f64 = 28.0;

/// How thick a bar is below the plot.
const THICK: f64 = 20.0;

/// Two servers over time to which the same bytes arrive. Each reads 4 KiB whenever epoll_wait(2) reports its client, and then waits
/// again; one is level-triggered, the other one edge-triggered.
#[derive(Debug, Clone, Copy)]
pub struct LevelEdge {
    lang: Lang,
}

/// What one of the servers is told, and when.
struct Server {
    heading: &'static str,
    /// When epoll_wait(2) reports the client: at each of these moments recv(2) begins.
    reports: &'static [f64],
    /// What is written above the buffer, and around which moment.
    notes: &'static [(f64, &'static str)],
}

impl LevelEdge {
    /// The picture with text in this language.
    #[must_use]
    pub fn new(lang: Lang) -> LevelEdge {
        LevelEdge { lang }
    }

    fn servers(self) -> [Server; 2] {
        let lang = self.lang;
        [
            Server {
                heading: lang.say(
                    "Level-triggered: reported as long as there is something to read",
                    "水平触发：只要还有数据可读，就会通知",
                ),
                reports: &[1.0, 1.7, 6.0, 6.7],
                notes: lang.say::<&[_]>(&[(4.2, "empty"), (9.2, "empty")], &[(4.2, "空"), (9.2, "空")]),
            },
            Server {
                heading: lang
                    .say("Edge-triggered: reported when something arrives", "边缘触发：有新数据到来时才通知"),
                reports: &[1.0, 6.0],
                notes: lang.say::<&[_]>(
                    &[(3.85, "4 KiB unread"), (8.85, "8 KiB unread")],
                    &[(3.85, "4 KiB 未读"), (8.85, "8 KiB 未读")],
                ),
            },
        ]
    }
}

impl Server {
    /// The bytes in the receive buffer: when they change, and how many KiB there are from then on.
    fn fill(&self) -> Vec<(f64, f64)> {
        let arrive = ARRIVALS.iter().map(|&at| (at, ARRIVING_KIB));
        let read = self.reports.iter().map(|&at| (at + READING, -READ_KIB));
        let mut changes: Vec<_> = arrive.chain(read).collect();
        changes.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut kib = 0.0;
        let after = changes.into_iter().map(|(at, change)| {
            kib += change;
            (at, kib)
        });
        [(0.0, 0.0)].into_iter().chain(after).collect()
    }

    /// When it is in epoll_wait(2).
    fn waits(&self) -> Vec<(f64, f64)> {
        let begins = [0.0].into_iter().chain(self.reports.iter().map(|at| at + READING));
        begins.zip(self.reports.iter().copied().chain([END])).filter(|(from, to)| from < to).collect()
    }
}

impl Chart for LevelEdge {
    fn title(&self) -> &str {
        self.lang.say(
            "8 KiB arrive twice, and each server reads 4 KiB whenever it is told",
            "每得到一次通知，就读 4 KiB",
        )
    }

    fn description(&self) -> String {
        self.lang
            .say(
                "Level-triggered, epoll_wait reports the client twice after each arrival, and the receive buffer is empty then. \
                 Edge-triggered, it reports the client once after each arrival: 4 KiB stay in the receive buffer after the first one, \
                 and 8 KiB after the second one, while the server waits.",
                "水平触发时，每次数据到来后 epoll_wait 通知两次，接收缓冲区被读空。边缘触发时，每次数据到来后只通知一次：\
                 第一次之后接收缓冲区里留下 4 KiB，第二次之后留下 8 KiB，而服务端一直在等待。",
            )
            .to_owned()
    }

    fn is_empty(&self) -> bool {
        false
    }

    fn body(&self, width: f64) -> (Markup, f64) {
        let mut top = 0.0;
        let mut panels = Vec::new();
        for server in self.servers() {
            let (panel, height) = self.panel(&server, width);
            panels.push((panel, top));
            top += height;
        }
        let say = |en, zh| self.lang.say(en, zh);
        let report = || html! { g.c2 { path.p d=(Look::Colour(1).marker(12.0, 0.0)) {} } };
        let bar = |look: Look| html! { g class=(look.class()) { rect.s y="-7" width="24" height="14" {} } };
        let area = html! { g.c1 { rect.band y="-7" width="24" height="14" {} path.l d="M0-7H24" {} } };
        let entries = [
            (say("receive buffer", "接收缓冲区"), area),
            (say("in epoll_wait", "在 epoll_wait 中等待"), bar(Look::Grey)),
            (say("in recv", "在 recv 中读取"), bar(Look::Colour(0))),
            (say("EPOLLIN is reported", "通知 EPOLLIN"), report()),
        ];
        let (legend, legend_height) = legend(entries, width, top + LINE);
        let drawn = html! {
            @for (panel, top) in panels {
                g transform={ "translate(0 " (N(top)) ")" } { (panel) }
            }
            text.k.e x=(N(width)) y=(N(top)) { (say("time →", "时间 →")) }
            (legend)
        };
        (drawn, top + LINE + legend_height)
    }
}

impl LevelEdge {
    fn panel(self, server: &Server, width: f64) -> (Markup, f64) {
        let heading = text::lines(server.heading, width, text::SIZE * text::BOLD);
        let arrival = self.lang.say("8 KiB arrive", "8 KiB 到来");
        let above = heading.len() as f64 * LINE + LINE + 6.0;
        let bottom = above + HEIGHT;
        let x = |at: f64| LEFT + (width - LEFT) * at / END;
        let y = |kib: f64| bottom - HEIGHT * kib / MOST_KIB;
        let fill = server.fill();
        let mut outline = format!("M{} {}", N(x(0.0)), N(y(0.0)));
        for &(at, kib) in &fill[1..] {
            outline += &format!("H{}V{}", N(x(at)), N(y(kib)));
        }
        outline += &format!("H{}", N(x(END)));
        let kib_at = |moment: f64| fill.iter().rfind(|(at, _)| *at <= moment).map_or(0.0, |&(_, kib)| kib);
        let lane = bottom + 18.0 + THICK / 2.0;
        let bar = |from: f64, to: f64| {
            html! { rect.s x=(N(x(from))) y=(N(lane - THICK / 2.0)) width=(N(x(to) - x(from))) height=(N(THICK)) {} }
        };
        let ticks = [0.0, 4.0, 8.0, 12.0];
        let grid: String =
            ticks.iter().map(|&kib| format!("M{} {}H{}", N(LEFT), N(y(kib)), N(width))).collect();
        let reports: String =
            server.reports.iter().map(|&at| Look::Colour(1).marker(x(at), bottom + 10.0)).collect();
        let drawn = html! {
            @for (i, line) in heading.iter().enumerate() {
                text.b y=(N(text::SIZE + i as f64 * LINE)) { (line) }
            }
            path.g d=(grid) {}
            @for kib in ticks {
                text.k.e x=(N(LEFT - 8.0)) y=(N(y(kib) + 4.5)) { (kib) }
            }
            text.k y=(N(above - 9.0)) { "KiB" }
            @for at in ARRIVALS {
                path.x d={ "M" (N(x(at))) " " (N(above - 4.0)) "V" (N(bottom)) } {}
                text.k x=(N(x(at) - 6.0)) y=(N(above - 9.0)) { (arrival) }
            }
            g.c1 {
                path.band d={ (outline) "V" (N(bottom)) "Z" } {}
                path.l d=(outline) {}
            }
            @for &(at, note) in server.notes {
                text.m x=(N(x(at))) y=(N(y(kib_at(at)) - 6.0)) { (note) }
            }
            g.cg {
                @for (from, to) in server.waits() { (bar(from, to)) }
            }
            g.c1 {
                @for &at in server.reports { (bar(at, at + READING)) }
            }
            g.c2 { path.p d=(reports) {} }
        };
        (drawn, lane + THICK / 2.0 + LINE)
    }
}
