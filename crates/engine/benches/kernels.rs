//! Each kernel on one thread, at the sizes of the bench shape: time, rate, and the share of the core's measured peak.
//!
//! `cargo bench -p templar-engine --bench kernels -- [filter]`
//!
//! Criterion's "elem/s" are floating-point operations per second; for kernels that move rather than compute, bytes. The
//! line under each says the share of the peak of fused multiply-adds, which was measured on the spot.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};
use templar_engine::ops::{
    AdamW, AdamWBuffers, Attended, Attention, Gemm, Heads, Norm, NormInput, Ops, OpsResult, Rope, Transposition, View,
    ViewMut,
};
use templar_engine::{Cpu, Isa, fma_burst};

const ROWS: usize = 2048;
const LENGTH: usize = 256;
const WIDTH: usize = 256;
const INNER: usize = 688;
const VOCABULARY: usize = 8192;
const LOGIT_ROWS: usize = 512;
const HEADS: Heads = Heads { heads: 8, kv_heads: 4, head_dim: 32 };

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|place| ((place * 7919) % 1000) as f32 / 1000.0 - 0.5).collect()
}

/// The best of some bursts, in floating-point operations per second.
fn peak(isa: Isa) -> f64 {
    let rate = |_| {
        let started = Instant::now();
        fma_burst(isa, 1 << 19) as f64 / started.elapsed().as_secs_f64()
    };
    (0..8).map(rate).fold(0.0, f64::max)
}

/// Measures `work`, which does so many floating-point operations, and prints its share of the peak.
fn bench_operations(criterion: &mut Criterion, name: &str, operations: usize, mut work: impl FnMut()) {
    let (time, turns) = (Cell::new(Duration::ZERO), Cell::new(0u64));
    let mut group = criterion.benchmark_group("kernels");
    group.throughput(Throughput::Elements(operations as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            let started = Instant::now();
            (0..count).for_each(|_| work());
            let elapsed = started.elapsed();
            time.set(time.get() + elapsed);
            turns.set(turns.get() + count);
            elapsed
        });
    });
    group.finish();
    if turns.get() > 0 {
        let rate = operations as f64 * turns.get() as f64 / time.get().as_secs_f64();
        println!("  {:.1} GFLOP/s, {:.1} % of the peak\n", rate / 1e9, 100.0 * rate / peak(Isa::best()));
    }
}

/// Measures `work`, which reads and writes so many bytes.
fn bench_bytes(criterion: &mut Criterion, name: &str, bytes: usize, mut work: impl FnMut()) {
    let mut group = criterion.benchmark_group("kernels");
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function(name, |bencher| bencher.iter(&mut work));
    group.finish();
}

fn done<T>(result: OpsResult<T>) -> T {
    result.expect("the operations of the CPU do not fail")
}

fn cpu() -> Cpu {
    Cpu::new(Isa::best(), 1).expect("the best instructions are there")
}

fn products(criterion: &mut Criterion) {
    use Transposition::{Left, Neither, Right};
    let sizes = [
        ("query, key, value", ROWS, HEADS.row(), WIDTH),
        ("attention's output", ROWS, WIDTH, HEADS.queries()),
        ("gate and up", ROWS, 2 * INNER, WIDTH),
        ("down", ROWS, WIDTH, INNER),
        ("head", LOGIT_ROWS, VOCABULARY, WIDTH),
    ];
    let mut cpu = cpu();
    for (name, rows, outputs, inputs) in sizes {
        let (x, weight, y) = (values(rows * inputs), values(outputs * inputs), values(rows * outputs));
        let passes = [
            ("forward", Gemm { m: rows, n: outputs, k: inputs, transposition: Right, accumulate: false }, &x, &weight),
            (
                "to input",
                Gemm { m: rows, n: inputs, k: outputs, transposition: Neither, accumulate: false },
                &y,
                &weight,
            ),
            ("to weight", Gemm { m: outputs, n: inputs, k: rows, transposition: Left, accumulate: false }, &y, &x),
        ];
        for (pass, shape, a, b) in passes {
            let mut c = vec![0.0; shape.m * shape.n];
            bench_operations(criterion, &format!("{name}, {pass}"), 2 * rows * outputs * inputs, || {
                let c = ViewMut::new(&mut c[..], 0);
                done(cpu.gemm(shape, View::new(black_box(&a[..]), 0), View::new(&b[..], 0), c));
            });
        }
    }
}

