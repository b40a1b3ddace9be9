//! The schema and the answers say the same.

use crate::client::{get, get_read, get_until};
use crate::world::World;
use serde_json::Value;

/// What a schema says of a value, links followed and `null` left out where the value is something else.
fn resolved<'s>(document: &'s Value, schema: &'s Value, value: &Value) -> &'s Value {
    if let Some(link) = schema["$ref"].as_str() {
        let name = link.rsplit('/').next().unwrap();
        return resolved(document, &document["components"]["schemas"][name], value);
    }
    match schema["anyOf"].as_array() {
        Some(choices) => resolved(document, &choices[usize::from(value.is_null())], value),
        None => schema,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = resolved(document, schema, value);
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    let is_number = kinds.contains(&"number") && kind(value) == "integer";
    assert!(kinds.contains(&kind(value)) || is_number, "{at} is {value}, not one of {kinds:?}");
    if let (Value::Object(keys), Some(properties)) = (value, schema["properties"].as_object()) {
        for (key, value) in keys {
            let property = properties.get(key).unwrap_or_else(|| panic!("{at}.{key} is not in the schema"));
            check(document, property, value, &format!("{at}.{key}"));
        }
        for key in properties.keys() {
            assert!(keys.contains_key(key), "{at} has no {key}, which the schema promises");
        }
    }
    if let (Value::Array(items), Some(schema)) = (value, schema.get("items")) {
        let plain = schema.get("prefixItems").is_some();
        for (number, item) in items.iter().enumerate().filter(|_| !plain) {
            check(document, schema, item, &format!("{at}[{number}]"));
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        assert!(values.contains(value), "{at} is {value}, not one of {values:?}");
    }
}

#[tokio::test]
async fn every_answer_is_what_the_schema_says() {
    let world = World::of_four_windows().await;
    let dashboard = world.serve(|_| {});
    get_read(&dashboard, 4).await;
    let has_proposal = |answer: &crate::client::Answer| answer.body.contains("action_text");
    get_until(&dashboard, "/api/v1/governance", has_proposal).await;
    let document = get(&dashboard, "/api/v1/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 10);
    for (path, facts) in paths {
        let Some(schema) = facts["get"]["responses"]["200"]["content"]["application/json"].get("schema") else {
            assert_eq!(path, "/api/v1/events");
            continue;
        };
        for number in ["0", "2", "3"] {
            let answer = get(&dashboard, &path.replace("{window}", number).replace("{uid}", number)).await;
            assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "application/json"), "{path}");
            check(&document, schema, &answer.json(), path);
        }
    }
    let missing = get(&dashboard, "/api/v1/windows/999").await;
    check(&document, &document["components"]["schemas"]["Error"], &missing.json(), "error");
}
