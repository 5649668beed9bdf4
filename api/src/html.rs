//! What pages for people have in common: text that cannot become markup, and heads that let nothing else in.

use std::fmt::{self, Display};

use axum::http::{HeaderName, HeaderValue, header};

/// Nothing but our own style sheets may be loaded, and nobody may frame the page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The head of every page.
pub const GUARDS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

/// Text that cannot become markup.
pub struct Escaped<T>(pub T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.to_string().chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

/// Text of which what stands between backticks is code, and what empty lines part are paragraphs.
pub struct Prose<'a>(pub &'a str);

impl Display for Prose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for paragraph in self.0.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
            write!(f, "<p>{}</p>", Sentence(paragraph))?;
        }
        Ok(())
    }
}

/// Text of one paragraph, likewise.
pub struct Sentence<'a>(pub &'a str);

impl Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.0.split('`');
        write!(f, "{}", Escaped(parts.next().unwrap_or_default()))?;
        while let Some(code) = parts.next() {
            match parts.next() {
                Some(plain) => write!(f, "<code>{}</code>{}", Escaped(code), Escaped(plain))?,
                // A backtick that stands alone is one.
                None => write!(f, "`{}", Escaped(code))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            Escaped("<a href='x'>\"&\"</a>").to_string(),
            "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;&lt;/a&gt;"
        );
    }

    #[test]
    fn prose_has_paragraphs_and_code() {
        for (text, expected) in [
            ("", ""),
            ("one `<b>` two", "<p>one <code>&lt;b&gt;</code> two</p>"),
            ("`a` and `b`", "<p><code>a</code> and <code>b</code></p>"),
            ("first\nline\n\n second ", "<p>first\nline</p><p>second</p>"),
            ("a lone ` & more", "<p>a lone ` &amp; more</p>"),
        ] {
            assert_eq!(Prose(text).to_string(), expected, "{text}");
        }
    }
}