fn attention(criterion: &mut Criterion) {
    let sequences = ROWS / LENGTH;
    let shape = Attention { heads: HEADS, sequences, length: LENGTH, first_query: 0, document_starts: &[] };
    let (qkv, d_out) = (values(ROWS * HEADS.row()), values(ROWS * HEADS.queries()));
    let (mut out, mut log_sum_exp) = (vec![0.0; ROWS * HEADS.queries()], vec![0.0; ROWS * HEADS.heads]);
    let mut d_qkv = vec![0.0; qkv.len()];
    let mut cpu = cpu();
    // What the causal mask leaves: two products forward, five backward.
    let product = 2 * sequences * HEADS.queries() * LENGTH * (LENGTH + 1) / 2;
    bench_operations(criterion, "attention forward", 2 * product, || {
        let (out, sums) = (ViewMut::new(&mut out[..], 0), ViewMut::new(&mut log_sum_exp[..], 0));
        done(cpu.attention_forward(shape, View::new(black_box(&qkv[..]), 0), out, sums));
    });
    bench_operations(criterion, "attention backward", 5 * product, || {
        let forward = Attended {
            qkv: View::new(black_box(&qkv[..]), 0),
            out: View::new(&out[..], 0),
            log_sum_exp: View::new(&log_sum_exp[..], 0),
        };
        done(cpu.attention_backward(shape, forward, View::new(&d_out[..], 0), ViewMut::new(&mut d_qkv[..], 0)));
    });
}

fn rows(criterion: &mut Criterion) {
    let mut cpu = cpu();
    let norm = Norm { rows: ROWS, width: WIDTH, epsilon: 1e-5 };
    let (x, weight, d_out) = (values(ROWS * WIDTH), values(WIDTH), values(ROWS * WIDTH));
    let (mut out, mut d_weight) = (vec![0.0; ROWS * WIDTH], vec![0.0; WIDTH]);
    bench_bytes(criterion, "norm forward", 8 * ROWS * WIDTH, || {
        let (x, weight) = (View::new(black_box(&x[..]), 0), View::new(&weight[..], 0));
        done(cpu.rms_norm_forward(norm, x, weight, ViewMut::new(&mut out[..], 0)));
    });
    bench_bytes(criterion, "norm backward", 16 * ROWS * WIDTH, || {
        let (d_x, d_weight) = (ViewMut::new(&mut out[..], 0), ViewMut::new(&mut d_weight[..], 0));
        let input = NormInput { x: View::new(black_box(&x[..]), 0), weight: View::new(&weight[..], 0) };
        done(cpu.rms_norm_backward(norm, input, View::new(&d_out[..], 0), d_x, d_weight));
    });
    let (mut gate_up, mut activated) = (values(ROWS * 2 * INNER), vec![0.0; ROWS * INNER]);
    bench_bytes(criterion, "swiglu forward", 12 * ROWS * INNER, || {
        let out = ViewMut::new(&mut activated[..], 0);
        done(cpu.swiglu_forward(ROWS, INNER, View::new(black_box(&gate_up[..]), 0), out));
    });
    let mut again = values(ROWS * INNER);
    bench_bytes(criterion, "swiglu backward", 24 * ROWS * INNER, || {
        let (gate_up, again) = (ViewMut::new(&mut gate_up[..], 0), ViewMut::new(&mut again[..], 0));
        done(cpu.swiglu_backward(ROWS, INNER, View::new(black_box(&activated[..]), 0), gate_up, again));
    });
    let (mut qkv, table) = (values(ROWS * HEADS.row()), values(LENGTH * HEADS.head_dim));
    bench_bytes(criterion, "rotation", 8 * ROWS * HEADS.rotated() * HEADS.head_dim, || {
        let (table, qkv) = (View::new(black_box(&table[..]), 0), ViewMut::new(&mut qkv[..], 0));
        let shape = Rope { rows: ROWS, length: LENGTH, first_position: 0, heads: HEADS, is_backward: false };
        done(cpu.rope(shape, table, qkv));
    });
    let targets: Vec<u32> = (0..LOGIT_ROWS as u32).map(|row| row * 13 % VOCABULARY as u32).collect();
    let (mut logits, mut losses) = (values(LOGIT_ROWS * VOCABULARY), vec![0.0; LOGIT_ROWS]);
    bench_bytes(criterion, "cross-entropy", 4 * LOGIT_ROWS * VOCABULARY, || {
        let logits = ViewMut::new(black_box(&mut logits[..]), 0);
        done(cpu.cross_entropy(VOCABULARY, &targets, 1e-3, logits, &mut losses));
    });
}

fn optimiser(criterion: &mut Criterion) {
    const LEN: usize = 1 << 20;
    let rule = AdamW {
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.1,
        correction1: 10.0,
        correction2: 20.0,
        gradient_scale: 1.0,
    };
    let (gradient, mut parameters) = (values(LEN), values(LEN));
    let (mut first, mut second) = (vec![0.0; LEN], vec![0.0; LEN]);
    let mut cpu = cpu();
    bench_bytes(criterion, "AdamW", 28 * LEN, || {
        let buffers = AdamWBuffers {
            gradient: View::new(black_box(&gradient[..]), 0),
            parameters: ViewMut::new(&mut parameters[..], 0),
            first_moment: ViewMut::new(&mut first[..], 0),
            second_moment: ViewMut::new(&mut second[..], 0),
        };
        done(cpu.adamw(rule, buffers, LEN));
    });
    bench_bytes(criterion, "sum of squares", 4 * LEN, || {
        black_box(done(cpu.sum_of_squares(View::new(black_box(&gradient[..]), 0), LEN)));
    });
}

criterion_group! {
    name = kernels;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = products, attention, rows, optimiser
}
criterion_main!(kernels);
