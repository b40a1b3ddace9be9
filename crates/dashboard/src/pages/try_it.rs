//! A conversation with the run's model, through its gateway.

use super::parts::{Page, note};
use crate::GatewayUrl;
use crate::markup::Markup;

/// Characters of a line at most: the models of small runs see some hundred tokens.
const LINE_CHARACTERS: usize = 4_000;

/// The page. The conversation is between the browser and the gateway: this server has no part in it.
pub(crate) fn try_it(gateway: Option<&GatewayUrl>) -> Page {
    let mut body = Markup::with_text("h1", "Try it");
    match gateway {
        None => {
            body.push(note("No gateway of this run is known here. A local network has one if it is started with:"));
            body.push(command("templar up --gateway"));
        }
        Some(gateway) => {
            body.push(note(
                "The newest agreed checkpoint, as the run's gateway serves it. A model that has read text and no \
                 conversations continues what it is given; each answer names the window that its parameters are from.",
            ));
            body.push(conversation(gateway));
            body.push(Markup::with_text("h2", "From a program"));
            body.push(note("The gateway has OpenAI's API, as its clients know it:"));
            body.push(command(&format!(
                "curl {gateway}/chat/completions -H 'content-type: application/json' -d '{{\"model\": \"MODEL\", \
                 \"messages\": [{{\"role\": \"user\", \"content\": \"Once\"}}], \"max_tokens\": 40}}'"
            )));
            body.push(note(&format!("The name of the model is in {gateway}/models.")));
        }
    }
    Page::new("Try it", "/try", body)
}

fn command(text: &str) -> Markup {
    Markup::tag("pre", &[("tabindex", &"0")], Markup::with_text("code", text))
}

fn conversation(gateway: &GatewayUrl) -> Markup {
    let talk = [
        ("id", &"talk" as &dyn std::fmt::Display),
        ("class", &"talk"),
        ("role", &"log"),
        ("aria-label", &"Conversation"),
    ];
    let label = Markup::tag("label", &[("for", &"line")], Markup::text("Your words"));
    let field = [
        ("id", &"line" as &dyn std::fmt::Display),
        ("rows", &"3"),
        ("maxlength", &LINE_CHARACTERS),
        ("required", &"required"),
    ];
    let field = Markup::tag("textarea", &field, Markup::default());
    let send = Markup::tag("button", &[("type", &"submit")], Markup::text("Send"));
    let stop = [("type", &"button" as &dyn std::fmt::Display), ("id", &"stop"), ("hidden", &"hidden")];
    let stop = Markup::tag("button", &stop, Markup::text("Stop"));
    let form = [("id", &"ask" as &dyn std::fmt::Display), ("class", &"ask"), ("data-gateway", gateway)];
    let form = Markup::tag("form", &form, label.then(field).then(send).then(stop));
    let without = note("The conversation needs JavaScript; the command below does not.");
    Markup::tag("div", &talk, Markup::default())
        .then(form)
        .then(Markup::tag("p", &[("id", &"try-state"), ("class", &"note"), ("role", &"status")], Markup::default()))
        .then(Markup::tag("noscript", &[], without))
        .then(Markup::fixed("<script src=\"/try.js\" defer></script>"))
}
