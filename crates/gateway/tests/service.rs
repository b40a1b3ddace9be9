//! The API over HTTP, on a small model.

mod support;

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use support::{PATIENCE, Service, model, read, send, wait_until};
use templar_gateway::{Admission, GatewayOptions, SchedulerOptions};
use templar_testing::samples_of;

fn chat(more: Value) -> Value {
    with(json!({"model": "tiny", "messages": [{"role": "user", "content": "the union"}], "max_tokens": 40}), more)
}

fn completion(more: Value) -> Value {
    with(json!({"model": "tiny", "prompt": "the people of", "max_tokens": 40, "temperature": 0}), more)
}

fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// The texts, ends and token reports of a stream, by choice.
fn assembled(events: &[Value], piece: fn(&Value) -> Option<&str>) -> Vec<(String, String, Vec<Value>)> {
    let mut texts = Vec::new();
    for choice in events.iter().flat_map(|event| event["choices"].as_array().unwrap()) {
        let index = choice["index"].as_u64().unwrap() as usize;
        texts.resize(texts.len().max(index + 1), (String::new(), String::new(), Vec::new()));
        let (text, finish, tokens) = &mut texts[index];
        assert!(finish.is_empty(), "nothing comes after the end of a text");
        *text += piece(choice).unwrap_or_default();
        *finish += choice["finish_reason"].as_str().unwrap_or_default();
        tokens.extend(choice["logprobs"]["content"].as_array().into_iter().flatten().cloned());
    }
    texts
}

#[test]
fn a_stream_is_the_whole_answer_in_pieces() {
    let service = Service::open();
    let more = json!({"seed": 5, "temperature": 1.2, "n": 3, "logprobs": true, "top_logprobs": 2});
    let whole = service.post("/v1/chat/completions", &chat(more.clone())).ok();
    let more = with(more, json!({"stream": true, "stream_options": {"include_usage": true}}));
    let mut events = service.post("/v1/chat/completions", &chat(more.clone())).events();
    let last = events.pop().unwrap();
    assert_eq!((&last["choices"], &last["usage"]), (&json!([]), &whole["usage"]));
    assert!(events.iter().all(|event| event["usage"].is_null() && event["object"] == "chat.completion.chunk"));
    assert!(events.iter().all(|event| event["id"] == last["id"] && event["system_fingerprint"] == "folder-tiny"));
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let streamed = assembled(&events, |choice| choice["delta"]["content"].as_str());
    let choices = whole["choices"].as_array().unwrap();
    assert_eq!((choices.len(), streamed.len()), (3, 3));
    let mut written = 0;
    for (choice, (text, finish, tokens)) in choices.iter().zip(&streamed) {
        assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!(text), &json!(finish)));
        assert_eq!(&choice["logprobs"]["content"], &json!(tokens));
        assert!(tokens.iter().all(|token| token["top_logprobs"].as_array().unwrap().len() == 2));
        assert!(tokens.iter().all(|token| token["logprob"].as_f64().unwrap() < 0.0));
        written += tokens.len();
    }
    assert_ne!(choices[0]["message"], choices[1]["message"], "each text has its own seed");
    let usage = &whole["usage"];
    assert_eq!(usage["completion_tokens"], written);
    assert_eq!(usage["total_tokens"], usage["prompt_tokens"].as_u64().unwrap() + written as u64);
    // Without being asked for, there is no usage; and the same seed gives the same text.
    let plain = with(more, json!({"stream_options": null, "logprobs": null, "top_logprobs": null}));
    let events = service.post("/v1/chat/completions", &chat(plain)).events();
    assert!(events.iter().all(|event| event.get("usage").is_none() && event["choices"][0]["logprobs"].is_null()));
    let again = assembled(&events, |choice| choice["delta"]["content"].as_str());
    assert!(again.iter().zip(&streamed).all(|(a, b)| (&a.0, &a.1) == (&b.0, &b.1)));
}

