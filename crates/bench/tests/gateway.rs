//! The measurement of a gateway, small.

use templar_bench::Progress;
use templar_bench::gateway::{GatewayBench, GatewayBenchError};

struct Silent;

impl Progress for Silent {
    fn say(&mut self, _: &str) {}
    fn show(&mut self, _: f64, _: &str) {}
    fn restart(&mut self) {}
}

fn bench() -> GatewayBench {
    let (model, url, preset) = (None, None, "nano".to_owned());
    GatewayBench { model, preset, url, clients: vec![1, 3], requests: 2, tokens: 6, prompt_bytes: 100 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_number_of_clients_has_its_answers_and_figures() {
    let report = bench().run(1, &mut Silent).await.unwrap();
    let levels = report.levels();
    assert_eq!(levels.iter().map(|level| (level.clients, level.answers)).collect::<Vec<_>>(), [(1, 2), (3, 6)]);
    for level in levels {
        assert!(level.tokens > 0 && level.tokens <= level.answers as u64 * 6, "{level:?}");
        assert!(level.tokens_per_second > 0.0 && level.first_token_ms > 0.0, "{level:?}");
        assert!(level.first_token_ms_p95 >= level.first_token_ms, "{level:?}");
    }
    assert_eq!(report.section().rows.len(), 2);
}

#[tokio::test]
async fn who_does_not_answer_and_what_is_no_address_are_told_apart() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let at = |url: String| GatewayBench { url: Some(url), ..bench() };
    let away = at(format!("http://{address}/v1")).run(1, &mut Silent).await.unwrap_err();
    assert!(matches!(away, GatewayBenchError::Unreachable { .. }), "{away}");
    let none = at("the gateway".to_owned()).run(1, &mut Silent).await.unwrap_err();
    assert!(matches!(none, GatewayBenchError::Address(_)), "{none}");
    let large = GatewayBench { prompt_bytes: 100_000, ..bench() }.run(1, &mut Silent).await.unwrap_err();
    assert!(matches!(large, GatewayBenchError::Rejected { status: 400, .. }), "{large}");
}
