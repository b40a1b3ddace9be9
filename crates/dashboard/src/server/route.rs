//! Addresses of pages and of the API.

use templar_base::{Uid, Window};

/// The most bytes of a filter.
const MOST_FILTER_BYTES: usize = 64;
/// The most bytes of a path and of a query.
const MOST_ADDRESS_BYTES: usize = 256;

/// By what the slots are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sort {
    #[default]
    Uid,
    Standing,
    Contribution,
    Rating,
    Selected,
    Pay,
    Bytes,
    Seen,
    Stake,
}

impl Sort {
    pub(crate) const ALL: [Self; 9] = [
        Self::Uid,
        Self::Standing,
        Self::Contribution,
        Self::Rating,
        Self::Selected,
        Self::Pay,
        Self::Bytes,
        Self::Seen,
        Self::Stake,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uid => "uid",
            Self::Standing => "standing",
            Self::Contribution => "contribution",
            Self::Rating => "rating",
            Self::Selected => "selected",
            Self::Pay => "pay",
            Self::Bytes => "bytes",
            Self::Seen => "seen",
            Self::Stake => "stake",
        }
    }
}

/// How a table of slots is ordered and which rows it has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Order {
    /// By what.
    pub(crate) sort: Sort,
    /// Whether the largest comes first.
    pub(crate) is_descending: bool,
    /// Words that a row must have; empty for all rows.
    pub(crate) filter: String,
}

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum View {
    Run,
    Windows,
    Window(Window),
    Miners(Order),
    Miner(Uid),
    Market,
    Governance,
    Evidence,
    /// In the API; on a page it is a part of the run.
    Evaluations,
    Try,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Page(View),
    Api(View),
    OpenApi,
    Events,
    Metrics,
    Style,
    Script,
    TryScript,
    Icon,
}

impl Route {
    /// Reads an address; none where there is nothing.
    pub(crate) fn of(path: &str, query: &str) -> Option<Self> {
        if path.len() > MOST_ADDRESS_BYTES || query.len() > MOST_ADDRESS_BYTES {
            return None;
        }
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        Some(match parts.as_slice() {
            ["style.css"] => Self::Style,
            ["page.js"] => Self::Script,
            ["try.js"] => Self::TryScript,
            ["favicon.svg"] => Self::Icon,
            ["metrics"] => Self::Metrics,
            ["api", "v1", "openapi.json"] => Self::OpenApi,
            ["api", "v1", "events"] => Self::Events,
            ["api", "v1", "run"] => Self::Api(View::Run),
            ["api", "v1", rest @ ..] => Self::Api(View::of(rest, query)?),
            [""] => Self::Page(View::Run),
            rest => Self::Page(View::of(rest, query)?),
        })
    }

    /// The name under which an answer is kept; none where answers are not kept.
    pub(crate) fn cache_key(&self) -> Option<String> {
        match self {
            // A filter is anybody's text: its answers would push out all others.
            Self::Page(View::Miners(order)) | Self::Api(View::Miners(order)) if !order.filter.is_empty() => None,
            Self::Events => None,
            route => Some(format!("{route:?}")),
        }
    }
}

impl View {
    fn of(parts: &[&str], query: &str) -> Option<Self> {
        Some(match parts {
            ["windows"] => Self::Windows,
            ["windows", number] => Self::Window(Window(whole(number)?)),
            ["miners"] => Self::Miners(Order::of(query)),
            ["miners", number] => Self::Miner(Uid(whole(number)?.try_into().ok()?)),
            ["market"] => Self::Market,
            ["governance"] => Self::Governance,
            ["evidence"] => Self::Evidence,
            ["evaluations"] => Self::Evaluations,
            ["try"] => Self::Try,
            _ => return None,
        })
    }
}

/// A number in its one form, so that one thing has one address.
fn whole(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

impl Order {
    fn of(query: &str) -> Self {
        let mut order = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "sort" => order.sort = Sort::ALL.into_iter().find(|sort| sort.name() == value).unwrap_or_default(),
                "order" => order.is_descending = value == "down",
                "filter" => order.filter = decoded(value),
                _ => {}
            }
        }
        order
    }
}

/// A value of a form: `+` is a space, `%2B` a plus; cut to a bound.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => (high * 16 + low) as u8,
                    _ => b'?',
                }
            }
            byte => byte,
        });
    }
    let text = String::from_utf8_lossy(&bytes).trim().to_lowercase();
    let end = text.char_indices().map(|(at, char)| at + char.len_utf8()).take_while(|end| *end <= MOST_FILTER_BYTES);
    text[..end.last().unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_has_one_address_and_nothing_else_has_any() {
        assert_eq!(Route::of("/", ""), Some(Route::Page(View::Run)));
        assert_eq!(Route::of("/windows/12", ""), Some(Route::Page(View::Window(Window(12)))));
        assert_eq!(Route::of("/api/v1/miners/3", ""), Some(Route::Api(View::Miner(Uid(3)))));
        assert_eq!(Route::of("/api/v1/run", ""), Some(Route::Api(View::Run)));
        let long = format!("/{}", "a".repeat(1_000));
        let wrong =
            ["/windows/012", "/windows/-1", "/windows/99999999999999999999", "/miners/70000", "/../etc", "/x", &long];
        for path in wrong {
            assert_eq!(Route::of(path, ""), None, "{path}");
        }
        assert_eq!(Route::of("/api/v1", ""), None);
    }

    #[test]
    fn a_filter_is_read_as_a_form_sends_it_and_is_bounded() {
        let order = Order::of("sort=pay&order=down&filter=a%20B+c%3C&x=1&y");
        assert_eq!(order, Order { sort: Sort::Pay, is_descending: true, filter: "a b c<".to_owned() });
        assert_eq!(Order::of("sort=nonsense&filter=%"), Order { filter: "?".to_owned(), ..Order::default() });
        assert!(decoded(&"%C3%A9".repeat(60)).len() <= MOST_FILTER_BYTES);
        let kept = Route::of("/miners", "sort=pay").unwrap().cache_key();
        assert!(kept.is_some() && kept != Route::of("/miners", "").unwrap().cache_key());
        assert_eq!(Route::of("/miners", "filter=x").unwrap().cache_key(), None);
    }
}