#[test]
fn completions_stream_too_and_take_texts_and_tokens() {
    let service = Service::open();
    let whole = service.post("/v1/completions", &completion(json!({"logprobs": 1}))).ok();
    assert_eq!(
        (&whole["object"], &whole["choices"][0]["finish_reason"]),
        (&json!("text_completion"), &json!("length"))
    );
    assert_eq!(whole["usage"]["completion_tokens"], 40);
    let logprobs = &whole["choices"][0]["logprobs"];
    for field in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(logprobs[field].as_array().unwrap().len(), 40, "{field}");
    }
    let events = service.post("/v1/completions", &completion(json!({"stream": true}))).events();
    let streamed = assembled(&events, |choice| choice["text"].as_str());
    assert_eq!(whole["choices"][0]["text"], streamed[0].0);
    // Several prompts, two texts each, in the order of the prompts.
    let more = json!({"prompt": ["the people of", "every"], "n": 2, "max_tokens": 8});
    let several = service.post("/v1/completions", &completion(more)).ok();
    let text = |index: usize| several["choices"][index]["text"].as_str().unwrap().to_owned();
    assert_eq!(several["choices"].as_array().unwrap().len(), 4);
    assert!(text(0) == text(1) && text(2) == text(3) && text(0) != text(2));
    assert!(whole["choices"][0]["text"].as_str().unwrap().starts_with(&text(0)));
    let tokens = service.post("/v1/completions", &completion(json!({"prompt": [[1, 2, 3], [4]]}))).ok();
    assert_eq!(tokens["usage"]["prompt_tokens"], 4);
    let unknown = service.post("/v1/completions", &completion(json!({"prompt": [9999]}))).error(400);
    assert_eq!(unknown["param"], "prompt");
    assert_eq!(service.post("/v1/completions", &completion(json!({"prompt": null}))).ok()["usage"]["prompt_tokens"], 1);
}

#[test]
fn a_stop_string_ends_the_text_before_it() {
    let service = Service::open();
    let whole = service.post("/v1/completions", &completion(json!({}))).ok();
    let text = whole["choices"][0]["text"].as_str().unwrap().to_owned();
    // Four characters from the middle, wherever they come first.
    let stop: String = text.chars().skip(text.chars().count() / 2).take(4).collect();
    let before = &text[..text.find(&stop).unwrap()];
    for stop in [json!(stop), json!(["no such string", stop])] {
        let cut = service.post("/v1/completions", &completion(json!({"stop": stop}))).ok();
        let choice = &cut["choices"][0];
        assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!(before), &json!("stop")));
        assert!(cut["usage"]["completion_tokens"].as_u64() < whole["usage"]["completion_tokens"].as_u64());
        let events = service.post("/v1/completions", &completion(json!({"stop": stop, "stream": true}))).events();
        assert_eq!(assembled(&events, |choice| choice["text"].as_str())[0].0, before);
    }
}

#[test]
fn penalties_change_the_text() {
    let service = Service::open();
    let text = |more: Value| service.post("/v1/completions", &completion(more)).ok()["choices"][0]["text"].clone();
    let plain = text(json!({}));
    assert_ne!(text(json!({"frequency_penalty": 2})), plain);
    assert_eq!(text(json!({"frequency_penalty": 0, "presence_penalty": 0})), plain);
}

#[test]
fn failures_have_openais_form() {
    let service = Service::start(GatewayOptions { body_bytes: 100_000, ..GatewayOptions::default() }, Admission::Open);
    let early = service.post("/v1/chat/completions", &chat(json!({})));
    early.error(503);
    assert!(early.header("retry-after").is_some());
    assert_eq!(service.get("/v1/models").ok()["data"], json!([]));
    assert_eq!(service.get("/health").status, 503);
    service.gateway.serve(model("tiny", 3));
    assert_eq!(service.get("/health").ok()["is_ready"], true);
    let listed = service.get("/v1/models").ok();
    assert_eq!((&listed["object"], &listed["data"][0]["id"]), (&json!("list"), &json!("tiny")));
    assert_eq!(service.get("/v1/models/tiny").ok()["object"], "model");
    assert_eq!(service.get("/v1/models/gpt-4").error(404)["code"], "model_not_found");
    assert_eq!(service.get("/v1/gateway").ok()["is_open"], true);
    service.get("/v1/nothing").error(404);
    service.get("/v1/chat/completions").error(405);
    service.post("/v1/keys", &json!({})).error(400);
    let other = service.post("/v1/chat/completions", &chat(json!({"model": "gpt-4"}))).error(404);
    assert_eq!((&other["code"], &other["param"]), (&json!("model_not_found"), &json!("model")));
    assert_eq!(service.post("/v1/chat/completions", &json!({"model": "tiny"})).error(400)["param"], "messages");
    assert_eq!(
        service.post("/v1/chat/completions", &chat(json!({"temperature": 3}))).error(400)["param"],
        "temperature"
    );
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]);
    assert_eq!(
        service.post("/v1/chat/completions", &chat(json!({"messages": image}))).error(400)["type"],
        "invalid_request_error"
    );
    let long = service.post("/v1/completions", &completion(json!({"prompt": vec![1; 600]}))).error(400);
    assert_eq!(long["code"], "context_length_exceeded");
    let large = "x".repeat(200_000);
    service.post("/v1/completions", &completion(json!({"prompt": large}))).error(413);
    // What is not known does no harm.
    service.post("/v1/chat/completions", &chat(json!({"user": "me", "made_up": {"a": 1}, "max_tokens": 2}))).ok();
}

