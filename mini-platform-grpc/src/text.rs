//! Texts for people, on their way from one program to another.

/// The longest text that is sent or taken, in bytes: a few sentences, far below the limit of all headers.
pub(crate) const MAX_TEXT_BYTES: usize = 1024;

/// Cuts a text to [`MAX_TEXT_BYTES`], and makes spaces of control characters: it ends up in headers and logs.
pub(crate) fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_TEXT_BYTES);
    let kept = text.get(..end).unwrap_or_default();
    kept.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_has_no_lines() {
        assert_eq!(cut("one\ntwo\u{1b}[31m"), "one two [31m");
        assert_eq!(cut(&"ž".repeat(600)), "ž".repeat(512));
        assert_eq!(cut(&format!("a{}", "ž".repeat(600))).len(), 1023);
    }
}
