//! What the screen looks like, at three sizes and at three moments.

use super::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use templar_base::{Alpha, BlockNumber, StateHash, Uid, Window};
use templar_localnet::{NodeView, ViewSource, WindowEvent};
use templar_node::{MinerLine, NodeStatus};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (20, 5)];
const STATE: StateHash = StateHash::new([0xa1; 32]);

fn empty() -> View {
    View {
        source: ViewSource::Own,
        seconds: 0.4,
        block: BlockNumber(0),
        window: None,
        window_share: 0.0,
        curve: Vec::new(),
        last: None,
        nodes: Vec::new(),
        null_windows: 0,
        tokens: 0,
        utilisation: None,
        notes: Vec::new(),
        remarks: Vec::new(),
    }
}

fn status(role: Role, uid: u16, next: u64, activity: &str) -> NodeStatus {
    NodeStatus {
        role,
        uid: Uid(uid),
        head: BlockNumber(7),
        next: Window(next),
        state: STATE,
        activity: activity.to_owned(),
        loss: None,
        tokens: 0,
        training_seconds: 0.0,
        wall_seconds: 0.0,
        time_ms: 0,
    }
}

fn node(name: &str, status: Option<NodeStatus>) -> NodeView {
    NodeView { name: name.to_owned(), is_alive: status.is_some(), status, verdict: None, stake: None }
}

fn first_minute() -> View {
    let mut nodes: Vec<NodeView> = (0..4u16)
        .map(|n| node(&format!("miner-{n}"), (n != 3).then(|| status(Role::Miner, n + 3, 0, "in step"))))
        .collect();
    for (n, node) in nodes.iter_mut().enumerate().take(2) {
        let status = node.status.as_mut().unwrap();
        status.loss = Some(8.2 - n as f32 * 0.1);
        (status.tokens, status.training_seconds, status.wall_seconds) = (4096, 3.9, 4.0);
    }
    nodes.push(node("validator-0", Some(status(Role::Validator, 1, 0, "in step"))));
    nodes.push(node("validator-1", Some(status(Role::Validator, 2, 0, "in step"))));
    View {
        seconds: 9.0,
        block: BlockNumber(7),
        window: Some(Window(0)),
        window_share: 0.3,
        utilisation: Some(0.975),
        nodes,
        remarks: vec!["text: synthetic tales of a small grammar, 4.2 MB (free of rights)".to_owned()],
        ..empty()
    }
}

fn verdict(uid: u16, standing: &str, contribution: Option<f64>) -> Option<MinerLine> {
    Some(MinerLine {
        uid: Uid(uid),
        standing: standing.to_owned(),
        contribution,
        standard_error: contribution.map(|value| value.abs() / 10.0),
        rating: Some(-1.5 - f64::from(uid) / 10.0),
        tokens: 65_536,
    })
}