#[test]
fn the_metrics_follow_requests_tokens_and_the_model() {
    let scheduler = SchedulerOptions { running: 1, waiting: 4, waiting_per_client: 4 };
    let service = Service::start(GatewayOptions { scheduler, ..GatewayOptions::default() }, Admission::Open);
    let metrics = service.gateway.metrics();
    let read = || samples_of(&metrics.text());
    let before = read();
    assert_eq!((before["templar_gateway_ready"], before["templar_gateway_models_total"]), (0.0, 0.0));
    assert!(!before.contains_key("templar_gateway_window"), "there is none: {before:#?}");
    service.post("/v1/chat/completions", &chat(json!({}))).error(503);
    service.gateway.serve(model("tiny", 3));
    let whole = service.post("/v1/chat/completions", &chat(json!({"max_tokens": 3}))).ok();
    let more = json!({"max_tokens": 5, "stream": true, "stream_options": {"include_usage": true}, "n": 2});
    let events = service.post("/v1/completions", &completion(more)).events();
    let usages = [&whole["usage"], &events.last().unwrap()["usage"]];
    let sum = |name: &str| usages.iter().map(|usage| usage[name].as_f64().unwrap()).sum::<f64>();
    service.post("/v1/completions", &completion(json!({"temperature": 9}))).error(400);
    service.post("/v1/completions", &completion(json!({"n": 5}))).error(429);
    service.get("/v1/hush").error(404);
    service.get("/v1/models").ok();
    let mut leaver = send(
        service.address(),
        "POST",
        "/v1/completions",
        None,
        completion(json!({"max_tokens": 480, "stream": true})).to_string().as_bytes(),
    );
    read_until(&mut leaver, "\"text\"");
    drop(leaver);
    let left = "templar_gateway_requests_total{operation=\"completion\",outcome=\"left\"}";
    wait_until(|| read().contains_key(left));
    let after = read();
    let value = |name: &str| *after.get(name).unwrap_or_else(|| panic!("{name} in {after:#?}"));
    for (name, wanted) in [
        ("templar_gateway_requests_total{operation=\"chat\",outcome=\"unavailable\"}", 1.0),
        ("templar_gateway_requests_total{operation=\"chat\",outcome=\"answered\"}", 1.0),
        ("templar_gateway_requests_total{operation=\"completion\",outcome=\"answered\"}", 1.0),
        ("templar_gateway_requests_total{operation=\"completion\",outcome=\"invalid\"}", 1.0),
        ("templar_gateway_requests_total{operation=\"completion\",outcome=\"busy\"}", 1.0),
        (left, 1.0),
        ("templar_gateway_requests_total{operation=\"unknown\",outcome=\"not found\"}", 1.0),
        ("templar_gateway_requests_total{operation=\"models\",outcome=\"answered\"}", 1.0),
        ("templar_gateway_first_token_seconds_count", 3.0),
        ("templar_gateway_ready", 1.0),
        ("templar_gateway_models_total", 1.0),
        ("templar_gateway_waiting_texts", 0.0),
        ("templar_gateway_rejected_connections_total", 0.0),
    ] {
        assert_eq!(value(name), wanted, "{name}");
    }
    // Those of the one that left come on top.
    assert!(value("templar_gateway_tokens_total{direction=\"read\"}") >= sum("prompt_tokens"));
    assert!(value("templar_gateway_tokens_total{direction=\"written\"}") > sum("completion_tokens"));
    assert!(value("templar_gateway_engine_tokens_total") >= sum("completion_tokens"));
    assert_eq!(value("templar_gateway_engine_tokens_total"), value("templar_gateway_passes_total"), "one at a time");
    assert!(!after.keys().any(|name| name.contains("hush") || name.contains("charged")), "{after:#?}");
    drop(service);
    assert_eq!(metrics.text(), "", "the metrics keep no gateway running");
}

#[test]
fn too_many_texts_are_told_to_come_back() {
    let scheduler = SchedulerOptions { running: 1, waiting: 4, waiting_per_client: 4 };
    let service = Service::start(GatewayOptions { scheduler, ..GatewayOptions::default() }, Admission::Open);
    service.gateway.serve(model("tiny", 3));
    let many = service.post("/v1/chat/completions", &chat(json!({"n": 5})));
    assert_eq!(many.error(429)["code"], "rate_limit_exceeded");
    assert_eq!(many.header("retry-after"), Some("2"));
    service.post("/v1/chat/completions", &chat(json!({"n": 4, "max_tokens": 2}))).ok();
}

/// Reads until so much of an answer is there.
fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !text.contains(wanted) {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the answer ended: {text}");
        text += &String::from_utf8_lossy(&buffer[..count]);
    }
    text
}

