//! From the messages of a chat to a prompt.
//!
//! The models that runs train have seen text, not conversations, and none of them has a template that this program
//! renders; so a conversation is written as people write one down, a line for each message, and the model goes on:
//!
//! ```text
//! System: You are terse.
//! User: What is a ledger?
//! Assistant: A book of accounts.
//! User: Who keeps it?
//! Assistant:
//! ```
//!
//! The answer ends where the model begins the next person's line ([`NEXT_TURN`]).

use serde_json::Value;

use crate::ApiError;
use crate::fields::{Fields, wrong};

/// What the model writes when it goes on in the name of the person.
pub(crate) const NEXT_TURN: &str = "\nUser:";

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    System,
    User,
    Assistant,
    Tool,
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    role: Role,
    text: String,
}

impl Role {
    fn read(place: &str, name: &str) -> Result<Self, ApiError> {
        match name {
            "system" | "developer" => Ok(Self::System),
            "user" => Ok(Self::User),
            "assistant" => Ok(Self::Assistant),
            "tool" | "function" => Ok(Self::Tool),
            _ => {
                let roles = "system, developer, user, assistant, tool and function";
                let message = format!("Invalid value: '{name}'. Supported values of '{place}.role' are {roles}.");
                Err(ApiError::field(format!("{place}.role"), message))
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::System => "System",
            Self::User => "User",
            Self::Assistant => "Assistant",
            Self::Tool => "Tool",
        }
    }
}

impl Message {
    /// Reads the message at `place`, such as `messages[0]`.
    pub(crate) fn read(place: &str, value: &Value) -> Result<Self, ApiError> {
        let object = value.as_object().ok_or_else(|| wrong(place, "an object", value))?;
        let fields = Fields(object);
        let missing = |name: &str| {
            let name = format!("{place}.{name}");
            ApiError::field(name.clone(), format!("Missing required parameter: '{name}'."))
        };
        let role = Role::read(place, fields.text("role")?.ok_or_else(|| missing("role"))?)?;
        let text = match fields.get("content") {
            Some(content) => content_of(&format!("{place}.content"), content)?,
            // A message that only calls tools has no content.
            None if role == Role::Assistant => String::new(),
            None => return Err(missing("content")),
        };
        Ok(Self { role, text })
    }
}

/// The text of a message: a string, or parts.
fn content_of(place: &str, content: &Value) -> Result<String, ApiError> {
    let parts = match content {
        Value::String(text) => return Ok(text.clone()),
        Value::Array(parts) => parts,
        other => return Err(wrong(place, "a string or an array of parts", other)),
    };
    let mut text = String::new();
    for (number, part) in parts.iter().enumerate() {
        let place = format!("{place}[{number}]");
        let fields = Fields(part.as_object().ok_or_else(|| wrong(&place, "an object", part))?);
        let kind = fields.text("type")?.unwrap_or_default();
        let field = match kind {
            "text" => "text",
            "refusal" => "refusal",
            _ => {
                let message = format!("This gateway reads text only: a part of the type '{kind}' is not supported.");
                return Err(ApiError::unsupported(place, message));
            }
        };
        let missing = || ApiError::field(format!("{place}.{field}"), format!("A part of this type needs '{field}'."));
        text += fields.text(field)?.ok_or_else(missing)?;
    }
    Ok(text)
}

/// The conversation as a text that the model continues with its answer.
pub(crate) fn prompt(messages: &[Message]) -> String {
    let lines = messages.iter().map(|message| format!("{}: {}\n", message.role.name(), message.text.trim()));
    lines.collect::<String>() + Role::Assistant.name() + ":"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(messages: Value) -> Result<String, ApiError> {
        let messages = messages.as_array().unwrap().iter().map(|message| Message::read("messages[0]", message));
        Ok(prompt(&messages.collect::<Result<Vec<_>, _>>()?))
    }

    #[test]
    fn a_conversation_is_a_line_for_each_message() {
        let messages = json!([
            {"role": "developer", "content": "You are terse."},
            {"role": "user", "content": [{"type": "text", "text": "What is "}, {"type": "text", "text": "a ledger?"}]},
            {"role": "assistant", "content": "A book.\n"},
            {"role": "assistant", "content": null, "tool_calls": []},
            {"role": "user", "name": "eve", "content": "Who keeps it?"},
        ]);
        let lines = "System: You are terse.\nUser: What is a ledger?\nAssistant: A book.\nAssistant: \nUser: Who keeps \
                     it?\nAssistant:";
        assert_eq!(read(messages).unwrap(), lines);
    }

    #[test]
    fn images_and_strangers_are_refused_by_name() {
        let image = json!([{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url"}]}]);
        let error = read(image).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("messages[0].content[1]"));
        assert!(error.message.contains("image_url"), "{error}");
        for (message, param) in [
            (json!({"role": "king", "content": "x"}), "messages[0].role"),
            (json!({"role": "user"}), "messages[0].content"),
            (json!({"content": "x"}), "messages[0].role"),
            (json!("x"), "messages[0]"),
            (json!({"role": "user", "content": 5}), "messages[0].content"),
            (json!({"role": "user", "content": [{"type": "text"}]}), "messages[0].content[0].text"),
        ] {
            assert_eq!(read(json!([message])).unwrap_err().param.as_deref(), Some(param));
        }
    }
}