fn long_running() -> View {
    let mut view = first_minute();
    view.seconds = 7_845.0;
    view.block = BlockNumber(8_412);
    view.window = Some(Window(412));
    view.window_share = 0.62;
    view.curve = (0..=412).map(|w| (Window(w), 3.1 + 5.2 * (-(w as f64) / 80.0).exp())).collect();
    view.last = Some(WindowEvent {
        event: "window".to_owned(),
        window: Window(411),
        heldout_loss: Some(3.13),
        tokens: 196_608,
        selected: vec![Uid(3), Uid(4), Uid(6)],
        state_hash: Some(STATE),
        nodes_in_sync: 5,
        nodes: 6,
        null_reason: None,
    });
    view.null_windows = 2;
    view.tokens = 80_609_280;
    view.utilisation = Some(0.931);
    let lines = [
        ("in step", verdict(3, "selected", Some(0.0123))),
        ("in step", verdict(4, "selected", Some(0.0098))),
        ("in step", verdict(5, "refused: the payload starts from other parameters than those agreed", None)),
        ("in step", verdict(6, "harmful: it makes the model worse", Some(-0.0031))),
    ];
    for (n, (activity, verdict)) in lines.into_iter().enumerate() {
        let mut status = status(Role::Miner, n as u16 + 3, 412, activity);
        status.loss = Some(3.2);
        (status.tokens, status.training_seconds, status.wall_seconds) = (21_000_000, 7_300.0, 7_800.0);
        view.nodes[n].status = Some(status);
        view.nodes[n].is_alive = true;
        view.nodes[n].verdict = verdict;
        view.nodes[n].stake = Some(Alpha::from_rao(1_234_567_890 * (n as u64 + 1)));
    }
    if let Some(status) = view.nodes[2].status.as_mut() {
        status.state = StateHash::new([0xb2; 32]);
    }
    view.nodes[4].status = Some(status(Role::Validator, 1, 412, "waits for the agreed aggregate"));
    view.nodes[4].stake = Some(Alpha::from_rao(512_345_000_000));
    view.nodes[5].status = Some(status(Role::Validator, 2, 398, "in step"));
    view.nodes[5].is_alive = false;
    view.notes = vec![
        "validator-1: ended with signal 9; it is started again".to_owned(),
        "miner-2: its state after window 411 is not the agreed one; it repairs itself".to_owned(),
        "miner-2: took the checkpoint of window 408".to_owned(),
        "validator-0: window 410: the votes of validator-1 are missing,\nand it goes on with those that are there"
            .to_owned(),
    ];
    view
}

fn drawn(view: &View, is_painted: bool, (columns, rows): (u16, u16)) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| paint(view, Theme::new(is_painted), frame.area(), frame.buffer_mut())).unwrap();
    terminal.backend().clone()
}

fn pages(view: &View) -> String {
    SIZES.map(|size| format!("{}x{}\n{}", size.0, size.1, drawn(view, true, size))).join("\n")
}

#[test]
fn an_empty_network() {
    insta::assert_snapshot!(pages(&empty()));
}

#[test]
fn the_first_minute() {
    insta::assert_snapshot!(pages(&first_minute()));
}

#[test]
fn a_long_run_with_a_dead_node_and_a_refused_miner() {
    insta::assert_snapshot!(pages(&long_running()));
}

#[test]
fn every_size_can_be_drawn() {
    let mut hostile = long_running();
    hostile.window_share = f64::NAN;
    hostile.curve.extend([(Window(413), f64::NAN), (Window(u64::MAX), 1e300), (Window(u64::MAX), -4.0)]);
    hostile.notes = vec!["\x1b[2J\u{200b}模型\r\n".repeat(200); 5];
    hostile.utilisation = Some(f64::INFINITY);
    if let Some(line) = hostile.nodes[0].verdict.as_mut() {
        (line.contribution, line.standard_error, line.rating) = (Some(f64::NAN), Some(1e300), Some(f64::INFINITY));
    }
    for view in [empty(), first_minute(), long_running(), hostile] {
        for columns in (1..130).step_by(3) {
            for rows in [1, 2, 3, 4, 5, 7, 9, 12, 17, 24, 60] {
                drawn(&view, true, (columns, rows));
            }
        }
    }
}

#[test]
fn many_nodes_show_the_troubled_ones_first() {
    let mut view = long_running();
    let calm = view.nodes[0].clone();
    view.nodes.splice(0..0, (0..40).map(|_| calm.clone()));
    let page = drawn(&view, true, (80, 24)).to_string();
    assert!(page.contains("down") && page.contains("more nodes"), "{page}");
}

#[test]
fn the_dead_are_red_and_without_colours_nothing_is() {
    let colours = |is_painted| {
        let backend = drawn(&long_running(), is_painted, (80, 24));
        backend.buffer().content().iter().map(|cell| cell.fg).collect::<Vec<Color>>()
    };
    assert!(colours(true).contains(&Color::Red));
    assert!(colours(false).iter().all(|colour| *colour == Color::Reset));
}