#[test]
fn the_texts_of_a_client_that_leaves_end() {
    let scheduler = SchedulerOptions { running: 1, ..SchedulerOptions::default() };
    let service = Service::start(GatewayOptions { scheduler, ..GatewayOptions::default() }, Admission::Open);
    service.gateway.serve(model("tiny", 3));
    // Some fifteen thousand tokens, one text at a time.
    for is_stream in [true, false] {
        let body = completion(json!({"n": 32, "max_tokens": 480, "stream": is_stream}));
        let mut stream = send(service.address(), "POST", "/v1/completions", None, body.to_string().as_bytes());
        let load = || service.get("/health").ok();
        let before = load()["tokens"].as_u64().unwrap();
        if is_stream {
            read_until(&mut stream, "\"text\"");
        } else {
            wait_until(|| load()["running"] != 0);
        }
        drop(stream);
        // The next one gets its turn, long before all those texts would be written.
        wait_until(|| load()["waiting"] == 0);
        let written = load()["tokens"].as_u64().unwrap() - before;
        assert!(written < 32 * 480 / 2, "{written} tokens for nobody");
        service.post("/v1/completions", &completion(json!({"max_tokens": 2}))).ok();
    }
}

#[test]
fn a_newer_model_takes_over_and_what_runs_ends_on_the_old_one() {
    let service = Service::open();
    let body = completion(json!({"max_tokens": 450}));
    let whole = service.post("/v1/completions", &body).ok();
    let body = with(body, json!({"stream": true, "n": 8}));
    let mut stream = send(service.address(), "POST", "/v1/completions", None, body.to_string().as_bytes());
    let mut text = read_until(&mut stream, "\"text\"");
    service.gateway.serve(model("later", 9));
    let newer = service.post("/v1/completions", &completion(json!({"model": "later"}))).ok();
    assert_eq!(newer["system_fingerprint"], "folder-later");
    assert_eq!(service.post("/v1/completions", &completion(json!({}))).error(404)["code"], "model_not_found");
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("[DONE]") && !text.contains("folder-later"));
    let pieces = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|line| *line != "[DONE]");
    let events: Vec<Value> = pieces.map(|line| serde_json::from_str(line).unwrap()).collect();
    for (text, ..) in assembled(&events, |choice| choice["text"].as_str()) {
        assert_eq!(whole["choices"][0]["text"], text);
    }
    assert_ne!(whole["choices"][0]["text"], newer["choices"][0]["text"]);
}

#[test]
fn a_page_may_ask_where_its_origin_is_named() {
    let own = "http://127.0.0.1:9090";
    let service =
        Service::start(GatewayOptions { origins: vec![own.parse().unwrap()], ..Default::default() }, Admission::Open);
    service.gateway.serve(model("tiny", 3));
    let body = chat(json!({"max_tokens": 2})).to_string();
    let asked = |method: &str, origin: &str, body: &str| {
        let head = format!(
            "{method} /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: POST\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        read(TcpStream::connect(service.address()).unwrap(), head.as_bytes())
    };
    for answer in [asked("OPTIONS", own, ""), asked("POST", own, &body)] {
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(own)), "{}", answer.head);
        assert_eq!(answer.header("access-control-allow-headers"), Some("authorization, content-type"));
    }
    for answer in [asked("OPTIONS", "null", ""), asked("POST", "http://elsewhere.example", &body)] {
        answer.error(403);
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    service.post("/v1/chat/completions", &chat(json!({"max_tokens": 2}))).ok();
}

#[test]
fn who_sends_slowly_is_cut_off() {
    let options = GatewayOptions {
        head_deadline: Duration::from_millis(200),
        body_deadline: Duration::from_millis(200),
        ..GatewayOptions::default()
    };
    let service = Service::start(options, Admission::Open);
    for (sent, answer) in [("GET /v1/mod", ""), ("POST /v1/completions HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", "408")]
    {
        let mut stream = TcpStream::connect(service.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        let mut text = String::new();
        // It ends, whether by an answer or by a reset.
        let _ = stream.read_to_string(&mut text);
        assert!(text.contains(answer), "{text}");
    }
}

#[test]
fn a_stop_lets_requests_end() {
    let service = Service::open();
    let body = chat(json!({"stream": true, "temperature": 0, "max_tokens": 100}));
    let mut stream = send(service.address(), "POST", "/v1/chat/completions", None, body.to_string().as_bytes());
    let mut text = read_until(&mut stream, "\"content\"");
    let Service { runtime, gateway } = service;
    let address = gateway.address();
    runtime.block_on(gateway.stop());
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("[DONE]"), "{text}");
    assert!(TcpStream::connect(address).is_err());
}
