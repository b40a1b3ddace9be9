//! HTML and SVG as a type. Text gets into it escaped only, so that what a peer wrote is shown and never obeyed.

use std::fmt::{self, Display, Write};

/// Attributes of an element: fixed names, escaped values.
pub(crate) type Attributes<'a> = &'a [(&'static str, &'a dyn Display)];

/// A piece of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Markup(String);

/// Escapes what is written through it.
struct Escaper<'a>(&'a mut String);

impl Write for Escaper<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            match char {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\t' | '\n' | '\r' => self.0.push(' '),
                char if char.is_control() || is_invisible(char) => self.0.push(char::REPLACEMENT_CHARACTER),
                char => self.0.push(char),
            }
        }
        Ok(())
    }
}

/// Characters that turn the direction of the text around them, or have no width: they make one text look like another.
fn is_invisible(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl Markup {
    /// Text, escaped.
    pub(crate) fn text(text: impl Display) -> Self {
        let mut out = String::new();
        // Writing into a string cannot fail.
        let _ = write!(Escaper(&mut out), "{text}");
        Self(out)
    }

    /// Markup that this program brings itself.
    pub(crate) fn fixed(markup: &'static str) -> Self {
        Self(markup.to_owned())
    }

    /// An element with what is inside it.
    pub(crate) fn tag(name: &'static str, attributes: Attributes<'_>, inside: Self) -> Self {
        let mut out = Self::opened(name, attributes);
        out.0.push_str(&inside.0);
        let _ = write!(out.0, "</{name}>");
        out
    }

    /// An element that has nothing inside: `<name …>`, in SVG `<name …/>` reads the same way.
    pub(crate) fn void(name: &'static str, attributes: Attributes<'_>) -> Self {
        let mut out = Self::opened(name, attributes);
        out.0.pop();
        out.0.push_str("/>");
        out
    }

    fn opened(name: &'static str, attributes: Attributes<'_>) -> Self {
        let mut out = format!("<{name}");
        for (attribute, value) in attributes {
            let _ = write!(out, " {attribute}=\"");
            let _ = write!(Escaper(&mut out), "{value}");
            out.push('"');
        }
        out.push('>');
        Self(out)
    }

    /// An element with text inside it.
    pub(crate) fn with_text(name: &'static str, text: impl Display) -> Self {
        Self::tag(name, &[], Self::text(text))
    }

    /// A link within this page's server.
    pub(crate) fn link(address: impl Display, text: impl Display) -> Self {
        Self::tag("a", &[("href", &address)], Self::text(text))
    }

    /// Adds a piece at the end.
    pub(crate) fn push(&mut self, other: Self) {
        self.0.push_str(&other.0);
    }

    /// This piece and another after it.
    pub(crate) fn then(mut self, other: Self) -> Self {
        self.push(other);
        self
    }

    /// The text of the page.
    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl FromIterator<Markup> for Markup {
    fn from_iter<T: IntoIterator<Item = Markup>>(pieces: T) -> Self {
        let mut all = Self::default();
        pieces.into_iter().for_each(|piece| all.push(piece));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_shown_and_never_obeyed() {
        let hostile = "<script>alert('1')</script> \"&\u{202e}\u{0}\u{200b}";
        let shown = Markup::text(hostile).into_string();
        assert_eq!(shown, "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &quot;&amp;\u{fffd}\u{fffd}\u{fffd}");
        let link = Markup::tag("a", &[("href", &"x\" onclick=\"y")], Markup::with_text("b", "1 < 2")).into_string();
        assert_eq!(link, "<a href=\"x&quot; onclick=&quot;y\"><b>1 &lt; 2</b></a>");
        assert_eq!(Markup::void("br", &[]).into_string(), "<br/>");
    }
}
